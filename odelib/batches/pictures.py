"""The picture of a batch: its estimates, and its worst fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from odelib.errors import ProblemError
from odelib.plots.batch import MemberFit, plot_batch
from odelib.problem.batches import member_request
from odelib.problem.continuation import continued
from odelib.problem.simulation import parse_simulation
from odelib.result import BatchRow
from odelib.simulation.trajectories import simulate_trajectories

MAX_FITS = 16


def draw_batch(request: Mapping[str, Any], series: Sequence[Any], rows: Sequence[BatchRow]) -> Figure:
    """Draw the distributions of the estimates, and the `MAX_FITS` worst fits with their data.

    Worst are fits that did not converge, then those with warnings, and among equals those with the largest loss per
    measurement.

    request, series: of the batch. rows: one for each series, in the same order. Raises `ValueError` if no series was
    fitted.
    """
    fitted = [place for place, row in enumerate(rows) if row.loss is not None]
    worst = sorted(fitted, key=lambda place: _badness(series[place], rows[place]), reverse=True)[:MAX_FITS]
    fits = [fit for place in worst if (fit := _fit(request, series[place], rows[place]))]
    title = "All fits, the worst first" if len(fitted) <= MAX_FITS else f"The {len(fits)} worst fits"
    return plot_batch(rows, fits, title)


def _badness(series: Mapping[str, Any], row: BatchRow) -> tuple[bool, bool, float]:
    measured = sum(value is not None for column in series["values"].values() for value in column)
    return row.outcome != "converged", bool(row.warnings), (row.loss or 0.0) / max(measured, 1)


def _fit(request: Mapping[str, Any], series: Mapping[str, Any], row: BatchRow) -> MemberFit | None:
    """Solve a series at its estimates; None if that is not possible, as for a best point at the edge of what is."""
    member = member_request(request, series)
    guessless = {name: _without_guesses(member.get(name)) for name in ("parameters", "initial_state")}
    at_best = continued({**member, **guessless}, member, row.model_dump(mode="json", exclude_none=True))
    try:
        trajectory = simulate_trajectories(parse_simulation(at_best)).trajectories[0]
    except ProblemError:
        return None
    if trajectory.dense is None:
        return None
    note = ", ".join([(row.outcome or "").replace("_", " "), *(warning.code for warning in row.warnings)])
    return MemberFit(row.name or "", note, series["times"], series["values"], trajectory.dense)


def _without_guesses(entries: Any) -> dict[str, Any]:
    """Return entries whose guesses `continued` fills in; expressions stay."""
    kept: dict[str, Any] = {}
    for name, entry in (entries or {}).items():
        if isinstance(entry, Mapping):
            kept[name] = {field: value for field, value in entry.items() if field != "guess"}
        elif isinstance(entry, str):
            kept[name] = entry
    return kept
