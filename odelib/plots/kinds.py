"""Plots of one kind each, for `plot.svg`: the parts of the figure that `plot_result` draws as a whole."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from odelib.errors import OdelibError
from odelib.plots.content import Section, fit_sections
from odelib.plots.figures import (
    PLANE_WIDTH,
    PanelGrid,
    diagnostic_grids,
    plot_grids,
    plot_time_series,
    with_plain_names,
)
from odelib.plots.phase_plane import Plane, draw_plane, planes_of
from odelib.plots.time_series import Points, draw_residuals, shortened
from odelib.problem.plot_kinds import PlotKind
from odelib.problem.request import FitProblem
from odelib.result import FitResult

_MAX_COLUMNS = 3
_HASH_SALT = "odefit"  # ids in an SVG file; the same plot has the same text


class NothingToDraw(OdelibError):
    """A result has nothing that a plot of this kind shows; the message says what to ask for."""


def plot_kind(problem: FitProblem, result: FitResult, kind: PlotKind) -> Figure:
    """Draw one kind of plot of a fit. Raises `NothingToDraw`."""
    return _DRAW[kind](problem, result)


def to_svg(figure: Figure) -> bytes:
    """Return a figure as SVG text, with its text as text."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": _HASH_SALT}):
        figure.savefig(buffer, format="svg", facecolor="white", metadata={"Date": None})
    return buffer.getvalue()


def _time(problem: FitProblem, result: FitResult) -> Figure:
    sections = [replace(section, residuals=()) for section in fit_sections(problem, result)]
    return plot_time_series(problem.resolved_system, sections)


def _planes(problem: FitProblem, result: FitResult, planes: Sequence[Plane]) -> Figure:
    section = fit_sections(problem, result)[0]
    columns = min(len(planes), _MAX_COLUMNS)
    rows = math.ceil(len(planes) / columns)
    figure = Figure(figsize=(PLANE_WIDTH * columns, PLANE_WIDTH * rows), layout="constrained")
    for place, plane in enumerate(planes):
        draw_plane(figure, (rows, columns, place + 1), plane, section.curves, section.points)
    return with_plain_names(figure)


def _phase(problem: FitProblem, result: FitResult) -> Figure:
    planes = [plane for plane in planes_of(problem.resolved_system) if plane.kind != "polar"]
    if not planes:
        raise NothingToDraw("the system has fewer than two states that are no angle, so it has no phase plane")
    return _planes(problem, result, planes)


def _polar(problem: FitProblem, result: FitResult) -> Figure:
    planes = [plane for plane in planes_of(problem.resolved_system) if plane.kind == "polar"]
    if not planes:
        raise NothingToDraw("no state of the system is an angle; 'phase' draws its other states")
    return _planes(problem, result, planes)


def _residuals(problem: FitProblem, result: FitResult) -> Figure:
    section: Section = fit_sections(problem, result)[0]
    names = {name: None for points in section.residuals for name in points.values}
    panels = [partial(_draw_residuals, name=name, residuals=section.residuals) for name in names]
    return plot_grids([PanelGrid("Residuals", panels)])


def _draw_residuals(axes: Axes, name: str, residuals: Sequence[Points]) -> None:
    draw_residuals(axes, name, residuals)
    axes.set_title(shortened(name), fontsize=9)
    axes.set_xlabel("time", fontsize=8)


def _starts(problem: FitProblem, result: FitResult) -> Figure:
    grids = [grid for grid in diagnostic_grids(problem, result) if grid.title.startswith("Waterfall")]
    if not grids:
        raise NothingToDraw("no stage had several starts; give `starts` or a stage 'multi_start'")
    return plot_grids(grids)


def _profiles(problem: FitProblem, result: FitResult) -> Figure:
    grids = [grid for grid in diagnostic_grids(problem, result) if not grid.title.startswith("Waterfall")]
    if not grids:
        raise NothingToDraw("the result has no profiles; ask for uncertainty 'profile'")
    return plot_grids(grids)


_DRAW: dict[PlotKind, Callable[[FitProblem, FitResult], Figure]] = {
    "time": _time,
    "phase": _phase,
    "polar": _polar,
    "residuals": _residuals,
    "starts": _starts,
    "profiles": _profiles,
}
