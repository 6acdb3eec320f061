"""Multiple shooting (Bock, 1981): the series in segments, started from the data, their gaps closed step by step.

A trajectory over the whole series depends on the parameters wildly where the system oscillates or is chaotic; one over
a segment does not. The segments start at what was measured, and Levenberg and Marquardt's method improves parameters
and segments' states together, gaps between the segments at a price that grows until they are closed. Whatever the
noise is said to be, the residuals count in units of the observables' own spread here, large ones less than by their
square: the method only finds the valley, and later stages its bottom.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from odelib.arrays import Reals
from odelib.objective.objective import Evaluation
from odelib.optimisers.base import StopCode
from odelib.optimisers.evaluator import Evaluator, TrialFailed
from odelib.optimisers.multiple_shooting.segments import Segments
from odelib.optimisers.multiple_shooting.state_estimates import StateEstimates
from odelib.problem.stages import MultipleShootingStage

SEGMENTS = 20  # of each series, at most
INNER_VARIABLES = 1_500  # of all segments: fewer segments where there would be more
MAX_NUMBERS = 30_000_000  # in the derivatives of the segments' trajectories
MAX_ENTRY = 1e100  # of residuals, gaps and their derivatives, which are squared
SPREAD = 0.05  # a residual or gap counts 1 where it is this part of the spread
PRICES = (1e-2, 1.0, 1e2, 1e4, 1e6, 1e8)  # of a squared gap beside a squared residual, one after the other
LARGE = 3.0  # a residual beyond counts by its size, not its square
FIRST_DAMPING, MAX_REJECTED = 1e-2, 12
SETTLED = 1e-3  # of the sum of squares: less gained in a step, and the next price is due


class MultipleShooting:
    """Multiple shooting with the settings of a request's stage."""

    kind: ClassVar[str] = "multiple_shooting"

    def __init__(self, settings: MultipleShootingStage) -> None:
        self.steps = settings.steps

    def run(self, evaluator: Evaluator) -> StopCode:
        """See `Stage.run`. Its memory is the search's variables, and what a gap costs and a step is damped by next."""
        search = ShootingSolver(evaluator, evaluator.best.coordinates)
        if search.is_too_large:
            return "too_large"
        found = search.run(self.steps - evaluator.counts.steps, evaluator.optimiser_state)
        if found is None:
            return "solve_failed"
        return "step_limit" if evaluator.counts.steps >= self.steps else "finished"


