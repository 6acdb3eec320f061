"""Multiple shooting (Bock, Numerical Treatment of Inverse Problems in Chemical Reaction Kinetics, 1981).

Over the whole series, a trajectory of an oscillating or chaotic system depends wildly on the parameters, and the loss
has many local minima. Over a short segment it does not. The series is divided into segments that start from the
measurements, and Levenberg–Marquardt improves the parameters and the segments' initial states together, until the
trajectory has no gaps between the segments.

The textbook closes the gaps as equality constraints, exactly in each linearised step. Here they are residuals of a
quadratic penalty with a growing weight (Nocedal and Wright, Numerical Optimization, section 17.1): the parameters can
first adapt to the measurements, and a rank-deficient linearisation needs no special treatment.

Whatever the noise, residuals count in units of the observables' spread here, and large ones less than their square
(Huber): this stage only finds the neighbourhood of the optimum, and later stages the optimum itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from odelib.arrays import Reals
from odelib.objective.objective import Evaluation
from odelib.optimisers.base import StopCode
from odelib.optimisers.doubts import is_trustworthy
from odelib.optimisers.evaluator import Evaluator, TrialFailed
from odelib.optimisers.least_squares import levenberg_marquardt
from odelib.optimisers.multiple_shooting.normal_equations import NormalEquations
from odelib.optimisers.multiple_shooting.segments import Linearisation, Segments
from odelib.optimisers.multiple_shooting.state_estimates import StateEstimates
from odelib.problem.stages import MultipleShootingStage

MAX_SEGMENTS = 20  # of each series
MAX_INNER_STATES = 1_500  # numbers, of all inner segments; beyond it there are fewer segments
MAX_DERIVATIVES = 30_000_000  # numbers, 240 MB
MAX_RELATIVE_COST = 16.0  # of a linearisation, in gradients, where multiple shooting is tried without being asked for
MAX_ENTRY = 1e100  # of residuals, gaps and derivatives, whose squares would soon overflow
UNIT = 0.05  # of the spread of an observable or state: its residuals and gaps count in this unit
GAP_WEIGHTS = (1e-2, 1.0, 1e2, 1e4, 1e6, 1e8)  # of squared gaps relative to squared residuals, one after the other
HUBER_THRESHOLD = 3.0
WEIGHT_DECAY = 0.3  # times a weight of a network is a residual: its size is 1, and a unit of residuals is no noise
FIRST_DAMPING, MAX_REJECTED = 1e-2, 12
FINAL_STEPS = 50  # of least squares from the end
SETTLED = 1e-3  # relative: the next gap weight follows when a step lowers the sum of squares by less


class MultipleShooting:
    """Multiple shooting with the settings of a request's stage."""

    kind: ClassVar[str] = "multiple_shooting"

    def __init__(self, settings: MultipleShootingStage) -> None:
        self.steps = settings.steps
        self._when = settings.when

    def run(self, evaluator: Evaluator) -> StopCode:
        """See `Optimiser.run`. Its state is the variables, the index of the next step's gap weight, and its damping."""
        state, best = evaluator.optimiser_state, evaluator.best
        starts, max_relative_cost = [best.coordinates], np.inf
        if self._when == "doubtful":
            if state is None and is_trustworthy(evaluator.objective, best):
                return "converged"
            starts, max_relative_cost = [evaluator.unknowns.start, best.coordinates], MAX_RELATIVE_COST
        found = None
        for start in starts:
            solver = ShootingSolver(evaluator, start, max_relative_cost)
            if solver.is_too_large:
                return "too_large"
            found = solver.run(self.steps - evaluator.counts.steps, state)
            if found is not None:  # otherwise the guess cannot be solved, and the best point is another one
                break
        if found is None:
            return "solve_failed"
        if self._when == "doubtful" and found.loss > best.loss:
            _minimise(evaluator.nested(), found.coordinates)
        return "step_limit" if evaluator.counts.steps >= self.steps else "finished"


def _minimise(evaluator: Evaluator, start: Reals) -> None:
    """Least squares from the end of multiple shooting, if the loss there is above that of an earlier local minimum.

    The stages after this one start from the best point, and would go on from the local minimum.
    """
    try:
        at, gauss_newton = evaluator.linearise(start)
    except TrialFailed:
        return
    levenberg_marquardt(evaluator, at, gauss_newton, steps=FINAL_STEPS)


