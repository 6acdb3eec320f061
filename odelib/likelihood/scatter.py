"""How much measurements scatter around a smooth curve, whatever the model: an estimate of their noise.

A model whose residuals are far larger misses something that the measurements show, however large a scale its noise is
estimated to have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from odelib.arrays import Reals
from odelib.likelihood.noise.student_t import NORMAL_MAD

MIN_RATIO = 4.0  # of the variances: the scale is twice what the measurements scatter by
LEVEL = 1e-4  # the probability that the residuals of independent noise exceed its scatter
NEGLIGIBLE = 1e-4  # residuals relative to the values, as those of exact data are, which the solver's error makes
MISTIMED = 8.0  # robust standard deviations: normal noise is never so large
MIN_SHARE = 0.25  # of the change between its neighbours: what a residual has that is late by a part of the time between
MIN_NEIGHBOURS = 6  # pseudo-residuals, with fewer of which the scatter is not known


@dataclass(frozen=True)
class Column:
    """The measurements of an observable in one series, in order of time, and the residuals of a model; (n,) each.

    sizes: to which the noise of each value is proportional.
    """

    times: Reals
    values: Reals
    residuals: Reals
    sizes: Reals


def exceeds_scatter(columns: Sequence[Column]) -> bool:
    """Return whether the residuals are far larger than the measurements scatter around a smooth curve.

    That is, whether their mean square is more than `MIN_RATIO` times that of the pseudo-residuals, and so much more
    that the F-test would reject equal variances. Half the number of pseudo-residuals, which share measurements, counts
    as their degrees of freedom. False where fewer than `MIN_NEIGHBOURS` measurements have neighbours.
    """
    pseudo = np.concatenate([pseudo_residuals(each.times, each.values) / each.sizes[1:-1] for each in columns])
    residuals = np.concatenate([each.residuals / each.sizes for each in columns])
    if len(pseudo) < MIN_NEIGHBOURS:
        return False
    values = np.concatenate([each.values / each.sizes for each in columns])
    if np.mean(np.square(residuals)) <= NEGLIGIBLE**2 * np.mean(np.square(values)):
        return False
    limit = max(MIN_RATIO, float(stats.f.isf(LEVEL, len(residuals), len(pseudo) / 2)))
    return bool(np.mean(np.square(residuals)) > limit * np.mean(np.square(pseudo)))


def misses_a_steep_change(columns: Sequence[Column]) -> bool:
    """Return whether some residual is far larger than most, at a measurement between others that differ as much.

    That is what a model leaves that is right but for the time of a jump: it describes all measurements but the few that
    lie in the jump. A wrong measurement differs from both of its neighbours, and is none of these. The noise is known
    from the median of the absolute residuals (Hampel, JASA 69, 1974).
    """
    residuals = np.abs(np.concatenate([each.residuals for each in columns]))
    sizes = np.concatenate([_sizes_around(each.values) for each in columns])
    noise = NORMAL_MAD * float(np.median(residuals))
    if len(residuals) < MIN_NEIGHBOURS + 2 or noise <= NEGLIGIBLE * float(sizes.max()):
        return False
    relative_noise = NORMAL_MAD * float(np.median(residuals / sizes))
    for each in columns:
        inner, around = np.abs(each.residuals[1:-1]), _sizes_around(each.values)[1:-1]
        change = np.abs(each.values[2:] - each.values[:-2])
        is_between = (inner <= change) & (inner >= MIN_SHARE * change)
        # noise that grows with the values is large where they are, but not relative to them
        is_large = (inner > MISTIMED * noise) & (inner / around > MISTIMED * relative_noise)
        if np.any(is_between & is_large):
            return True
    return False


def _sizes_around(values: Reals) -> Reals:
    """The largest size among each value and its neighbours, (n,); never 0."""
    sizes = np.pad(np.abs(values), 1, mode="edge")
    return np.asarray(np.maximum(np.max([sizes[:-2], sizes[1:-1], sizes[2:]], axis=0), 1e-300))


def pseudo_residuals(times: Reals, values: Reals) -> Reals:
    """Return the distances of inner points from the line between their neighbours, with the variance of the noise.

    times, values: (n,). With weights a and b of the neighbours, the distance a·yᵢ₋₁ + b·yᵢ₊₁ − yᵢ of points that lie
    on a line has the variance (a² + b² + 1)·σ² (Gasser, Sroka and Jennen-Steinmetz, Biometrika 73, 1986). The curvature
    of the curve adds to it, so the noise is never underestimated.

    >>> pseudo_residuals(np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.5, 2.0])).round(4)
    array([-0.4082])
    """
    if len(values) < 3:
        return np.zeros(max(len(values) - 2, 0))
    span = times[2:] - times[:-2]
    before = np.where(span > 0, (times[2:] - times[1:-1]) / np.where(span > 0, span, 1.0), 0.5)
    after = 1 - before
    distances = before * values[:-2] + after * values[2:] - values[1:-1]
    return np.asarray(distances / np.sqrt(before**2 + after**2 + 1))