class ShootingSolver:
    """Where the search stands: coordinates of the unknowns, then the inner states."""

    def __init__(self, evaluator: Evaluator, start: Reals) -> None:
        self.evaluator = evaluator
        self.start = start
        objective, unknowns = evaluator.objective, evaluator.unknowns
        n = len(unknowns.system.states)
        most = max(2, min(SEGMENTS, INNER_VARIABLES // (n * len(objective.fitted)) + 1))
        self.segments = Segments(objective, most)
        self.count = unknowns.count
        self.observed, self.data_units = objective.measurements.values_and_units(SPREAD)

    @property
    def is_too_large(self) -> bool:
        """Whether the derivatives of the segments' trajectories would fill the memory."""
        return self.segments.numbers > MAX_NUMBERS

    def run(self, steps: int, memory: dict[str, Any] | None = None) -> Evaluation | None:
        """Close the gaps in at most so many steps, and look at the whole series from there; None where that fails.

        memory: what a search from the same start last told its evaluator; this one goes on from there.
        """
        if self.is_too_large or not self._begin(memory):
            return None
        damping = memory["damping"] if memory else FIRST_DAMPING
        for place in range(memory["price"] if memory else 0, len(PRICES)):
            steps -= self._descend(place, steps, damping)
            damping = FIRST_DAMPING
        try:
            return self.evaluator.evaluate(self.evaluator.unknowns.clip(self.variables[: self.count]))
        except TrialFailed:
            return None

    def _begin(self, memory: dict[str, Any] | None) -> bool:
        """Start the segments from the data, and the free initial states too; False where they cannot be solved.

        With a memory the variables are its own, in the same units.
        """
        unknowns = self.evaluator.unknowns
        first, inner = self.segments.follow(self.start, StateEstimates(self.evaluator.objective, self.start))
        starts = dict(zip(self.segments.series, first, strict=True))
        coordinates = unknowns.with_initial_states(self.start, starts)
        self.variables = np.concatenate([coordinates, np.array(inner).reshape(-1)])
        states = np.array(first + inner)
        spread, size = states.std(axis=0), np.abs(states).max(axis=0)
        units = np.where(spread > 1e-6 * size, spread, np.where(size > 0, size, 1.0))
        self.gap_units = SPREAD * units
        self.units = np.concatenate([unknowns.magnitudes(coordinates), np.tile(units, len(inner))])
        if memory:
            self.variables = np.array(memory["variables"])
        self.rows = self._rows(self.variables)
        return self.rows is not None

    def _descend(self, place: int, most: int, damping: float) -> int:
        """Go downhill at one of the prices of the gaps; returns the steps taken."""
        if self.rows is None:
            raise AssertionError("the search has not begun")
        price, growth, rejected, steps = PRICES[place], 2.0, 0, 0
        slopes, values = _weighed(*self.rows, price)
        loss = 0.5 * float(values @ values)
        while rejected < MAX_REJECTED and steps < most:
            trial = self.variables + self._move(slopes, values, damping) * self.units
            rows = self._rows(trial)
            trial_slopes, trial_values = _weighed(*rows, price) if rows else (slopes, np.full(1, np.inf))
            trial_loss = 0.5 * float(trial_values @ trial_values)
            if not trial_loss < loss:
                damping, growth, rejected = damping * growth, growth * 2, rejected + 1
                continue
            gained, damping, growth, rejected = loss - trial_loss, damping / 5, 2.0, 0
            self.variables, self.rows = trial, rows
            slopes, values, loss = trial_slopes, trial_values, trial_loss
            steps += 1
            settled = gained < SETTLED * loss
            self.evaluator.step(
                {
                    "variables": self.variables.tolist(),
                    "price": place + settled,
                    "damping": FIRST_DAMPING if settled else damping,
                }
            )
            if settled:
                break
        return steps

    def _move(self, slopes: Reals, values: Reals, damping: float) -> Reals:
        """A damped Gauss–Newton step; an unknown that would pass a bound goes to it, and the others adapt once."""
        unknowns = self.evaluator.unknowns
        held = np.zeros(len(self.variables), dtype=bool)
        move = np.zeros(len(self.variables))
        low = np.full(len(move), -np.inf)
        high = np.full(len(move), np.inf)
        low[: self.count] = (unknowns.lower - self.variables[: self.count]) / self.units[: self.count]
        high[: self.count] = (unknowns.upper - self.variables[: self.count]) / self.units[: self.count]
        scaled = slopes * self.units
        matrix, gradient = scaled.T @ scaled, scaled.T @ values
        diagonal = np.diag(matrix).copy()
        damped = matrix + damping * np.diag(np.maximum(diagonal, 1e-8 * max(float(diagonal.max()), 1e-300)))
        for _ in range(3):
            free = ~held
            move[free] = -np.linalg.lstsq(
                damped[np.ix_(free, free)], gradient[free] + damped[np.ix_(free, held)] @ move[held], rcond=None
            )[0]
            over = free & ((move < low) | (move > high))
            if not over.any():
                break
            move = np.clip(move, low, high)
            held |= over
        return np.clip(move, low, high)

    def _rows(self, variables: Reals) -> tuple[Reals, Reals, Reals, Reals] | None:
        """Residuals and gaps in their units, with their derivatives; None where it cannot be solved."""
        inner = variables[self.count :].reshape(self.segments.inner, self.segments.state_count)
        try:
            with self.evaluator.count_gradient():
                found = self.segments.linearise(variables[: self.count], inner)
        except TrialFailed:
            return None
        residuals, slopes = [], []
        for name, (rows, values) in self.observed.items():
            unit = self.data_units[name]
            miss = (found.model[name][rows] - values) / unit
            weight = np.sqrt(np.minimum(1.0, LARGE / np.maximum(np.abs(miss), 1e-300)))  # Huber's
            residuals.append(weight * miss)
            slopes.append(weight[:, None] * found.model_slopes[name][rows] / np.reshape(unit, (-1, 1)))
        gaps = (found.gaps / self.gap_units).reshape(-1)
        gap_slopes = (found.gap_slopes / self.gap_units[:, None]).reshape(len(gaps), len(variables))
        everything = np.concatenate([*residuals, gaps])
        largest = max(float(np.abs(part).max(initial=0.0)) for part in (everything, *slopes, gap_slopes))
        if not largest < MAX_ENTRY:  # NaN neither
            return None
        return np.concatenate(slopes), np.concatenate(residuals), gap_slopes, gaps


def _weighed(slopes: Reals, residuals: Reals, gap_slopes: Reals, gaps: Reals, price: float) -> tuple[Reals, Reals]:
    root = np.sqrt(price)
    return np.concatenate([slopes, root * gap_slopes]), np.concatenate([residuals, root * gaps])
