"""A result as people read it: what came out, and what to know before trusting it."""

from __future__ import annotations

from collections.abc import Mapping
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
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("name", "value", "guess", "bounds", ""):
        table.add_column(heading, justify="right" if heading in ("value", "guess") else "left", overflow="fold")
    held = {name for warning in result["warnings"] if warning["code"] == "at_bound" for name in warning["names"]}
    asked = dict(request.get("parameters", {}))
    for name, estimate in result["parameters"].items():
        table.add_row(*_row(name, name, asked.get(name), estimate, held))
    for trajectory in result["trajectories"]:
        series = _series(request, trajectory["name"])
        asked = {**request.get("initial_state", {}), **series.get("initial_state", {})}
        for name, estimate in trajectory["initial_state"].items():
            start = series.get("start_time", (series.get("times") or [0])[0])
            table.add_row(*_row(name, f"{name}({start:g})", asked.get(name), estimate, held))
    return table


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
    return [label, f"{estimate['value']:.6g}", shown_guess, _bounds(entry), ", ".join(notes)]


def _bounds(entry: Json) -> str:
    lower, upper = entry.get("lower"), entry.get("upper")
    if lower is None and upper is None:
        return ""
    return f"{'' if lower is None else f'{lower:g}'} … {'' if upper is None else f'{upper:g}'}".strip()


def _warnings(result: Json) -> list[RenderableType]:
    shown = [warning for warning in result["warnings"] if warning["message"] != result["outcome"]["message"]]
    lines = [Padding(Text(f"! {warning['message']}", "yellow"), (0, 0, 0, 0)) for warning in shown]
    failed = [p for p in result.get("predictions", []) if "error" in p]
    details = [Padding(Text(f"{p['name']}: {p['error']['detail']}", "yellow"), (0, 0, 0, 4)) for p in failed]
    return ["", *lines, *details] if lines or details else []
