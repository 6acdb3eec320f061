"""Test whether residuals look like independent noise. Neighbours in time that resemble each other are structure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from odelib.arrays import Reals

LEVEL = 1e-3  # the probability that any column of independent noise is called structured
MIN_RESIDUALS = 12  # with fewer in a column the tests have hardly any power


def structured(columns: Sequence[tuple[str, Sequence[float | None]]]) -> list[str]:
    """Return the names of the columns that are structured.

    columns: name and residuals in order of time, None where missing; one for each observable and series.

    Two tests run on each column: of the correlation of neighbours, and of the number of runs of equal signs. The
    level is divided by the number of all tests (Bonferroni).
    """
    found = [(name, np.array([v for v in column if v is not None], dtype=np.float64)) for name, column in columns]
    tested = [(name, values) for name, values in found if len(values) >= MIN_RESIDUALS and np.any(values != 0)]
    names = [
        name
        for name, values in tested
        if min(_correlation_p_value(values), _runs_p_value(values)) < LEVEL / (2 * len(tested))
    ]
    return list(dict.fromkeys(names))


def variance_beside(residuals: Reals, jacobian: Reals) -> float:
    """Return the variance of residuals, (n,), outside the space of the model's Jacobian, (n, count).

    >>> variance_beside(np.array([2.0, 1.0, 3.0]), np.array([[1.0], [1.0], [1.0]]))
    1.0
    """
    basis = np.linalg.qr(jacobian)[0]
    rest = residuals - basis @ (basis.T @ residuals)
    return float(np.square(rest).sum() / max(len(rest) - basis.shape[1], 1))


def without_errors(residuals: Reals, jacobian: Reals, covariance: Reals, variance: float) -> Reals | None:
    """Return residuals without the part that errors of the estimates explain; None if such errors are improbable.

    residuals: (n,). jacobian: of the model, J, (n, count). covariance: C of the estimates, (count, count). variance: of
    the noise, σ². Errors δ of the estimates change the residuals by J·δ. The most probable ones minimise
    ‖r − J·δ‖²/σ² + δᵀC⁻¹δ, and within the space of J that minimum has a χ² distribution.
    """
    lengths, directions = np.linalg.eigh(covariance)
    if variance <= 0 or not np.isfinite(lengths).all():
        return None
    basis, triangle = np.linalg.qr(jacobian @ (directions * np.sqrt(np.maximum(lengths, 0.0))))
    within, deviation = basis.T @ residuals, math.sqrt(variance)
    # with δ = C^½·z and J·C^½ = Q·R, z minimises ‖Qᵀr − R·z‖²/σ² + ‖z‖²
    ridge = np.vstack([triangle / deviation, np.eye(triangle.shape[1])])
    target = np.concatenate([within / deviation, np.zeros(triangle.shape[1])])
    z = np.linalg.lstsq(ridge, target)[0]
    if np.square(ridge @ z - target).sum() > stats.chi2.isf(LEVEL, len(within)):
        return None
    return np.asarray(residuals - basis @ (triangle @ z))


def _correlation_p_value(values: Reals) -> float:
    """The p-value of the lag-1 correlation of the ranks, whose standard error is 1/√n for independent noise.

    Of the ranks, because one outlier would hide the correlation of all the others.
    """
    ranks = stats.rankdata(values) - (len(values) + 1) / 2
    correlation = float(ranks[1:] @ ranks[:-1] / (ranks @ ranks)) if np.any(ranks) else 0.0
    return float(stats.norm.sf(correlation * math.sqrt(len(values))))


def _runs_p_value(values: Reals) -> float:
    """The p-value of so few runs of equal signs (Wald and Wolfowitz, Annals of Mathematical Statistics 11, 1940).

    With n₊ and n₋ signs, n in all, their number is about normal with mean μ = 1 + 2·n₊·n₋/n and variance
    (μ − 1)(μ − 2)/(n − 1). All signs are equal with probability ½ⁿ⁻¹.
    """
    signs = values[values != 0] > 0
    above, below = int(signs.sum()), int((~signs).sum())
    if min(above, below) == 0:
        return 0.5 ** (len(signs) - 1)
    runs = 1 + int((signs[1:] != signs[:-1]).sum())
    count = above + below
    mean = 1 + 2 * above * below / count
    variance = (mean - 1) * (mean - 2) / (count - 1)
    return float(stats.norm.cdf((runs - mean) / math.sqrt(variance))) if variance > 0 else 1.0
