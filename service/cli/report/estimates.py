"""The rows of a report: each estimate beside what was asked of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]

HEADINGS = ("name", "value", "error", "relative", "95 % interval", "guess", "bounds", "")
Row = tuple[str, ...]  # a cell for each heading, empty where there is nothing to say


@dataclass(frozen=True)
class Section:
    """Rows that belong together; the first, of the parameters, goes without a title."""

    title: str
    rows: list[Row]


def sections(request: Json, result: Json) -> Iterator[Section]:
    """Parameters, derived quantities, scales of the noise, and for each series its own values.

    `request` and `result` are JSON. Empty sections are left out.
    """
    asked = request.get("parameters", {})
    held = {name for warning in result["warnings"] if warning["code"] == "at_bound" for name in warning["names"]}
    several = "experiments" in request
    found = [
        Section("", [_row(name, asked.get(name), e, held) for name, e in result["parameters"].items()]),
        Section("derived", [_row(name, None, e, held) for name, e in result.get("derived", {}).items()]),
        Section("noise", [_row(name, None, e, held) for name, e in _scales(result)]),
        *(_of_series(request, trajectory, held, several=several) for trajectory in result["trajectories"]),
    ]
    yield from (section for section in found if section.rows)


def _scales(result: Json) -> Iterator[tuple[str, Json]]:
    for observable, scales in result.get("noise", {}).items():
        for kind, estimate in scales.items():
            yield f"{kind}({observable})", estimate


def _of_series(request: Json, trajectory: Json, held: set[str], *, several: bool) -> Section:
    name, series = trajectory["name"], _series(request, trajectory["name"])
    asked = request.get("parameters", {})
    # Warnings name what is an experiment's own with its name in brackets.
    own = set(trajectory.get("parameters", {})) | set(trajectory["initial_state"])
    bound = {unknown for unknown in own if unknown in held or f"{unknown}[{name}]" in held}
    rows = [_row(unknown, asked.get(unknown), e, bound) for unknown, e in trajectory.get("parameters", {}).items()]
    states = {**request.get("initial_state", {}), **series.get("initial_state", {})}
    start = series.get("start_time", (series.get("times") or [0])[0])
    rows += [_row(quantity, None, e, bound) for quantity, e in trajectory.get("derived", {}).items()]
    for state, estimate in trajectory["initial_state"].items():
        rows.append(_row(state, states.get(state), estimate, bound, label=f"{state}({start:g})"))
    return Section(f"experiment {name!r}" if several else "initial state", rows)


def _series(request: Json, name: str) -> Json:
    listed: list[Json] = request.get("experiments", [])
    return next((series for series in listed if series["name"] == name), request.get("data", {}))


def _row(name: str, asked: Any, estimate: Json, held: set[str], *, label: str = "") -> Row:
    entry = asked if isinstance(asked, Mapping) else {}
    guess = entry.get("guess") if entry else asked
    value, error = estimate["value"], estimate.get("standard_error")
    notes = [
        *(["fixed"] if estimate.get("fixed") else []),
        *(["at its bound"] if name in held else []),
        *(["log scale"] if entry.get("scale") == "log" else []),
    ]
    return (
        label or name,
        f"{value:.6g}",
        "" if error is None else f"{error:.3g}",
        "" if error is None or value == 0 else _percent(100 * error / abs(value)),
        _range(estimate.get("lower_95"), estimate.get("upper_95")),
        guess if isinstance(guess, str) else "" if guess is None else f"{guess:.6g}",
        _range(entry.get("lower"), entry.get("upper")),
        ", ".join(notes),
    )


def _percent(share: float) -> str:
    return f"{share:.2g} %" if share < 99 else f"{share:.0f} %" if share < 1e6 else f"{share:.1e} %"


def _range(lower: float | None, upper: float | None) -> str:
    if lower is None and upper is None:
        return ""
    return f"{'' if lower is None else f'{lower:.6g}'} … {'' if upper is None else f'{upper:.6g}'}".strip()
