"""Panels over time: curves with their bands, measured points, residuals.

Colours are those of Okabe and Ito, which colour-blind readers tell apart; measurements are dark dots, or have the
colour of their experiment where there are several.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.ticker import MaxNLocator

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DATA_COLOUR = "#4d4d4d"
GRID_COLOUR = "#dcdcdc"

Column = Sequence[float | None]


@dataclass(frozen=True)
class Curve:
    """A solution to draw: states and observables at `times`; `dashed` for what lies beyond the data.

    `lower` and `upper`: the band around observables that have one. `own_colour`: of an experiment; else it is chosen
    by the curve's place. A label that begins with "_" stands in no legend.
    """

    label: str
    times: Sequence[float]
    states: Mapping[str, Sequence[float]]
    values: Mapping[str, Sequence[float]]
    dashed: bool = False
    lower: Mapping[str, Sequence[float]] = field(default_factory=dict)
    upper: Mapping[str, Sequence[float]] = field(default_factory=dict)
    own_colour: str | None = None

    @property
    def style(self) -> str:
        """The line style."""
        return "--" if self.dashed else "-"

    def colour(self, place: int) -> str:
        """Its own colour, or that of the curve at `place` among others."""
        return self.own_colour or COLOURS[place % len(COLOURS)]


@dataclass(frozen=True)
class Points:
    """Measurements: per observable one number per time, None where missing; `sigma` likewise, for error bars.

    `open` draws rings: values that no fit has seen.
    """

    label: str
    times: Sequence[float]
    values: Mapping[str, Column]
    sigma: Mapping[str, Column] = field(default_factory=dict)
    open: bool = False
    colour: str = DATA_COLOUR

    @property
    def look(self) -> dict[str, Any]:
        """How the dots look, as keywords of matplotlib's `plot`."""
        return {
            "ls": "none",
            "marker": "o",
            "ms": self.size,
            "mfc": "white" if self.open else self.colour,
            "mec": self.colour,
            "mew": 0.8 if self.open else 0.0,
            "zorder": 2,
        }

    @property
    def size(self) -> float:
        """Diameter of a dot in points: smaller where there are many."""
        return min(4.5, max(1.6, 45 / math.sqrt(len(self.times) + 1)))


def experiment_colours(count: int) -> list[str]:
    """A colour for each of `count` experiments: named ones while they last, else steps of a scale."""
    if count <= len(COLOURS):
        return list(COLOURS[:count])
    scale = matplotlib.colormaps["viridis"]
    return [to_hex(scale(0.92 * i / (count - 1))) for i in range(count)]  # its end is too pale on white


def draw_series(axes: Axes, name: str, curves: Sequence[Curve], points: Sequence[Points]) -> None:
    """Observable `name` over time."""
    for measured in points:
        if name in measured.values:
            _draw_measured(axes, name, measured)
    for i, curve in enumerate(curves):
        if name not in curve.values:
            continue
        colour = curve.colour(i)
        axes.plot(curve.times, curve.values[name], curve.style, color=colour, lw=1.7, label=curve.label, zorder=3)
        if name in curve.lower and name in curve.upper:
            band = axes.fill_between(curve.times, curve.lower[name], curve.upper[name], color=colour, alpha=0.2, lw=0)
            band.set_label("_band of " + curve.label)
    axes.set_ylabel(short(name))
    axes.margins(x=0.015)
    if points and all(float(time).is_integer() for measured in points for time in measured.times):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))  # years and the like have no halves
    plain(axes)


def draw_residuals(axes: Axes, name: str, residuals: Sequence[Points]) -> None:
    """What the data lie above the model, observable `name` over time, about a line at zero."""
    axes.axhline(0.0, color=DATA_COLOUR, lw=0.8, zorder=1)
    for each in residuals:
        if name in each.values:
            axes.plot(each.times, numbers(each.values[name]), label=each.label, **each.look)
    axes.set_ylabel("residual", fontsize=8)
    plain(axes)


def _draw_measured(axes: Axes, name: str, measured: Points) -> None:
    values = numbers(measured.values[name])
    if name in measured.sigma:
        sigma = numbers(measured.sigma[name])
        axes.errorbar(
            measured.times,
            values,
            sigma,
            ecolor=measured.colour,
            elinewidth=0.7,
            label=measured.label,
            **measured.look,
        )
    else:
        axes.plot(measured.times, values, label=measured.label, **measured.look)


def numbers(column: Column) -> list[float]:
    """For matplotlib, which leaves a gap where a value is NaN."""
    return [math.nan if value is None else value for value in column]


def short(name: str) -> str:
    """A name cut to what has room beside an axis."""
    return name if len(name) <= 28 else name[:27] + "…"


def plain(axes: Axes) -> None:
    """The look that all flat panels share."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=GRID_COLOUR, lw=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, colors="#444444")
