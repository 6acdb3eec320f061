"""Pictures: time series with data and residuals, phase plane, polar where a system has an angle; profiles and starts.

Only `Figure` objects are used, never pyplot: nothing is shared between threads and no display is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from odelib.plots.content import Block, fit_blocks, with_gaps
from odelib.plots.diagnostics import draw_profile, draw_starts, profile_panels, stages_with_starts
from odelib.plots.phase_plane import draw_plane, planes_of
from odelib.plots.time_series import DATA_COLOUR, Curve, Points, draw_residuals, draw_series, experiment_colours
from odelib.problem.request import FitProblem
from odelib.problem.system import System
from odelib.result import Dense, FitResult

MAX_BLOCKS = 8
MAX_PROFILES = 12
GRID_COLUMNS = 4
SERIES_WIDTH = 6.8  # inches, as all sizes of figures
PLANE_WIDTH = 4.3
PANEL_HEIGHT = 1.55
BLOCK_HEIGHT = 3.9
GRID_HEIGHT = 2.3  # of a row


@dataclass(frozen=True)
class Grid:
    """Panels of one kind beside and below each other: for each, what draws it into its axes."""

    title: str
    panels: Sequence[Callable[[Axes], None]]

    @property
    def height(self) -> float:
        """In inches, with the title."""
        return GRID_HEIGHT * math.ceil(len(self.panels) / GRID_COLUMNS) + 0.7

    def draw(self, part: SubFigure) -> None:
        """Draw title, panels and one legend for all."""
        part.suptitle(self.title, fontsize=11, fontweight="bold", x=0.012, ha="left")
        rows = math.ceil(len(self.panels) / GRID_COLUMNS)
        drawn = [part.add_subplot(rows, GRID_COLUMNS, 1 + place) for place in range(len(self.panels))]
        for axes, draw in zip(drawn, self.panels, strict=True):
            draw(axes)
        _add_legend(part, drawn)


def plot_result(problem: FitProblem | Mapping[str, Any], result: FitResult | Mapping[str, Any]) -> Figure:
    """Draw a fit: its series with the fitted trajectories, then each prediction.

    `problem` and `result` are the request and the `result`, as objects or as their JSON. Experiments share the
    panels, each in its colour. What was held out and predictions that continue the data stand beside them, those
    from an initial state of their own each in its own block. Profiles of unknowns and the losses at which several
    starts ended stand below, where the result has them.
    Raises pydantic's `ValidationError` where one is not what it should be.
    """
    asked = problem if isinstance(problem, FitProblem) else FitProblem.model_validate(dict(problem))
    found = result if isinstance(result, FitResult) else FitResult.model_validate(dict(result))
    blocks = fit_blocks(asked, found)
    notes = [note for note in (_summary(found), _estimates(found)) if note]
    return plot_blocks(asked.resolved_system, blocks, subtitle=notes, trust=_trust(asked, found))


def plot_trajectories(system: System, curves: Sequence[Curve], *, subtitle: str = "") -> Figure:
    """Draw solutions over each other, as of one system from several initial states."""
    return plot_blocks(system, [Block("", curves)], subtitle=[subtitle] if subtitle else [])


class SimulatedSeries(Protocol):
    """A simulated series, as `odelib.simulation` makes it: simulated data as JSON, and the solution on a fine grid."""

    @property
    def system(self) -> System: ...  # noqa: D102

    @property
    def data(self) -> Mapping[str, Any]: ...  # noqa: D102

    @property
    def dense(self) -> Dense: ...  # noqa: D102


def plot_simulation(simulation: SimulatedSeries, *, subtitle: str = "") -> Figure:
    """Draw simulated data over the solution that they were made from."""
    return plot_simulations([simulation], subtitle=subtitle)


def plot_simulations(simulations: Sequence[SimulatedSeries], *, subtitle: str = "") -> Figure:
    """Draw simulated series over their solutions: one, or experiments of one system, each in its colour."""
    several = len(simulations) > 1
    curves, points = [], []
    for simulation, colour in zip(simulations, experiment_colours(len(simulations)), strict=True):
        dense, data = simulation.dense, simulation.data
        label = data["name"] if several else "without noise"
        curves.append(Curve(label, dense.times, dense.states, with_gaps(dense.values), own_colour=colour))
        shown = "_simulated data" if several else "simulated data"
        points.append(Points(shown, data["times"], data["values"], colour=colour if several else DATA_COLOUR))
    return plot_blocks(simulations[0].system, [Block("", curves, points)], subtitle=[subtitle] if subtitle else [])


def plot_blocks(
    system: System, blocks: Sequence[Block], *, subtitle: Sequence[str] = (), trust: Sequence[Grid] = ()
) -> Figure:
    """Draw blocks below each other, at most `MAX_BLOCKS`, a last line says how many are left out; then the grids."""
    drawn = blocks[:MAX_BLOCKS]
    missing = len(blocks) - len(drawn)
    notes = [*subtitle, *([f"{missing} more are not drawn"] if missing else [])]
    heights = [max(BLOCK_HEIGHT, PANEL_HEIGHT * sum(block.shares(system))) + 0.5 for block in drawn]
    heights += [grid.height for grid in trust]
    head = 0.55 + 0.25 * len(notes)
    width = SERIES_WIDTH + PLANE_WIDTH * max(1, len(planes_of(system)))
    figure = Figure(figsize=(width, head + sum(heights)), layout="constrained")
    parts = figure.subfigures(1 + len(heights), 1, height_ratios=[head, *heights], squeeze=False)[:, 0]
    _write_head(parts[0], head, system.title or "Custom system", notes)
    for part, block in zip(parts[1:], drawn, strict=False):
        _draw_block(part, system, block)
    for part, grid in zip(parts[1 + len(drawn) :], trust, strict=True):
        grid.draw(part)
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


def _trust(asked: FitProblem, found: FitResult) -> list[Grid]:
    """What says how far to trust the fit: its profiles, and where its starts ended."""
    profiles = profile_panels(asked, found)
    missing = len(profiles) - MAX_PROFILES
    title = "Profile likelihoods" + (
        f" (the first {MAX_PROFILES}; {missing} more are not drawn)" if missing > 0 else ""
    )
    grids = [
        Grid(title, [partial(draw_profile, panel=panel) for panel in profiles[:MAX_PROFILES]]),
        Grid("Starts", [partial(draw_starts, stage=stage, best=found.loss) for stage in stages_with_starts(found)]),
    ]
    return [grid for grid in grids if grid.panels]


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
        _draw_stack(part, system, block)
        return
    widths = [SERIES_WIDTH, PLANE_WIDTH * len(planes)]
    left, right = part.subfigures(1, 2, width_ratios=widths, squeeze=False)[0]
    _draw_stack(left, system, block)
    for i, plane in enumerate(planes):
        draw_plane(right, (1, len(planes), i + 1), plane, block.curves, block.points)


def _draw_stack(part: SubFigure, system: System, block: Block) -> None:
    shares = block.shares(system)
    stack = part.subplots(len(shares), 1, sharex=True, squeeze=False, height_ratios=shares)[:, 0]
    free = iter(stack)
    for name in block.panels(system):
        draw_series(next(free), name, block.curves, block.points)
        if any(name in points.values for points in block.residuals):
            draw_residuals(next(free), name, block.residuals)
    stack[-1].set_xlabel("time")
    _add_legend(part, stack)


def _add_legend(part: SubFigure, drawn: Iterable[Axes]) -> None:
    """One legend above the panels, each label once."""
    legend = {label: handle for axes in drawn for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    part.legend(list(legend.values()), list(legend), loc="outside upper right", ncols=4, frameon=False, fontsize=9)
