"""Figures of fits and simulations: time series, residuals and phase planes, then profiles and waterfall plots.

They are made without pyplot, so that threads share nothing and no display is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from matplotlib.axes import Axes
from matplotlib.axis import Axis, Tick
from matplotlib.figure import Figure, SubFigure
from matplotlib.text import Text

from odelib.plots.content import Section, dense_curve, fit_sections, instants_label
from odelib.plots.input_lines import input_lines
from odelib.plots.learned_terms import learned_terms
from odelib.plots.phase_plane import draw_plane, planes_of
from odelib.plots.profiles import draw_profile, profile_panels
from odelib.plots.time_series import (
    DATA_COLOUR,
    Curve,
    Points,
    draw_input,
    draw_residuals,
    draw_series,
    experiment_colours,
)
from odelib.plots.waterfall import draw_waterfall, stages_with_starts
from odelib.problem.request import FitProblem
from odelib.problem.system import System
from odelib.result import Dense, FitResult

MAX_SECTIONS = 8
MAX_PROFILES = 12
MAX_ESTIMATES = 8  # in the subtitle
GRID_COLUMNS = 4
SERIES_WIDTH = 6.8  # this and all sizes below: inches
PLANE_WIDTH = 4.3
PANEL_HEIGHT = 1.55
MIN_SECTION_HEIGHT = 3.9
GRID_ROW_HEIGHT = 2.3
MIN_GRID_WIDTH = 5.5  # for the title beside the legend


@dataclass(frozen=True)
class PanelGrid:
    """Panels of one kind in a grid, under a title. panels: functions that draw one panel each."""

    title: str
    panels: Sequence[Callable[[Axes], None]]

    def height(self, columns: int = GRID_COLUMNS) -> float:
        """Return the height with the title, in inches."""
        return GRID_ROW_HEIGHT * math.ceil(len(self.panels) / columns) + 0.7

    def draw(self, figure: SubFigure, columns: int = GRID_COLUMNS) -> None:
        """Draw the title, the panels and their common legend."""
        figure.suptitle(self.title, fontsize=11, fontweight="bold", x=0.012, ha="left")
        rows = math.ceil(len(self.panels) / columns)
        drawn = [figure.add_subplot(rows, columns, 1 + place) for place in range(len(self.panels))]
        for axes, draw in zip(drawn, self.panels, strict=True):
            draw(axes)
        _add_legend(figure, drawn)


def plot_result(problem: FitProblem | Mapping[str, Any], result: FitResult | Mapping[str, Any]) -> Figure:
    """Draw a fit.

    The first section has the measured series with the fitted trajectories, held-out data, and the predictions that
    continue the series; experiments share its panels, each in its own colour. Predictions with their own initial state
    follow, each in its own section, then what networks learned, the profiles and the waterfall plots that the result
    has data for.

    problem, result: the request and its `result`, as objects or parsed JSON. Raises pydantic's `ValidationError` for
    JSON that is not valid.
    """
    asked = problem if isinstance(problem, FitProblem) else FitProblem.model_validate(dict(problem))
    found = result if isinstance(result, FitResult) else FitResult.model_validate(dict(result))
    notes = [note for note in (_summary(found), _estimates(found)) if note]
    learned = learned_terms(found)
    grids = [PanelGrid("Learned terms", learned)] if learned else []
    grids += diagnostic_grids(asked, found)
    return plot_sections(asked.resolved_system, fit_sections(asked, found), subtitle=notes, grids=grids)


def plot_trajectories(system: System, curves: Sequence[Curve], *, subtitle: str = "") -> Figure:
    """Draw trajectories of one system in the same panels, such as from several initial states."""
    return plot_sections(system, [Section("", curves)], subtitle=[subtitle] if subtitle else [])


class SimulatedSeries(Protocol):
    """A simulated series as `odelib.simulation` makes it: its data as JSON, and its trajectory on a fine time grid."""

    @property
    def system(self) -> System: ...  # noqa: D102

    @property
    def data(self) -> Mapping[str, Any]: ...  # noqa: D102

    @property
    def dense(self) -> Dense: ...  # noqa: D102


def plot_simulation(simulation: SimulatedSeries, *, subtitle: str = "") -> Figure:
    """Draw simulated data and the trajectory without noise."""
    return plot_simulations([simulation], subtitle=subtitle)


def plot_simulations(simulations: Sequence[SimulatedSeries], *, subtitle: str = "") -> Figure:
    """Draw a simulated series, or experiments of one system, each in its own colour, and trajectories without noise."""
    several = len(simulations) > 1
    curves, points = [], []
    for simulation, colour in zip(simulations, experiment_colours(len(simulations)), strict=True):
        dense, data = simulation.dense, simulation.data
        label = data["name"] if several else "without noise"
        instants = instants_label(data.get("doses", []), data.get("changes", []), dense.events)
        label_of_instants = instants and several * "_" + instants
        curves.append(dense_curve(label, dense, colour, label_of_instants, input_lines(dense, {}, set())))
        data_label = "_simulated data" if several else "simulated data"
        points.append(Points(data_label, data["times"], data["values"], colour=colour if several else DATA_COLOUR))
    notes = [subtitle] if subtitle else []
    return plot_sections(simulations[0].system, [Section("", curves, points)], subtitle=notes)


def plot_sections(
    system: System, sections: Sequence[Section], *, subtitle: Sequence[str] = (), grids: Sequence[PanelGrid] = ()
) -> Figure:
    """Draw sections below each other, then the grids of panels.

    Only the first `MAX_SECTIONS` are drawn; the subtitle then says how many are left out.
    """
    drawn = sections[:MAX_SECTIONS]
    left_out = len(sections) - len(drawn)
    notes = [*subtitle, *([f"{left_out} more are not shown"] if left_out else [])]
    heights = [max(MIN_SECTION_HEIGHT, PANEL_HEIGHT * sum(section.height_ratios(system))) + 0.5 for section in drawn]
    heights += [grid.height() for grid in grids]
    head = 0.55 + 0.25 * len(notes)
    width = SERIES_WIDTH + PLANE_WIDTH * max(1, len(planes_of(system)))
    figure = Figure(figsize=(width, head + sum(heights)), layout="constrained")
    parts = figure.subfigures(1 + len(heights), 1, height_ratios=[head, *heights], squeeze=False)[:, 0]
    _draw_head(parts[0], head, system.title or "Custom system", notes)
    for part, section in zip(parts[1:], drawn, strict=False):
        _draw_section(part, system, section)
    for part, grid in zip(parts[1 + len(drawn) :], grids, strict=True):
        grid.draw(part)
    return with_plain_names(figure)


def plot_time_series(system: System, sections: Sequence[Section]) -> Figure:
    """Draw only the panels over time of the first `MAX_SECTIONS` sections."""
    drawn = sections[:MAX_SECTIONS]
    heights = [max(MIN_SECTION_HEIGHT, PANEL_HEIGHT * sum(section.height_ratios(system))) + 0.5 for section in drawn]
    figure = Figure(figsize=(SERIES_WIDTH, sum(heights)), layout="constrained")
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, section in zip(parts, drawn, strict=True):
        if section.title:
            part.suptitle(section.title, fontsize=11, fontweight="bold", x=0.012, ha="left")
        # in a figure of its own below the title, which the legend would meet if both are long
        _draw_time_series(part.subfigures(1, 1), system, section)
    return with_plain_names(figure)


def plot_grids(grids: Sequence[PanelGrid]) -> Figure:
    """Draw grids of panels below each other, no wider than they need."""
    columns = min(GRID_COLUMNS, max(len(grid.panels) for grid in grids))
    heights = [grid.height(columns) for grid in grids]
    width = max(MIN_GRID_WIDTH, (SERIES_WIDTH + PLANE_WIDTH) * columns / GRID_COLUMNS)
    figure = Figure(figsize=(width, sum(heights)), layout="constrained")
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, grid in zip(parts, grids, strict=True):
        grid.draw(part, columns)
    return with_plain_names(figure)


def with_plain_names(figure: Figure) -> Figure:
    """Have all text shown as it is, except numbers at axes: matplotlib would typeset what names have between `$`."""
    numbers = {text for tick in figure.findobj(Tick) for text in tick.findobj(Text)}
    numbers |= {axis.offsetText for axis in figure.findobj(Axis)}
    for text in figure.findobj(Text):
        if text not in numbers:
            text.set_parse_math(False)
    return figure


def check_picture_path(path: str | Path) -> None:
    """Raise `ValueError` if `save` could not write to `path`. Call it before a long fit rather than after."""
    formats = sorted(Figure().canvas.get_supported_filetypes())
    if Path(path).suffix.removeprefix(".").lower() not in formats:
        raise ValueError(f"{str(path)!r} is not the name of a picture: it must end in one of .{', .'.join(formats)}")
    if not Path(path).absolute().parent.is_dir():
        raise ValueError(f"{str(path)!r} cannot be written: there is no folder {str(Path(path).parent)!r}")


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure in the format that the ending of `path` names. Raises `ValueError` if there is no such format."""
    check_picture_path(path)
    figure.savefig(path, dpi=150, facecolor="white")


