"""Levenberg–Marquardt on the Gauss–Newton matrix of the loss, with bounds and absolute terms.

For a sum of squares this is nonlinear least squares. For a likelihood the matrix is the expected information (Fisher
scoring), which unlike the Hessian is never indefinite, and weights robust noise as it should. A trial point costs one
solve with sensitivities, which gives the matrix for the next step as well.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.optimize import lsq_linear

from odelib.arrays import Reals
from odelib.objective.objective import Evaluation, GaussNewton, Objective
from odelib.objective.unknowns import Unknowns
from odelib.optimisers.base import StopCode
from odelib.optimisers.convergence import (
    gain_threshold,
    is_already_converged,
    is_blind,
    is_optimum,
    noise_deviation,
    predicted_gain,
)
from odelib.optimisers.evaluator import Evaluator, TrialFailed
from odelib.problem.stages import LeastSquaresStage

FIRST_DAMPING = 1e-3  # of the largest diagonal entry of the Gauss–Newton matrix
MAX_REJECTED = 30  # in a row; by then no step is long enough to change the loss
SMALL_GAINS = 2  # in a row, before the fit has converged
SLOW_STEPS = 4
MAX_REWEIGHTINGS = 100
FIRST_KINK_WIDTH, KINK_WIDTH = 1e-1, 1e-7  # in units of the loss: below it an absolute term is replaced by a parabola


class LeastSquares:
    """Levenberg–Marquardt with the settings of a request's stage."""

    kind: ClassVar[str] = "least_squares"

    def __init__(self, settings: LeastSquaresStage) -> None:
        self.steps = settings.steps

    def run(self, evaluator: Evaluator) -> StopCode:
        """See `Optimiser.run`. It has no state: an interrupted stage continues from the best point."""
        if is_already_converged(evaluator.objective, evaluator.best):
            return "converged"
        try:
            start = evaluator.linearise(evaluator.best.coordinates)
        except TrialFailed:  # the states can be solved there, their derivatives cannot
            return "solve_failed"
        return levenberg_marquardt(evaluator, *start, steps=self.steps - evaluator.counts.steps).code


@dataclass(frozen=True)
class EndPoint:
    """Where a minimisation stopped, and why."""

    code: StopCode
    evaluation: Evaluation
    gauss_newton: GaussNewton


Linearisation = tuple[Evaluation, GaussNewton]
Minimisation = Generator[Reals, Linearisation | None, EndPoint]  # see `minimise`


@dataclass(frozen=True)
class Accuracy:
    """When a minimisation that need not be exact may stop, in units of the loss.

    negligible: a predicted gain that is not worth a step. slow: the gain of `SLOW_STEPS` steps below which it creeps
    along a valley.
    """

    negligible: float
    slow: float


def levenberg_marquardt(
    evaluator: Evaluator,
    at: Evaluation,
    gauss_newton: GaussNewton,
    *,
    steps: int,
    accuracy: Accuracy | None = None,
    first_damping: float | None = None,
) -> EndPoint:
    """Minimise the loss from a point, in at most so many accepted steps. accuracy, first_damping: see `minimise`."""
    objective, start = evaluator.objective, (at, gauss_newton)
    minimisation = minimise(
        objective,
        evaluator.unknowns,
        start,
        steps,
        accuracy=accuracy,
        first_damping=first_damping,
        on_step=evaluator.step,
    )
    try:
        point = next(minimisation)
        while True:
            point = minimisation.send(_linearise(evaluator, point))
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def lowest_by_least_squares(
    evaluator: Evaluator, starts: Sequence[Linearisation], *, steps: int, most_work: float
) -> list[Evaluation]:
    """The lowest points that `levenberg_marquardt` finds from each of these, whose trials are solved as one batch.

    most_work: of the evaluator, beyond which none goes on.
    """
    lowest = [at for at, _ in starts]
    walks = [minimise(evaluator.objective, evaluator.unknowns, start, steps) for start in starts]
    trials = {number: next(walk, None) for number, walk in enumerate(walks)}
    while (points := {number: trial for number, trial in trials.items() if trial is not None}) and (
        evaluator.work < most_work
    ):
        for number, found in zip(points, evaluator.linearise_all(list(points.values())), strict=True):
            if found and found[0].loss < lowest[number].loss:
                lowest[number] = found[0]
            try:
                trials[number] = walks[number].send(found)
            except StopIteration:
                trials[number] = None
    return lowest


