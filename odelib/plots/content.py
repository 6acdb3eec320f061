"""What a picture of a fit shows: which curves and points stand side by side, and in which colours."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from odelib.plots.time_series import DATA_COLOUR, Curve, Points, experiment_colours
from odelib.problem.predictions import Prediction
from odelib.problem.request import FitProblem
from odelib.problem.series import MeasuredSeries
from odelib.problem.system import System
from odelib.result import FitResult, PredictionResult

MAX_PANELS = 12
MAX_NAMED = 12  # experiments in a legend
RESIDUAL_SHARE = 0.45  # of a panel's height


@dataclass(frozen=True)
class Block:
    """What stands side by side: some curves and points over time, and in the system's planes.

    `residuals` have a panel of their own below each observable that has some.
    """

    title: str
    curves: Sequence[Curve]
    points: Sequence[Points] = ()
    residuals: Sequence[Points] = ()

    def panels(self, system: System) -> list[str]:
        """The observables to draw: all, or where these are many, those with data first."""
        measured = [n for n in system.observables if any(n in points.values for points in self.points)]
        rest = [n for n in system.observables if n not in measured]
        if len(system.observables) <= MAX_PANELS:
            return list(system.observables)
        return (measured + rest)[:MAX_PANELS]

    def shares(self, system: System) -> list[float]:
        """The heights of the panels below each other, the highest being 1."""
        with_residuals = {name for points in self.residuals for name in points.values}
        shares: list[float] = []
        for name in self.panels(system):
            shares += [1.0, RESIDUAL_SHARE] if name in with_residuals else [1.0]
        return shares


def fit_blocks(asked: FitProblem, found: FitResult) -> list[Block]:
    """The measured series with what continues them in one block, then one for each other prediction."""
    by_name = {prediction.name: prediction for prediction in asked.predictions}
    solved = [(by_name[p.name], p) for p in found.predictions or [] if p.error is None]
    own = [_prediction_block(*pair) for pair in solved if pair[0].initial_state is not None]
    return [_series_block(asked, found, [pair for pair in solved if pair[0].initial_state is None]), *own]


@dataclass(frozen=True)
class _Look:
    """How a series is drawn: alone, or as one of several experiments that the colour tells apart.

    Of several only the curves stand in the legend, by the experiments' names: a label that begins with "_" does not.
    """

    series: MeasuredSeries
    several: bool
    named: bool
    colour: str

    def fit(self) -> str:
        return ("" if self.named else "_") + self.series.name if self.several else "fit"

    def word(self, text: str) -> str:
        return "_" + text if self.several else text

    @property
    def own_colour(self) -> str | None:
        return self.colour if self.several else None

    @property
    def data_colour(self) -> str:
        return self.colour if self.several else DATA_COLOUR


def _series_block(
    asked: FitProblem, found: FitResult, continuing: Sequence[tuple[Prediction, PredictionResult]]
) -> Block:
    several = len(asked.series) > 1
    colours = experiment_colours(len(asked.series))
    looks = {
        series.name: _Look(series, several, place < MAX_NAMED, colours[place])
        for place, series in enumerate(asked.series)
    }
    curves, points, residuals = [], [], []
    fitted = {trajectory.name: len(trajectory.times) for trajectory in found.trajectories}
    for trajectory in found.trajectories:
        look, dense = looks[trajectory.name], trajectory.dense
        curves.append(Curve(look.fit(), dense.times, dense.states, with_gaps(dense.values), own_colour=look.own_colour))
        points.append(_measured(look, slice(len(trajectory.times))))
        scatter = {name: column for name, column in trajectory.residuals.items() if set(column) != {None}}
        residuals.append(Points(look.word("data"), trajectory.times, scatter, colour=look.data_colour))
    for held in found.hold_out or []:
        look = looks[held.name]
        points.append(_measured(look, slice(fitted.get(held.name, 0), None), held=True))
        if held.error is None:
            label = look.word("held out") if held.name in fitted else look.fit()
            curves.append(_curve(held, label, look.own_colour))
    for prediction, result in continuing:
        chosen = looks.get(prediction.experiment or "")
        curves.append(_curve(result, f"prediction {result.name!r}", chosen.own_colour if chosen else None))
        points += _given(prediction)
    title = f"{len(asked.series)} experiments" if several else f"Series {asked.series[0].name!r}"
    return Block(title, curves, points, residuals)


def _measured(look: _Look, part: slice, *, held: bool = False) -> Points:
    """The measurements of a series at some of its times, rings where they were held out."""
    series = look.series
    sigma = {n: s if isinstance(s, list) else [s] * len(series.times) for n, s in series.sigma.items()}
    return Points(
        look.word("held-out data" if held else "data"),
        series.times[part],
        {name: column[part] for name, column in series.values.items()},
        {name: column[part] for name, column in sigma.items()},
        open=held,
        colour=look.data_colour,
    )


def _prediction_block(asked: Prediction, found: PredictionResult) -> Block:
    start = ", ".join(f"{name} = {value:.4g}" for name, value in list((found.initial_state or {}).items())[:4])
    score = f"; loss {found.loss:.4g}" if found.loss is not None else ""
    curves = [_curve(found, "prediction", None, dashed=False)]
    return Block(f"Prediction {asked.name!r} from {start}{score}", curves, list(_given(asked)))


def _given(asked: Prediction) -> Iterator[Points]:
    if asked.values:
        yield Points("given values", asked.times, asked.values, open=True)


def _curve(found: PredictionResult, label: str, colour: str | None, *, dashed: bool = True) -> Curve:
    return Curve(
        label,
        found.times,
        found.states or {},
        found.values or {},
        dashed,
        lower=found.lower_95 or {},
        upper=found.upper_95 or {},
        own_colour=colour,
    )


def with_gaps(columns: Mapping[str, Sequence[float | None]]) -> dict[str, list[float]]:
    """For matplotlib, which leaves a gap where a value is NaN."""
    return {name: [math.nan if value is None else value for value in column] for name, column in columns.items()}
