"""A Runge–Kutta method as data: its coefficients, orders, error estimate and interpolant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from odelib.arrays import Reals


@dataclass(frozen=True)
class Tableau:
    """An embedded pair, explicit or singly diagonally implicit, with an interpolant.

    Stage i is kᵢ = f(t + cᵢ·h, y + h·Σⱼ aᵢⱼ·kⱼ). The argument of stage main - 1 is the solution at the end of the step:
    that stage is the first one of the next step (first same as last, FSAL).

    name: as in a request.
    order: of the solution. error_order: of the embedded solution, so that the error estimate is O(h^(error_order + 1)).
    a: (s, s), c: (s,), with the stages that only the interpolant needs last. main: the number of stages before those.
    error, error_low: (s,), eⱼ of the error estimates h·Σ eⱼ·kⱼ. The second is 0 unless the method combines two, as
    DOP853 does: see `step_control.mean_square`.
    interpolant: (s, d), so that the solution at t + θ·h is y + h·Σⱼ kⱼ·Σ_d interpolant[j, d]·θ^(d + 1).
    """

    name: str
    order: int
    error_order: int
    main: int
    a: Reals
    c: Reals
    error: Reals
    error_low: Reals
    interpolant: Reals


def matrix(rows: Sequence[Sequence[float]]) -> Reals:
    """The matrix `a` from its rows, each without the zeros on its right."""
    a = np.zeros((len(rows), len(rows)))
    for i, row in enumerate(rows):
        a[i, : len(row)] = row
    return a


def contiguous(array: Reals) -> Reals:
    """The array as compiled code expects it."""
    return np.ascontiguousarray(array, dtype=np.float64)
