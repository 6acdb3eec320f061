"""Fit every problem with default settings on a service, and compare with the best of an independent implementation.

    python -m examples.problems                          start a service; takes some minutes
    python -m examples.problems --only Lorenz Goodwin    only problems whose names contain one of these words
    python -m examples.problems --url URL                use a running service; its key is in ODEFIT_API_KEY

The exit status is 0 only if every loss is within 0.1 % of the independent best, or within 0.001 for likelihoods. The
output is the Markdown table in docs/problems.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import httpx

from examples.demo import service
from examples.problems.collection import problems
from examples.problems.independent import Independent
from examples.problems.measured import STAN
from examples.problems.problem import Problem

SECONDS = 3600.0
COLUMNS = (
    "problem", "data or values from", "unknowns", "observations", "loss", "independent", "excess", "outcome",
    "warnings", "s",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """The row of one problem in the table."""

    problem: Problem
    fit: dict[str, Any]
    independent: float
    seconds: float

    @property
    def gap(self) -> float:
        """Return how far the service's loss is above the independent best: relative, or absolute for likelihoods."""
        loss = float(self.fit["result"]["loss"])
        return loss - self.independent if "noise" in self.problem.request else loss / self.independent - 1

    @property
    def agrees(self) -> bool:
        """Return whether the loss is within the limit."""
        return self.gap <= 1e-3

    def text(self) -> str:
        """Return the row as Markdown."""
        result = self.fit["result"]
        gap = f"{self.gap:+.1g}" if "noise" in self.problem.request else f"{100 * self.gap:+.1g} %"
        warnings = ", ".join(sorted({one["code"] for one in result["warnings"]}))
        cells = [
            self.problem.name, self.problem.source, len(Independent(self.problem).keys), result["observations"],
            f"{result['loss']:.4f}", f"{self.independent:.4f}", gap if self.agrees else f"**{gap}**",
            result["outcome"]["code"], warnings, f"{self.seconds:.1f}",
        ]  # fmt: skip
        return "| " + " | ".join(str(cell) for cell in cells) + " |"


def fitted(client: httpx.Client, request: dict[str, Any]) -> dict[str, Any]:
    """Return the finished fit. Raises `httpx.HTTPStatusError` if it is rejected, `RuntimeError` if it has no result."""
    answer = client.post("/fits", json=request, headers={"Prefer": "wait=60"})
    answer.raise_for_status()
    fit: dict[str, Any] = answer.json()
    until = time.monotonic() + SECONDS
    while fit["status"] in ("queued", "running") and time.monotonic() < until:
        time.sleep(0.5)
        fit = client.get(f"/fits/{fit['id']}").raise_for_status().json()
    if "result" not in fit:
        raise RuntimeError(f"no result: {fit}")
    return fit


def beside_stan(result: dict[str, Any]) -> list[str]:
    """Return rows that compare the fit's values with the posterior's, in its standard deviations."""
    values = {name: entry["value"] for name, entry in (result["parameters"] | result["initial_state"]).items()}
    values |= {f"{name}'s sigma": entry["sigma"]["value"] for name, entry in result["noise"].items()}
    return [
        f"| {name} | {values[name]:.4g} | {mean:g} | {deviation:g} | {(values[name] - mean) / deviation:+.2f} |"
        for name, (mean, deviation) in STAN.items()
    ]


def main() -> int:
    """Fit, compare and print."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.problems", description="Fit the problems of docs/problems.md."
    )
    parser.add_argument("--url", help="a running service; by default one is started")
    parser.add_argument(
        "--only", nargs="+", default=[""], metavar="WORD", help="only problems whose names contain one of these words"
    )
    arguments = parser.parse_args()
    key = os.environ.get("ODEFIT_API_KEY", "")
    rows: list[Row] = []
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    with nullcontext(arguments.url) if arguments.url else service() as url:
        headers = {"Authorization": f"Bearer {key}"} if key and arguments.url else {}
        with httpx.Client(base_url=url, headers=headers, timeout=90) as client:
            for problem in problems():
                if any(word in problem.name for word in arguments.only):
                    began = time.perf_counter()
                    fit = fitted(client, problem.request)
                    seconds = time.perf_counter() - began
                    rows.append(Row(problem, fit, Independent(problem).best(), seconds))
                    print(rows[-1].text(), flush=True)
    for row in rows:
        if row.problem.name.startswith("Lynx"):
            header = "| | fit | posterior mean | standard deviation | difference |"
            print(f"\n{row.problem.name}:\n\n{header}\n{'|---' * 5}|")
            print("\n".join(beside_stan(row.fit["result"])))
    print(f"\n{sum(row.agrees for row in rows)} of {len(rows)} within 0.1 %, likelihoods within 0.001")
    return 0 if all(row.agrees for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
