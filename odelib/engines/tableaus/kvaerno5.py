"""Kværnø's ESDIRK pair of order 5(4), L-stable and stiffly accurate (BIT 44, 2004), with an interpolant of order 4.

The interpolant is not published. At every θ seven conditions determine its seven weights: those of order 4, of which
there are five since Σⱼ aᵢⱼcⱼ = cᵢ²/2 in every stage, and two on what is infinitely fast. For y' = λy and hλ → -∞ the
interpolant is R(θ)·y, and R(θ) = hλ·(b₁ - b̂Â⁻¹a₁) + 1 - b̂Â⁻¹(1 + Â⁻¹a₁) + …, where Â lacks the first row and column,
a₁ is the first column, b the weights and b̂ those but the first. The growing part is to vanish, and the rest to be
(1 - θ)⁴, so that a fast component between the steps is as little disturbed as at their ends.
"""

from __future__ import annotations

import numpy as np

from odelib.arrays import Reals
from odelib.engines.tableaus.tableau import Tableau, contiguous

GAMMA = 0.26
_ROWS = [
    [],
    [0.26],
    [0.13, 0.84033320996790809],
    [0.22371961478320505, 0.47675532319799699, -0.06470895363112615],
    [0.16648564323248321, 0.10450018841591720, 0.03631482272098715, -0.13090704451073998],
    [0.13855640231268224, 0.0, -0.04245337201752043, 0.02446657898003141, 0.61943039072480676],
    [0.13659751177640291, 0.0, -0.05496908796538376, -0.04118626728321046, 0.62993304899016403, 0.06962479448202728],
]


def _matrix() -> Reals:
    a = np.zeros((7, 7))
    for i, row in enumerate(_ROWS):
        a[i, : len(row)] = row
        a[i, i] = GAMMA if i else 0.0
    return a


def _interpolant(a: Reals, c: Reals) -> Reals:
    first = a[1:, 0]
    fast = np.linalg.solve(a[1:, 1:], np.column_stack([first, np.ones(6)]))
    growing = np.concatenate([[1.0], -fast[:, 0]])
    rest = np.concatenate([[0.0], -fast[:, 1] - np.linalg.solve(a[1:, 1:], fast[:, 0])])
    conditions = np.array([np.ones(7), c, c**2, c**3, a @ c**2, growing, rest])
    by_power = np.array(  # the right-hand sides, as polynomials in θ without a constant
        [
            [1.0, 0.0, 0.0, 0.0],
            [0.0, 1 / 2, 0.0, 0.0],
            [0.0, 0.0, 1 / 3, 0.0],
            [0.0, 0.0, 0.0, 1 / 4],
            [0.0, 0.0, 0.0, 1 / 12],
            [0.0, 0.0, 0.0, 0.0],
            [-4.0, 6.0, -4.0, 1.0],
        ]
    )
    return contiguous(np.linalg.solve(conditions, by_power))


_A = _matrix()
_C = _A.sum(axis=1)

KVAERNO5 = Tableau(
    name="kvaerno5",
    order=5,
    error_order=4,
    main=7,
    a=_A,
    c=_C,
    error=_A[6] - _A[5],
    error_low=np.zeros(7),
    interpolant=_interpolant(_A, _C),
)
