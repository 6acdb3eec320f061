"""Measure the page in Debian's Chromium: the first load, and the time from a moved slider to the drawn curve.

    python -m bench.page [--moves 200]

Starts a service of its own. Needs chromium on the PATH.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
from collections.abc import Sequence
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from examples.demo import service

MODELS = {
    "SIR": ("beta", "/#/model/influenza", ""),
    "Lorenz": ("rho", "/#/model/lorenz", ""),
    "Goodwin": ("a", "/#/model", "X' = a/(1 + Z**9) - b*X\nY' = b*X - b*Y\nZ' = b*Y - b*Z"),
}
MOVE = """(slider, value) => {
    slider.value = String(value);
    slider.dispatchEvent(new Event("input", {bubbles: true}));
}"""
MEASURED = 'performance.getEntriesByName("slider to curve").map(entry => entry.duration)'
LOADED = """() => {
    const entries = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
    return {
        bytes: entries.reduce((sum, entry) => sum + entry.transferSize, 0),
        files: entries.length,
        drawn: performance.getEntriesByName("first-contentful-paint")[0].startTime,
    };
}"""


def first_load(browser: Browser, url: str) -> dict[str, float]:
    """Return the bytes over the wire, the number of files and the time of the first picture, of an empty cache."""
    page = browser.new_context().new_page()
    page.goto(url)
    page.wait_for_selector(".example")
    page.wait_for_timeout(300)
    loaded: dict[str, float] = page.evaluate(LOADED)
    page.context.close()
    return loaded


def latencies(page: Page, url: str, model: str, moves: int) -> list[float]:
    """Return the milliseconds from the input event to the drawn curve, for each move of a slider."""
    name, address, equations = MODELS[model]
    page.goto("about:blank")
    page.goto(url + address)
    if equations:
        page.locator(".cm-content").click()
        page.keyboard.insert_text(equations)
    page.wait_for_selector(".picture path.line", timeout=120_000)
    slider = page.get_by_role("slider", name=name, exact=True)
    for i in range(moves + 5):
        slider.evaluate(MOVE, 400 + i % 200)
        page.wait_for_timeout(60)
    page.wait_for_timeout(500)
    measured: list[float] = page.evaluate(MEASURED)
    return measured[5:]  # without the first, which fill caches


def table(rows: Sequence[Sequence[Any]]) -> str:
    """Return rows as Markdown."""
    return "\n".join("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows)


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moves", type=int, default=200, help="moves of a slider, for each model")
    moves = parser.parse_args().moves
    path = shutil.which("chromium")
    if path is None:
        print("chromium is not on the PATH", file=sys.stderr)
        return 1
    with service() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        first_load(browser, url)  # which warms the service up
        loaded = first_load(browser, url)
        print(table([["first load", "files", "kB", "drawn after (ms)"], ["---"] * 4]))
        print(table([["gallery", loaded["files"], round(loaded["bytes"] / 1000, 1), round(loaded["drawn"])]]))
        print()
        print(table([["slider", "moves", "median (ms)", "95th percentile (ms)"], ["---"] * 4]), flush=True)
        page = browser.new_page()
        for model in MODELS:
            times = latencies(page, url, model, moves)
            quantiles = statistics.quantiles(times, n=20)
            print(table([[model, len(times), f"{statistics.median(times):.1f}", f"{quantiles[-1]:.1f}"]]), flush=True)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
