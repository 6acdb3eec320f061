"""Panels over time: curves with their bands, measurements and residuals.

The colours are those of Okabe and Ito, which colour-blind readers can distinguish. Measurements are dark dots, or have
the colour of their experiment if there are several.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.ticker import MaxNLocator

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DATA_COLOUR = "#4d4d4d"
GRID_COLOUR = "#dcdcdc"
MAX_LABEL = 28  # characters of a name beside an axis
MAX_INSTANTS = 100  # of one curve that are marked

Values = Sequence[float | None]  # None: not measured, or not finite


@dataclass(frozen=True)
class Curve:
    """A trajectory to draw: states and observables at `times`.

    label: for the legend, which leaves out a label that begins with "_". dashed: for predictions. lower, upper: the
    ends of the band of each observable that has one. fixed_colour: that of an experiment; None to choose by position.
    inputs: the times and values of each of the system's. instants_label: if given, two equal times are an instant at
    which this was done, such as a dose.
    """

    label: str
    times: Sequence[float]
    states: Mapping[str, Sequence[float]]
    values: Mapping[str, Values]
    dashed: bool = False
    lower: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    upper: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    fixed_colour: str | None = None
    inputs: Mapping[str, tuple[Sequence[float], Sequence[float]]] = field(default_factory=dict)
    instants_label: str = ""

    @property
    def instants(self) -> list[float]:
        """The times at which something was done."""
        pairs = pairwise(self.times) if self.instants_label else ()
        return list(dict.fromkeys(time for time, other in pairs if time == other))

    @property
    def line_style(self) -> str:
        """The line style in matplotlib's notation."""
        return "--" if self.dashed else "-"

    def colour(self, position: int) -> str:
        """Return the fixed colour, or that of the curve at this position among others."""
        return self.fixed_colour or COLOURS[position % len(COLOURS)]


@dataclass(frozen=True)
class Points:
    """Measurements or residuals to draw: one value per time for each observable, None where there is none.

    sigma: in the same form, for error bars. hollow: draw rings, for data that the fit did not use.
    """

    label: str
    times: Sequence[float]
    values: Mapping[str, Values]
    sigma: Mapping[str, Values] = field(default_factory=dict)
    hollow: bool = False
    colour: str = DATA_COLOUR

    @property
    def marker_style(self) -> dict[str, Any]:
        """The look of the markers, as keyword arguments of matplotlib's `plot`."""
        return {
            "ls": "none",
            "marker": "o",
            "ms": self.marker_size,
            "mfc": "white" if self.hollow else self.colour,
            "mec": self.colour,
            "mew": 0.8 if self.hollow else 0.0,
            "zorder": 2,
        }

    @property
    def marker_size(self) -> float:
        """The diameter of a marker in points: smaller if there are many."""
        return min(4.5, max(1.6, 45 / math.sqrt(len(self.times) + 1)))


def experiment_colours(count: int) -> list[str]:
    """Return a colour for each experiment: those of `COLOURS` if they suffice, else steps of a colour map."""
    if count <= len(COLOURS):
        return list(COLOURS[:count])
    colour_map = matplotlib.colormaps["viridis"]
    return [to_hex(colour_map(0.92 * i / (count - 1))) for i in range(count)]  # its end is too pale on white


def draw_series(axes: Axes, name: str, curves: Sequence[Curve], points: Sequence[Points]) -> None:
    """Draw an observable over time."""
    _draw_instants(axes, curves)
    for measured in points:
        if name in measured.values:
            _draw_measurements(axes, name, measured)
    for i, curve in enumerate(curves):
        if name not in curve.values:
            continue
        colour, values = curve.colour(i), with_gaps(curve.values[name])
        axes.plot(
            curve.times, values, curve.line_style, color=colour, lw=line_width(1.7, values), label=curve.label, zorder=3
        )
        if name in curve.lower and name in curve.upper:
            ends = with_gaps(curve.lower[name]), with_gaps(curve.upper[name])
            band = axes.fill_between(curve.times, *ends, color=colour, alpha=0.2, lw=0)
            band.set_label("_band of " + curve.label)
    axes.set_ylabel(shortened(name))
    axes.margins(x=0.015)
    if points and all(float(time).is_integer() for measured in points for time in measured.times):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))  # such as years
    style_axes(axes)


def draw_input(axes: Axes, name: str, curves: Sequence[Curve]) -> None:
    """Draw an input over time."""
    for i, curve in enumerate(curves):
        if name in curve.inputs:
            times, values = curve.inputs[name]
            width = line_width(1.2, values)
            axes.plot(times, values, color=curve.colour(i), lw=width, label=curve.label, zorder=3)
    axes.set_ylabel(shortened(name), fontsize=8)
    style_axes(axes)


def _draw_instants(axes: Axes, curves: Sequence[Curve]) -> None:
    """Mark the times at which something was done, unless these are too many to be told apart."""
    for curve in curves:
        instants = curve.instants
        for time in instants if len(instants) <= MAX_INSTANTS else ():
            axes.axvline(
                time, color=curve.fixed_colour or DATA_COLOUR, lw=0.7, ls=":", zorder=1, label=curve.instants_label
            )


def draw_residuals(axes: Axes, name: str, residuals: Sequence[Points]) -> None:
    """Draw the residuals of an observable over time, with a line at zero."""
    axes.axhline(0.0, color=DATA_COLOUR, lw=0.8, zorder=1)
    for points in residuals:
        if name in points.values:
            axes.plot(points.times, with_gaps(points.values[name]), label=points.label, **points.marker_style)
    axes.margins(y=0.12)  # the panel is low: a marker at its edge would be cut
    axes.set_ylabel("residual", fontsize=8)
    style_axes(axes)


def _draw_measurements(axes: Axes, name: str, points: Points) -> None:
    values = with_gaps(points.values[name])
    if name in points.sigma:
        sigma = with_gaps(points.sigma[name])
        axes.errorbar(
            points.times, values, sigma, ecolor=points.colour, elinewidth=0.7, label=points.label, **points.marker_style
        )
    else:
        axes.plot(points.times, values, label=points.label, **points.marker_style)


def line_width(usual: float, values: Sequence[float]) -> float:
    """Return the width of a line in points: thinner if there are many values, which would run into each other."""
    return usual * min(1.0, max(0.3, math.sqrt(500 / (len(values) + 1))))


def with_gaps(values: Values) -> list[float]:
    """Return the values with NaN for None, where matplotlib leaves a gap."""
    return [math.nan if value is None else value for value in values]


def shortened(name: str) -> str:
    """Return a name cut to `MAX_LABEL` characters."""
    return name if len(name) <= MAX_LABEL else name[: MAX_LABEL - 1] + "…"


def style_axes(axes: Axes) -> None:
    """Give axes the look that all panels but the polar and three-dimensional ones share."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=GRID_COLOUR, lw=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, colors="#444444")
