"""Levenberg and Marquardt's method on the Gauss–Newton matrix of the loss, with bounds.

For a sum of squares this is nonlinear least squares; for a likelihood the matrix is the expected information
(Fisher scoring), which weighs robust and other noise as it should be. Each trial costs one solve with
sensitivities. The damping follows the ratio of actual and predicted gain (Nielsen, 1999).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.optimize import lsq_linear

from odelib.arrays import Reals
from odelib.objective.objective import Evaluation, GaussNewton
from odelib.optimisers.base import StopCode
from odelib.optimisers.evaluator import Evaluator, TrialFailed
from odelib.problem.stages import LeastSquaresStage

FIRST_DAMPING = 1e-3  # of the largest diagonal entry of the Gauss–Newton matrix
MAX_REJECTED = 30  # in a row: the damping has then grown beyond any use
REWEIGHTED = 100  # parabolas in place of absolute_terms, at most
WIDE, NARROW = 1e-1, 1e-7  # of the loss: the width of a tent's tip as a parabola, at first and then
CHECKS = 2  # small gains in a row before the optimum is believed


class LeastSquares:
    """Levenberg and Marquardt's method with the settings of a request's stage."""

    kind: ClassVar[str] = "least_squares"

    def __init__(self, settings: LeastSquaresStage) -> None:
        self.steps = settings.steps

    def run(self, evaluator: Evaluator) -> StopCode:
        """See `Stage.run`. It keeps no memory: an interrupted stage goes on from the best point."""
        if evaluator.is_done():
            return "converged"
        try:
            start = evaluator.linearise(evaluator.best.coordinates)
        except TrialFailed:  # the states can be solved there, their derivatives cannot
            return "solve_failed"
        return descend(evaluator, *start, steps=self.steps - evaluator.counts.steps).code


@dataclass(frozen=True)
class Descent:
    """Why a descent stopped, and where."""

    code: StopCode
    end: Evaluation


def descend(
    evaluator: Evaluator, at: Evaluation, curvature: GaussNewton, *, steps: int, negligible: float | None = None
) -> Descent:
    """Go downhill from a point, for at most so many accepted steps.

    negligible: a predicted gain at which it is done without trying for it; where None, small gains must have been seen.
    """
    scales = evaluator.unknowns.magnitudes(at.coordinates)
    model = _Model(evaluator, at, curvature, scales)
    damping, growth, small, rejected = FIRST_DAMPING * model.steepness, 2.0, 0, 0
    for _ in range(steps):
        if negligible is not None and evaluator.predicted_gain(at, curvature, negligible) < negligible:
            return Descent("converged", at)
        while True:
            move = model.move(damping)
            predicted = model.gain(move)
            trial = _try(evaluator, at, evaluator.unknowns.clip(at.coordinates + move * scales))
            ratio = (at.loss - trial[0].loss) / predicted if trial and predicted > 0 else -1.0
            if trial and ratio > 0:
                break
            rejected += 1
            damping, growth = damping * growth, growth * 2
            if rejected >= MAX_REJECTED or predicted <= 0 or not np.isfinite(damping):
                limit = evaluator.threshold(at)
                done = evaluator.predicted_gain(at, curvature, limit) < limit
                return Descent("converged" if done else "no_progress", at)
        gained, rejected, growth = at.loss - trial[0].loss, 0, 2.0
        damping *= max(1 / 3, 1 - (2 * min(ratio, 1.0) - 1) ** 3)
        at, curvature = trial
        model = _Model(evaluator, at, curvature, scales)
        evaluator.step()
        limit = evaluator.threshold(at)
        small = small + 1 if gained < limit and evaluator.predicted_gain(at, curvature, limit) < limit else 0
        if small >= CHECKS:
            return Descent("converged", at)
    return Descent("step_limit", at)


class _Model:
    """The loss around a point, in scaled coordinates: a quadratic part and absolute_terms."""

    def __init__(self, evaluator: Evaluator, at: Evaluation, curvature: GaussNewton, scales: Reals) -> None:
        rows, absolute_terms = curvature.smooth * scales, curvature.absolute_terms
        self._matrix = rows.T @ rows
        self._slopes = absolute_terms.jacobian * scales
        self._offsets, self._heights = absolute_terms.offsets, absolute_terms.weights
        self._gradient = at.gradient * scales - (self._heights * np.sign(self._offsets)) @ self._slopes
        room = 1e-12 * np.maximum(np.abs(at.coordinates / scales), 1.0)  # for a bound that was passed by a rounding
        self._low = np.minimum((evaluator.unknowns.lower - at.coordinates) / scales, -room)
        self._high = np.maximum((evaluator.unknowns.upper - at.coordinates) / scales, room)
        self.steepness = float((np.square(curvature.rows * scales)).sum(axis=0).max(initial=0.0)) or 1.0

    def move(self, damping: float) -> Reals:
        """The step that is best within the bounds beside a price of ½·damping·‖step‖²."""
        damped = self._matrix + damping * np.eye(len(self._matrix))
        if not len(self._offsets):
            return self._bounded(damped, self._gradient)
        move, weights = np.zeros(len(damped)), self._heights / np.maximum(np.abs(self._offsets), WIDE / self._heights)
        for _ in range(REWEIGHTED):  # a tent as a parabola through the point where it was met last
            bent = damped + (self._slopes.T * weights) @ self._slopes
            last, move = move, self._bounded(bent, self._gradient + (weights * self._offsets) @ self._slopes)
            weights = self._heights / np.maximum(np.abs(self._offsets + self._slopes @ move), NARROW / self._heights)
            if np.abs(move - last).max() <= 1e-10 * np.abs(move).max():
                break
        return move

    def gain(self, move: Reals) -> float:
        """How much less the loss is after this step, by this model."""
        smooth = self._gradient @ move + 0.5 * move @ self._matrix @ move
        absolute_terms = self._heights @ (np.abs(self._offsets + self._slopes @ move) - np.abs(self._offsets))
        return -float(smooth + absolute_terms)

    def _bounded(self, matrix: Reals, gradient: Reals) -> Reals:
        """The least of the quadratic within the bounds; directions that rounding leaves without a slope are lifted."""
        lengths, directions = np.linalg.eigh(matrix)
        lengths = np.maximum(lengths, np.finfo(np.float64).eps * max(float(lengths[-1]), 1e-300))
        target = -(directions.T @ gradient) / np.sqrt(lengths)
        move: Reals = directions @ (target / np.sqrt(lengths))
        if np.all(move >= self._low) and np.all(move <= self._high):
            return move
        root = np.sqrt(lengths)[:, None] * directions.T
        return np.asarray(lsq_linear(root, target, bounds=(self._low, self._high), method="bvls").x)


def _try(evaluator: Evaluator, at: Evaluation, coordinates: Reals) -> tuple[Evaluation, GaussNewton] | None:
    if np.array_equal(coordinates, at.coordinates):
        return None
    try:
        return evaluator.linearise(coordinates)
    except TrialFailed:
        return None
