"""What an explicit Runge–Kutta method is: its coefficients, its order, its error estimate, its interpolant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from odelib.arrays import Reals


@dataclass(frozen=True)
class Tableau:
    """An embedded explicit pair whose last main stage is the derivative at the end of the step.

    a (s, s), c (s,): all stages, those that only the interpolant needs last; main: how many come before these.
    The solution at the end of the step is the argument of stage main - 1 (first same as last).
    error (s,), error_low (s,): weights of the error estimates; the second, zero where there is none, is
    combined with the first as in DOP853. interpolant (s, d): the solution at θ in [0, 1] is
    y + h·Σᵢ kᵢ·Σ_d interpolant[i, d]·θ^(d+1).
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


def contiguous(array: Reals) -> Reals:
    """As a kernel takes it."""
    return np.ascontiguousarray(array, dtype=np.float64)
