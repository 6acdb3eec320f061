"""Kværnø's ESDIRK pair of order 5(4), L-stable and stiffly accurate (BIT 44, 2004), with an interpolant of order 4.

The interpolant is not published: its weights are the least ones that meet the conditions of order 4 at every θ,
take the step's end value, and meet the derivatives at both ends. Since Σⱼ aᵢⱼcⱼ = cᵢ²/2 in every stage, five
conditions stand for all trees up to order 4.
"""

from __future__ import annotations

import numpy as np

from odelib.engines.compiled.methods.tableau import Reals, Tableau, contiguous

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
POWERS = 5


def _matrix() -> Reals:
    a = np.zeros((7, 7))
    for i, row in enumerate(_ROWS):
        a[i, : len(row)] = row
        a[i, i] = GAMMA if i else 0.0
    return a


def _interpolant(a: Reals, c: Reals) -> Reals:
    stages = len(c)
    unknowns = (stages, POWERS)
    conditions, targets = [], []

    def demand(weights: Reals, target: float) -> None:
        conditions.append(weights.ravel())
        targets.append(target)

    moments = [(np.ones(stages), 1, 1.0), (c, 2, 1 / 2), (c**2, 3, 1 / 3), (c**3, 4, 1 / 4), (a @ c**2, 4, 1 / 12)]
    for moment, power, value in moments:
        for d in range(1, POWERS + 1):
            weights = np.zeros(unknowns)
            weights[:, d - 1] = moment
            demand(weights, value if d == power else 0.0)
    for i in range(stages):
        for factors, target in (
            (np.ones(POWERS), a[-1, i]),
            (np.arange(1.0, POWERS + 1), float(i == stages - 1)),
            (np.eye(POWERS)[0], float(i == 0)),
        ):
            weights = np.zeros(unknowns)
            weights[i] = factors
            demand(weights, target)
    solution, *_ = np.linalg.lstsq(np.array(conditions), np.array(targets), rcond=1e-10)
    return contiguous(solution.reshape(unknowns))


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
