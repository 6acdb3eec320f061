"""L-BFGS-B (Byrd, Lu, Nocedal and Zhu, 1995) by scipy, on gradients from torch autograd.

scipy sees each unknown divided by its magnitude, and the loss multiplied by a number that makes its first trial
step as long as asked. Its own stopping rules are off: a residual is not zero at the optimum of a fit, so what
counts is the gain still to be expected.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from scipy.optimize import OptimizeResult, minimize

from odelib.arrays import Reals
from odelib.objective.objective import Evaluation
from odelib.optimisers.base import StopCode
from odelib.optimisers.evaluator import Evaluator, TrialFailed
from odelib.problem.stages import LbfgsbStage

FAR = 1e20  # stands for no bound: scipy takes the length of its first step as given only where all are bounded
RECHECK_STEPS = 5  # after a gain that turned out not to be the last


class _Converged(Exception):
    """Leaves scipy's evaluator: the optimum is reached."""


class _AtWall(Exception):
    """Leaves scipy's evaluator: the iterate stands at the edge of what can be solved."""


class Lbfgsb:
    """L-BFGS-B with the settings of a request's stage."""

    kind: ClassVar[str] = "lbfgsb"

    def __init__(self, settings: LbfgsbStage) -> None:
        self.steps = settings.steps
        self.initial_step_norm = settings.initial_step_norm

    def run(self, evaluator: Evaluator) -> StopCode:
        """See `Stage.run`. It keeps no memory: an interrupted stage goes on from the best point."""
        if evaluator.is_done():
            return "converged"
        for _ in range(2):  # one that stopped by itself elsewhere is restarted once, with fresh scales
            run = _Run(evaluator, self.steps, self.initial_step_norm)
            code = run.minimise()
            if code != "no_progress":
                return code
        return "no_progress"


