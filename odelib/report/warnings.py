"""The warnings of a result: reasons to be careful with it.

Each function looks for one kind of warning; `WARNINGS` has them in the order in which a result lists its warnings.
docs/how-to-add-a-warning.md shows how to add one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from odelib.arrays import Reals
from odelib.engines.base import Happened
from odelib.optimisers import doubts
from odelib.optimisers.convergence import AS_A_CONSTANT, noise_variance
from odelib.problem.solver import AUTO
from odelib.report.best_point import BestPoint
from odelib.report.intervals import Intervals
from odelib.report.outcome import collapsed_observables
from odelib.report.tolerance_effect import ToleranceEffect
from odelib.result import FitWarning, Outcome, PredictionResult

MIN_STARTS = 5  # with fewer starts, their number at the best loss says little
DISAGREEMENT = 1.5  # of the distances from an estimate to an end of its interval, by profile and by covariance


@dataclass(frozen=True)
class Findings:
    """What the warnings of a result are based on.

    effect: of the tolerances. grazing_events, unlocated_jumps: see `Engine`. happened: the events of each fitted
    series. undefined_derived: the derived quantities that are finite in no series.
    may_solve: whether the equations may be solved, which they may not for what is left of a fit that was stopped.
    """

    best: BestPoint
    outcome: Outcome
    intervals: Intervals
    effect: ToleranceEffect
    grazing_events: Sequence[str]
    unlocated_jumps: Sequence[str]
    happened: Sequence[Sequence[Happened]]
    predictions: Sequence[PredictionResult]
    undefined_derived: Sequence[str]
    may_solve: bool


def all_warnings(findings: Findings) -> list[FitWarning]:
    """Return the warnings of a result, in the order of `WARNINGS`."""
    return [warning for find in WARNINGS for warning in find(findings)]


def at_bound(findings: Findings) -> Iterator[FitWarning]:
    """Unknowns that ended at a bound."""
    if names := findings.best.unknowns.names_at_bound(findings.best.coordinates):
        message = f"{', '.join(names)} ended at a bound; the best value may lie beyond it"
        yield FitWarning(code="at_bound", message=message, names=names)


def not_finite(findings: Findings) -> Iterator[FitWarning]:
    """Observables and derived quantities that are null or missing in the result."""
    best = findings.best
    bad = {name: ~column.isfinite() for name, column in best.output.observables.items()}
    observables = [name for name, rows in bad.items() if bool(rows.any())]
    predicted = list(dict.fromkeys(name for prediction in findings.predictions for name in _undefined_in(prediction)))
    predicted = [name for name in predicted if name not in observables]
    derived = list(findings.undefined_derived)
    where = [
        (observables, "at some times"),
        (predicted, "at some times of a prediction"),
        (derived, "at the fitted parameters"),
    ]
    clauses = [f"{', '.join(group)} {_verb(group)} not finite {place}" for group, place in where if group]
    if not clauses:
        return
    reason = "look for a division by zero, or the root or logarithm of a negative number"
    if observables:
        row = int(bad[observables[0]].nonzero()[0])
        explained = best.objective.explain(best.evaluation.states, best.coordinates)(observables[0], row)
        if explained:
            reason = f"at t = {float(best.objective.trajectories.times[row]):.6g}, {explained}"
    yield FitWarning(
        code="not_finite", message=f"{' and '.join(clauses)}; {reason}", names=[*observables, *predicted, *derived]
    )


def _undefined_in(prediction: PredictionResult) -> list[str]:
    """The observables of a prediction that are null at some times."""
    return [name for name, column in (prediction.values or {}).items() if None in column]


def _verb(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def best_found_once(findings: Findings) -> Iterator[FitWarning]:
    """Stages with several starts of which only one reached the best loss.

    Starts that a doubt has begun end once it is gone, and need not agree.
    """
    best = findings.best
    for settings, stage in zip(best.problem.plan, best.stages, strict=False):
        starts = len(stage.start_losses or [])
        if starts >= MIN_STARTS and stage.reached(best.evaluation.loss) == 1:
            if getattr(settings, "when", "always") == "doubtful" and _is_beyond_doubt(findings):
                continue
            message = (
                f"only 1 of {starts} starts reached the best loss, so a better optimum may exist; increase `starts`"
            )
            yield FitWarning(code="best_found_once", message=message)


def _is_beyond_doubt(findings: Findings) -> bool:
    best = findings.best
    if not findings.may_solve:
        return False
    with torch.enable_grad():  # the report is made without
        return doubts.is_trustworthy(best.objective, best.evaluation)


def structured_residuals(findings: Findings) -> Iterator[FitWarning]:
    """Observables whose residuals are correlated in time, far larger than the scatter, or than other residuals."""
    best = findings.best
    correlated = doubts.structured_residuals(best.objective, best.evaluation, best.output, may_solve=findings.may_solve)
    if correlated:
        message = (
            f"the residuals of {', '.join(correlated)} are correlated in time: the model may miss an effect, or a "
            "better fit may exist"
        )
        yield FitWarning(code="structured_residuals", message=message, names=correlated)
    absorbed = doubts.absorbed_misfits(best.objective, best.evaluation, best.output, may_solve=findings.may_solve)
    if names := [name for name in absorbed if name not in correlated]:
        message = (
            f"the residuals of {', '.join(names)} are far larger than the measurements scatter around a smooth curve: "
            "the model may miss an effect, or a better fit may exist"
        )
        yield FitWarning(code="structured_residuals", message=message, names=names)
    mistimed = doubts.mistimed_changes(best.objective, best.output)
    if names := [name for name in mistimed if name not in {*correlated, *absorbed}]:
        message = (
            f"some residuals of {', '.join(names)} are far larger than the others, where the measurements change "
            "steeply: the model may miss the time of the change, or a better fit may exist"
        )
        yield FitWarning(code="structured_residuals", message=message, names=names)


def no_better_than_constant(findings: Findings) -> Iterator[FitWarning]:
    """Observables with an R² of 0 or less, up to rounding errors."""
    r_squared = findings.best.objective.measurements.r_squared(findings.best.output.model)
    if names := [name for name, value in r_squared.items() if value <= AS_A_CONSTANT]:
        message = f"the model describes {', '.join(names)} no better than a constant would"
        yield FitWarning(code="no_better_than_constant", message=message, names=names)


def zero_gradient(findings: Findings) -> Iterator[FitWarning]:
    """Unknowns on which the loss does not depend, if flat directions are not known."""
    evaluation, unknowns = findings.best.evaluation, findings.best.unknowns
    if findings.intervals.flat is not None or evaluation.loss == 0:
        return
    held = unknowns.at_bound(evaluation.coordinates)
    held |= unknowns.is_weight
    entries = zip(unknowns.names, evaluation.gradient, held, strict=True)
    if names := [name for name, derivative, is_held in entries if derivative == 0.0 and not is_held]:
        pronoun = "it" if len(names) == 1 else "them"
        message = (
            f"the data do not determine {', '.join(names)}: the loss does not depend on {pronoun} at the best point; "
            f"fix {pronoun}, or add measurements that depend on {pronoun}"
        )
        yield FitWarning(code="flat_direction", message=message, names=names)


def coarse_solver(findings: Findings) -> Iterator[FitWarning]:
    """An answer that is the solver's as much as the model's: it changes with the tolerances."""
    effect = findings.effect
    clauses = [
        (effect.inaccurate, f"the trajectories of {', '.join(effect.inaccurate)} would change by more than 1 %"),
        (effect.moved, f"{', '.join(effect.moved)} would move by more than a tenth of the 95 % interval's half-width"),
        (effect.rescaled, f"the estimated noise of {', '.join(effect.rescaled)} would change by more than a tenth"),
        (effect.unresolved, f"values of {', '.join(effect.unresolved)} would count that are too small to be resolved"),
    ]
    if told := [clause for names, clause in clauses if names]:
        is_given = findings.best.layer.options.atol != AUTO
        remedy = (
            "leave out `solver.atol` or reduce it, and reduce `solver.rtol`" if is_given else "reduce `solver.rtol`"
        )
        message = f"the answer depends on the solver's tolerances: at a hundredth of them, {'; '.join(told)}; {remedy}"
        yield FitWarning(code="coarse_solver", message=message, names=effect.names)


def another_optimum(findings: Findings) -> Iterator[FitWarning]:
    """Optima with the same loss that other starts found, farther from the best point than the errors explain.

    In a valley that is a parabola, a loss that lies D above the least is at most √D standard errors away, if D is in
    units in which one standard error raises it by 1. Along flat directions everything fits, and nothing is another
    optimum.
    """
    best, half_widths = findings.best, findings.intervals.half_widths
    if findings.intervals.flat or not half_widths:
        return
    unit = noise_variance(best.objective, best.evaluation) / (2 if best.objective.measurements.is_likelihood else 1)
    told: list[Reals] = []
    for other in [other for stage in best.stages for other in stage.other_optima or []]:
        rise = max(other.loss - best.evaluation.loss, 0.0) / unit if unit else 0.0
        place = best.unknowns.coordinates(other.values)
        distances = np.abs(place - best.coordinates)
        allowed = np.array([half_widths.get(name, np.inf) for name in best.unknowns.names]) * (1.5 + np.sqrt(rise))
        is_elsewhere = distances > allowed
        if not is_elsewhere.any() or any(bool(np.all(np.abs(place - each) <= allowed)) for each in told):
            continue
        told.append(place)
        names = [name for name, elsewhere in zip(best.unknowns.names, is_elsewhere, strict=True) if elsewhere]
        values = best.unknowns.free_values(best.coordinates)
        where = ", ".join(f"{name} = {other.values[name]:.4g} (here {values[name]:.4g})" for name in names)
        message = f"another optimum fits equally well, at {where}; exclude one of the two with bounds or a prior"
        yield FitWarning(code="another_optimum", message=message, names=names)


def at_kink(findings: Findings) -> Iterator[FitWarning]:
    """Unknowns that move a switching time that meets a measurement."""
    best = findings.best
    by_switches = np.abs(best.objective.switches.at_measurements(best.coordinates, findings.happened))
    by_switches = by_switches * best.unknowns.magnitudes(best.coordinates)
    takes_part = (by_switches > 1e-3 * by_switches.max(axis=1, keepdims=True, initial=0.0)).any(axis=0)
    if names := [name for name, takes in zip(best.unknowns.names, takes_part.tolist(), strict=True) if takes]:
        message = (
            f"at the optimum a switching time that depends on {', '.join(names)} coincides with a measurement, where "
            "the loss has a kink or a jump: standard errors describe one side of it only; profiles describe both"
        )
        yield FitWarning(code="at_kink", message=message, names=names)


def grazing_event(findings: Findings) -> Iterator[FitWarning]:
    """Events whose condition hardly becomes true at the optimum."""
    if names := list(findings.grazing_events):
        message = (
            f"at the optimum the condition of {', '.join(names)} hardly becomes true: a small change of the unknowns "
            "decides whether and when it happens, and standard errors may be far too large or too small"
        )
        yield FitWarning(code="grazing_event", message=message, names=names)


def unlocated_jump(findings: Findings) -> Iterator[FitWarning]:
    """Rates that jump at instants at which the solver could not end a step."""
    if names := list(findings.unlocated_jumps):
        message = (
            f"at the optimum a rate jumps at {', '.join(names)}, and the solver could not end a step there, for "
            "example because the solution slides along the jump: derivatives lack what the change of the instant "
            "contributes, and standard errors may be wrong; write the system with events, or replace the jump by a "
            "steep function"
        )
        yield FitWarning(code="unlocated_jump", message=message, names=names)


def profile_disagrees(findings: Findings) -> Iterator[FitWarning]:
    """Unknowns whose profile ends elsewhere than the interval of the covariance."""
    best, intervals = findings.best, findings.intervals
    here = dict(zip(best.unknowns.names, best.coordinates.tolist(), strict=True))
    names = []
    for index, (name, ends) in enumerate(intervals.profile_ends.items()):
        half_width = intervals.half_widths.get(name)
        widths = [
            abs((math.log(end) if best.unknowns.log[index] else end) - here[name]) for end in ends if end is not None
        ]
        if half_width and any(not 1 / DISAGREEMENT < width / half_width < DISAGREEMENT for width in widths):
            names.append(name)
    if names:
        message = (
            f"the profile and covariance intervals of {', '.join(names)} differ by more than a factor of "
            f"{DISAGREEMENT:g}, because the loss is not a parabola there; use the profile, not `standard_error`"
        )
        yield FitWarning(code="profile_disagrees", message=message, names=names)


def collapsed_scale(findings: Findings) -> Iterator[FitWarning]:
    """Observables with estimated noise that the model meets exactly, so that the likelihood has no maximum."""
    if names := collapsed_observables(findings.best):
        message = (
            f"the estimated noise of {', '.join(names)} is as small as the solver's error: the model passes through "
            "the measurements, so the likelihood has no maximum, and the scale and the intervals depend on the "
            "solver's tolerances; give `sigma`, or fit fewer unknowns"
        )
        yield FitWarning(code="coarse_solver", message=message, names=names)


NO_UNCERTAINTY = {
    "all_fixed": "there are no standard errors: every unknown is fixed",
    "time_limit": "there are no standard errors: the time limit was reached first; increase time_limit_seconds",
    "no_derivatives": "there are no standard errors: the model's derivatives could not be computed, because {detail}",
    "no_scale": "there are no standard errors: estimating the noise scale needs more observations than free "
    "unknowns; fix unknowns, or add measurements",
    "profile_time_limit": "the time limit was reached before the profiles of {detail:.200} were computed; increase "
    "time_limit_seconds",
}


def no_uncertainty(findings: Findings) -> Iterator[FitWarning]:
    """Standard errors or profiles that were requested and are missing."""
    missing = findings.intervals.missing
    if missing and findings.best.problem.uncertainty != "none":
        message = NO_UNCERTAINTY[missing.reason].format(detail=missing.detail)
        yield FitWarning(code="no_uncertainty", message=message)


def penalty_determines(findings: Findings) -> Iterator[FitWarning]:
    """Standard errors beside a network whose weights only their penalty determines."""
    unknowns, errors = findings.best.unknowns, findings.intervals.errors
    names = findings.intervals.covariance.names if findings.intervals.covariance else []
    if errors and errors.available and names and np.any(unknowns.weight_decay):
        message = (
            f"the intervals of {', '.join(names)} rest on the `l2` of the network's weights: another one may change "
            "them"
        )
        yield FitWarning(code="penalty_determines", message=message, names=names)


def flat_direction(findings: Findings) -> Iterator[FitWarning]:
    """Unknowns that take part in a direction in which the loss does not change, or hardly changes."""
    yield from _hardly_determined(findings)
    names = findings.intervals.flat
    if not names:
        return
    if findings.best.unknowns.is_weight.any():
        message = (
            f"the data do not determine {', '.join(names)} beside the network, which can imitate what "
            f"{'it does' if len(names) == 1 else 'they do'}: give the network an `l2`, make it smaller, or fix "
            f"{'it' if len(names) == 1 else 'one of them'}"
        )
    elif len(names) == 1:
        message = (
            f"the data do not determine {names[0]}: changing it leaves the fit unchanged; fix it, or add measurements "
            "that depend on it"
        )
    else:
        message = (
            f"the data do not determine {', '.join(names)}: some combined change of them leaves the fit unchanged; fix "
            "one of them, or add measurements that distinguish them"
        )
    yield FitWarning(code="flat_direction", message=message, names=names)


def _hardly_determined(findings: Findings) -> Iterator[FitWarning]:
    """Unknowns that can hardly be told apart: the information is nearly singular."""
    if names := findings.intervals.hardly_determined:
        message = (
            f"the data hardly determine {', '.join(names)}: large combined changes of them leave the fit "
            "nearly unchanged; fix one of them, or add measurements that distinguish them"
        )
        yield FitWarning(code="flat_direction", message=message, names=list(names))


def open_interval(findings: Findings) -> Iterator[FitWarning]:
    """Unknowns whose profile does not reach the limit on both sides."""
    if names := findings.intervals.open_ended:
        intervals = "the interval has" if len(names) == 1 else "the intervals have"
        message = f"the data do not bound {', '.join(names)} on at least one side; {intervals} no end there"
        yield FitWarning(code="open_interval", message=message, names=names)


def not_converged(findings: Findings) -> Iterator[FitWarning]:
    """An outcome other than `converged`, or `early_stopped`, which is how training is meant to end."""
    if findings.outcome.code not in ("converged", "early_stopped"):
        yield FitWarning(code="not_converged", message=findings.outcome.message)


def prediction_failed(findings: Findings) -> Iterator[FitWarning]:
    """Predictions that have an error in place of values."""
    if names := [prediction.name for prediction in findings.predictions if prediction.error]:
        count = "1 prediction" if len(names) == 1 else f"{len(names)} predictions"
        message = f"{count} could not be computed; `error` gives the reason"
        yield FitWarning(code="prediction_failed", message=message, names=names)


WARNINGS: tuple[Callable[[Findings], Iterator[FitWarning]], ...] = (
    at_bound,
    not_finite,
    best_found_once,
    structured_residuals,
    no_better_than_constant,
    zero_gradient,
    coarse_solver,
    another_optimum,
    at_kink,
    grazing_event,
    unlocated_jump,
    profile_disagrees,
    collapsed_scale,
    no_uncertainty,
    penalty_determines,
    flat_direction,
    open_interval,
    not_converged,
    prediction_failed,
)
