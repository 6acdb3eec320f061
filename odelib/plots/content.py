"""What the figure of a fit contains: its sections, and the curves and points of each, with labels and colours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from odelib.plots.input_lines import Line, input_lines
from odelib.plots.time_series import DATA_COLOUR, Curve, Points, experiment_colours
from odelib.problem.data_split import SeriesSlice, split_series
from odelib.problem.predictions import Prediction
from odelib.problem.request import FitProblem
from odelib.problem.series import MeasuredSeries
from odelib.problem.system import System
from odelib.result import Dense, FitResult, PredictionResult, Trajectory

MAX_PANELS = 12  # of a section
MAX_NAMED = 12  # experiments in a legend
RESIDUAL_HEIGHT = 0.45  # of a panel's
INPUT_HEIGHT = 0.6
Value = TypeVar("Value")


@dataclass(frozen=True)
class Section:
    """A part of a figure with its own title: panels over time, and the phase planes of the system beside them.

    All its curves and points share these panels. Observables with residuals have a second panel for them below.
    """

    title: str
    curves: Sequence[Curve]
    points: Sequence[Points] = ()
    residuals: Sequence[Points] = ()

    def observables(self, system: System) -> list[str]:
        """Return the observables to draw: all, or `MAX_PANELS` of them, those with measurements first."""
        measured = [n for n in system.observables if any(n in points.values for points in self.points)]
        others = [n for n in system.observables if n not in measured]
        if len(system.observables) <= MAX_PANELS:
            return list(system.observables)
        return (measured + others)[:MAX_PANELS]

    def height_ratios(self, system: System) -> list[float]:
        """Return the relative heights of the panels over time, from top to bottom."""
        with_residuals = {name for points in self.residuals for name in points.values}
        ratios: list[float] = []
        for name in self.observables(system):
            ratios += [1.0, RESIDUAL_HEIGHT] if name in with_residuals else [1.0]
        return ratios + [INPUT_HEIGHT] * len(self.inputs)

    @property
    def inputs(self) -> list[str]:
        """The inputs to draw, at most `MAX_PANELS`."""
        return list(dict.fromkeys(name for curve in self.curves for name in curve.inputs))[:MAX_PANELS]


def fit_sections(problem: FitProblem, result: FitResult) -> list[Section]:
    """Return the section of the measured series and of predictions that continue them, then one for each other."""
    requested = {prediction.name: prediction for prediction in problem.predictions}
    solved = [(requested[p.name], p) for p in result.predictions or [] if p.error is None]
    continuing = [pair for pair in solved if pair[0].initial_state is None]
    others = [_prediction_section(*pair) for pair in solved if pair[0].initial_state is not None]
    return [_series_section(problem, result, continuing), *others]


@dataclass(frozen=True)
class _SeriesStyle:
    """How a series is drawn: as the only one, or as one of several experiments, each in its own colour.

    Of several experiments the legend only has the curves, under the experiments' names. is_named: whether this one is
    among those that the legend has room for.
    """

    series: MeasuredSeries
    is_one_of_several: bool
    is_named: bool
    experiment_colour: str

    @property
    def fit_label(self) -> str:
        """The label of the fitted curve."""
        return ("" if self.is_named else "_") + self.series.name if self.is_one_of_several else "fit"

    def label(self, text: str) -> str:
        """Return the label of anything else; it is hidden if there are several experiments."""
        return "_" + text if self.is_one_of_several else text

    @property
    def curve_colour(self) -> str | None:
        return self.experiment_colour if self.is_one_of_several else None

    @property
    def data_colour(self) -> str:
        return self.experiment_colour if self.is_one_of_several else DATA_COLOUR


def _series_section(
    problem: FitProblem, result: FitResult, continuing: Sequence[tuple[Prediction, PredictionResult]]
) -> Section:
    """The section of the measured series; continuing: the predictions that start from the fitted initial state."""
    styles = _styles(problem.series)
    curves, points, residuals = [], [], []
    fitted, left_out = ({each.name: each for each in slices} for slices in split_series(problem))
    for trajectory in result.trajectories:
        style, dense = styles[trajectory.name], _with_measured_times(trajectory)
        instants = instants_label(style.series.doses, style.series.changes, trajectory.dense.events)
        changed = {name for change in style.series.changes for name in change.inputs}
        inputs = input_lines(trajectory.dense, problem.inputs | style.series.inputs, changed)
        label = instants and style.label(instants)
        curves.append(dense_curve(style.fit_label, dense, style.curve_colour, label, inputs))
        points.append(_measurements(style, fitted[trajectory.name]))
        measured = {name: column for name, column in trajectory.residuals.items() if set(column) != {None}}
        residuals.append(Points(style.label("data"), trajectory.times, measured, colour=style.data_colour))
    for held_out in result.hold_out or []:
        style = styles[held_out.name]
        points.append(_measurements(style, left_out[held_out.name], held_out=True))
        if held_out.error is None:
            label = style.label("held out") if held_out.name in fitted else style.fit_label
            curves.append(_prediction_curve(held_out, label, style.curve_colour))
    for requested, prediction in continuing:
        of_experiment = styles.get(requested.experiment or "")
        colour = of_experiment.curve_colour if of_experiment else None
        curves.append(_prediction_curve(prediction, f"prediction {prediction.name!r}", colour))
        points += _given_values(requested)
    count = len(problem.series)
    title = f"{count} experiments" if count > 1 else f"Series {problem.series[0].name!r}"
    return Section(title, curves, points, residuals)


def instants_label(doses: Sequence[object], changes: Sequence[object], events: Sequence[object] | None) -> str:
    """Return what the instants of a series are, for the legend: "dose", or "dose, change or event"."""
    kinds = [kind for kind, done in (("dose", doses), ("change", changes), ("event", events)) if done]
    return " or ".join([", ".join(kinds[:-1]), kinds[-1]] if len(kinds) > 1 else kinds)


def _with_measured_times(trajectory: Trajectory) -> Dense:
    """The trajectory on its fine grid and, if it has inputs, at the times of the data: inputs may change faster."""
    dense = trajectory.dense
    if not dense.inputs:
        return dense
    on_grid = set(dense.times)
    rows = [row for row, time in enumerate(trajectory.times) if time not in on_grid]
    times = [*dense.times, *(trajectory.times[row] for row in rows)]
    order = sorted(range(len(times)), key=times.__getitem__)

    def merged(fine: Sequence[Value], measured: Sequence[Value]) -> list[Value]:
        column = [*fine, *(measured[row] for row in rows)]
        return [column[place] for place in order]

    return Dense(
        times=merged(dense.times, trajectory.times),
        states={name: merged(column, trajectory.states[name]) for name, column in dense.states.items()},
        values={name: merged(column, trajectory.values[name]) for name, column in dense.values.items()},
    )


def dense_curve(label: str, dense: Dense, colour: str | None, instants_label: str, inputs: Mapping[str, Line]) -> Curve:
    """Return the curve of a trajectory on a fine grid of times, with its instants marked under their label."""
    return Curve(
        label,
        dense.times,
        dense.states,
        dense.values,
        fixed_colour=colour,
        inputs=inputs,
        instants_label=instants_label,
    )


def _styles(series: Sequence[MeasuredSeries]) -> dict[str, _SeriesStyle]:
    colours = experiment_colours(len(series))
    return {
        one.name: _SeriesStyle(one, len(series) > 1, place < MAX_NAMED, colours[place])
        for place, one in enumerate(series)
    }


def _measurements(style: _SeriesStyle, measured: SeriesSlice, *, held_out: bool = False) -> Points:
    """The measurements of a series that are fitted, or held out."""
    return Points(
        style.label("held-out data" if held_out else "data"),
        measured.times,
        measured.values,
        measured.sigma,
        hollow=held_out,
        colour=style.data_colour,
    )


def _prediction_section(requested: Prediction, prediction: PredictionResult) -> Section:
    """The section of a prediction with its own initial state."""
    start = ", ".join(f"{name} = {value:.4g}" for name, value in list((prediction.initial_state or {}).items())[:4])
    score = f"; loss {prediction.loss:.4g}" if prediction.loss is not None else ""
    curves = [_prediction_curve(prediction, "prediction", None, dashed=False)]
    title = f"Prediction {requested.name!r} from {start}{score}"
    return Section(title, curves, list(_given_values(requested)))


def _given_values(requested: Prediction) -> Iterator[Points]:
    if requested.values:
        yield Points("given values", requested.times, requested.values, hollow=True)


def _prediction_curve(prediction: PredictionResult, label: str, colour: str | None, *, dashed: bool = True) -> Curve:
    return Curve(
        label,
        prediction.times,
        prediction.states or {},
        prediction.values or {},
        dashed,
        lower=prediction.lower_95 or {},
        upper=prediction.upper_95 or {},
        fixed_colour=colour,
    )
