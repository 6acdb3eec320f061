"""L-BFGS-B (Byrd, Lu, Nocedal and Zhu, 1995) by scipy, with scaled unknowns and a scaled loss.

scipy sees each unknown divided by its magnitude, and the loss multiplied by a factor that gives its first trial step
the requested length. Its own stopping rules are off: `ftol` also stops where it is only stuck, and no value of `gtol`
fits all losses. The predicted gain decides in their place, see `convergence`.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from scipy.optimize import OptimizeResult, minimize

from odelib.arrays import Reals
from odelib.errors import SolveError
from odelib.objective.objective import Evaluation, NotFinite
from odelib.optimisers.base import StopCode
from odelib.optimisers.convergence import gain_threshold, is_already_converged, is_converged
from odelib.optimisers.evaluator import Evaluator, TrialFailed
from odelib.problem.stages import LbfgsbStage

# scipy's first trial step is −g if every unknown has two bounds, and −g/‖g‖ otherwise (`lnsrlb` of L-BFGS-B). A missing
# bound is passed as this large number, so that the step is −g always and the factor of the loss sets its length.
INFINITE_BOUND = 1e20
SMALL_GAINS = 2  # in a row, before convergence is checked by the Gauss–Newton matrix, which costs as much as a gradient
RECHECK_STEPS = 5  # after such a check that failed
MIN_MEMORY, MAX_MEMORY = 10, 30  # pairs of changes from which B is built


class _Converged(Exception):
    """Leaves scipy's loop: the optimum is reached."""


class _AtBarrier(Exception):
    """Leaves scipy's loop: it accepted a point that cannot be solved."""


class Lbfgsb:
    """L-BFGS-B with the settings of a request's stage."""

    kind: ClassVar[str] = "lbfgsb"

    def __init__(self, settings: LbfgsbStage) -> None:
        self.steps = settings.steps
        self.initial_step_norm = settings.initial_step_norm

    def run(self, evaluator: Evaluator) -> StopCode:
        """See `Optimiser.run`. It has no state: an interrupted stage continues from the best point."""
        if is_already_converged(evaluator.objective, evaluator.best):
            return "converged"
        for _ in range(2):  # if it stops by itself elsewhere, it is restarted once, with new magnitudes
            code = _Minimisation(evaluator, self.steps, self.initial_step_norm).run()
            if code != "no_progress":
                break
        return code


