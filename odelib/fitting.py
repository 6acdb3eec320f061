"""`fit`: run the stages, then assemble what they found."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from odelib.engines.compiled.engine import CompiledEngine
from odelib.engines.layer import ODELayer
from odelib.engines.registry import choose, choose_device
from odelib.errors import FitError, SolveError, StopReason, StopRequested
from odelib.monitor import Checkpoint, Monitor, Progress
from odelib.objective.objective import Evaluation, NotFinite, Objective
from odelib.objective.unknowns import Unknowns
from odelib.optimisers.base import STOPPED
from odelib.optimisers.evaluator import Counts, Evaluator, TrialFailed
from odelib.optimisers.least_squares import LeastSquares
from odelib.optimisers.registry import build_stage
from odelib.problem.catalogue import CATALOGUE
from odelib.problem.request import FitProblem
from odelib.problem.stages import LeastSquaresStage
from odelib.report import assemble as reporting
from odelib.result import FitResult, OutcomeCode, SolverUsed, StageReport, Stopped
from odelib.uncertainty.profile_likelihood import BetterFound

RUNNING = "running"
REPORT_SECONDS = 5.0
MAX_IMPROVEMENTS = 5  # times that profiles find a better point before the fit gives up
_OUTCOMES: dict[str, OutcomeCode] = {  # how the last stage stopped → whether the fit can be trusted
    "converged": "converged",
    "step_limit": "step_limit",
    "no_progress": "no_progress",
    "solve_failed": "no_progress",
    "finished": "no_progress",
    "too_large": "no_progress",
}


def fit(
    problem: FitProblem,
    *,
    monitor: Monitor | None = None,
    resume: Checkpoint | None = None,
    elapsed: float = 0.0,
) -> FitResult:
    """Fit a problem.

    monitor: progress and checkpoints are left there, and the fit stops when asked to there. resume: go on from
    a checkpoint of an earlier attempt; elapsed: the seconds that earlier attempts ran, for the time limit.

    Returns the result; its `outcome` says whether the fit converged, was cancelled or ran out of time. Raises
    `FitError` for a fit that cannot succeed, and `StopRequested` when it was to be interrupted, or was
    cancelled before any point had been evaluated.
    """
    return _Fit(problem, monitor or Monitor(), resume, elapsed).run()


def warm_up() -> None:
    """Do ahead of the first fit what only the first would wait for: load the compiled solvers and the catalogue."""
    for system in CATALOGUE.values():
        CompiledEngine(system).compile()
    for method in ("dopri5", "kvaerno5"):
        layer = ODELayer("lotka-volterra", engine="compiled", method=method)
        start = torch.ones(2, dtype=torch.float64, requires_grad=True)
        layer(torch.tensor([0.0, 0.1]), start, torch.ones(4)).sum().backward()


def partial_result(problem: FitProblem, checkpoint: Checkpoint, code: OutcomeCode) -> FitResult:
    """The best so far of a fit that goes no further, made from its checkpoint without solving anything."""
    setup = _Setup(problem, torch.device("cpu"), None, problem.solver.device)
    names = problem.resolved_system.states
    states = [[series[name] for name in names] for series in checkpoint.states]
    best = Evaluation(
        setup.unknowns.coordinates(checkpoint.best),
        checkpoint.loss,
        np.zeros(setup.unknowns.count),
        torch.cat([torch.tensor(columns, dtype=torch.float64).T for columns in states]),
    )
    reports = [StageReport.model_validate(report) for report in checkpoint.reports]
    return reporting.Report(problem, setup.objective, best, reports, setup.solver).partial(code)


class _Setup:
    """What a problem needs to be evaluated."""

    def __init__(self, problem: FitProblem, device: torch.device, stop: Any, shown_device: str = "auto") -> None:
        solver = problem.solver
        self.device = "cuda" if shown_device == "cuda" else device.type
        engine, method = choose(solver.engine, solver.method, self.device)
        self.layer = ODELayer(
            problem.resolved_system,
            engine=engine.name,
            method=method,
            rtol=solver.rtol,
            atol=solver.atol,
            max_steps=solver.max_steps,
        )
        if stop:
            self.layer.stop = stop
        self.unknowns = Unknowns(problem, device)
        self.layer.differentiate_by = self.unknowns.differentiate_by
        self.objective = Objective(problem, self.unknowns, self.layer, device)

    def solver(self) -> SolverUsed:
        """What computed the trajectories so far."""
        engine = self.layer.engine
        methods = engine.methods_used or (engine.first_method(self.layer.options),)  # nothing was solved here
        return SolverUsed(engine=engine.name, method="+".join(methods), device=self.device)


@dataclass
class _Stages:
    """Where the fit stands in its plan."""

    index: int = 0
    counts: Counts = field(default_factory=Counts)
    memory: dict[str, Any] | None = None
    reports: list[StageReport] = field(default_factory=list)


class _Fit:
    def __init__(self, problem: FitProblem, monitor: Monitor, resume: Checkpoint | None, elapsed: float) -> None:
        self.problem = problem
        self.monitor = monitor
        self.deadline = time.monotonic() + problem.time_limit_seconds - elapsed
        self.setup = _Setup(problem, choose_device(problem.solver.device), self._stop)
        self.objective, self.unknowns = self.setup.objective, self.setup.unknowns
        self.resume = resume
        self.plan = [build_stage(settings, problem.seed) for settings in problem.plan]
        self.stages = _Stages()
        self.best: Evaluation | None = None

    def run(self) -> FitResult:
        try:
            self.best = self._first_evaluation()
            code = self._run_stages()
            return self._complete(code)
        except StopRequested as stop:
            return self._stopped(stop)

    def _stopped(self, stop: StopRequested) -> FitResult:
        if stop.reason in {"interrupted", "lease_lost"}:
            raise stop
        if self.best is None:
            if self.resume:  # an earlier attempt had a point
                return partial_result(self.problem, self.resume, self._outcome_of(stop))
            if stop.reason == "cancelled":
                raise stop
            raise FitError(
                "time_limit",
                "The time limit came first",
                f"time_limit_seconds = {self.problem.time_limit_seconds:g} passed before the guess had been "
                "evaluated once; raise it, loosen solver.rtol and solver.atol, or lower solver.max_steps",
            )
        if stop.reason == "cancelled":  # somebody waits for the answer: nothing more is solved
            return self._report().partial("cancelled")
        try:
            return self._complete("time_limit")
        except StopRequested as later:
            return self._stopped(later)

    def _complete(self, code: OutcomeCode) -> FitResult:
        """The result; where making it shows a better point, that point's, its outcome judged anew."""
        for _ in range(MAX_IMPROVEMENTS):
            try:
                return self._report().complete(code, self._stop_of_report)
            except BetterFound as better:
                evaluator = Evaluator(self.objective, better.at, Counts(), None, self._stop_of_report, lambda _: None)
                stopped = LeastSquares(LeastSquaresStage(kind="least_squares")).run(evaluator)
                self.best = evaluator.best
                code = _OUTCOMES[stopped] if code != "time_limit" else code
        return self._report().partial("no_progress")

    @staticmethod
    def _outcome_of(stop: StopRequested) -> OutcomeCode:
        return "cancelled" if stop.reason == "cancelled" else "time_limit"

    def _report(self) -> reporting.Report:
        if self.best is None:
            raise AssertionError("no point has been evaluated")
        return reporting.Report(self.problem, self.objective, self.best, self.stages.reports, self.setup.solver)

    def _stop(self) -> StopReason | None:
        return self.monitor.stop or ("time_limit" if time.monotonic() > self.deadline else None)

    def _stop_of_report(self) -> StopReason | None:
        """What is made of the best point has a little more time than the fit: a tenth of its limit, at least 5 s."""
        grace = max(REPORT_SECONDS, 0.1 * self.problem.time_limit_seconds)
        return self.monitor.stop or ("time_limit" if time.monotonic() > self.deadline + grace else None)

    def _first_evaluation(self) -> Evaluation:
        start = self.unknowns.start
        if self.resume:
            start = self.unknowns.coordinates(self.resume.best)
            self._take_up(self.resume)
        self.stages.counts.gradients += self.unknowns.count > 0
        try:
            return self.objective.evaluate(start)
        except (SolveError, NotFinite) as error:
            raise self._cannot_start(error) from error

    def _take_up(self, checkpoint: Checkpoint) -> None:
        reports = [StageReport.model_validate(report) for report in checkpoint.reports]
        self.stages.index = checkpoint.stage
        self.stages.memory = checkpoint.optimiser
        self.stages.reports = [report for report in reports if report.stopped.code != RUNNING]
        for report in reports:
            if report.stopped.code == RUNNING:
                self.stages.counts = Counts(report.steps, report.gradients, report.failed_solves, report.seconds)

    def _cannot_start(self, error: SolveError | NotFinite) -> FitError:
        first = self.plan[self.stages.index].kind if self.unknowns.count else "evaluation"
        code = error.code if isinstance(error, SolveError) else "not_finite"
        return FitError(
            f"guess_{code}",
            "The guess cannot be evaluated",
            f"before the first step of the stage {first!r}, at the initial guesses: {error}. "
            "Change the guesses, the bounds or the solver's settings so that the model can be solved where the "
            "fit starts; simulating the model with these guesses shows what it does",
        )

    def _run_stages(self) -> OutcomeCode:
        if self.unknowns.count == 0:
            return "converged"  # nothing is free: the value is what it is
        while self.stages.index < len(self.plan):
            self._run_stage(self.stages.index)
            self.stages = _Stages(self.stages.index + 1, reports=self.stages.reports)
        code = self.stages.reports[-1].stopped.code
        return (
            "converged" if code in ("step_limit", "finished", "too_large") and self._is_converged() else _OUTCOMES[code]
        )

    def _is_converged(self) -> bool:
        """Whether the best point is an optimum, although the last stage used all its steps."""
        if self.best is None:
            raise AssertionError("no point has been evaluated")
        evaluator = Evaluator(self.objective, self.best, Counts(), None, self._stop, self._tell)
        try:
            return evaluator.is_converged()
        except TrialFailed:
            return False

    def _run_stage(self, index: int) -> None:
        if self.best is None:
            raise AssertionError("no point has been evaluated")
        stage = self.plan[index]
        evaluator = Evaluator(self.objective, self.best, self.stages.counts, self.stages.memory, self._stop, self._tell)
        self._tell(evaluator)
        try:
            code = stage.run(evaluator)
        except StopRequested as stop:
            self.best = evaluator.best
            self._tell(evaluator)
            self.stages.reports.append(
                self._stage_report(evaluator, stop.reason, f"the fit was stopped: {stop.reason}")
            )
            raise
        self.best = evaluator.best
        self._tell(evaluator)
        self.stages.reports.append(self._stage_report(evaluator, code, STOPPED[code]))

    def _stage_report(self, evaluator: Evaluator, code: str, message: str) -> StageReport:
        best = evaluator.best
        gradient = np.abs(best.gradient * self.unknowns.per_unit(best.coordinates))
        steepest = float(gradient.max(initial=0.0))
        norm = steepest * float(np.linalg.norm(gradient / steepest)) if 0 < steepest < np.inf else steepest
        return StageReport(
            kind=self.plan[self.stages.index].kind,
            steps=evaluator.counts.steps,
            gradients=evaluator.counts.gradients,
            failed_solves=evaluator.counts.failed_solves,
            loss=best.loss,
            gradient_norm=min(norm, sys.float_info.max),
            seconds=evaluator.counts.seconds,
            stopped=Stopped(code=code, message=message),
            start_losses=sorted(evaluator.ends) or None,
        )

    def _tell(self, evaluator: Evaluator) -> None:
        stages, best = self.plan, evaluator.best
        planned = sum(stage.steps for stage in stages)
        before = sum(stage.steps for stage in stages[: self.stages.index])
        here = stages[self.stages.index]
        self.monitor.progress = Progress(
            stage=here.kind,
            step=evaluator.counts.steps,
            steps=here.steps,
            loss=best.loss,
            fraction=min((before + evaluator.counts.steps) / planned, 1.0),
        )
        running = self._stage_report(evaluator, RUNNING, "the stage was still running")
        self.monitor.checkpoint = Checkpoint(
            stage=self.stages.index,
            step=evaluator.counts.steps,
            best=self.unknowns.free_values(best.coordinates),
            loss=best.loss,
            gradient_norm=running.gradient_norm,
            states=[
                dict(zip(self.problem.resolved_system.states, best.states[rows].T.tolist(), strict=True))
                for rows in self.objective.trajectories.slices
            ],
            optimiser=evaluator.memory,
            reports=[report.model_dump(mode="json") for report in (*self.stages.reports, running)],
        )
