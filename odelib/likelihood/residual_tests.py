"""Whether residuals look like noise: neighbours in time that go together are structure the model has missed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from odelib.arrays import Reals

LEVEL = 1e-3  # of all tests of a fit together, that clean residuals are called structured
MIN_RESIDUALS = 12  # residuals of one observable in one series: with less nothing can be told


def structured(columns: Sequence[tuple[str, Sequence[float | None]]]) -> list[str]:
    """The names of the columns of residuals, in order of time, that are structured.

    By the correlation of neighbours (whose standard error is 1/√n without any), by their signs' runs (Wald and
    Wolfowitz, 1940); at a level that holds for all columns together (Bonferroni).
    """
    tested = [(name, np.array([v for v in column if v is not None], dtype=np.float64)) for name, column in columns]
    tested = [(name, values) for name, values in tested if len(values) >= MIN_RESIDUALS and np.any(values != 0)]
    found = [name for name, values in tested if _p_value(values) < LEVEL / (2 * len(tested))]
    return list(dict.fromkeys(found))


def _p_value(values: Reals) -> float:
    """The smaller p-value of the two tests."""
    ranks = stats.rankdata(values) - (len(values) + 1) / 2  # outliers must not hide what the others show
    correlation = float(ranks[1:] @ ranks[:-1] / (ranks @ ranks)) if np.any(ranks) else 0.0
    return min(float(stats.norm.sf(correlation * math.sqrt(len(values)))), _runs(values))


def _runs(values: Reals) -> float:
    """The p-value of so few runs of equal signs."""
    signs = values[values != 0] > 0
    above, below = int(signs.sum()), int((~signs).sum())
    if min(above, below) == 0:
        return 0.5 ** (len(signs) - 1)
    runs = 1 + int((signs[1:] != signs[:-1]).sum())
    count = above + below
    mean = 1 + 2 * above * below / count
    variance = (mean - 1) * (mean - 2) / (count - 1)
    return float(stats.norm.cdf((runs - mean) / math.sqrt(variance))) if variance > 0 else 1.0
