"""The trajectories of a result as a table of comma-separated values."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from odelib.problem.request import FitProblem
from odelib.result import FitResult, Trajectory

_FIXED_COLUMNS = ("experiment", "time")


def result_csv(problem: FitProblem, result: FitResult) -> str:
    """Return a row for each time of each fitted series.

    The columns are `experiment`, `time`, each state, and for each observable the model's value (`NAME`, unless it is a
    state), the measurement (`NAME_measured`) and the residual (`NAME_residual`). Cells without a value are empty.
    """
    system = problem.resolved_system
    states, observables = list(system.states), list(system.observables)
    header = [*_FIXED_COLUMNS, *states]
    for name in observables:
        header += [*([] if name in states else [name]), f"{name}_measured", f"{name}_residual"]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    measured = {series.name: series.values for series in problem.series}
    for trajectory in result.trajectories:
        writer.writerows(_rows(trajectory, states, observables, measured[trajectory.name]))
    return buffer.getvalue()


def _rows(
    trajectory: Trajectory, states: list[str], observables: list[str], measured: dict[str, list[float | None]]
) -> Iterator[list[str | float | None]]:
    count = len(trajectory.times)
    nothing: list[float | None] = [None] * count
    columns: list[list[float | None]] = [list(trajectory.states[name]) for name in states]
    for name in observables:
        if name not in states:
            columns.append(trajectory.values.get(name, nothing))
        columns += [measured.get(name, nothing)[:count], trajectory.residuals.get(name, nothing)]
    for i, time in enumerate(trajectory.times):
        yield [trajectory.name, time, *(column[i] for column in columns)]
