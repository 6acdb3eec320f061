"""From an empty page to a fit that is shared and exported, and what goes wrong on the way."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
from playwright.sync_api import Page, expect

from examples.article import REQUESTS
from odelib.problem.request import parse_problem
from tests.page.conftest import Open, Service
from tests.page.reader import (
    DECAY,
    estimates,
    fit_decay,
    paste,
    press_fit,
    set_guess,
    wait_for_result,
    write_equations,
)

RECORD = (Path(__file__).parents[2] / "data" / "lynx-hare.csv").read_text("utf-8")
SHOWN = json.loads((Path(__file__).parents[2] / "page" / "gallery.json").read_text("utf-8"))
GUESSES = {"alpha": 0.5, "beta": 0.025, "gamma": 0.025, "delta": 0.8, "prey(0)": 30, "predator(0)": 4}


def downloaded(page: Page, item: str) -> bytes:
    page.locator("summary", has_text="Export").click()
    with page.expect_download() as download:
        page.get_by_role("button", name=item, exact=True).click()
    return Path(download.value.path()).read_bytes()


def shown_code(page: Page, label: str) -> str:
    page.locator("summary", has_text="Export").click()
    page.get_by_role("button", name=f"Request as {label}", exact=True).click()
    text = page.locator("dialog pre").inner_text()
    page.get_by_role("button", name="Close").click()
    return text


def test_from_an_empty_page_to_a_fitted_shared_and_exported_lynx_hare(open_page: Open, service: Service) -> None:
    page = open_page("/", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("link", name="Fit my own data").click()
    page.get_by_label("Begin with").select_option("lotka-volterra")
    paste(page, RECORD)
    page.get_by_label("What the column hare is").select_option("observable prey")
    page.get_by_label("What the column lynx is").select_option("observable predator")
    for name, value in {
        "alpha": 0.5,
        "beta": 0.025,
        "gamma": 0.025,
        "delta": 0.8,
        "prey(0)": 30,
        "predator(0)": 4,
    }.items():
        set_guess(page, name, value)
    page.get_by_label("Intervals").select_option("covariance")
    press_fit(page)
    wait_for_result(page)
    found = estimates(page)
    assert found["alpha"].startswith("0.481")
    assert found["predator"].startswith("3.8")

    page.get_by_role("button", name="Share").click()
    link = page.evaluate("navigator.clipboard.readText()")
    other = open_page(link)
    wait_for_result(other)
    assert estimates(other) == found

    picture = ElementTree.fromstring(downloaded(page, "Picture as SVG"))
    assert picture.tag.endswith("svg")
    assert len(list(picture.iter("{http://www.w3.org/2000/svg}path"))) >= 4
    assert downloaded(page, "Picture as PNG").startswith(b"\x89PNG")
    rows = list(csv.DictReader(io.StringIO(downloaded(page, "Trajectories as CSV").decode())))
    assert len(rows) == 21
    assert float(rows[0]["prey_measured"]) == 30.0
    assert json.loads(downloaded(page, "Result as JSON"))["outcome"]["code"] == "converged"
    request = json.loads(shown_code(page, "JSON"))
    parse_problem(request)
    for label in ("curl", "Python", "TypeScript"):
        assert service.url in shown_code(page, label)
    program = compile(shown_code(page, "Python"), "fit.py", "exec")
    written = next(one for one in program.co_consts if isinstance(one, str) and one.startswith("{"))
    assert json.loads(written) == request


def test_one_click_fits_an_example_and_the_curve_moves_meanwhile(open_page: Open) -> None:
    page = open_page()
    page.get_by_role("button", name="Fit Lotka–Volterra", exact=True).click()
    curve = page.locator("#trajectories path.line").first
    expect(curve).to_be_visible()
    first = curve.get_attribute("d")
    expect(page.locator("section[aria-label=Loss] path.line")).to_be_visible()
    assert page.get_by_role("progressbar").is_visible() or page.locator(".pill").inner_text() == "Converged"
    wait_for_result(page)
    assert curve.get_attribute("d") != first


def test_a_slider_moves_the_curve(open_page: Open) -> None:
    page = open_page("/#/model/influenza")
    curve = page.locator(".picture path.line").last
    expect(curve).to_be_visible()
    first = curve.get_attribute("d")
    slider = page.get_by_role("slider", name="beta", exact=True)
    slider.focus()
    for _ in range(5):
        page.keyboard.press("PageUp")
    expect(curve).not_to_have_attribute("d", first or "")


@pytest.mark.parametrize(
    ("equations", "line", "words"),
    [
        ("c' = -k*c +", 1, ""),
        ("c' = -k*c^2", 1, "**"),
        ("c' = -k*q\nobserve total = foo(c)", 2, "foo"),
        ("c' = -k*c\nwhat is this", 2, "This line is none of"),
    ],
)
def test_mistakes_in_equations_stand_at_their_line(open_page: Open, equations: str, line: int, words: str) -> None:
    page = open_page("/#/model")
    paste(page, DECAY)
    write_equations(page, equations)
    mistake = page.locator("section:has(#model-title) .mistakes li").first
    expect(mistake).to_contain_text(f"Line {line}: ")
    expect(mistake).to_contain_text(words)
    expect(page.locator(".cm-lintRange-error").first).to_be_visible()
    write_equations(page, "c' = -k*c")
    expect(mistake).to_have_count(0)
    expect(page.get_by_role("button", name="Fit", exact=True)).to_be_enabled()


def test_mistakes_in_a_table_are_all_named_and_can_be_mended(open_page: Open) -> None:
    page = open_page("/#/model")
    write_equations(page, "c' = -k*c")
    paste(page, "just one column\n1\n2\n")
    alert = page.locator("section:has(#data-title) .problem")
    expect(alert).to_contain_text("one column only")
    paste(page, "time,c,remark\n0,10,good\n1,n/a,good\n2,5.x,bad\n,3,bad\n")
    expect(alert).to_contain_text("2 things")
    expect(alert).to_contain_text("Row 3, column c: “5.x” is not a number")
    expect(alert).to_contain_text("Row 4, column time: a time is missing")
    assert page.locator("td.wrong").count() == 2
    paste(page, "c;t\n10,5;0\n\n5,5;2\n7;1\n")  # decimal commas, another order, an empty line
    expect(alert).to_have_count(0)
    expect(page.get_by_text("Rows were put in the order of time.")).to_be_visible()
    expect(page.get_by_role("button", name="Fit", exact=True)).to_be_enabled()


def test_stopping_keeps_the_best_point(open_page: Open, service: Service) -> None:
    page = open_page("/#/model/lorenz")
    press_fit(page)
    expect(page.locator("section[aria-label=Loss] path.line")).to_be_visible()
    page.get_by_role("button", name="Stop and keep the best").click()
    wait_for_result(page, "Cancelled")
    assert float(estimates(page)["rho"]) > 0


def test_the_time_axis_can_be_extended_and_the_prediction_has_a_band(open_page: Open) -> None:
    page = open_page()
    fit_decay(page)
    assert page.locator("path.band").count() == 0
    handle = page.get_by_role("slider", name="End of the time axis")
    handle.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("path.band")).to_be_visible()
    assert page.locator("#trajectories path.dashed").count() == 1


def test_a_fit_is_repeated_from_its_best_point_and_compared(open_page: Open) -> None:
    page = open_page()
    fit_decay(page)
    page.locator("summary", has_text="Repeat").click()
    page.get_by_role("button", name="With profiles").click()
    expect(page.get_by_role("heading", name="Profile of k")).to_be_visible()
    wait_for_result(page)
    page.get_by_role("link", name="Compare with the first").click()
    table = page.get_by_role("region", name="Table of the compared fits")
    expect(table.get_by_role("row", name="AIC")).to_be_visible()
    assert page.locator("path.line").count() == 2


def test_every_repetition_is_a_valid_request(open_page: Open, service: Service) -> None:
    page = open_page()
    fit_decay(page)
    address = page.url
    page.locator("summary", has_text="Repeat").click()
    names = page.locator(".menu[open] .menu-items button").all_inner_texts()
    assert len(names) >= 6
    for name in names:
        page.goto("about:blank")
        page.goto(address)
        expect(page.locator("table.estimates")).to_be_visible()
        page.locator("summary", has_text="Repeat").click()
        page.get_by_role("button", name=name, exact=True).click()
        page.wait_for_url(lambda url: url != address)
        expect(page.locator(".fit-head .pill")).to_be_visible()
        fit_id = page.url.rpartition("/")[2]
        httpx.post(f"{service.url}/fits/{fit_id}/cancel")


def test_an_excel_file_is_read(open_page: Open, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("openpyxl", reason="openpyxl, which writes the file, is not installed")
    file = tmp_path / "decay.xlsx"
    pandas.read_csv(io.StringIO(DECAY)).to_excel(file, index=False)
    page = open_page("/#/model")
    write_equations(page, "c' = -k*c")
    page.locator("input[type=file]").set_input_files(file)
    expect(page.get_by_text("5 rows.")).to_be_visible()
    expect(page.get_by_role("button", name="Fit", exact=True)).to_be_enabled()


def shown_request(page: Page) -> dict[str, Any]:
    page.get_by_text("The whole request as JSON").click()
    request: dict[str, Any] = json.loads(page.get_by_label("The request as JSON").input_value())
    return request


@pytest.mark.parametrize("entry", SHOWN, ids=lambda entry: entry["title"])
def test_opening_an_example_changes_nothing(open_page: Open, entry: dict[str, str]) -> None:
    original = json.loads((REQUESTS / entry["file"]).read_text("utf-8"))
    page = open_page(f"/#/model/{Path(entry['file']).stem}")
    expect(page.get_by_role("heading", name=entry["title"])).to_be_visible()
    shown = shown_request(page)
    labels = original.pop("labels", {})
    assert shown.pop("labels") == labels | {"title": entry["title"]}
    assert parse_problem(shown) == parse_problem(original)
    expect(page.get_by_role("button", name="Fit", exact=True)).to_be_enabled()


def test_a_table_before_its_model_is_assigned_as_the_model_is_written(open_page: Open) -> None:
    page = open_page("/#/model")
    paste(page, "Zeit (h);OD600;Glucose (g/l)\n0;0,05;9,8\n1;0,07;9,6\n2;0,1;\n3;0,14;9,1\n")
    write_equations(page, "X' = mu*X\nS' = -mu*X/Y\nmu = mumax*S/(Ks + S)")
    expect(page.get_by_label("What the column OD600 is")).to_have_value("observable X")
    expect(page.get_by_label("What the column Glucose (g/l) is")).to_have_value("observable S")
    assert page.locator(".cm-line").all_inner_texts() == ["X' = mu*X", "S' = -mu*X/Y", "mu = mumax*S/(Ks + S)"]
    assert page.get_by_label("S(0), guess", exact=True).input_value() == "9.8"
    expect(page.get_by_role("button", name="Fit", exact=True)).to_be_enabled()
