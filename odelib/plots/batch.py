"""The figure of a batch: distributions of what was estimated, and fits in a grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from odelib.arrays import Reals
from odelib.plots.figures import PanelGrid, plot_grids
from odelib.plots.time_series import COLOURS, DATA_COLOUR, line_width, shortened, style_axes, with_gaps
from odelib.result import BatchRow, Dense, Estimate

MAX_HISTOGRAMS = 12
MAX_BINS = 60
LOGARITHMIC_RANGE = 30.0  # from this ratio of the largest to the smallest estimate on


@dataclass(frozen=True)
class MemberFit:
    """One series of a batch with its fit. values: the measurements of each observable, None where there is none."""

    name: str
    note: str
    times: Sequence[float]
    values: Mapping[str, Sequence[float | None]]
    dense: Dense


def plot_batch(rows: Sequence[BatchRow], fits: Sequence[MemberFit], title_of_fits: str) -> Figure:
    """Draw a histogram of every estimate of `rows`, and `fits` in a grid, in their order.

    Raises `ValueError` if there is nothing to draw.
    """
    grids = []
    if histograms := _histograms(rows):
        grids.append(PanelGrid(_title(rows), histograms))
    if fits:
        grids.append(PanelGrid(title_of_fits, [partial(_draw_fit, fit=fit) for fit in fits]))
    if not grids:
        raise ValueError("no series of the batch was fitted, so there is nothing to draw")
    return plot_grids(grids)


def _title(rows: Sequence[BatchRow]) -> str:
    fitted = sum(row.status == "succeeded" for row in rows)
    left_out = len(rows) - fitted
    return f"Estimates of {fitted:,} series" + (f" ({left_out:,} without a fit are not shown)" if left_out else "")


def _histograms(rows: Sequence[BatchRow]) -> list[Callable[[Axes], None]]:
    estimates: dict[str, list[float]] = {}
    for row in rows:
        for name, estimate in _estimates(row).items():
            if not estimate.fixed:
                estimates.setdefault(name, []).append(estimate.value)
    return [
        partial(_draw_histogram, name=name, values=np.array(values))
        for name, values in list(estimates.items())[:MAX_HISTOGRAMS]
    ]


def _estimates(row: BatchRow) -> dict[str, Estimate]:
    return {**(row.parameters or {}), **(row.initial_state or {}), **(row.derived or {})}


def _draw_histogram(axes: Axes, name: str, values: Reals) -> None:
    smallest, largest = float(values.min()), float(values.max())
    count = max(1, min(MAX_BINS, math.ceil(2 * len(values) ** (1 / 3))))  # Rice's rule
    bins: int | list[float] = count
    if smallest > 0 and largest > LOGARITHMIC_RANGE * smallest:
        bins = np.geomspace(smallest, largest, count + 1).tolist()
        axes.set_xscale("log")
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.hist(values, bins=bins, color=COLOURS[0], alpha=0.75)
    axes.axvline(float(np.median(values)), color=COLOURS[1], lw=1.5, label="median")
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.set_xlabel(shortened(name))
    style_axes(axes)


def _draw_fit(axes: Axes, fit: MemberFit) -> None:
    several = len(fit.values) > 1
    for place, (name, measured) in enumerate(fit.values.items()):
        colour = COLOURS[place % len(COLOURS)]
        axes.plot(fit.times, with_gaps(measured), "o", ms=3, color=colour if several else DATA_COLOUR)
        curve = with_gaps(fit.dense.values[name])
        axes.plot(fit.dense.times, curve, color=colour, lw=line_width(1.5, curve), label=name)
    axes.set_title(f"{shortened(fit.name)}: {fit.note}", fontsize=9)
    style_axes(axes)
