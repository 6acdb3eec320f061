"""The table of estimates: one row for each, beside its guess and bounds in the request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from odelib.problem.series import earliest

Json = Mapping[str, Any]

HEADINGS = ("name", "value", "error", "relative", "95 % interval", "guess", "bounds", "")
Row = tuple[str, ...]  # a cell for each heading, perhaps empty


@dataclass(frozen=True)
class Section:
    """Rows under one title; the parameters, which come first, have none."""

    title: str
    rows: list[Row]


def sections(request: Json, result: Json) -> Iterator[Section]:
    """Yield the sections: parameters, derived quantities, noise scales, and the values of each series.

    `request` and `result` are JSON. Empty sections are left out.
    """
    entries = request.get("parameters", {})
    at_bound = {name for warning in result["warnings"] if warning["code"] == "at_bound" for name in warning["names"]}
    several = "experiments" in request
    all_sections = [
        Section("", [_row(name, entries.get(name), e, at_bound) for name, e in result["parameters"].items()]),
        Section("derived", [_row(name, None, e, at_bound) for name, e in result.get("derived", {}).items()]),
        Section("noise", list(_noise_rows(result))),
        *(_series_section(request, trajectory, at_bound, several=several) for trajectory in result["trajectories"]),
    ]
    yield from (section for section in all_sections if section.rows)


def _noise_rows(result: Json) -> Iterator[Row]:
    for observable, scales in result.get("noise", {}).items():
        if expression := scales.get("sigma_expression"):
            yield (f"sigma({observable})", *[""] * (len(HEADINGS) - 2), f"= {expression}")
        for kind in ("sigma", "proportional"):
            if kind in scales:
                yield _row(f"{kind}({observable})", None, scales[kind], set())


def _series_section(request: Json, trajectory: Json, at_bound: set[str], *, several: bool) -> Section:
    name, series = trajectory["name"], _series(request, trajectory["name"])
    entries = request.get("parameters", {})
    # Warnings add the experiment's name in brackets: k[warm].
    own = set(trajectory.get("parameters", {})) | set(trajectory["initial_state"])
    bound = {unknown for unknown in own if unknown in at_bound or f"{unknown}[{name}]" in at_bound}
    rows = [_row(unknown, entries.get(unknown), e, bound) for unknown, e in trajectory.get("parameters", {}).items()]
    states = {**request.get("initial_state", {}), **series.get("initial_state", {})}
    start = _start(series)
    rows += [_row(quantity, None, e, bound) for quantity, e in trajectory.get("derived", {}).items()]
    for state, estimate in trajectory["initial_state"].items():
        rows.append(_row(state, states.get(state), estimate, bound, label=f"{state}({start:g})"))
    return Section(f"experiment {name!r}" if several else "initial state", rows)


def _start(series: Json) -> float:
    """The time at which the initial state of a series holds."""
    if "start_time" in series:
        return float(series["start_time"])
    done = [*series.get("doses", []), *series.get("changes", [])]
    return earliest((series.get("times") or [0])[0], [one["at"] for one in done])


def _series(request: Json, name: str) -> Json:
    listed: list[Json] = request.get("experiments", [])
    return next((series for series in listed if series["name"] == name), request.get("data", {}))


def _row(name: str, requested: Any, estimate: Json, at_bound: set[str], *, label: str = "") -> Row:
    """Return the row of one estimate. requested: its entry in the request, an object or only a guess."""
    entry = requested if isinstance(requested, Mapping) else {}
    guess = entry.get("guess") if entry else requested
    value, error = estimate["value"], estimate.get("standard_error")
    notes = [
        *(["fixed"] if estimate.get("fixed") else []),
        *(["at its bound"] if name in at_bound else []),
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


def _percent(percentage: float) -> str:
    if percentage < 99:
        return f"{percentage:.2g} %"
    return f"{percentage:.0f} %" if percentage < 1e6 else f"{percentage:.1e} %"


def _range(lower: float | None, upper: float | None) -> str:
    if lower is None and upper is None:
        return ""
    return f"{'' if lower is None else f'{lower:.6g}'} … {'' if upper is None else f'{upper:.6g}'}".strip()
