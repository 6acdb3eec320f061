"""Runs the stages of a fit in order, and publishes progress and checkpoints."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from odelib.engines.base import StopCheck
from odelib.errors import SolveError, StopReason, StopRequested
from odelib.monitor import Checkpoint, Monitor, Progress
from odelib.objective.objective import Evaluation, NotFinite, Objective
from odelib.optimisers.base import STOP_MESSAGES, Optimiser, StopCode
from odelib.optimisers.convergence import is_converged
from odelib.optimisers.evaluator import Counts, Evaluator
from odelib.result import StageReport, Stopped

RUNNING = "running"
STAGES_BEFORE_PROFILES = 0.5  # the fraction of a fit that its stages are if profiles follow
STOP_REASONS: dict[StopReason, str] = {
    "cancelled": "the fit was cancelled during this stage",
    "time_limit": "the time limit was reached during this stage",
    "interrupted": "the fit was interrupted during this stage",
    "lease_lost": "the fit was interrupted during this stage",
}


@dataclass
class Position:
    """How far a plan has come.

    index: of the stage that is next or running. counts, optimiser_state: the work of earlier attempts at that stage,
    and what its optimiser saved. reports: of the finished stages.
    """

    index: int = 0
    counts: Counts = field(default_factory=Counts)
    optimiser_state: dict[str, Any] | None = None
    reports: list[StageReport] = field(default_factory=list)

    @classmethod
    def of_checkpoint(cls, checkpoint: Checkpoint) -> Position:
        """The position at which a checkpoint was saved."""
        reports = [StageReport.model_validate(report) for report in checkpoint.reports]
        position = cls(checkpoint.stage, optimiser_state=checkpoint.optimiser)
        position.reports = [report for report in reports if report.stopped.code != RUNNING]
        for report in reports:
            if report.stopped.code == RUNNING:
                position.counts = Counts(report.steps, report.gradients, report.failed_solves, report.seconds)
        return position


class Plan:
    """Runs stages one after the other, each from the best point so far.

    best: the best evaluation; set it before `run`. profiles_follow: whether the fit is only half done after the stages.
    """

    best: Evaluation

    def __init__(
        self,
        stages: Sequence[Optimiser],
        objective: Objective,
        monitor: Monitor,
        stop: StopCheck,
        position: Position,
        *,
        profiles_follow: bool = False,
    ) -> None:
        self._stages = stages
        self._share = STAGES_BEFORE_PROFILES if profiles_follow else 1.0
        self._objective = objective
        self._monitor = monitor
        self._stop = stop
        self.position = position

    @property
    def next_stage(self) -> str:
        """The kind of the stage that is next or running."""
        return self._stages[min(self.position.index, len(self._stages) - 1)].kind

    @property
    def is_done(self) -> bool:
        """Whether all stages have run."""
        return self.position.index >= len(self._stages)

    @property
    def reports(self) -> list[StageReport]:
        """The reports of the finished stages."""
        return self.position.reports

    def run(self) -> StopCode:
        """Run the remaining stages. Returns why the last one stopped. Raises `StopRequested`."""
        code: StopCode = "finished"
        while not self.is_done:
            code = self._run_stage()
            self.position = Position(self.position.index + 1, reports=self.position.reports)
        return code

    def is_converged(self) -> bool:
        """Whether the best point is an optimum, although the last stage may have used all its steps."""
        try:
            return is_converged(self._objective, self.best)
        except (SolveError, NotFinite):
            return False

    def _run_stage(self) -> StopCode:
        evaluator = Evaluator(
            self._objective,
            self.best,
            self._stop,
            counts=self.position.counts,
            optimiser_state=self.position.optimiser_state,
            publish=self._publish,
            record=self._record,
        )
        self._publish(evaluator)
        try:
            code = self._stages[self.position.index].run(evaluator)
        except StopRequested as stop:
            self._finish_stage(evaluator, stop.reason, STOP_REASONS[stop.reason])
            raise
        self._finish_stage(evaluator, code, STOP_MESSAGES[code])
        return code

    def _finish_stage(self, evaluator: Evaluator, code: str, message: str) -> None:
        self.best = evaluator.best
        self._publish(evaluator)
        self.position.reports.append(self._stage_report(evaluator, code, message))

    def _stage_report(self, evaluator: Evaluator, code: str, message: str) -> StageReport:
        best, counts = evaluator.best, evaluator.counts
        gradient = np.abs(best.gradient * self._objective.unknowns.coordinate_derivative(best.coordinates))
        steepest = float(gradient.max(initial=0.0))
        # scaled before it is squared, which could overflow
        norm = steepest * float(np.linalg.norm(gradient / steepest)) if 0 < steepest < np.inf else steepest
        return StageReport(
            kind=self.next_stage,
            steps=counts.steps,
            gradients=counts.gradients,
            failed_solves=counts.failed_solves,
            loss=best.loss,
            gradient_norm=min(norm, sys.float_info.max),
            seconds=counts.seconds,
            stopped=Stopped(code=code, message=message),
            start_losses=sorted(evaluator.start_losses) or None,
            other_optima=evaluator.other_optima or None,
        )

    def _record(self, steps: int, loss: float) -> None:
        """Add the loss after a step of the running stage to the monitor's."""
        self._monitor.losses.add(sum(report.steps for report in self.position.reports) + steps, loss)

    def publish_profiles(self, done: int, count: int, state: dict[str, Any]) -> None:
        """Leave in the monitor how many of so many profiles are done, after the stages.

        state: from which a later attempt continues with the others.
        """
        share = self._share + (1 - self._share) * done / count
        self._monitor.progress = Progress("profile", done, count, self.best.loss, share)
        self._monitor.checkpoint = self._checkpoint(self.best, self.position.index, done, state, self.reports)

    def _publish(self, evaluator: Evaluator) -> None:
        """Leave progress and a checkpoint in the monitor."""
        index, best, steps = self.position.index, evaluator.best, evaluator.counts.steps
        planned = sum(stage.steps for stage in self._stages)
        before = sum(stage.steps for stage in self._stages[:index])
        self._monitor.progress = Progress(
            stage=self.next_stage,
            step=steps,
            steps=self._stages[index].steps,
            loss=best.loss,
            fraction=self._share * min((before + steps) / planned, 1.0),
        )
        running = self._stage_report(evaluator, RUNNING, "the fit ended while this stage was running")
        reports = [*self.position.reports, running]
        self._monitor.checkpoint = self._checkpoint(best, index, steps, evaluator.optimiser_state, reports)

    def _checkpoint(
        self, best: Evaluation, stage: int, step: int, state: dict[str, Any] | None, reports: Sequence[StageReport]
    ) -> Checkpoint:
        names = self._objective.unknowns.system.states
        return Checkpoint(
            stage=stage,
            step=step,
            best=self._objective.unknowns.free_values(best.coordinates),
            loss=best.loss,
            gradient_norm=reports[-1].gradient_norm,
            states=[
                dict(zip(names, best.states[rows].T.tolist(), strict=True))
                for rows in self._objective.trajectories.slices
            ],
            optimiser=state,
            reports=[report.model_dump(mode="json") for report in reports],
        )
