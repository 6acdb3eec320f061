"""`fit`: evaluate the guess, run the stages, assemble the result."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from odelib.engines.layer import ODELayer
from odelib.engines.registry import choose_device
from odelib.errors import FitError, SolveError, StopReason, StopRequested
from odelib.monitor import Checkpoint, Monitor
from odelib.objective.objective import Evaluation, NotFinite, Objective
from odelib.optimisers.base import StopCode
from odelib.optimisers.evaluator import Evaluator
from odelib.optimisers.least_squares import LeastSquares
from odelib.optimisers.plan import Plan, Position
from odelib.optimisers.registry import build_optimiser
from odelib.optimisers.solvable_search import SolvableSearch
from odelib.problem.catalogue import CATALOGUE
from odelib.problem.checks.system import build_system
from odelib.problem.request import FitProblem
from odelib.problem.resolved import ResolvedProblem, resolve
from odelib.problem.solver import AUTO, AUTO_ATOL
from odelib.problem.stages import LeastSquaresStage
from odelib.problem.system import SystemDefinition
from odelib.report import assemble
from odelib.report.best_point import BestPoint
from odelib.report.networks import with_networks
from odelib.result import FitResult, OutcomeCode, SolverUsed, StageReport, ToleranceUsed
from odelib.uncertainty.profile_likelihood import BetterOptimumFound, ProfiledUnknown, ProfileRecord

MIN_REPORT_SECONDS = 5.0
MAX_IMPROVEMENTS = 5  # times that profiles find a better point before the fit gives up
_OUTCOMES: dict[StopCode, OutcomeCode] = {  # why the last stage stopped → how the fit ended
    "converged": "converged",
    "early_stopped": "early_stopped",
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

    Args:
        problem: a validated request, from `FitProblem.model_validate`.
        monitor: receives progress and checkpoints; set its `stop` to stop the fit.
        resume: a checkpoint of an earlier attempt, from which to continue.
        elapsed: the seconds that earlier attempts took, which count against the time limit.

    Returns the result; its `outcome` says whether the fit converged, was cancelled or ran out of time. Raises
    `FitError` if the fit cannot succeed, and `StopRequested` if it was interrupted, or cancelled before any
    point had been evaluated.

    >>> problem = FitProblem.model_validate({
    ...     "system": {"states": ["c"], "parameters": ["k"], "equations": {"c": "-k*c"}},
    ...     "data": {"times": [0, 1, 2], "values": {"c": [8.0, 4.0, 2.0]}},
    ...     "parameters": {"k": 1.0}, "initial_state": {"c": 5.0},
    ... })
    >>> result = fit(problem)
    >>> result.outcome.code, round(result.parameters["k"].value, 4)
    ('converged', 0.6931)
    """
    resolved = resolve(problem)
    return with_networks(_Fit(resolved, monitor or Monitor(), resume, elapsed).run(), resolved)


def warm_up() -> None:
    """Load the compiled solvers and the catalogue, so that the first fit does not have to wait for them."""
    for system in CATALOGUE.values():
        ODELayer(system).engine.prepare()
    # the compiled loop is compiled twice: for plain solves, and for those in which something happens at given times
    switched = SystemDefinition(states=["x"], parameters=["k"], equations={"x": "where(t < 0.05, k, 0)"})
    for system in (CATALOGUE["lotka-volterra"], build_system(switched)):
        for method in ("dopri5", "kvaerno5"):
            layer = ODELayer(system, method=method)
            start = torch.ones(len(system.states), dtype=torch.float64, requires_grad=True)
            layer(torch.tensor([0.0, 0.1]), start, torch.ones(len(system.parameters))).sum().backward()


