"""Puts the result of a fit together from its best point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from odelib.arrays import Reals
from odelib.engines.base import StopCheck
from odelib.report import estimates
from odelib.report.best_point import BestPoint
from odelib.report.intervals import NOT_COMPUTED, Intervals, find_intervals
from odelib.report.outcome import outcome_of
from odelib.report.predictions import Predictor, unmade_predictions
from odelib.report.statistics import statistics
from odelib.report.tolerance_effect import NO_EFFECT, ToleranceEffect, tolerance_effect
from odelib.report.trajectories import (
    DenseTrajectories,
    dense_trajectories,
    fitted_trajectories,
    steady_start_states,
)
from odelib.report.warnings import Findings, all_warnings
from odelib.result import Estimate, FitResult, OutcomeCode, PredictionResult
from odelib.uncertainty.profile_likelihood import ProfileRecord


def complete_result(best: BestPoint, outcome: OutcomeCode, stop: StopCheck, record: ProfileRecord) -> FitResult:
    """Return the result with its uncertainty, dense trajectories and predictions.

    record: of the profiles, if they are asked for; those in it are not computed again.

    If `stop` reports the time limit, what is left of these is missing. Raises `BetterOptimumFound` if a profile finds a
    lower loss than the best point's, and `StopRequested` for any other reason to stop.
    """
    best.layer.stop = stop
    intervals = find_intervals(best, outcome, stop, record)
    with torch.no_grad():
        dense = dense_trajectories(best)
        effect = tolerance_effect(best, outcome, intervals, dense.atol)
        predictor = Predictor(best, intervals.errors, stop)
        predictions = [predictor.predict(number, asked) for number, asked in enumerate(best.problem.predictions)]
        held_out = [predictor.predict_held_out(series) for series in best.objective.held_out]
        starts = steady_start_states(best)
        result = _result(best, outcome, intervals, dense, starts, predictions, held_out, effect)
        return result if dense.atol is None else _with_tolerances(result, best.layer.system.states, dense.atol)


def partial_result(best: BestPoint, outcome: OutcomeCode) -> FitResult:
    """Return the result without solving anything: no uncertainty, no predictions, dense trajectories at data times."""
    predictions, held_out = unmade_predictions(best)
    with torch.no_grad():
        dense = DenseTrajectories([None] * len(best.objective.fitted), None, [], [])
        return _result(best, outcome, NOT_COMPUTED, dense, {}, predictions, held_out, NO_EFFECT, may_solve=False)


def _with_tolerances(result: FitResult, states: Sequence[str], atol: Reals) -> FitResult:
    """The result with the automatic tolerances, (n,), of the dense trajectories."""
    solver = result.solver.model_copy(update={"atol": dict(zip(states, atol.tolist(), strict=True))})
    return result.model_copy(update={"solver": solver})


def _result(
    best: BestPoint,
    code: OutcomeCode,
    intervals: Intervals,
    dense: DenseTrajectories,
    start_states: Mapping[int, Mapping[str, Estimate]],
    predictions: list[PredictionResult],
    held_out: list[PredictionResult],
    effect: ToleranceEffect,
    *,
    may_solve: bool = True,
) -> FitResult:
    trajectories = fitted_trajectories(best, intervals, dense.trajectories, start_states)
    derived = estimates.shared_derived(best, intervals)
    finite = set(derived).union(*(trajectory.derived or {} for trajectory in trajectories))
    outcome = outcome_of(best, code)
    findings = Findings(
        best=best,
        outcome=outcome,
        intervals=intervals,
        effect=effect,
        grazing_events=dense.grazing_events,
        unlocated_jumps=dense.unlocated_jumps,
        happened=dense.happened,
        predictions=predictions + held_out,
        undefined_derived=[name for name in best.layer.system.derived if name not in finite],
        may_solve=may_solve,
    )
    return FitResult(
        loss=best.evaluation.loss,
        loss_parts=best.loss_parts,
        observations=best.objective.measurements.observations,
        outcome=outcome,
        parameters=estimates.shared_parameters(best, intervals),
        initial_state=dict(start_states.get(0) or estimates.initial_state(best, intervals, 0)),
        derived=derived or None,
        noise=estimates.noise_scales(best, intervals),
        stages=list(best.stages),
        trajectories=trajectories,
        predictions=predictions or None,
        hold_out=held_out or None,
        covariance=estimates.covariance(intervals),
        profiles=dict(intervals.profiles) or None,
        warnings=all_warnings(findings),
        statistics=statistics(best, intervals),
        solver=best.solver(),
    )