def minimise(
    objective: Objective,
    unknowns: Unknowns,
    start: Linearisation,
    steps: int,
    *,
    accuracy: Accuracy | None = None,
    first_damping: float | None = None,
    on_step: Callable[[], None] = lambda: None,
) -> Minimisation:
    """Minimise the loss from a point: yield points to linearise, be sent what comes of each, return where it ends.

    unknowns: those of the objective, with the bounds that hold. accuracy: when it may stop without trying for more; if
    None, it stops after small gains. first_damping: a curvature, by default a part of the largest. on_step: called
    after each accepted step.
    """
    at, gauss_newton = start
    scales = unknowns.magnitudes(at.coordinates)
    model = _LocalModel(unknowns, at, gauss_newton, scales)
    damping = _Damping(FIRST_DAMPING * model.largest_curvature if first_damping is None else first_damping)
    small_gains, losses = 0, [at.loss]
    for _ in range(steps):
        if accuracy and _is_accurate(objective, unknowns, (at, gauss_newton), losses, accuracy):
            return EndPoint("converged", at, gauss_newton)
        trial = yield from _find_lower(unknowns, at, model, scales, damping)
        if trial is None:
            code: StopCode = "converged" if accuracy or is_optimum(objective, at, gauss_newton) else "no_progress"
            return EndPoint(code, at, gauss_newton)
        at, gauss_newton = trial
        losses.append(at.loss)
        model = _LocalModel(unknowns, at, gauss_newton, scales)
        on_step()
        threshold = accuracy.negligible if accuracy else gain_threshold(objective, at)
        gain = losses[-2] - at.loss
        if gain < threshold:
            gain = predicted_gain(unknowns, at, gauss_newton, threshold, noise_deviation(objective, at))
        is_small = gain < threshold
        small_gains = small_gains + 1 if is_small else 0
        if small_gains >= SMALL_GAINS:
            code = "no_progress" if is_blind(objective, at, gauss_newton) else "converged"
            return EndPoint(code, at, gauss_newton)
    return EndPoint("step_limit", at, gauss_newton)


def _is_accurate(
    objective: Objective, unknowns: Unknowns, point: Linearisation, losses: list[float], accuracy: Accuracy
) -> bool:
    if len(losses) > SLOW_STEPS and losses[-1 - SLOW_STEPS] - losses[-1] < accuracy.slow:
        return True
    noise = noise_deviation(objective, point[0])
    return predicted_gain(unknowns, *point, accuracy.negligible, noise) < accuracy.negligible


@dataclass
class _Damping:
    """The damping λ of Nielsen (Damping Parameter in Marquardt's Method, 1999).

    The textbook divides or multiplies λ by a constant where the ratio ρ of actual and predicted gain passes a
    threshold, and can alternate between the two for ever. Here λ changes smoothly with ρ after an accepted step, and
    grows faster with each rejected one.
    """

    value: float
    growth: float = 2.0

    def accept(self, ratio: float) -> None:
        """λ *= max(1/3, 1 − (2ρ − 1)³): grows for ρ < ½, shrinks for ρ > ½. ρ above 1 counts as 1."""
        self.value *= max(1 / 3, 1 - (2 * min(ratio, 1.0) - 1) ** 3)
        self.growth = 2.0

    def reject(self) -> None:
        """λ *= 2, 4, 8, … in a row."""
        self.value *= self.growth
        self.growth *= 2


def _find_lower(
    unknowns: Unknowns, at: Evaluation, model: _LocalModel, scales: Reals, damping: _Damping
) -> Generator[Reals, Linearisation | None, Linearisation | None]:
    """Raise the damping until a step lowers the loss. None if no step does, or the model predicts no gain."""
    for _ in range(MAX_REJECTED):
        step = model.step(damping.value)
        predicted = model.gain(step)
        point = unknowns.clip(at.coordinates + step * scales)
        trial = None if np.array_equal(point, at.coordinates) else (yield point)
        ratio = (at.loss - trial[0].loss) / predicted if trial and predicted > 0 else -1.0
        if ratio > 0:
            damping.accept(ratio)
            return trial
        damping.reject()
        if predicted <= 0 or not np.isfinite(damping.value):
            return None
    return None


def _linearise(evaluator: Evaluator, point: Reals) -> Linearisation | None:
    try:
        return evaluator.linearise(point)
    except TrialFailed:
        return None


