"""What the page does when the connection breaks, the service restarts, or a key is needed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.page.conftest import Open, Service
from tests.page.reader import estimates, press_fit, wait_for_result
from tests.processes import ApiProcess

KEY = "the-key-of-this-test"


def start_slow_fit(page: Page) -> None:
    """Start a fit that takes some seconds, and wait until it runs."""
    press_fit(page)
    expect(page.locator("section[aria-label=Loss] path.line")).to_be_visible()


def test_a_lost_connection_is_told_and_the_fit_is_followed_to_its_end(open_page: Open) -> None:
    page = open_page("/#/model/lotka-volterra")
    start_slow_fit(page)
    page.context.set_offline(True)
    notice = page.locator(".connection p")
    page.goto(f"{page.url}")
    expect(notice).to_contain_text("No connection")
    page.context.set_offline(False)
    expect(notice).to_have_count(0)
    wait_for_result(page)
    assert estimates(page)["alpha"].startswith("1.4")


def test_a_restart_of_the_service_in_the_middle_loses_nothing(open_page: Open, service: Service) -> None:
    page = open_page("/#/model/lotka-volterra")
    start_slow_fit(page)
    service.api.kill()
    expect(page.locator(".connection p")).to_contain_text("No connection")
    service.api.start()
    expect(page.locator(".connection p")).to_have_count(0)
    wait_for_result(page)
    losses = page.locator("section[aria-label=Loss] path.line").get_attribute("d") or ""
    assert losses.count("L") > 100


@pytest.fixture
def guarded(service: Service) -> Iterator[ApiProcess]:
    """The same service behind a key."""
    with ApiProcess(service.redis.url, api_key=KEY) as api:
        yield api


def test_a_key_is_asked_for_once_and_kept_for_the_session(open_page: Open, guarded: ApiProcess) -> None:
    page = open_page("/", url=guarded.url)
    page.get_by_role("button", name="Fit Lynx and hare", exact=True).click()
    dialog = page.get_by_role("dialog", name="This service needs a key")
    expect(dialog).to_be_visible()
    dialog.get_by_label("Key").fill("a wrong one")
    dialog.get_by_label("Key").press("Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("refused")
    dialog.get_by_label("Key").fill(KEY)
    dialog.get_by_label("Key").press("Enter")
    wait_for_result(page)
    page.reload()
    wait_for_result(page)
    assert dialog.is_hidden()
    assert KEY not in page.url
    assert page.evaluate("localStorage.length") == 0


def test_a_fit_that_is_gone_is_told(open_page: Open) -> None:
    page = open_page("/#/fits/00000000-0000-0000-0000-000000000000")
    expect(page.get_by_role("heading", name="This fit is not here any more")).to_be_visible()


def test_without_javascript_the_page_explains_itself(open_page: Open) -> None:
    page = open_page("/", java_script_enabled=False)
    expect(page.locator("main.no-script")).to_be_visible()
    expect(page.locator("main.no-script")).to_contain_text("It needs JavaScript")
