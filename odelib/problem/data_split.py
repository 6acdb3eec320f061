"""What of the measured series is fitted, and what is held out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from odelib.problem.request import FitProblem
from odelib.problem.series import MeasuredSeries, Measurements


@dataclass(frozen=True)
class SeriesSlice:
    """A measured series, or as much of it as is fitted or held out.

    index: of the series in the problem. start: when its initial state holds. sigma: one per time, of the observables
    for which the data give one.
    """

    index: int
    name: str
    start: float
    times: list[float]
    values: Measurements
    sigma: Mapping[str, list[float]]

    @property
    def observations(self) -> int:
        """How many values there are."""
        return sum(len(column) - column.count(None) for column in self.values.values())

    def at(self, places: list[int]) -> SeriesSlice:
        """The part at some of the times."""
        return replace(
            self,
            times=[self.times[i] for i in places],
            values={name: [column[i] for i in places] for name, column in self.values.items()},
            sigma={name: [column[i] for i in places] for name, column in self.sigma.items()},
        )


def whole(series: MeasuredSeries, index: int) -> SeriesSlice:
    """All of a series."""
    return SeriesSlice(
        index=index,
        name=series.name,
        start=series.start,
        times=series.times,
        values=series.values,
        sigma={
            name: list(sigma) if isinstance(sigma, list) else [sigma] * len(series.times)
            for name, sigma in series.sigma.items()
        },
    )


def split(problem: FitProblem) -> tuple[list[SeriesSlice], list[SeriesSlice]]:
    """What is fitted, and what is held out. A series of which nothing would be fitted is held out whole."""
    parts = [whole(series, index) for index, series in enumerate(problem.series)]
    held = problem.hold_out
    if held is None:
        return parts, []
    if held.after is None:
        names = set(held.experiments or [])
        return [part for part in parts if part.name not in names], [part for part in parts if part.name in names]
    fitted, later = [], []
    for part in parts:
        before = part.at([i for i, time in enumerate(part.times) if time <= held.after])
        after = part.at([i for i, time in enumerate(part.times) if time > held.after])
        fitted += [before] if before.observations else []
        later += [after] if after.times and before.observations else []
        later += [] if before.observations else [part]
    return fitted, later