def diagnostic_grids(problem: FitProblem, result: FitResult) -> list[PanelGrid]:
    """The panels that show how far to trust a fit: its profiles and waterfall plots."""
    profiles, stages = profile_panels(problem, result), stages_with_starts(result)
    left_out = len(profiles) - MAX_PROFILES
    title = "Profile likelihoods"
    if left_out > 0:
        title += f" (the first {MAX_PROFILES}; {left_out} more are not shown)"
    grids = [
        PanelGrid(title, [partial(draw_profile, panel=panel) for panel in profiles[:MAX_PROFILES]]),
        PanelGrid("Waterfall", [partial(draw_waterfall, stage=stage, best_loss=result.loss) for stage in stages]),
    ]
    return [grid for grid in grids if grid.panels]


def _summary(result: FitResult) -> str:
    return f"loss {result.loss:.6g}, {result.observations} observations, {result.outcome.code.replace('_', ' ')}"


def _estimates(result: FitResult) -> str:
    shown = [f"{name} = {estimate.value:.4g}" for name, estimate in result.parameters.items()]
    left_out = len(shown) - MAX_ESTIMATES
    return ",   ".join(shown[:MAX_ESTIMATES]) + (f"   and {left_out} more" if left_out > 0 else "")


def _draw_head(figure: SubFigure, height: float, title: str, notes: Sequence[str]) -> None:
    figure.text(0.012, 1 - 0.15 / height, title, fontsize=15, fontweight="bold", va="top")
    for i, note in enumerate(notes):
        figure.text(0.012, 1 - (0.5 + 0.25 * i) / height, note, fontsize=10, color="#444444", va="top")


