"""What networks learned, over the region that the data visited."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from matplotlib.axes import Axes

from odelib.plots.time_series import COLOURS, shortened, style_axes
from odelib.result import FitResult, SampledNetwork

MAX_TERMS = 12  # panels


def learned_terms(result: FitResult) -> list[Callable[[Axes], None]]:
    """Return functions that draw a panel for each output of a network, up to `MAX_TERMS`."""
    panels: list[Callable[[Axes], None]] = []
    for network in (result.networks or {}).values():
        if network.sampled is not None:
            for output in network.sampled.outputs:
                panels.append(partial(_draw, sampled=network.sampled, inputs=network.inputs, output=output))
    return panels[:MAX_TERMS]


def _draw(axes: Axes, sampled: SampledNetwork, inputs: list[str], output: str) -> None:
    """Draw an output: as a line over the only input, or as points in the plane of the first two, coloured by it."""
    points, values = np.array(sampled.inputs), np.array(sampled.outputs[output])
    axes.set_title(shortened(output), fontsize=9)
    axes.set_xlabel(shortened(inputs[0]), fontsize=8)
    style_axes(axes)
    if len(inputs) == 1:
        order = np.argsort(points[:, 0], kind="stable")
        axes.plot(points[order, 0], values[order], color=COLOURS[0], lw=1.6)
        axes.plot(points[:, 0], np.full(len(points), values.min()), "|", color=COLOURS[0], ms=5, alpha=0.4)
        return
    drawn = axes.scatter(points[:, 0], points[:, 1], c=values, s=14, cmap="viridis")
    axes.set_ylabel(shortened(inputs[1]), fontsize=8)
    axes.figure.colorbar(drawn, ax=axes).ax.tick_params(labelsize=7)
