"""Kværnø's ESDIRK pair of order 5(4), L-stable and stiffly accurate (BIT 44, 2004), with an interpolant of order 4.

The interpolant is not from the literature. At every θ seven conditions determine its seven weights b(θ): the five order
conditions of order 4 that are independent, since Σⱼ aᵢⱼcⱼ = cᵢ²/2 in every stage, and two for infinitely stiff
components. For y' = λy and hλ → -∞ the interpolant is R(θ)·y with R(θ) = hλ·(b₁ - b̂Â⁻¹a₁) + 1 - b̂Â⁻¹(1 + Â⁻¹a₁) + …,
where Â is `a` without its first row and column, a₁ its first column without the first entry, and b̂ is b without b₁. The
part that grows must vanish, and the rest be (1 - θ)⁴, so that a stiff component is damped between the ends of a step as
it is there.
"""

from __future__ import annotations

import numpy as np

from odelib.arrays import Reals
from odelib.engines.tableaus.tableau import Tableau, contiguous, matrix

GAMMA = 0.26
_ROWS = [
    [],
    [0.26, GAMMA],
    [0.13, 0.84033320996790809, GAMMA],
    [0.22371961478320505, 0.47675532319799699, -0.06470895363112615, GAMMA],
    [0.16648564323248321, 0.10450018841591720, 0.03631482272098715, -0.13090704451073998, GAMMA],
    [0.13855640231268224, 0.0, -0.04245337201752043, 0.02446657898003141, 0.61943039072480676, GAMMA],
    [
        0.13659751177640291, 0.0, -0.05496908796538376, -0.04118626728321046, 0.62993304899016403,
        0.06962479448202728, GAMMA,
    ],
]  # fmt: skip


def _interpolant(a: Reals, c: Reals) -> Reals:
    first = a[1:, 0]
    stiff = np.linalg.solve(a[1:, 1:], np.column_stack([first, np.ones(6)]))
    growing = np.concatenate([[1.0], -stiff[:, 0]])
    rest = np.concatenate([[0.0], -stiff[:, 1] - np.linalg.solve(a[1:, 1:], stiff[:, 0])])
    conditions = np.array([np.ones(7), c, c**2, c**3, a @ c**2, growing, rest])
    by_power = np.array(  # the right-hand sides, as coefficients of θ, θ², θ³ and θ⁴
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


_A = matrix(_ROWS)
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
