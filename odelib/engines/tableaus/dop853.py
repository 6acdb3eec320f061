"""Dormand and Prince's pair of order 8(5,3) with an interpolant of order 7 (Hairer, Nørsett and Wanner, 1993).

The coefficients are those of `scipy.integrate.DOP853`.
"""

import numpy as np
from numpy.polynomial import Polynomial
from scipy.integrate import DOP853 as COEFFICIENTS

from odelib.arrays import Reals
from odelib.engines.tableaus.tableau import Tableau, contiguous

STAGES = 16  # 12, the derivative at the end of the step, and three that only the interpolant needs


def _matrix() -> Reals:
    a = np.zeros((STAGES, STAGES))
    a[:12, :12] = COEFFICIENTS.A
    a[12, :12] = COEFFICIENTS.B
    a[13:] = np.pad(COEFFICIENTS.A_EXTRA, ((0, 0), (0, STAGES - COEFFICIENTS.A_EXTRA.shape[1])))
    return a


def _weights(given: Reals) -> Reals:
    return np.pad(given, (0, STAGES - len(given)))


def _interpolant() -> Reals:
    """Hairer's nested form θ·(F₀ + (1 - θ)·(F₁ + θ·(F₂ + …))), as weights of the stages by powers of θ."""
    end, unit = _weights(COEFFICIENTS.B), np.eye(STAGES)
    terms = [end, unit[0] - end, 2 * end - (unit[12] + unit[0]), *COEFFICIENTS.D]
    theta, rest = Polynomial([0, 1]), Polynomial([1, -1])
    result = np.zeros((STAGES, len(terms)))
    factor = theta
    for i, term in enumerate(terms):
        powers = factor.coef[1:]
        result[:, : len(powers)] += np.outer(term, powers)
        factor = factor * (rest if i % 2 == 0 else theta)
    return contiguous(result)


DOP853 = Tableau(
    name="dop853",
    order=8,
    error_order=7,
    main=13,
    a=_matrix(),
    c=np.concatenate([COEFFICIENTS.C[:12], [1.0], COEFFICIENTS.C_EXTRA]),
    error=_weights(COEFFICIENTS.E5),
    error_low=_weights(COEFFICIENTS.E3),
    interpolant=_interpolant(),
)
