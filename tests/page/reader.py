"""What a reader does in the page, in words that several tests use."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect

DECAY = "time,c\n0,10.1\n1,7.4\n2,5.6\n4,2.9\n8,1.0\n"


def paste(page: Page, table: str) -> None:
    """Paste a table into the field for it."""
    page.get_by_label("Paste a table").evaluate(
        """(field, text) => {
            const data = new DataTransfer();
            data.setData("text/plain", text);
            field.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true}));
        }""",
        table,
    )


def write_equations(page: Page, text: str) -> None:
    """Replace what is in the editor, as by typing."""
    editor = page.locator(".cm-content")
    editor.click()
    page.keyboard.press("Control+A")
    page.keyboard.press("Delete")
    for i, line in enumerate(text.split("\n")):
        if i:
            page.keyboard.press("Escape")  # a list of completions, which Enter would choose from
            page.keyboard.press("Enter")
        page.keyboard.insert_text(line)
    page.keyboard.press("Escape")


def set_guess(page: Page, name: str, value: float) -> None:
    """Type the guess of an unknown."""
    field = page.get_by_label(f"{name}, guess", exact=True)
    field.fill(str(value))
    field.press("Enter")


def press_fit(page: Page) -> None:
    """Press Fit when the page permits it."""
    page.get_by_role("button", name="Fit", exact=True).click()


def wait_for_result(page: Page, outcome: str = "Converged") -> None:
    """Wait until the fit has ended so, and its estimates are there."""
    expect(page.locator(".fit-head .pill")).to_have_text(outcome)
    expect(page.locator("table.estimates")).to_be_visible()


def estimates(page: Page) -> dict[str, str]:
    """The values in the table of estimates, by name."""
    rows: list[Any] = page.locator("table.estimates tr:has(td)").evaluate_all(
        "rows => rows.map(row => [row.querySelector('th').textContent, row.querySelector('td').textContent])"
    )
    return dict(rows)


def fit_decay(page: Page) -> None:
    """From an empty workbench to the fit of a decay, which takes a moment."""
    page.goto("/#/model")
    write_equations(page, "c' = -k*c")
    paste(page, DECAY)
    press_fit(page)
    wait_for_result(page)
