"""Pictures: time series with data, phase plane, polar where a system has an angle.

Only `Figure` objects are used, never pyplot: nothing is shared between threads and no display is needed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure, SubFigure

from odelib.panels import Curve, Points, draw_plane, draw_series, planes_of
from odelib.problem.request import FitProblem, Prediction, Series
from odelib.problem.system import System
from odelib.result import FitResult, PredictionResult, Trajectory

if TYPE_CHECKING:
    from odelib.simulation import Simulation  # loads torch, which drawing does not need

MAX_BLOCKS = 8
MAX_PANELS = 12
SERIES_WIDTH = 6.8  # inches, as all sizes of figures
PLANE_WIDTH = 4.3
PANEL_HEIGHT = 1.55
BLOCK_HEIGHT = 3.9


@dataclass(frozen=True)
class Block:
    """What stands side by side: some curves and points over time, and in the system's planes."""

    title: str
    curves: Sequence[Curve]
    points: Sequence[Points] = ()

    def panels(self, system: System) -> list[str]:
        """The observables to draw: all, or where these are many, those with data first."""
        measured = [n for n in system.observables if any(n in points.values for points in self.points)]
        rest = [n for n in system.observables if n not in measured]
        if len(system.observables) <= MAX_PANELS:
            return list(system.observables)
        return (measured + rest)[:MAX_PANELS]


def plot_result(problem: FitProblem | Mapping[str, Any], result: FitResult | Mapping[str, Any]) -> Figure:
    """Draw a fit: its series with the fitted trajectory, then each prediction.

    `problem` and `result` are the request and the `result`, as objects or as their JSON. Predictions that
    continue the data stand beside them, those from an initial state of their own each in its own block.
    Raises pydantic's `ValidationError` where one is not what it should be.
    """
    asked = problem if isinstance(problem, FitProblem) else FitProblem.model_validate(dict(problem))
    found = result if isinstance(result, FitResult) else FitResult.model_validate(dict(result))
    asked_by_name = {prediction.name: prediction for prediction in asked.predictions}
    solved = [(asked_by_name[p.name], p) for p in found.predictions or [] if p.error is None]
    continuing = [pair for pair in solved if pair[0].initial_state is None]
    blocks = [
        _fit_block(series, trajectory, continuing)
        for series, trajectory in zip(asked.series, found.trajectories, strict=True)
    ]
    blocks += [_prediction_block(*pair) for pair in solved if pair[0].initial_state is not None]
    system = asked.resolved_system
    return plot_blocks(system, blocks, subtitle=[_summary(found), _estimates(found)])


def plot_trajectories(system: System, curves: Sequence[Curve], *, subtitle: str = "") -> Figure:
    """Draw solutions over each other, as of one system from several initial states."""
    return plot_blocks(system, [Block("", curves)], subtitle=[subtitle] if subtitle else [])


def plot_simulation(simulation: Simulation, *, subtitle: str = "") -> Figure:
    """Draw simulated data over the solution that they were made from."""
    dense, data = simulation.dense, simulation.data
    curve = Curve("without noise", dense.times, dense.states, with_gaps(dense.values))
    block = Block("", [curve], [Points("simulated data", data["times"], data["values"])])
    return plot_blocks(simulation.system, [block], subtitle=[subtitle] if subtitle else [])


def plot_blocks(system: System, blocks: Sequence[Block], *, subtitle: Sequence[str] = ()) -> Figure:
    """Draw blocks below each other, at most `MAX_BLOCKS`; a last line says how many are left out."""
    drawn = blocks[:MAX_BLOCKS]
    missing = len(blocks) - len(drawn)
    notes = [*subtitle, *([f"{missing} more are not drawn"] if missing else [])]
    heights = [max(BLOCK_HEIGHT, PANEL_HEIGHT * len(block.panels(system))) + 0.5 for block in drawn]
    head = 0.55 + 0.25 * len(notes)
    width = SERIES_WIDTH + PLANE_WIDTH * max(1, len(planes_of(system)))
    figure = Figure(figsize=(width, head + sum(heights)), layout="constrained")
    parts = figure.subfigures(len(drawn) + 1, 1, height_ratios=[head, *heights], squeeze=False)[:, 0]
    _write_head(parts[0], head, system.title or "Custom system", notes)
    for part, block in zip(parts[1:], drawn, strict=True):
        _draw_block(part, system, block)
    return figure