@dataclass(frozen=True)
class _Linearisation:
    """Sums of squares of residuals and of gaps, in their units, and the normal equations of the two."""

    residual_loss: float
    gap_loss: float
    residuals: NormalEquations
    gaps: NormalEquations

    def loss(self, gap_weight: float) -> float:
        """Half the sum of squares of the penalised problem."""
        return 0.5 * (self.residual_loss + gap_weight * self.gap_loss)


class ShootingSolver:
    """Multiple shooting from one start. Its variables are the unknowns' coordinates, then the inner states.

    max_relative_cost: of a linearisation, in gradients, above which it is not worth while. max_segments: of each
    series.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        start: Reals,
        max_relative_cost: float = MAX_RELATIVE_COST,
        max_segments: int = MAX_SEGMENTS,
    ) -> None:
        self._evaluator = evaluator
        self._start = start
        objective, unknowns = evaluator.objective, evaluator.unknowns
        states = len(unknowns.system.states) * len(objective.fitted)
        self._segments = Segments(objective, max(2, min(max_segments, MAX_INNER_STATES // states + 1)))
        self._count = unknowns.count
        self._max_relative_cost = max_relative_cost
        self._measured, self._residual_units = objective.measurements.values_and_units(UNIT)

    @property
    def is_too_large(self) -> bool:
        """Whether the derivatives of the segments' trajectories would take too much memory or time."""
        segments = self._segments
        return segments.derivative_count > MAX_DERIVATIVES or segments.relative_cost > self._max_relative_cost

    def run(self, steps: int, saved: dict[str, Any] | None = None) -> Evaluation | None:
        """Close the gaps in at most so many steps, then evaluate the whole series there. None if that fails.

        saved: what an interrupted run from the same start last passed to `Evaluator.step`; this one continues there.
        """
        if self.is_too_large or not self._begin(saved):
            return None
        damping = saved["damping"] if saved else FIRST_DAMPING
        for index in range(saved["price"] if saved else 0, len(GAP_WEIGHTS)):
            steps -= self._minimise(index, steps, damping)
            damping = FIRST_DAMPING
        try:
            return self._evaluator.evaluate(self._evaluator.unknowns.clip(self._variables[: self._count]))
        except TrialFailed:
            return None

    def _begin(self, saved: dict[str, Any] | None) -> bool:
        """Start the segments and the free initial states from the data. False if they cannot be solved there.

        Units are taken from that start even if saved variables replace it, so that they are the same in all attempts.
        """
        unknowns = self._evaluator.unknowns
        first, inner = self._segments.start_states(self._start, StateEstimates(self._evaluator.objective, self._start))
        starts = dict(zip(self._segments.series, first, strict=True))
        coordinates = unknowns.with_initial_states(self._start, starts)
        states = np.array(first + inner)
        spread, size = states.std(axis=0), np.abs(states).max(axis=0)
        state_units = np.where(spread > 1e-6 * size, spread, np.where(size > 0, size, 1.0))
        self._gap_units = UNIT * state_units
        self._units = unknowns.magnitudes(coordinates), np.tile(state_units, (len(inner), 1))
        self._variables = np.concatenate([coordinates, np.array(inner).reshape(-1)])
        if saved:
            self._variables = np.array(saved["variables"])
        self._at = self._linearise(self._variables)
        return self._at is not None

    def _minimise(self, index: int, max_steps: int, damping: float) -> int:
        """Minimise the penalised sum of squares at one of the gap weights. Returns the number of steps taken."""
        if self._at is None:
            raise AssertionError("the solver has not begun")
        gap_weight, growth, rejected, steps = GAP_WEIGHTS[index], 2.0, 0, 0
        loss = self._at.loss(gap_weight)
        equations = self._at.residuals.plus(self._at.gaps, gap_weight).scaled(*self._units)
        while rejected < MAX_REJECTED and steps < max_steps:
            trial = self._step(equations, damping)
            at = None if trial is None else self._linearise(trial)
            trial_loss = at.loss(gap_weight) if at else np.inf
            if trial is None or at is None or not trial_loss < loss:
                damping, growth, rejected = damping * growth, growth * 2, rejected + 1
                continue
            is_settled = loss - trial_loss < SETTLED * trial_loss
            damping, growth, rejected = damping / 5, 2.0, 0
            self._variables, self._at, loss = trial, at, trial_loss
            equations = at.residuals.plus(at.gaps, gap_weight).scaled(*self._units)
            steps += 1
            self._evaluator.step(
                {
                    "variables": self._variables.tolist(),
                    "price": index + is_settled,  # checkpoints of earlier versions have this key
                    "damping": FIRST_DAMPING if is_settled else damping,
                }
            )
            if is_settled:
                break
        return steps

    def _step(self, equations: NormalEquations, damping: float) -> Reals | None:
        """The variables after a damped Gauss–Newton step, with the coordinates within their bounds.

        None if rounding errors leave no step, as where a state grows by many orders of magnitude within a segment.
        """
        unknowns, coordinates = self._evaluator.unknowns, self._variables[: self._count]
        units, inner_units = self._units
        bounds = (unknowns.lower - coordinates) / units, (unknowns.upper - coordinates) / units
        try:
            step, inner_step = equations.step(damping, *bounds)
        except np.linalg.LinAlgError:
            return None
        trial: Reals = self._variables + np.concatenate([step * units, (inner_step * inner_units).reshape(-1)])
        return trial

    def _linearise(self, variables: Reals) -> _Linearisation | None:
        """Residuals, gaps and their Jacobians. None if the segments cannot be solved, or the numbers are too large."""
        inner = variables[self._count :].reshape(self._segments.inner, self._segments.state_count)
        try:
            with self._evaluator.count_gradient():
                found = self._segments.linearise(variables[: self._count], inner)
        except TrialFailed:
            return None
        residuals, jacobians = self._in_units(found)
        gaps = found.gaps / self._gap_units
        end_jacobian = found.end_jacobian / self._gap_units[:, None]
        parts = (*residuals.values(), *jacobians.values(), gaps, end_jacobian)
        largest = max(float(np.abs(part).max(initial=0.0)) for part in parts)
        if not largest < MAX_ENTRY:  # nor if it is NaN
            return None
        empty = self._count, self._segments.inner, self._segments.state_count
        of_residuals, of_gaps = NormalEquations.zeros(*empty), NormalEquations.zeros(*empty)
        for b, rows in enumerate(self._segments.rows):
            index = self._segments.inner_index[b]
            for name, residual in residuals.items():
                of_residuals.add_residuals(residual[rows], jacobians[name][rows], index)
            if index is not None:
                before = self._segments.inner_index[b - 1]
                of_gaps.add_gap(gaps[index], end_jacobian[index], self._gap_units, index, before)
        decay = np.where(self._evaluator.unknowns.is_weight, WEIGHT_DECAY, 0.0)
        decayed = decay * variables[: self._count]
        if self._evaluator.unknowns.is_weight.any():
            of_residuals.add_residuals(decayed, np.diag(decay), None)
        residual_loss = sum(float(residual @ residual) for residual in (*residuals.values(), decayed))
        return _Linearisation(residual_loss, float(np.square(gaps).sum()), of_residuals, of_gaps)

    def _in_units(self, found: Linearisation) -> tuple[dict[str, Reals], dict[str, Reals]]:
        """The residuals of each observable in their units, (N,), 0 where nothing was measured; their Jacobians."""
        residuals, jacobians = {}, {}
        for name, (rows, values) in self._measured.items():
            unit = self._residual_units[name]
            residual = (found.observables[name][rows] - values) / unit
            # Huber's weights: beyond the threshold c the square of a residual grows only as c·|r|. The weights are not
            # differentiated (iteratively reweighted least squares).
            weight = np.sqrt(np.minimum(1.0, HUBER_THRESHOLD / np.maximum(np.abs(residual), 1e-300)))
            size, width = found.jacobians[name].shape
            residuals[name], jacobians[name] = np.zeros(size), np.zeros((size, width))
            residuals[name][rows] = weight * residual
            jacobians[name][rows] = found.jacobians[name][rows] * (weight / unit)[:, None]
        return residuals, jacobians
