"""Puts the result of a fit together from its best point."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from odelib.engines.base import StopCheck
from odelib.report import estimates
from odelib.report.best_point import BestPoint
from odelib.report.intervals import NOT_COMPUTED, Intervals, find_intervals
from odelib.report.predictions import Predictor, unmade_predictions
from odelib.report.statistics import statistics
from odelib.report.trajectories import dense_trajectory, fitted_trajectories
from odelib.report.warnings import Findings, all_warnings
from odelib.result import OUTCOMES, Dense, FitResult, Outcome, OutcomeCode, PredictionResult


def complete_result(at: BestPoint, outcome: OutcomeCode, stop: StopCheck) -> FitResult:
    """Return the result with its uncertainty, dense trajectories and predictions.

    If `stop` reports the time limit, what is left of these is missing. Raises `BetterOptimumFound` if a profile finds a
    lower loss than the best point's, and `StopRequested` for any other reason to stop.
    """
    at.layer.stop = stop
    intervals = find_intervals(at, outcome, stop)
    with torch.no_grad():
        dense = [dense_trajectory(at, series) for series in at.objective.fitted]
        predictor = Predictor(at, intervals.errors, stop)
        predictions = [predictor.predict(asked) for asked in at.problem.predictions]
        held_out = [predictor.predict_held_out(series) for series in at.objective.held_out]
        return _result(at, outcome, intervals, dense, predictions, held_out)


def partial_result(at: BestPoint, outcome: OutcomeCode) -> FitResult:
    """Return the result without solving anything: no uncertainty, no predictions, dense trajectories at data times."""
    predictions, held_out = unmade_predictions(at)
    with torch.no_grad():
        return _result(at, outcome, NOT_COMPUTED, [None] * len(at.objective.fitted), predictions, held_out)


def _result(
    at: BestPoint,
    outcome: OutcomeCode,
    intervals: Intervals,
    dense: Sequence[Dense | None],
    predictions: list[PredictionResult],
    held_out: list[PredictionResult],
) -> FitResult:
    trajectories = fitted_trajectories(at, intervals, dense)
    derived = estimates.shared_derived(at, intervals)
    finite = set(derived).union(*(trajectory.derived or {} for trajectory in trajectories))
    findings = Findings(
        at=at,
        outcome=outcome,
        intervals=intervals,
        predictions=predictions + held_out,
        undefined_derived=[name for name in at.layer.system.derived if name not in finite],
    )
    return FitResult(
        loss=at.evaluation.loss,
        loss_parts=at.loss_parts,
        observations=at.objective.measurements.observations,
        outcome=Outcome(code=outcome, message=OUTCOMES[outcome]),
        parameters=estimates.shared_parameters(at, intervals),
        initial_state=estimates.initial_state(at, intervals, 0),
        derived=derived or None,
        noise=estimates.noise_scales(at, intervals),
        stages=list(at.stages),
        trajectories=trajectories,
        predictions=predictions or None,
        hold_out=held_out or None,
        covariance=estimates.covariance(intervals),
        profiles=dict(intervals.profiles) or None,
        warnings=all_warnings(findings),
        statistics=statistics(at),
        solver=at.solver(),
    )
