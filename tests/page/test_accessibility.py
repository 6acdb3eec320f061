"""Every view works with a keyboard, a screen reader, on a phone and a large screen; and nothing injected runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.page.conftest import Open, Service
from tests.page.reader import paste, write_equations

EVIL = "<img src=x onerror=window.hacked=1>"
SCRIPT = "\"'</script><script>window.hacked=1</script>${window.hacked=1}"


def request(**changes: Any) -> dict[str, Any]:
    return {
        "system": {"states": ["c"], "parameters": ["k"], "equations": {"c": "-k*c"}},
        "data": {"name": EVIL, "times": [0, 1, 2, 4, 8], "values": {"c": [10.1, 7.4, 5.6, 2.9, 1.0]}},
        "parameters": {"k": 0.5},
        "initial_state": {"c": 9},
        "uncertainty": "profile",
        "starts": 5,
        "labels": {"title": EVIL + SCRIPT},
    } | changes


@pytest.fixture(scope="module")
def fit_ids(service: Service) -> Iterator[list[str]]:
    """Two fits with all that a result can have, and names that would run if they were read as HTML."""
    with httpx.Client(base_url=service.url, timeout=90) as client:
        answers = [
            client.post("/fits", json=request(), headers={"Prefer": "wait=60"}).json(),
            client.post("/fits", json=request(hold_out={"after": 3}), headers={"Prefer": "wait=60"}).json(),
        ]
        assert [answer["status"] for answer in answers] == ["succeeded"] * 2
        yield [answer["id"] for answer in answers]


VIEWS = {
    "gallery": ("/#/", ".example"),
    "workbench": ("/#/model/multiple-doses", ".picture path.line"),
    "fit": ("/#/fits/{0}", "table.estimates"),
    "fits": ("/#/fits", "tbody tr"),
    "compare": ("/#/compare/{0},{1}", "path.line"),
    "no such fit": ("/#/fits/none", ".problem"),
}


def show(page: Page, view: str, fit_ids: list[str]) -> None:
    address, sign = VIEWS[view]
    page.goto("about:blank")
    page.goto(address.format(*fit_ids))
    expect(page.locator(sign).first).to_be_visible()
    if view == "workbench":
        expect(page.locator(".cm-content")).to_be_visible()
        expect(page.locator(".katex").first).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(open_page: Open, fit_ids: list[str], scheme: str) -> None:
    page = open_page(color_scheme=scheme)
    for view in VIEWS:
        show(page, view, fit_ids)
        found = Axe().run(page).response["violations"]
        serious = [
            f"{one['id']}: {one['help']}: {node['html'][:200]}"
            for one in found
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]
        assert serious == [], view


@pytest.mark.parametrize("width", [360, 1280, 2560])
def test_no_view_is_wider_than_the_window(open_page: Open, fit_ids: list[str], width: int) -> None:
    page = open_page(viewport={"width": width, "height": 900})
    for view in VIEWS:
        show(page, view, fit_ids)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view


def test_injected_names_are_text(open_page: Open, fit_ids: list[str], tmp_path: Path) -> None:
    page = open_page()
    for view in VIEWS:
        show(page, view, fit_ids)
        if view in ("fit", "fits", "compare"):
            assert EVIL in page.inner_text("main"), view
    page.goto("/#/model")
    write_equations(page, f"c' = -k*c\nobserve {EVIL} = c")
    paste(page, f"time,{EVIL},{SCRIPT}\n0,{EVIL},1\n1,2,{SCRIPT}\n")
    expect(page.locator("section:has(#data-title)")).to_contain_text(EVIL)
    for address in (f"/#/model/{EVIL}", f"/#/compare/{EVIL},{EVIL}", f"/#/fits/{EVIL}", f"/#/{EVIL}"):
        page.goto("about:blank")
        page.goto(address)
        expect(page.locator("main")).to_be_visible()
        page.wait_for_timeout(200)
    assert page.evaluate("window.hacked") is None


def test_the_keyboard_reaches_everything_in_order(open_page: Open) -> None:
    page = open_page()
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    for _ in range(2):
        page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text().startswith("Fit")


def test_the_theme_can_be_chosen_and_is_kept(open_page: Open) -> None:
    page = open_page(color_scheme="light")
    page.get_by_role("button", name="Dark theme").click()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.reload()
    expect(page.get_by_role("button", name="Light theme")).to_be_visible()