def partial_result(problem: FitProblem, checkpoint: Checkpoint, code: OutcomeCode) -> FitResult:
    """The best so far of a fit that will not continue, made from its checkpoint without solving anything."""
    resolved = resolve(problem)
    objective = Objective(resolved, torch.device("cpu"))  # nothing is solved, so no GPU is needed
    states = [[series[name] for name in resolved.system.states] for series in checkpoint.states]
    best = Evaluation(
        objective.unknowns.coordinates(checkpoint.best),
        checkpoint.loss,
        np.zeros(objective.unknowns.count),
        torch.cat([torch.tensor(columns, dtype=torch.float64).T for columns in states]),
    )
    reports = [StageReport.model_validate(report) for report in checkpoint.reports]
    point = BestPoint.of(resolved.request, objective, best, reports, lambda: _solver_used(resolved, objective, best))
    return with_networks(assemble.partial_result(point, code), resolved)


def _solver_used(problem: ResolvedProblem, objective: Objective, best: Evaluation) -> SolverUsed:
    """What computed the trajectories so far; what would compute them if nothing was solved."""
    engine, options = objective.layer.engine, objective.layer.options
    methods = engine.methods_used or (engine.first_method(options),)
    atol: ToleranceUsed
    if options.atol == AUTO:
        solved = torch.cat([objective.unknowns.values(best.coordinates)[1], best.states])
        largest = AUTO_ATOL * options.rtol * solved.abs().amax(0).cpu().numpy()
        atol = dict(zip(problem.system.states, np.minimum(largest, options.max_atol).tolist(), strict=True))
    else:
        atol = options.atol
    return SolverUsed(engine=engine.name, method="+".join(methods), device=problem.device, atol=atol)


