"""Waterfall plots: the losses that the starts of a stage reached, in ascending order."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from odelib.plots.time_series import COLOURS, DATA_COLOUR, style_axes
from odelib.result import BEST_LOSS_TOLERANCE, FitResult, StageReport

MAX_DECADES = 6  # of the logarithmic part of the axis


def stages_with_starts(result: FitResult) -> list[StageReport]:
    """Return the stages that had several starts."""
    return [stage for stage in result.stages if len(stage.start_losses or []) > 1]


def draw_waterfall(axes: Axes, stage: StageReport, best_loss: float) -> None:
    """Draw how far above the fit's best loss each start ended; those that reached it are highlighted.

    The axis is linear up to the tolerance within which a start has reached the best loss, and logarithmic above.
    """
    increases = np.subtract(stage.start_losses or [], best_loss)
    reached = stage.reached(best_loss)
    ranks = np.arange(1, len(increases) + 1)
    axes.plot(ranks, increases, color=DATA_COLOUR, lw=0.7, zorder=1)
    if reached:
        axes.plot(ranks[:reached], increases[:reached], "o", color=COLOURS[0], ms=5, label="reached the best loss")
    if reached < len(increases):
        axes.plot(ranks[reached:], increases[reached:], "o", color=DATA_COLOUR, ms=4, label="other starts")
    highest = float(increases.max())
    linear = max(BEST_LOSS_TOLERANCE * abs(best_loss), 10.0**-MAX_DECADES * highest, 1e-12)
    axes.set_yscale("symlog", linthresh=linear)
    axes.set_ylim(-0.5 * linear, 3 * max(highest, linear))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_title(f"{reached} of {len(increases)} starts reached the best loss", fontsize=9)
    axes.set_xlabel(f"starts of {stage.kind}, sorted by loss")
    axes.set_ylabel("loss above the best", fontsize=8)
    style_axes(axes)
