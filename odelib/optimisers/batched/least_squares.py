"""Levenberg–Marquardt for many fits at once, each with its own damping and its own end.

The steps, the damping and the end of each are those of `optimisers/least_squares.py`. There is no loop over members: in
each iteration all that have not ended try one step, and their trial points are solved as one batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from scipy.optimize import lsq_linear

from odelib.arrays import Booleans, Integers, Reals
from odelib.optimisers.least_squares import FIRST_DAMPING, MAX_REJECTED, SMALL_GAINS


@dataclass
class Points:
    """The losses of B members at a point each.

    coordinates, gradient: (B, k). loss: (B,), infinite where it has no value. information: (B, k, k), the Gauss–Newton
    matrix of the loss, 2·JᵀJ of a sum of squares. residuals: (B, R), 0 where nothing is measured. negligible: (B,), the
    gain below which a member has converged.
    """

    coordinates: Reals
    loss: Reals
    gradient: Reals
    information: Reals
    residuals: Reals
    negligible: Reals

    def at(self, members: Integers | Booleans) -> Points:
        """Those of some members."""
        return Points(*(getattr(self, each.name)[members] for each in fields(self)))

    def replace(self, members: Integers, others: Points) -> None:
        """Put others in the place of some members."""
        for each in fields(self):
            getattr(self, each.name)[members] = getattr(others, each.name)


# The members' numbers (b,) and coordinates (b, k) → their points.
Linearise = Callable[[Integers, Reals], Points]


@dataclass(frozen=True)
class Box:
    """The bounds of coordinates, (k,) each, infinite where there is none."""

    lower: Reals
    upper: Reals

    def clip(self, coordinates: Reals) -> Reals:
        """The nearest coordinates within the bounds, (B, k)."""
        return np.clip(coordinates, self.lower, self.upper)


@dataclass(frozen=True)
class Ends:
    """Where the fits of B members ended.

    points: the best ones. is_settled: whether the predicted further gain is below the threshold, (B,). gradients: how
    many were computed in all.
    """

    points: Points
    is_settled: Booleans
    gradients: int


def minimise(linearise: Linearise, start: Reals, scales: Reals, box: Box, *, steps: int) -> Ends:
    """Minimise each member's loss from its start.

    start, scales: (B, k), the magnitudes of the unknowns. steps: the most accepted steps.

    A member whose loss has no value at its start is not settled, and stays there.
    """
    count = len(start)
    at = linearise(np.arange(count), start)
    gradients = count
    damping = FIRST_DAMPING * (_diagonal(at.information) * scales**2).max(axis=1)
    damping = np.where(damping > 0, damping, FIRST_DAMPING)
    growth = np.full(count, 2.0)
    rejected, accepted, small = (np.zeros(count, dtype=np.int64) for _ in range(3))
    left = np.flatnonzero(np.isfinite(at.loss))
    while len(left):
        here, units = at.at(left), scales[left]
        step, predicted = _steps(here, units, damping[left], box)
        trial = box.clip(here.coordinates + step * units)
        moves = (predicted > 0) & (trial != here.coordinates).any(axis=1)
        found = linearise(left[moves], trial[moves]) if moves.any() else here.at(moves)
        gradients += len(found.loss)
        ratio = np.full(len(left), -1.0)
        ratio[moves] = (here.loss[moves] - found.loss) / predicted[moves]
        better = ratio > 0
        gain = here.loss[better] - found.loss[better[moves]]
        up, down = left[better], left[~better]
        at.replace(up, found.at(better[moves]))
        # Nielsen's damping: see `optimisers.least_squares._Damping`
        damping[up] *= np.maximum(1 / 3, 1 - (2 * np.minimum(ratio[better], 1.0) - 1) ** 3)
        growth[up], rejected[up] = 2.0, 0
        accepted[up] += 1
        damping[down] *= growth[down]
        growth[down] *= 2
        rejected[down] += 1
        threshold = at.negligible[up]
        is_small = gain < threshold
        is_small[is_small] = predicted_gain(at.at(up[is_small]), scales[up[is_small]]) < threshold[is_small]
        small[up] = np.where(is_small, small[up] + 1, 0)
        ended = (small >= SMALL_GAINS) | (accepted >= steps) | (rejected >= MAX_REJECTED) | ~np.isfinite(damping)
        stuck = left[~better & ~moves]
        ended[stuck] = True
        left = left[~ended[left]]
    is_settled = np.isfinite(at.loss)
    is_settled[is_settled] = predicted_gain(at.at(is_settled), scales[is_settled]) < at.negligible[is_settled]
    return Ends(at, is_settled, gradients)


def predicted_gain(at: Points, scales: Reals) -> Reals:
    """By how much a Gauss–Newton step would lower each loss, ½·gᵀH⁻¹g, (B,); infinite where H is singular."""
    gradient = at.gradient * scales
    matrix = at.information * (scales[:, :, None] * scales[:, None, :])
    step = _solved(matrix, gradient)
    gain: Reals = 0.5 * np.einsum("bi,bi->b", gradient, step)
    gain[~np.isfinite(gain)] = np.inf
    return gain


def _steps(at: Points, scales: Reals, damping: Reals, box: Box) -> tuple[Reals, Reals]:
    """The steps (B, k) at which each model + ½·damping·‖d‖² is least within the bounds, and what they gain, (B,)."""
    gradient = at.gradient * scales
    matrix = at.information * (scales[:, :, None] * scales[:, None, :])
    damped = matrix + damping[:, None, None] * np.eye(len(box.lower))
    step = -_solved(damped, gradient)
    lower, upper = (box.lower - at.coordinates) / scales, (box.upper - at.coordinates) / scales
    outside = ~((step >= lower) & (step <= upper)).all(axis=1) & np.isfinite(step).all(axis=1)
    for member in np.flatnonzero(outside):  # few: a bound is in the way of the step
        step[member] = _bounded(damped[member], gradient[member], lower[member], upper[member])
    step = np.where(np.isfinite(step).all(axis=1, keepdims=True), step, 0.0)
    gain = -np.einsum("bi,bi->b", gradient, step) - 0.5 * np.einsum("bi,bij,bj->b", step, matrix, step)
    return step, gain


def _bounded(matrix: Reals, gradient: Reals, lower: Reals, upper: Reals) -> Reals:
    """The step within the bounds at which gᵀd + ½·dᵀAd is least: see `least_squares._LocalModel`."""
    room = 1e-12
    eigenvalues, eigenvectors = np.linalg.eigh(matrix)
    smallest = float(np.finfo(np.float64).eps) * max(float(eigenvalues[-1]), 1e-300)
    root = np.sqrt(np.maximum(eigenvalues, smallest))
    target = -(eigenvectors.T @ gradient) / root
    bounds = np.minimum(lower, -room), np.maximum(upper, room)
    return np.array(lsq_linear(root[:, None] * eigenvectors.T, target, bounds=bounds, method="bvls").x)


def _solved(matrices: Reals, rights: Reals) -> Reals:
    """The solutions (B, k) of A·x = b; NaN where A is singular or not finite."""
    try:
        return np.array(np.linalg.solve(matrices, rights[:, :, None])[:, :, 0])
    except np.linalg.LinAlgError:  # one of them is: each by itself
        found: Reals = np.full(rights.shape, np.nan)
        for member, (matrix, right) in enumerate(zip(matrices, rights, strict=True)):
            if np.isfinite(matrix).all() and np.linalg.matrix_rank(matrix, hermitian=True) == len(matrix):
                found[member] = np.linalg.solve(matrix, right)
    return found


def _diagonal(matrices: Reals) -> Reals:
    return np.diagonal(matrices, axis1=1, axis2=2)