def check_picture_path(path: str | Path) -> None:
    """Raise `ValueError` if `save` could not write `path`: to be known before a long fit, not after it."""
    formats = sorted(Figure().canvas.get_supported_filetypes())
    if Path(path).suffix.removeprefix(".").lower() not in formats:
        raise ValueError(f"{str(path)!r} is no picture's name; it must end in one of .{', .'.join(formats)}")
    if not Path(path).absolute().parent.is_dir():
        raise ValueError(f"{str(path)!r} cannot be written: there is no folder {str(Path(path).parent)!r}")


def save(figure: Figure, path: str | Path) -> None:
    """Write the figure; the ending of `path` chooses the format. Raises `ValueError` for one that is none."""
    check_picture_path(path)
    figure.savefig(path, dpi=150, facecolor="white")


def _fit_block(
    series: Series, trajectory: Trajectory, continuing: Sequence[tuple[Prediction, PredictionResult]]
) -> Block:
    dense = trajectory.dense
    sigma = {n: s if isinstance(s, list) else [s] * len(series.times) for n, s in series.sigma.items()}
    curves = [Curve("fit", dense.times, dense.states, with_gaps(dense.values))]
    points = [Points("data", series.times, series.values, sigma)]
    for asked, found in continuing:
        curves.append(_curve(found, dashed=True))
        if asked.values:
            points.append(Points("given values", asked.times, asked.values, open=True))
    return Block(f"Series {trajectory.name!r}", curves, points)


def with_gaps(columns: Mapping[str, Sequence[float | None]]) -> dict[str, list[float]]:
    """For matplotlib, which leaves a gap where a value is NaN."""
    return {name: [math.nan if value is None else value for value in column] for name, column in columns.items()}


def _prediction_block(asked: Prediction, found: PredictionResult) -> Block:
    start = ", ".join(f"{name} = {value:.4g}" for name, value in list((found.initial_state or {}).items())[:4])
    score = f"; loss {found.loss:.4g}" if found.loss is not None else ""
    points = [Points("given values", asked.times, asked.values, open=True)] if asked.values else []
    return Block(f"Prediction {asked.name!r} from {start}{score}", [_curve(found)], points)


def _curve(found: PredictionResult, *, dashed: bool = False) -> Curve:
    label = f"prediction {found.name!r}" if dashed else "prediction"
    return Curve(label, found.times, found.states or {}, found.values or {}, dashed)


def _summary(result: FitResult) -> str:
    return f"loss {result.loss:.6g} over {result.observations} values, {result.outcome.code.replace('_', ' ')}"


def _estimates(result: FitResult) -> str:
    shown = [f"{name} = {estimate.value:.4g}" for name, estimate in result.parameters.items()]
    return ",   ".join(shown[:8]) + (f"   and {len(shown) - 8} more" if len(shown) > 8 else "")


def _write_head(part: SubFigure, height: float, title: str, notes: Sequence[str]) -> None:
    part.text(0.012, 1 - 0.15 / height, title, fontsize=15, fontweight="bold", va="top")
    for i, note in enumerate(notes):
        part.text(0.012, 1 - (0.5 + 0.25 * i) / height, note, fontsize=10, color="#444444", va="top")


def _draw_block(part: SubFigure, system: System, block: Block) -> None:
    if block.title:
        part.suptitle(block.title, fontsize=11, fontweight="bold", x=0.012, ha="left")
    planes = planes_of(system)
    if not planes:
        _draw_stack(part, block.panels(system), block)
        return
    widths = [SERIES_WIDTH, PLANE_WIDTH * len(planes)]
    left, right = part.subfigures(1, 2, width_ratios=widths, squeeze=False)[0]
    _draw_stack(left, block.panels(system), block)
    for i, plane in enumerate(planes):
        draw_plane(right, (1, len(planes), i + 1), plane, block.curves, block.points)


def _draw_stack(part: SubFigure, names: Sequence[str], block: Block) -> None:
    stack = part.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    for axes, name in zip(stack, names, strict=True):
        draw_series(axes, name, block.curves, block.points)
    stack[-1].set_xlabel("time")
    legend = {label: handle for axes in stack for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    part.legend(list(legend.values()), list(legend), loc="outside upper right", ncols=4, frameon=False, fontsize=9)
