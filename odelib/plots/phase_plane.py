"""Phase planes: panels whose axes are states or observables, two in a plane, three in space, or an angle and radius."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.projections.polar import PolarAxes
from mpl_toolkits.mplot3d import Axes3D

from odelib.plots.time_series import GRID_COLOUR, Curve, Points, Values, shortened, style_axes, with_gaps
from odelib.problem.system import System

MAX_PLANES = 3
POINTS_PER_ARC = 6


@dataclass(frozen=True)
class Plane:
    """The axes of a phase plane. source: whether `names` are states, or observables (`values`)."""

    kind: Literal["plane", "space", "polar"]
    source: Literal["states", "values"]
    names: tuple[str, ...]


def planes_of(system: System) -> list[Plane]:
    """Return the phase planes that suit a system, at most `MAX_PLANES`.

    Angles have polar panels. Of the other states, two span a plane, three a space, and more are taken in consecutive
    pairs. A polar panel cannot show observables that are not states, so two or three of these have their own panel.
    """
    polar = [Plane("polar", "states", (angle, radius)) for angle, radius in system.angles.items()]
    drawn = {name for plane in polar for name in plane.names}
    rest = [name for name in system.states if name not in drawn]
    own = [name for name in system.observables if name not in system.states]
    planes = polar + _spanned("states", rest)
    if polar and 2 <= len(own) <= 3:
        planes += _spanned("values", own)
    return planes[:MAX_PLANES]


def _spanned(source: Literal["states", "values"], names: Sequence[str]) -> list[Plane]:
    if len(names) == 3:
        return [Plane("space", source, tuple(names))]
    return [Plane("plane", source, pair) for pair in pairwise(names)]


def draw_plane(
    figure: Figure | SubFigure,
    position: tuple[int, int, int],
    plane: Plane,
    curves: Sequence[Curve],
    points: Sequence[Points],
) -> None:
    """Draw a phase plane at `position` (rows, columns, index) of a figure; rings mark the initial states."""
    if plane.kind == "polar":
        _draw_polar(cast(PolarAxes, figure.add_subplot(*position, projection="polar")), plane, curves, points)
    elif plane.kind == "space":
        _draw_space(cast(Axes3D, figure.add_subplot(*position, projection="3d")), plane, curves, points)
    else:
        _draw_flat(figure.add_subplot(*position), plane, curves, points)


def _draw_flat(axes: Axes, plane: Plane, curves: Sequence[Curve], points: Sequence[Points]) -> None:
    for measured in points:
        if columns := _measured(plane, measured):
            axes.plot(*columns, **measured.marker_style)
    for i, curve in enumerate(curves):
        x, y = _columns(plane, curve)
        axes.plot(x, y, curve.line_style, color=curve.colour(i), lw=1.4, zorder=3)
        axes.plot(x[:1], y[:1], "o", mfc="white", mec=curve.colour(i), mew=1.6, ms=6.5, zorder=4)
    axes.set_xlabel(shortened(plane.names[0]))
    axes.set_ylabel(shortened(plane.names[1]))
    if plane.source == "values":
        axes.set_aspect("equal", adjustable="datalim")
    style_axes(axes)


def _draw_polar(axes: PolarAxes, plane: Plane, curves: Sequence[Curve], points: Sequence[Points]) -> None:
    for measured in points:
        if columns := _measured(plane, measured):
            axes.plot(*_folded(*columns), **measured.marker_style)
    for i, curve in enumerate(curves):
        angle, radius = _folded(*(_refined(column) for column in _columns(plane, curve)))
        axes.plot(angle, radius, curve.line_style, color=curve.colour(i), lw=1.4, zorder=3)
        axes.plot(angle[:1], radius[:1], "o", mfc="white", mec=curve.colour(i), mew=1.6, ms=6.5, zorder=4)
    axes.set_title(f"angle {shortened(plane.names[0])}, radius {shortened(plane.names[1])}", fontsize=9)
    axes.set_rlim(bottom=0)
    axes.tick_params(labelsize=8, colors="#444444")
    axes.grid(color=GRID_COLOUR)


def _draw_space(axes: Axes3D, plane: Plane, curves: Sequence[Curve], points: Sequence[Points]) -> None:
    for measured in points:
        if columns := _measured(plane, measured):
            axes.plot(*columns, **measured.marker_style)
    for i, curve in enumerate(curves):
        x, y, z = _columns(plane, curve)
        axes.plot(x, y, z, color=curve.colour(i), lw=0.9)  # dashes would be invisible in dense windings
        axes.plot(x[:1], y[:1], z[:1], "o", mfc="white", mec=curve.colour(i), mew=1.6, ms=6)
    axes.set_xlabel(shortened(plane.names[0]))
    axes.set_ylabel(shortened(plane.names[1]))
    axes.set_zlabel(shortened(plane.names[2]))
    axes.tick_params(labelsize=8, colors="#444444")
    axes.set_box_aspect(None, zoom=0.85)


def _columns(plane: Plane, curve: Curve) -> list[list[float]]:
    """The columns of a curve along the axes of a plane."""
    columns: Mapping[str, Values] = curve.states if plane.source == "states" else curve.values
    return [with_gaps(columns[name]) for name in plane.names]


def _measured(plane: Plane, points: Points) -> list[list[float]]:
    """The measurements along the axes of a plane; empty if one of them was not measured."""
    if not all(name in points.values for name in plane.names):
        return []
    return [with_gaps(points.values[name]) for name in plane.names]


def _folded(angle: Sequence[float], radius: Sequence[float]) -> tuple[list[float], list[float]]:
    """Angles and radii with negative radii turned by π; matplotlib would move the pole instead."""
    turned = [a + math.pi if r < 0 else a for a, r in zip(angle, radius, strict=True)]
    return turned, [abs(r) for r in radius]


def _refined(column: Sequence[float]) -> list[float]:
    """The column with points interpolated in between, so that lines between them become arcs in polar panels."""
    count = len(column)
    fine: list[float] = np.interp(
        np.linspace(0, count - 1, POINTS_PER_ARC * (count - 1) + 1), range(count), column
    ).tolist()
    return fine