class _LocalModel:
    """The loss after a step d from a point: loss + gᵀd + ½·dᵀHd + Σ wᵢ·(|rᵢ + kᵢᵀd| − |rᵢ|).

    d is in units of `scales`, the magnitudes of the unknowns. They serve in place of Marquardt's scaling by the
    diagonal of H, which would let an unknown that hardly matters run away. g and H leave the absolute terms out, and
    H of Laplace noise is therefore 0; the terms themselves, with offsets rᵢ and weights wᵢ, are exact in their place.
    """

    def __init__(self, unknowns: Unknowns, at: Evaluation, gauss_newton: GaussNewton, scales: Reals) -> None:
        jacobian, absolute_terms = gauss_newton.smooth_jacobian * scales, gauss_newton.absolute_terms
        self._factor = np.linalg.qr(jacobian, mode="r")
        self._offset_jacobian = absolute_terms.jacobian * scales
        self._offsets, self._weights = absolute_terms.offsets, absolute_terms.weights
        self._gradient = at.gradient * scales - (self._weights * np.sign(self._offsets)) @ self._offset_jacobian
        # the point may lie outside a bound by a rounding error, and the bounds must leave room for a step
        room = 1e-12 * np.maximum(np.abs(at.coordinates / scales), 1.0)
        self._lower = np.minimum((unknowns.lower - at.coordinates) / scales, -room)
        self._upper = np.maximum((unknowns.upper - at.coordinates) / scales, room)
        self._moves = np.flatnonzero(unknowns.lower < unknowns.upper)  # the others are held, as in a profile
        self.largest_curvature = float(np.square(gauss_newton.jacobian * scales).sum(axis=0).max(initial=0.0)) or 1.0

    def step(self, damping: float) -> Reals:
        """The step within the bounds at which the model + ½·damping·‖d‖² is least, (count,).

        Absolute terms make that a quadratic program. It is solved by reweighting: |r| <= (r²/|r₀| + |r₀|)/2, with
        equality at r = r₀, the offset after the last step (Hunter and Lange, A Tutorial on MM Algorithms, 2004). Each
        iteration minimises a quadratic, by the same code as without absolute terms, and lowers the model.
        """
        damped = np.vstack([self._factor, np.sqrt(damping) * np.eye(len(self._gradient))])
        if not len(self._offsets):
            return self._minimise_quadratic(damped, self._gradient)
        step, offsets, width = np.zeros(len(self._gradient)), self._offsets, FIRST_KINK_WIDTH
        for _ in range(MAX_REWEIGHTINGS):
            curvatures = self._weights / np.maximum(
                np.abs(offsets), width / self._weights
            )  # no division by 0 at a kink
            factor = np.vstack([damped, np.sqrt(curvatures)[:, None] * self._offset_jacobian])
            gradient = self._gradient + (curvatures * self._offsets) @ self._offset_jacobian
            last, step = step, self._minimise_quadratic(factor, gradient)
            offsets, width = self._offsets + self._offset_jacobian @ step, KINK_WIDTH
            if np.abs(step - last).max() <= 1e-10 * np.abs(step).max():
                break
        return step

    def gain(self, step: Reals) -> float:
        """By how much the step lowers the model."""
        smooth = self._gradient @ step + 0.5 * float(np.square(self._factor @ step).sum())
        absolute = self._weights @ (np.abs(self._offsets + self._offset_jacobian @ step) - np.abs(self._offsets))
        return -float(smooth + absolute)

    def _minimise_quadratic(self, factor: Reals, gradient: Reals) -> Reals:
        """The step within the bounds at which gᵀd + ½‖F·d‖² is least, (count,). Held coordinates do not move.

        F = UΣVᵀ gives R = ΣVᵀ with RᵀR = FᵀF, and the least-squares problem R·d ≈ −R⁻ᵀg, which bounded-variable least
        squares solves (Stark and Parker, 1995). To clip the unbounded step is simpler, but the clipped one may lead
        uphill. FᵀF itself is not formed: in chaos its rounding errors exceed the curvature in most directions.
        """
        moves, step = self._moves, np.zeros(len(gradient))
        if not len(moves):
            return step
        lower, upper = self._lower[moves], self._upper[moves]
        _, lengths, directions = np.linalg.svd(factor[:, moves], full_matrices=False)
        lengths = np.maximum(lengths, np.finfo(np.float64).eps * max(float(lengths[0]), 1e-150))
        target = -(directions @ gradient[moves]) / lengths
        unbounded = directions.T @ (target / lengths)
        if np.all(unbounded >= lower) and np.all(unbounded <= upper):
            step[moves] = unbounded
            return step
        step[moves] = lsq_linear(lengths[:, None] * directions, target, bounds=(lower, upper), method="bvls").x
        return step
