"""A result as people read it: what came out, and what to know before trusting it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

Json = Mapping[str, Any]


def print_report(console: Console, request: Json, result: Json) -> None:
    """Print a result beside the request it belongs to, both as JSON."""
    console.print(Group(_summary(result), "", _table(request, result), *_warnings(result)))


def _summary(result: Json) -> RenderableType:
    outcome, solver = result["outcome"], result["solver"]
    text = Text()
    text.append(outcome["code"].replace("_", " "), "bold green" if outcome["code"] == "converged" else "bold yellow")
    text.append(f": {outcome['message']}\n")
    text.append(f"loss {result['loss']:.8g} over {result['observations']} values; ")
    stages = ", ".join(f"{stage['kind']} {stage['steps']} steps" for stage in result["stages"]) or "no stage"
    text.append(f"{stages}; {solver['engine']}/{solver['method']} on {solver['device']}")
    return text


def _table(request: Json, result: Json) -> Table:
    rows = list(_rows(request, result))
    headings = ["name", "value", "95 % interval", "guess", "bounds", ""]
    kept = [i for i, heading in enumerate(headings) if not heading.startswith("95") or any(row[i] for row in rows)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for i in kept:
        table.add_column(headings[i], justify="right" if headings[i] in ("value", "guess") else "left", overflow="fold")
    for row in rows:
        table.add_row(*(row[i] for i in kept))
    return table


def _rows(request: Json, result: Json) -> Iterator[list[str]]:
    held = {name for warning in result["warnings"] if warning["code"] == "at_bound" for name in warning["names"]}
    asked = dict(request.get("parameters", {}))
    for name, estimate in result["parameters"].items():
        yield _row(name, name, asked.get(name), estimate, held)
    for name, estimate in result.get("derived", {}).items():
        yield _row(name, name, None, estimate, held)
    for trajectory in result["trajectories"]:
        series = _series(request, trajectory["name"])
        asked = {**request.get("initial_state", {}), **series.get("initial_state", {})}
        for name, estimate in trajectory["initial_state"].items():
            start = series.get("start_time", (series.get("times") or [0])[0])
            yield _row(name, f"{name}({start:g})", asked.get(name), estimate, held)


def _series(request: Json, name: str) -> Json:
    data: Json = request.get("data", {})
    return data if data.get("name", "data") == name else {}


def _row(name: str, label: str, asked: Any, estimate: Json, held: set[str]) -> list[str]:
    entry = asked if isinstance(asked, Mapping) else {}
    guess = entry.get("guess") if entry else asked
    shown_guess = guess if isinstance(guess, str) else "" if guess is None else f"{guess:.6g}"
    notes = [
        *(["fixed"] if estimate.get("fixed") else []),
        *(["at its bound"] if name in held else []),
        *(["log scale"] if entry.get("scale") == "log" else []),
    ]
    interval = _range(estimate.get("lower_95"), estimate.get("upper_95"))
    bounds = _range(entry.get("lower"), entry.get("upper"))
    return [label, f"{estimate['value']:.6g}", interval, shown_guess, bounds, ", ".join(notes)]


def _range(lower: float | None, upper: float | None) -> str:
    if lower is None and upper is None:
        return ""
    return f"{'' if lower is None else f'{lower:.6g}'} … {'' if upper is None else f'{upper:.6g}'}".strip()


def _warnings(result: Json) -> list[RenderableType]:
    shown = [warning for warning in result["warnings"] if warning["message"] != result["outcome"]["message"]]
    lines = [Padding(Text(f"! {warning['message']}", "yellow"), (0, 0, 0, 0)) for warning in shown]
    failed = [p for p in result.get("predictions", []) if "error" in p]
    details = [Padding(Text(f"{p['name']}: {p['error']['detail']}", "yellow"), (0, 0, 0, 4)) for p in failed]
    return ["", *lines, *details] if lines or details else []
