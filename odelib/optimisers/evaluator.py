"""The evaluator between an optimiser and the objective.

Optimisers only propose points. The evaluator counts evaluations, keeps the best point, stops the fit if it was asked
to, and publishes progress, so that no optimiser has its own copy of these rules.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from odelib.arrays import Reals
from odelib.engines.base import StopCheck
from odelib.errors import SolveError, StopRequested
from odelib.objective.objective import Evaluation, GaussNewton, NotFinite, Objective
from odelib.objective.unknowns import Unknowns
from odelib.result import OtherOptimum

# A trial may take so many times the steps of the best point, but at least `min_trial_steps` in any case. A trial that
# needs far more is near no optimum, and would cost as much as all others together.
TRIAL_STEPS_FACTOR = 50
MIN_TRIAL_STEPS, MIN_TRIAL_STEPS_PER_TIME = 2_000, 20
WORK_OF_CALL = 2e4  # numbers that the solver could compute in the time that an evaluation takes besides, 1 ms
WORK_IN_BATCH = 1e4  # the same for a point of a batch
USUAL_STEPS_FACTOR = 2  # times the steps of the best point: what points of a batch take, if its longest takes more
MAX_DERIVATIVES = 4_000_000  # of the trajectories that are solved at once
CHECKPOINT_SECONDS = 0.25  # the shortest time between two checkpoints


class TrialFailed(Exception):
    """A point cannot be evaluated; `reason` is the error. The best point is unchanged."""

    def __init__(self, reason: SolveError | NotFinite) -> None:
        self.reason = reason
        super().__init__(str(reason))


@dataclass
class Counts:
    """The work of a stage so far, over all attempts. gradients: evaluations, failed ones included."""

    steps: int = 0
    gradients: int = 0
    failed_solves: int = 0
    seconds: float = 0.0


class Evaluator:
    """The objective as one stage sees it.

    best: the best evaluation so far, over all stages. counts: the work of this stage. optimiser_state: what the
    optimiser last passed to `step`, as JSON. start_losses: where several starts ended, for an optimiser that has them.
    other_optima: those of these ends that reached the best loss elsewhere. work: of all evaluations in this attempt, in
    numbers that the solver computes; see `Objective.latest_work`.

    stop: returns why the fit must stop, or None. publish: called after a step, at most every `CHECKPOINT_SECONDS`.
    record: called after every step with the number of steps and the best loss.
    """

    def __init__(
        self,
        objective: Objective,
        best: Evaluation,
        stop: StopCheck,
        *,
        counts: Counts | None = None,
        optimiser_state: dict[str, Any] | None = None,
        publish: Callable[[Evaluator], None] = lambda _: None,
        record: Callable[[int, float], None] = lambda steps, loss: None,
    ) -> None:
        self.objective = objective
        self.unknowns: Unknowns = objective.unknowns
        self.best = best
        self.counts = counts or Counts()
        self.optimiser_state = optimiser_state
        self.start_losses: list[float] = []
        self.other_optima: list[OtherOptimum] = []
        self.work = 0.0
        self._stop = stop
        self._publish = publish
        self._record = record
        self._latest = best
        self._started = time.monotonic() - self.counts.seconds
        self._published = -np.inf

    def nested(self, unknowns: Unknowns | None = None) -> Evaluator:
        """An evaluator for a part of this stage's work.

        What it finds and evaluates counts here as well; its steps do not. unknowns: other bounds for that part.
        """
        return _Nested(self, unknowns or self.unknowns)

    def apart(self, on_step: Callable[[dict[str, Any] | None], None]) -> Evaluator:
        """An evaluator for work on another loss: what it evaluates counts here, but is never the best point here.

        on_step: called after each of its steps, with what was passed to it.
        """
        return _Apart(self, on_step)

    @property
    def latest(self) -> Evaluation:
        """The evaluation that was made last."""
        return self._latest

    def adopt(self, evaluation: Evaluation) -> None:
        """Take a point as the best one, although its loss may be higher: one that describes held-out data better."""
        self.best = self._latest = evaluation

    def of_window(self, fraction: float) -> Evaluator:
        """An evaluator of the first part of all series; what it finds is no point of this one.

        Its work counts here. fraction: see `Objective.window`.
        """
        return _OfWindow(self, self.objective.window(fraction))

    def evaluate(self, coordinates: Reals) -> Evaluation:
        """Loss and gradient at a point within the bounds, (count,). Raises `TrialFailed` and `StopRequested`."""
        if np.array_equal(coordinates, self._latest.coordinates):
            return self._latest
        with self.count_gradient():
            return self._keep(self.objective.evaluate(coordinates))

    def linearise(self, coordinates: Reals) -> tuple[Evaluation, GaussNewton]:
        """Loss, gradient and Gauss–Newton matrix at a point, at the cost of one gradient. Raises as `evaluate`."""
        with self.count_gradient():
            evaluation, gauss_newton = self.objective.linearise(coordinates)
            return self._keep(evaluation), gauss_newton

    def linearise_all(self, points: Sequence[Reals]) -> list[tuple[Evaluation, GaussNewton] | None]:
        """`linearise` at several points in batches, None where that fails. Raises `StopRequested`."""
        found: list[tuple[Evaluation, GaussNewton] | None] = []
        for first in range(0, len(points), self._points_at_once):
            found += self._linearise_batch(points[first : first + self._points_at_once])
        return found

    def _linearise_batch(self, points: Sequence[Reals]) -> list[tuple[Evaluation, GaussNewton] | None]:
        self._check_stop()
        self.counts.gradients += len(points)
        with self.objective.step_limit(trial_steps(self.objective, self.best)):
            found = self.objective.linearise_all(points)
        self.counts.failed_solves += sum(not isinstance(each, tuple) for each in found)
        self.counts.seconds = time.monotonic() - self._started
        of_one = self.objective.latest_work
        if self.best.steps:  # only the longest of the batch is known, which may be one that fails
            of_one = min(of_one, self.objective.work_of(USUAL_STEPS_FACTOR * self.best.steps))
        self.work += WORK_OF_CALL + len(points) * (WORK_IN_BATCH + of_one)
        return [(self._keep(each[0]), each[1]) if isinstance(each, tuple) else None for each in found]

    @property
    def _points_at_once(self) -> int:
        trajectories = self.objective.trajectories
        derivatives = len(trajectories.times) * len(self.unknowns.system.states) * self.unknowns.count
        return max(1, MAX_DERIVATIVES // max(derivatives, 1))

    @contextmanager
    def count_gradient(self) -> Iterator[None]:
        """Count what is done inside as one gradient; do not begin it if the fit must stop. Raises as `evaluate`."""
        with self._counted(self.objective, trial_steps(self.objective, self.best)):
            yield

    @contextmanager
    def _counted(self, objective: Objective, max_steps: int) -> Iterator[None]:
        self._check_stop()
        self.counts.gradients += 1
        try:
            with objective.step_limit(max_steps):
                yield
        except (SolveError, NotFinite) as error:
            self.counts.failed_solves += 1
            raise TrialFailed(error) from error
        finally:
            self.counts.seconds = time.monotonic() - self._started
            self.work += WORK_OF_CALL + objective.latest_work

    def step(self, optimiser_state: dict[str, Any] | None = None) -> None:
        """Count a step. optimiser_state: JSON from which the optimiser could continue after an interruption."""
        self.counts.steps += 1
        self.optimiser_state = optimiser_state
        self._record(self.counts.steps, self.best.loss)
        now = time.monotonic()
        self.counts.seconds = now - self._started
        if now - self._published >= CHECKPOINT_SECONDS:
            self._published = now
            self._publish(self)

    def _check_stop(self) -> None:
        if reason := self._stop():
            raise StopRequested(reason)

    def _keep(self, evaluation: Evaluation) -> Evaluation:
        self._latest = evaluation
        if evaluation.loss < self.best.loss:
            self.best = evaluation
        return evaluation


def trial_steps(objective: Objective, best: Evaluation) -> int:
    """The steps that a trajectory of a trial point may take."""
    return max(min_trial_steps(objective), TRIAL_STEPS_FACTOR * best.steps)


def min_trial_steps(objective: Objective) -> int:
    """The steps that a trajectory of any trial point may take: more the more times there are measurements."""
    times = max(len(series.times) for series in objective.fitted)
    return MIN_TRIAL_STEPS + MIN_TRIAL_STEPS_PER_TIME * times


class _Nested(Evaluator):
    """See `Evaluator.nested`."""

    def __init__(self, outer: Evaluator, unknowns: Unknowns) -> None:
        super().__init__(outer.objective, outer.best, outer._stop)
        self.unknowns = unknowns
        self._outer = outer

    @contextmanager
    def _counted(self, objective: Objective, max_steps: int) -> Iterator[None]:
        with self._outer._counted(objective, max_steps):
            yield

    def _keep(self, evaluation: Evaluation) -> Evaluation:
        self._outer._keep(evaluation)
        return super()._keep(evaluation)


class _Apart(_Nested):
    """See `Evaluator.apart`."""

    def __init__(self, outer: Evaluator, on_step: Callable[[dict[str, Any] | None], None]) -> None:
        super().__init__(outer, outer.unknowns)
        self._on_step = on_step

    def step(self, optimiser_state: dict[str, Any] | None = None) -> None:
        """See `Evaluator.step`."""
        self.counts.steps += 1
        self._on_step(optimiser_state)

    def _keep(self, evaluation: Evaluation) -> Evaluation:
        return Evaluator._keep(self, evaluation)


class _OfWindow(Evaluator):
    """See `Evaluator.of_window`. Its best point is the first that is evaluated, or a better one."""

    def __init__(self, outer: Evaluator, objective: Objective) -> None:
        super().__init__(objective, replace(outer.best, loss=np.inf), outer._stop)
        self._outer = outer

    @contextmanager
    def count_gradient(self) -> Iterator[None]:
        """See `Evaluator.count_gradient`."""
        with self._outer._counted(self.objective, trial_steps(self._outer.objective, self._outer.best)):
            yield