class _Minimisation:
    """One call of scipy's optimiser.

    Below, x is a point as scipy sees it: coordinates/scales, (count,).
    """

    def __init__(self, evaluator: Evaluator, steps: int, initial_step_norm: float) -> None:
        self._evaluator = evaluator
        self._steps = steps
        self._start = self._iterate = start = evaluator.best
        self._scales = evaluator.unknowns.magnitudes(start.coordinates)
        self._memory = min(max(MIN_MEMORY, evaluator.unknowns.count), MAX_MEMORY)
        self._pairs: list[tuple[Reals, Reals]] = []
        self._small_gains = 0
        self._next_check = 0
        active = evaluator.unknowns.active_bounds(start.coordinates, start.gradient)
        gradient = np.where(active, 0.0, start.gradient * self._scales)
        self._steepest = steepest = float(np.abs(gradient).max(initial=0.0))
        unit = gradient / steepest if steepest > 0 else gradient  # whose squares neither overflow nor underflow
        self._factor = initial_step_norm / steepest / float(np.linalg.norm(unit)) if steepest > 0 else 0.0

    def run(self) -> StopCode:
        """Minimise from the evaluator's best point; return why it stopped."""
        if self._steepest == 0.0:  # the gradient is zero in all directions within the bounds
            return "converged" if self._is_converged() else "no_progress"
        if not 0.0 < self._factor < np.inf:
            return "no_progress"  # the gradient is too large or too small to be scaled
        try:
            if (remaining := self._steps - self._evaluator.counts.steps) > 0:
                self._minimise(remaining)
        except _Converged:
            return "converged"
        except _AtBarrier:
            pass  # treated as if scipy itself had found no better point
        if self._is_converged():
            return "converged"
        return "step_limit" if self._evaluator.counts.steps >= self._steps else "no_progress"

    def _minimise(self, steps: int) -> None:
        lower, upper = self._evaluator.unknowns.lower, self._evaluator.unknowns.upper
        bounds = [
            np.where(np.isfinite(lower), lower / self._scales, -INFINITE_BOUND),
            np.where(np.isfinite(upper), upper / self._scales, INFINITE_BOUND),
        ]
        minimize(
            self._value_and_gradient,
            self._iterate.coordinates / self._scales,
            jac=True,
            method="L-BFGS-B",
            bounds=np.column_stack(bounds),
            callback=self._after_iteration,
            options={"maxiter": steps, "maxfun": 30 * steps + 100, "maxcor": self._memory, "ftol": 0.0, "gtol": 0.0},
        )

    def _value_and_gradient(self, x: Reals) -> tuple[float, Reals]:
        try:
            point = self._evaluator.evaluate(self._evaluator.unknowns.clip(x * self._scales))
        except TrialFailed:
            return self._barrier(x)
        return self._factor * (point.loss - self._start.loss), self._factor * point.gradient * self._scales

    def _barrier(self, x: Reals) -> tuple[float, Reals]:
        """A value and a gradient for a point that cannot be solved, for which the line search shortens its step.

        An infinite value, the obvious choice, breaks its interpolation. With φ'(0) = −s along the step, φ(1) = φ(0) +
        5s and φ'(1) = 10s, the cubic through these (Moré and Thuente, 1994) is least at about 7 % of the step.
        """
        step = x - self._iterate.coordinates / self._scales
        slope = abs(float(self._factor * (self._iterate.gradient * self._scales) @ step))
        rise = 5 * slope + 1e-300
        value = self._factor * (self._iterate.loss - self._start.loss) + rise
        return value, 2 * rise * step / max(float(step @ step), 1e-300)

    def _after_iteration(self, intermediate_result: OptimizeResult) -> None:
        try:
            point = self._evaluator.evaluate(self._evaluator.unknowns.clip(intermediate_result.x * self._scales))
        except TrialFailed:  # the barrier was no higher than rounding errors
            raise _AtBarrier from None
        self._remember(point)
        gained = self._iterate.loss - point.loss
        self._iterate = point
        self._evaluator.step()
        threshold = gain_threshold(self._evaluator.objective, point)
        is_small = gained < threshold and self._predicted_gain() < threshold and self._has_enough_pairs()
        self._small_gains = self._small_gains + 1 if is_small else 0
        if self._small_gains >= SMALL_GAINS and self._evaluator.counts.steps >= self._next_check:
            if self._is_converged():
                raise _Converged
            self._next_check = self._evaluator.counts.steps + RECHECK_STEPS

    def _remember(self, point: Evaluation) -> None:
        """Keep the pair of changes of x and of the gradient, if the loss curves upwards between them."""
        s = (point.coordinates - self._iterate.coordinates) / self._scales
        y = self._factor * (point.gradient - self._iterate.gradient) * self._scales
        if s @ y > np.finfo(float).eps * (y @ y):
            self._pairs = [*self._pairs, (s, y)][-self._memory :]

    def _has_enough_pairs(self) -> bool:
        return len(self._pairs) >= min(self._evaluator.unknowns.count, self._memory)

    def _predicted_gain(self) -> float:
        """½·gᵀBg with B the L-BFGS inverse Hessian of the last pairs, without unknowns at active bounds."""
        if not self._pairs:
            return np.inf
        free = ~self._evaluator.unknowns.active_bounds(self._iterate.coordinates, self._iterate.gradient)
        gradient = np.where(free, self._factor * self._iterate.gradient * self._scales, 0.0)
        pairs = [(np.where(free, s, 0.0), np.where(free, y, 0.0)) for s, y in self._pairs]
        return float(0.5 * gradient @ two_loop_product(pairs, gradient)) / self._factor

    def _is_converged(self) -> bool:
        """By the Gauss–Newton matrix; by the pairs if that cannot be computed."""
        objective, best = self._evaluator.objective, self._evaluator.best
        try:
            return is_converged(objective, best)
        except (SolveError, NotFinite):
            return self._predicted_gain() < gain_threshold(objective, best)


def two_loop_product(pairs: list[tuple[Reals, Reals]], gradient: Reals) -> Reals:
    """B·gradient for the L-BFGS inverse Hessian B of pairs (s, y), (count,) each, the oldest first.

    Nocedal and Wright, Numerical Optimization, 2nd edition, algorithm 7.4. Infinite if no pair has sᵀy > 0.
    """
    usable = [(s, y, 1 / (s @ y)) for s, y in pairs if s @ y > 0]
    if not usable:
        return np.full_like(gradient, np.inf)
    product = gradient.copy()
    alphas = []
    for s, y, rho in reversed(usable):
        alphas.append(rho * (s @ product))
        product -= alphas[-1] * y
    s, y, _ = usable[-1]
    product *= (s @ y) / (y @ y)
    for (s, y, rho), alpha in zip(usable, reversed(alphas), strict=True):
        product += (alpha - rho * (y @ product)) * s
    return product