def _draw_section(figure: SubFigure, system: System, section: Section) -> None:
    """Draw the panels over time on the left, and the phase planes, if the system has any, on the right."""
    if section.title:
        figure.suptitle(section.title, fontsize=11, fontweight="bold", x=0.012, ha="left")
    planes = planes_of(system)
    if not planes:
        _draw_time_series(figure, system, section)
        return
    widths = [SERIES_WIDTH, PLANE_WIDTH * len(planes)]
    left, right = figure.subfigures(1, 2, width_ratios=widths, squeeze=False)[0]
    _draw_time_series(left, system, section)
    for i, plane in enumerate(planes):
        draw_plane(right, (1, len(planes), i + 1), plane, section.curves, section.points)


def _draw_time_series(figure: SubFigure, system: System, section: Section) -> None:
    """Draw the panels over time below each other, with a common time axis."""
    ratios = section.height_ratios(system)
    panels = figure.subplots(len(ratios), 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
    next_panel = iter(panels)
    for name in section.observables(system):
        draw_series(next(next_panel), name, section.curves, section.points)
        if any(name in points.values for points in section.residuals):
            draw_residuals(next(next_panel), name, section.residuals)
    for name in section.inputs:
        draw_input(next(next_panel), name, section.curves)
    panels[-1].set_xlabel("time")
    _add_legend(figure, panels)


def _add_legend(figure: SubFigure, panels: Iterable[Axes]) -> None:
    """Draw one legend above the panels, with each label once."""
    legend = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(list(legend.values()), list(legend), loc="outside upper right", ncols=4, frameon=False, fontsize=9)