class _Run:
    """One call of scipy's optimiser."""

    def __init__(self, evaluator: Evaluator, steps: int, initial_step_norm: float) -> None:
        self.evaluator = evaluator
        self.steps = steps
        self.scales = evaluator.unknowns.magnitudes(evaluator.best.coordinates)
        self.iterate = evaluator.best
        self.start = evaluator.best
        self.pairs: list[tuple[Reals, Reals]] = []  # changes of coordinates and gradient, as scipy sees them
        self.memory = min(max(10, evaluator.unknowns.count), 30)
        self.check_again = 0
        self.small_gains = 0
        held = evaluator.unknowns.active_bounds(self.iterate.coordinates, self.iterate.gradient)
        slope = np.where(held, 0.0, self.iterate.gradient * self.scales)
        self.steepest = float(np.abs(slope).max(initial=0.0))
        unit = slope / self.steepest if self.steepest > 0 else slope  # its square neither over- nor underflows
        self.factor = initial_step_norm / self.steepest / float(np.linalg.norm(unit)) if self.steepest > 0 else 0.0

    def minimise(self) -> StopCode:
        unknowns = self.evaluator.unknowns
        if self.steepest == 0.0:
            return "converged"  # the slope is zero along all that may move
        if not 0.0 < self.factor < np.inf:
            return "no_progress"  # a loss that cannot be brought to a size with which scipy can work
        bounds = np.column_stack(
            [
                np.where(np.isfinite(unknowns.lower), unknowns.lower / self.scales, -FAR),
                np.where(np.isfinite(unknowns.upper), unknowns.upper / self.scales, FAR),
            ]
        )
        try:
            if (remaining := self.steps - self.evaluator.counts.steps) > 0:
                self._search(bounds, remaining)
        except _Converged:
            return "converged"
        except _AtWall:
            pass  # as where scipy itself finds no better point
        if self._is_converged():
            return "converged"
        return "step_limit" if self.evaluator.counts.steps >= self.steps else "no_progress"

    def _search(self, bounds: Reals, steps: int) -> None:
        minimize(
                self._value_and_gradient,
                self.iterate.coordinates / self.scales,
                jac=True,
                method="L-BFGS-B",
                bounds=bounds,
                callback=self._after_iteration,
                options={
                    "maxiter": steps, "maxfun": 30 * steps + 100, "maxcor": self.memory,
                    "ftol": 0.0, "gtol": 0.0,
                },
            )  # fmt: skip

    def _value_and_gradient(self, scaled: Reals) -> tuple[float, Reals]:
        try:
            point = self.evaluator.evaluate(self.evaluator.unknowns.clip(scaled * self.scales))
        except TrialFailed:
            return self._wall(scaled)
        return self.factor * (point.loss - self.start.loss), self.factor * point.gradient * self.scales

    def _wall(self, scaled: Reals) -> tuple[float, Reals]:
        """A value above the iterate's that sends the line search to a tenth of the failed step."""
        away = scaled - self.iterate.coordinates / self.scales
        slope = abs(float(self.factor * (self.iterate.gradient * self.scales) @ away))
        rise = 5 * slope + 1e-300
        base = self.factor * (self.iterate.loss - self.start.loss)
        return base + rise, 2 * rise * away / max(float(away @ away), 1e-300)

    def _after_iteration(self, intermediate_result: OptimizeResult) -> None:
        try:
            point = self.evaluator.evaluate(self.evaluator.unknowns.clip(intermediate_result.x * self.scales))
        except TrialFailed:  # a wall no higher than rounding
            raise _AtWall from None
        self._remember(point)
        gained = self.iterate.loss - point.loss
        self.iterate = point
        self.evaluator.step()
        limit = self.evaluator.threshold(point)
        small = gained < limit and self._predicted_gain() < limit and len(self.pairs) >= self._pairs_needed()
        self.small_gains = self.small_gains + 1 if small else 0
        if self.small_gains >= 2 and self.evaluator.counts.steps >= self.check_again:
            if self._is_converged():
                raise _Converged
            self.check_again = self.evaluator.counts.steps + RECHECK_STEPS

    def _remember(self, point: Evaluation) -> None:
        change = (point.coordinates - self.iterate.coordinates) / self.scales
        bend = self.factor * (point.gradient - self.iterate.gradient) * self.scales
        if change @ bend > np.finfo(float).eps * (bend @ bend):
            self.pairs = [*self.pairs, (change, bend)][-self.memory :]

    def _pairs_needed(self) -> int:
        return min(self.evaluator.unknowns.count, self.memory)

    def _predicted_gain(self) -> float:
        """½·gᵀBg with B the inverse Hessian that the last pairs tell of, without what a bound holds."""
        if not self.pairs:
            return np.inf
        free = ~self.evaluator.unknowns.active_bounds(self.iterate.coordinates, self.iterate.gradient)
        gradient = np.where(free, self.factor * self.iterate.gradient * self.scales, 0.0)
        pairs = [(np.where(free, change, 0.0), np.where(free, bend, 0.0)) for change, bend in self.pairs]
        return float(0.5 * gradient @ two_loop_product(pairs, gradient)) / self.factor

    def _is_converged(self) -> bool:
        """Whether the optimum is reached, by the Gauss–Newton matrix."""
        try:
            return self.evaluator.is_converged()
        except TrialFailed:
            return self._predicted_gain() < self.evaluator.threshold(self.evaluator.best)


def two_loop_product(pairs: list[tuple[Reals, Reals]], gradient: Reals) -> Reals:
    """B·gradient for the L-BFGS inverse Hessian B of the pairs (Nocedal and Wright, algorithm 7.4)."""
    usable = [(s, y, 1 / (s @ y)) for s, y in pairs if s @ y > 0]
    if not usable:
        return np.full_like(gradient, np.inf)
    direction = gradient.copy()
    weights = []
    for s, y, rho in reversed(usable):
        weights.append(rho * (s @ direction))
        direction -= weights[-1] * y
    s, y, _ = usable[-1]
    direction *= (s @ y) / (y @ y)
    for (s, y, rho), weight in zip(usable, reversed(weights), strict=True):
        direction += (weight - rho * (y @ direction)) * s
    return direction