class _Fit:
    """One attempt at a fit."""

    def __init__(self, problem: ResolvedProblem, monitor: Monitor, resume: Checkpoint | None, elapsed: float) -> None:
        self._problem, self._request = problem, problem.request
        self._monitor = monitor
        self._resume = resume
        self._deadline = time.monotonic() + self._request.time_limit_seconds - elapsed
        self._objective = Objective(problem, choose_device(problem.device), self._stop_reason)
        stages = [build_optimiser(settings, self._request.seed) for settings in self._request.plan]
        self._plan = Plan(
            stages,
            self._objective,
            monitor,
            self._stop_reason,
            Position.of_checkpoint(resume) if resume else Position(),
            profiles_follow=self._request.uncertainty == "profile",
        )

    def run(self) -> FitResult:
        try:
            self._plan.best = self._first_evaluation()
        except StopRequested as stop:
            return self._stopped_before_any_point(stop)
        try:
            return self._complete(self._run_plan())
        except StopRequested as stop:
            return self._stopped(stop)

    def _stop_reason(self) -> StopReason | None:
        return self._monitor.stop or ("time_limit" if time.monotonic() > self._deadline else None)

    def _stop_reason_of_report(self) -> StopReason | None:
        """The report has more time than the fit: a tenth of the limit, at least 5 s."""
        grace = max(MIN_REPORT_SECONDS, 0.1 * self._request.time_limit_seconds)
        return self._monitor.stop or ("time_limit" if time.monotonic() > self._deadline + grace else None)

    def _first_evaluation(self) -> Evaluation:
        unknowns = self._objective.unknowns
        start = unknowns.coordinates(self._resume.best) if self._resume else unknowns.start
        self._plan.position.counts.gradients += unknowns.count > 0
        try:
            found = self._objective.evaluate(start)
        except (SolveError, NotFinite) as error:
            found = self._search_solvable(error)
        self._objective.size_zero_guesses([unknowns.start, found.coordinates])
        return found

    def _search_solvable(self, error: SolveError | NotFinite) -> Evaluation:
        """Another point than the guess, which failed. Raises `FitError` if there is none."""
        search = SolvableSearch(self._objective, self._request.seed)
        found = search.run() if self._objective.unknowns.count and not self._resume else None
        counts = self._plan.position.counts
        counts.gradients, counts.failed_solves = counts.gradients + search.tried, search.failed + 1
        if found is None:
            raise self._guess_failed(error, search) from error
        return found

    def _guess_failed(self, error: SolveError | NotFinite, search: SolvableSearch) -> FitError:
        first = self._plan.next_stage if self._objective.unknowns.count else "evaluation"
        code = error.code if isinstance(error, SolveError) else "not_finite"
        return FitError(
            f"guess_{code}",
            "The model cannot be evaluated at the guess",
            f"before the first step of stage {first!r}, at the initial guesses: {error}. {search.describe()}"
            "Change the guesses, the bounds or the solver settings so that the model can be solved where the fit "
            "starts; simulate the model with these guesses to see what it does",
        )

    def _run_plan(self) -> OutcomeCode:
        if self._objective.unknowns.count == 0:
            return "converged"  # nothing is free, so there is nothing to optimise
        if self._plan.is_done:
            outcome: OutcomeCode = self._saved_profiles["outcome"]  # an earlier attempt was computing profiles
            return outcome
        code = self._plan.run()
        if code in ("step_limit", "finished", "too_large") and self._plan.is_converged():
            return "converged"
        return _OUTCOMES[code]

    def _complete(self, code: OutcomeCode) -> FitResult:
        """The result. If making it finds a better point, that point's result, its outcome judged anew."""
        done = {name: ProfiledUnknown.of_json(saved) for name, saved in self._saved_profiles["profiles"].items()}
        for _ in range(MAX_IMPROVEMENTS):
            record = ProfileRecord(done, partial(self._publish_profiles, code))
            try:
                return assemble.complete_result(self._best_point(), code, self._stop_reason_of_report, record)
            except BetterOptimumFound as better:
                evaluator = Evaluator(self._objective, better.evaluation, self._stop_reason_of_report)
                stopped = LeastSquares(LeastSquaresStage(kind="least_squares")).run(evaluator)
                self._plan.best = evaluator.best
                self._plan.position.index += 1  # so that the checkpoints of the new profiles are later ones
                code, done = (_OUTCOMES[stopped] if code != "time_limit" else code), {}
        return assemble.partial_result(self._best_point(), "no_progress")

    @property
    def _saved_profiles(self) -> Mapping[str, Any]:
        """What `_publish_profiles` of an earlier attempt saved."""
        state = self._resume.optimiser if self._resume and self._resume.stage >= len(self._request.plan) else None
        return state or {"outcome": "no_progress", "profiles": {}}

    def _publish_profiles(self, code: OutcomeCode, done: Mapping[str, ProfiledUnknown]) -> None:
        saved = {name: profiled.to_json() for name, profiled in done.items()}
        count = self._objective.unknowns.count
        self._plan.publish_profiles(len(done), count, {"outcome": code, "profiles": saved})

    def _best_point(self) -> BestPoint:
        best = self._plan.best
        return BestPoint.of(
            self._request,
            self._objective,
            best,
            self._plan.reports,
            lambda: _solver_used(self._problem, self._objective, best),
        )

    def _stopped_before_any_point(self, stop: StopRequested) -> FitResult:
        if stop.reason in {"interrupted", "lease_lost"}:
            raise stop
        if self._resume:  # an earlier attempt evaluated a point
            code: OutcomeCode = "cancelled" if stop.reason == "cancelled" else "time_limit"
            return partial_result(self._request, self._resume, code)
        if stop.reason == "cancelled":
            raise stop
        raise FitError(
            "time_limit",
            "The time limit was reached before the first evaluation",
            f"time_limit_seconds = {self._request.time_limit_seconds:g} elapsed before the guess was evaluated; "
            "increase it, loosen solver.rtol and solver.atol, or reduce solver.max_steps",
        )

    def _stopped(self, stop: StopRequested) -> FitResult:
        if stop.reason in {"interrupted", "lease_lost"}:
            raise stop
        if stop.reason == "cancelled":  # the caller waits for the answer, so nothing more is solved
            return assemble.partial_result(self._best_point(), "cancelled")
        try:
            return self._complete("time_limit")
        except StopRequested as later:
            return self._stopped(later)
