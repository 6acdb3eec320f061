"""Inputs over time: their knots beside the fine grid of a trajectory, which may be coarser than these."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from odelib.problem.inputs import InputEntry, InputKnots
from odelib.result import Dense

MAX_KNOTS = 50_000  # of one input that are drawn
Line = tuple[Sequence[float], Sequence[float]]  # times and values


def input_lines(dense: Dense, entries: Mapping[str, InputEntry], changed: set[str]) -> dict[str, Line]:
    """Return the line of each input of a trajectory.

    entries: what the request says of each. changed: those that change within the series, and are drawn on the grid.
    """
    lines: dict[str, Line] = {}
    for name, column in (dense.inputs or {}).items():
        entry = entries.get(name)
        knots = list(_knots(entry, dense.times[0], dense.times[-1])) if isinstance(entry, InputKnots) else []
        if name in changed or len(knots) > MAX_KNOTS:
            knots = []
        on_grid = [(time, 1, value) for time, value in zip(dense.times, column, strict=True)]
        points = sorted(on_grid + knots, key=lambda point: point[:2])
        lines[name] = [time for time, _, _ in points], [value for _, _, value in points]
    return lines


def _knots(entry: InputKnots, first: float, last: float) -> Iterator[tuple[float, int, float]]:
    """The knots between two times, each with its place among what has the same time: 0 before it, 2 from there on.

    None of an input that is smooth between its knots, or has expressions as values.
    """
    values = [value for value in entry.values if not isinstance(value, str)]
    if entry.interpolation not in ("linear", "previous", "next") or len(values) < len(entry.values):
        return
    begin, period = entry.times[0], entry.times[-1] - entry.times[0]
    repeats = range(1)
    if entry.outside == "repeat" and period > 0:
        repeats = range(math.floor((first - begin) / period), math.ceil((last - begin) / period))
    before = [values[0], *values[:-1]] if entry.interpolation == "previous" else values
    after = [*values[1:], values[-1]] if entry.interpolation == "next" else values
    for number in repeats[: MAX_KNOTS // len(values) + 1]:
        for time, left, right in zip(entry.times, before, after, strict=True):
            moved = time + number * period
            if first <= moved <= last:
                yield moved, 0, left
                yield moved, 2, right
