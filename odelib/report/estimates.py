"""Estimates with their standard errors and 95 % intervals: unknowns, derived quantities and noise scales."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from odelib.arrays import Reals
from odelib.engines.torch_program import TorchProgram
from odelib.report.best_point import BestPoint
from odelib.report.intervals import Intervals
from odelib.result import Covariance, Estimate, NoiseEstimate
from odelib.uncertainty.covariance import Interval, StandardErrors


def shared_parameters(best: BestPoint, intervals: Intervals) -> dict[str, Estimate]:
    """The parameters that all series share."""
    shared = {
        name: value for name, value in best.values.parameters[0].items() if not best.unknowns.is_per_experiment(0, name)
    }
    return _estimates(best, intervals, 0, shared)


def own_parameters(best: BestPoint, intervals: Intervals, index: int) -> dict[str, Estimate]:
    """The parameters that a series has for itself (`per_experiment`)."""
    values = best.values.parameters[index]
    own = {name: value for name, value in values.items() if best.unknowns.is_per_experiment(index, name)}
    return _estimates(best, intervals, index, own)


def initial_state(best: BestPoint, intervals: Intervals, index: int) -> dict[str, Estimate]:
    """The initial state of a series."""
    return _estimates(best, intervals, index, best.values.initial_states[index])


def _estimates(best: BestPoint, intervals: Intervals, index: int, values: Mapping[str, float]) -> dict[str, Estimate]:
    """Parameters or initial values of a series; the ends of a profile replace those of the covariance."""
    estimates = {}
    for name, value in values.items():
        unknown = best.unknowns.qualified_name(index, name)
        interval = intervals.errors.of(unknown) if intervals.errors else None
        estimate = _estimate(value, interval, fixed=best.unknowns.is_fixed(unknown))
        if unknown in intervals.profile_ends:
            lower, upper = intervals.profile_ends[unknown]
            estimate = estimate.model_copy(update={"lower_95": lower, "upper_95": upper})
        estimates[name] = estimate
    return estimates


def covariance(intervals: Intervals) -> Covariance | None:
    """The covariance matrix of the unknowns that have a standard error; None if it was not computed."""
    found = intervals.errors.covariance() if intervals.errors else None
    return Covariance(names=found[0], matrix=found[1]) if found else None


def noise_scales(best: BestPoint, intervals: Intervals) -> dict[str, NoiseEstimate] | None:
    """The noise parameters of each observable, estimated or given; None without `noise`."""
    if best.problem.noise is None:
        return None
    measurements, scales = best.objective.measurements, best.output.scales
    by_observable = intervals.errors.of_scales(scales) if intervals.errors else {}
    found = {}
    for name in measurements.observables:
        estimated = measurements.estimated_scales(name)
        values = scales.get(name, np.zeros(0)).tolist()
        of_name = by_observable.get(name, [None] * len(estimated))
        settings = best.problem.noise[name]
        fields = {scale: Estimate(value=value, fixed=True) for scale, value in settings.given_scales.items()}
        for scale, value, interval in zip(estimated, values, of_name, strict=True):
            fields[scale] = _estimate(value, interval)
        found[name] = NoiseEstimate(**fields, sigma_expression=settings.sigma_expression)
    return found


def shared_derived(best: BestPoint, intervals: Intervals) -> dict[str, Estimate]:
    """The derived quantities that have the same value in all series, without those that are not finite."""
    own = _own_derived_names(best)
    return _derived(best, intervals.errors, 0, [name for name in best.layer.system.derived if name not in own])


def own_derived(best: BestPoint, intervals: Intervals, index: int) -> dict[str, Estimate]:
    """The derived quantities that a series has for itself, without those that are not finite."""
    return _derived(best, intervals.errors, index, _own_derived_names(best))


def _own_derived_names(best: BestPoint) -> list[str]:
    """The derived quantities that use `per_experiment` parameters, or constants that a series overrides."""
    differing = set(best.problem.per_experiment)
    if best.unknowns.series_count > 1:
        differing |= {constant for series in best.problem.series for constant in series.constants}
    return [name for name, expression in best.layer.system.derived.items() if expression.names & differing]


def _derived(best: BestPoint, errors: StandardErrors | None, index: int, names: Sequence[str]) -> dict[str, Estimate]:
    """Derived quantities of a series; their errors by the delta method."""
    if not names:
        return {}
    evaluate = _derived_program(best, index, names)
    parameters = best.unknowns.values(best.coordinates)[0][index]
    values = torch.stack(evaluate(parameters)).cpu().numpy()
    intervals: Sequence[Interval | None] = [None] * len(names)
    if errors:
        by_parameters = _derivatives(evaluate, parameters)
        found = _delta_method(best, errors, index, values, by_parameters)
        without = _parameters_at_bound(best, index)
        intervals = [
            None if best.layer.system.derived[name].names & without else interval
            for name, interval in zip(names, found, strict=True)
        ]
    return {
        name: _estimate(value, interval)
        for name, value, interval in zip(names, values.tolist(), intervals, strict=True)
        if math.isfinite(value)
    }


def _derived_program(best: BestPoint, index: int, names: Sequence[str]) -> Callable[[Tensor], list[Tensor]]:
    """Return the function from the parameters of a series, (p,), to its derived quantities, () each."""
    system, device = best.layer.system, best.evaluation.states.device
    program = TorchProgram([system.derived[name] for name in names], [])
    constants = dict(zip(system.constants, best.unknowns.constants[index].tolist(), strict=True))

    def evaluate(parameters: Tensor) -> list[Tensor]:
        named = dict(zip(system.parameters, parameters.unbind(), strict=True))
        return list(program.bind({**constants, **named}, device)())

    return evaluate


def _derivatives(evaluate: Callable[[Tensor], list[Tensor]], parameters: Tensor) -> Reals:
    """The derivatives of quantities with respect to the parameters, (k, p).

    One after the other: in a Jacobian of all, an infinite derivative of one makes those of the others NaN.
    """
    rows = []
    with torch.enable_grad():
        parameters = parameters.detach().requires_grad_()
        for quantity in evaluate(parameters):
            (row,) = (
                torch.autograd.grad(quantity, parameters, retain_graph=True, allow_unused=True)
                if quantity.requires_grad
                else (None,)
            )
            rows.append(np.zeros(len(parameters)) if row is None else row.cpu().numpy())
    return np.array(rows)


def _parameters_at_bound(best: BestPoint, index: int) -> set[str]:
    """The parameters of a series that are at a bound, and so have no standard error."""
    at_bound = set(best.unknowns.names_at_bound(best.coordinates))
    return {name for name in best.layer.system.parameters if best.unknowns.qualified_name(index, name) in at_bound}


def _delta_method(
    best: BestPoint, errors: StandardErrors, index: int, values: Reals, by_parameters: Reals
) -> list[Interval | None]:
    """The intervals of quantities (k,) of a series, from their derivatives with respect to its parameters, (k, p).

    With J the derivatives with respect to the free unknowns, the variances are diag(J·C·Jᵀ), C being the covariance.
    Each quantity by itself: one that is not determined, or whose derivative is infinite, is the only one without.
    """
    of_parameters = best.unknowns.jacobians(best.coordinates)[0][index]
    found: list[Interval | None] = []
    for value, row in zip(values, by_parameters, strict=True):
        is_finite = np.isfinite(value) and np.isfinite(row).all()
        interval = errors.of_functions(np.array([value]), row[None] @ of_parameters) if is_finite else None
        found.append(interval[0] if interval else None)
    return found


def _estimate(value: float, interval: Interval | None, *, fixed: bool = False) -> Estimate:
    if interval is None or fixed:
        return Estimate(value=value, fixed=True if fixed else None)
    return Estimate(
        value=value, standard_error=interval.standard_error, lower_95=interval.lower, upper_95=interval.upper
    )
