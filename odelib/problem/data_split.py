"""Which measurements are fitted, and which are held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from odelib.problem.hold_out import held_out_places
from odelib.problem.request import FitProblem
from odelib.problem.series import MeasuredSeries, Measurements


@dataclass(frozen=True)
class SeriesSlice:
    """A measured series, or the times of it that are fitted or held out.

    index: of the series in the request. start: the time at which its initial state holds. values: by observable, one
    per time or None. sigma: by observable for which the data give it, one per time.
    """

    index: int
    name: str
    start: float
    times: list[float]
    values: Measurements
    sigma: Mapping[str, list[float]]

    @classmethod
    def whole(cls, series: MeasuredSeries, index: int) -> SeriesSlice:
        """All times of a series."""
        return cls(
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

    @property
    def observations(self) -> int:
        """The number of measured values."""
        return sum(len(column) - column.count(None) for column in self.values.values())

    def select(self, indices: Sequence[int]) -> SeriesSlice:
        """The slice at some of its times."""
        return replace(
            self,
            times=[self.times[i] for i in indices],
            values={name: [column[i] for i in indices] for name, column in self.values.items()},
            sigma={name: [column[i] for i in indices] for name, column in self.sigma.items()},
        )


def split_series(problem: FitProblem) -> tuple[list[SeriesSlice], list[SeriesSlice]]:
    """Return the fitted and the held-out slices. A series without a fitted value is held out as a whole."""
    series = [SeriesSlice.whole(each, index) for index, each in enumerate(problem.series)]
    hold_out = problem.hold_out
    if hold_out is None:
        return series, []
    if hold_out.every is not None:
        return _split_every(series, hold_out.every)
    if hold_out.after is None:
        names = set(hold_out.experiments or [])
        return [each for each in series if each.name not in names], [each for each in series if each.name in names]
    fitted, held_out = [], []
    for each in series:
        before = each.select([i for i, time in enumerate(each.times) if time <= hold_out.after])
        after = each.select([i for i, time in enumerate(each.times) if time > hold_out.after])
        if not before.observations:
            held_out.append(each)
            continue
        fitted.append(before)
        if after.times:
            held_out.append(after)
    return fitted, held_out


def _split_every(series: Sequence[SeriesSlice], every: int) -> tuple[list[SeriesSlice], list[SeriesSlice]]:
    fitted, held_out = [], []
    for each in series:
        places = held_out_places(len(each.times), every)
        fitted.append(each.select([i for i in range(len(each.times)) if i not in places]))
        if places:
            held_out.append(each.select(places))
    return fitted, held_out
