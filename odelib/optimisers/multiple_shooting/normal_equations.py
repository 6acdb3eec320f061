"""The normal equations of multiple shooting, and their solution by condensing.

A residual depends on the coordinates of the unknowns and on the initial state of its own segment. A gap depends on the
coordinates and on the initial states of two segments, one after the other. So JᵀJ is block tridiagonal in the inner
states, with a border for the coordinates. The inner states are eliminated one segment after the other, which leaves a
system for the coordinates (condensing, Bock 1981). That takes m·n²·(n + count) operations with m inner segments of n
states, where a dense solution takes (m·n + count)³.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from odelib.arrays import Reals

MIN_DIAGONAL = 1e-8  # relative to the largest diagonal entry: what a variable without effect is damped by
MIN_DAMPING = 1e-12  # keeps the damped matrix, whose diagonal is scaled to 1, positive definite beside rounding errors


@dataclass
class NormalEquations:
    """JᵀJ and Jᵀr of a sum of squares by the coordinates, (count,), and the inner states, (m, n).

    border: (count, count). coupling: inner states by coordinates, (m, n, count). diagonal: (m, n, n). lower: each inner
    state by that before it, (m, n, n); 0 for the first in a series. gradient: by the coordinates, and inner_gradient.
    """

    border: Reals
    coupling: Reals
    diagonal: Reals
    lower: Reals
    gradient: Reals
    inner_gradient: Reals

    @classmethod
    def zeros(cls, count: int, inner: int, states: int) -> NormalEquations:
        """Those of an empty sum."""
        return cls(
            border=np.zeros((count, count)),
            coupling=np.zeros((inner, states, count)),
            diagonal=np.zeros((inner, states, states)),
            lower=np.zeros((inner, states, states)),
            gradient=np.zeros(count),
            inner_gradient=np.zeros((inner, states)),
        )

    def add_residuals(self, residuals: Reals, jacobian: Reals, inner_index: int | None) -> None:
        """Add residuals, (k,), of a segment. jacobian: by the coordinates, then by its own state, (k, count + n).

        inner_index: of the segment among the inner ones; None if it has no inner state.
        """
        count = len(self.gradient)
        gram, gradient = jacobian.T @ jacobian, jacobian.T @ residuals
        self.border += gram[:count, :count]
        self.gradient += gradient[:count]
        if inner_index is not None:
            self.coupling[inner_index] += gram[count:, :count]
            self.diagonal[inner_index] += gram[count:, count:]
            self.inner_gradient[inner_index] += gradient[count:]

    def add_gap(self, gap: Reals, end_jacobian: Reals, units: Reals, inner_index: int, before: int | None) -> None:
        """Add the gap, (n,), between the end of a segment and the start of the inner segment after it.

        end_jacobian: of the end by the coordinates and the state of its own segment, (n, count + n). units: by which
        gap and end_jacobian have been divided, (n,). before: the index of that segment among the inner ones, or None.
        """
        count = len(self.gradient)
        self.add_residuals(gap, end_jacobian, before)
        self.coupling[inner_index] -= end_jacobian[:, :count] / units[:, None]
        self.diagonal[inner_index] += np.diag(1 / units**2)
        self.inner_gradient[inner_index] -= gap / units
        if before is not None:
            self.lower[inner_index] -= end_jacobian[:, count:] / units[:, None]

    def plus(self, other: NormalEquations, weight: float) -> NormalEquations:
        """The normal equations of this sum of squares and `weight` times another one."""
        return NormalEquations(
            border=self.border + weight * other.border,
            coupling=self.coupling + weight * other.coupling,
            diagonal=self.diagonal + weight * other.diagonal,
            lower=self.lower + weight * other.lower,
            gradient=self.gradient + weight * other.gradient,
            inner_gradient=self.inner_gradient + weight * other.inner_gradient,
        )

    def scaled(self, units: Reals, inner_units: Reals) -> NormalEquations:
        """The same by variables in these units, (count,) and (m, n)."""
        before = np.concatenate([inner_units[:1], inner_units[:-1]])
        return NormalEquations(
            border=self.border * units[:, None] * units,
            coupling=self.coupling * inner_units[:, :, None] * units,
            diagonal=self.diagonal * inner_units[:, :, None] * inner_units[:, None, :],
            lower=self.lower * inner_units[:, :, None] * before[:, None, :],
            gradient=self.gradient * units,
            inner_gradient=self.inner_gradient * inner_units,
        )

    def step(self, damping: float, lower: Reals, upper: Reals) -> tuple[Reals, Reals]:
        """The damped step of the coordinates, within bounds, and of the inner states: (JᵀJ + λ·D)·d = −Jᵀr.

        D is the diagonal of JᵀJ, as in Marquardt's method, because beside a gap weight of 1e8 no one damping suits both
        coordinates and states. Raises `LinAlgError` where JᵀJ, or what elimination leaves of it, is not finite or not
        positive definite.
        """
        diagonals = np.concatenate([np.diag(self.border), np.einsum("mii->mi", self.diagonal).reshape(-1)])
        damped = np.maximum(diagonals, max(MIN_DIAGONAL * float(diagonals.max(initial=0.0)), 1e-300))
        size, count = 1 / np.sqrt(damped), len(self.gradient)
        units, inner_units = size[:count], size[count:].reshape(self.inner_gradient.shape)
        unit_diagonal = self.scaled(units, inner_units)
        unit_diagonal._damp(max(damping, MIN_DAMPING))
        step, inner_step = unit_diagonal._condense(lower / units, upper / units)
        return np.clip(step * units, lower, upper), inner_step * inner_units

    def _damp(self, damping: float) -> None:
        self.border += damping * np.eye(len(self.gradient))
        self.diagonal += damping * np.eye(self.diagonal.shape[-1])

    def _condense(self, lower: Reals, upper: Reals) -> tuple[Reals, Reals]:
        """Solve for the coordinates without the inner states, then for these, from the last one to the first."""
        matrix, gradient = self.border.copy(), self.gradient.copy()
        factors: list[tuple[Reals, bool]] = []  # Cholesky's, of the pivots P
        right_sides: list[Reals] = []  # F
        eliminated: Reals | None = None  # P⁻¹·F of the segment before
        for own, below, coupling, of_inner in zip(
            self.diagonal, self.lower, self.coupling, self.inner_gradient, strict=True
        ):
            right_side = np.column_stack([coupling, of_inner])
            pivot = own
            if eliminated is not None:
                right_side = right_side - below @ eliminated
                pivot = own - below @ cho_solve(factors[-1], below.T, check_finite=False)
            factors.append(cho_factor(pivot, lower=True, check_finite=False))
            eliminated = cho_solve(factors[-1], right_side, check_finite=False)
            matrix -= right_side[:, :-1].T @ eliminated[:, :-1]
            gradient -= right_side[:, :-1].T @ eliminated[:, -1]
            right_sides.append(right_side)
        if not (np.isfinite(matrix).all() and np.isfinite(gradient).all()):
            raise np.linalg.LinAlgError("elimination overflows")
        step = _step_within_bounds(matrix, gradient, lower, upper)
        inner_step = np.zeros(self.inner_gradient.shape)
        rest = np.zeros(self.inner_gradient.shape[1])  # what the segment after adds
        for index in reversed(range(len(factors))):
            of_index = right_sides[index][:, -1] + right_sides[index][:, :-1] @ step
            inner_step[index] = -cho_solve(factors[index], of_index + rest, check_finite=False)
            rest = self.lower[index].T @ inner_step[index]
        return step, inner_step


def _step_within_bounds(matrix: Reals, gradient: Reals, lower: Reals, upper: Reals) -> Reals:
    """The step d with matrix·d = −gradient. Coordinates that would pass a bound are put onto it; the others follow.

    That need not be the best step within the bounds, but here it need not be.
    """
    at_bound, step = np.zeros(len(gradient), dtype=bool), np.zeros(len(gradient))
    for _ in range(3):
        free = ~at_bound
        target = gradient[free] + matrix[np.ix_(free, at_bound)] @ step[at_bound]
        step[free] = -np.linalg.lstsq(matrix[np.ix_(free, free)], target, rcond=None)[0]
        passed = free & ((step < lower) | (step > upper))
        if not passed.any():
            break
        step = np.clip(step, lower, upper)
        at_bound |= passed
    return step
