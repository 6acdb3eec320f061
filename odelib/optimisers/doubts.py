"""Which fits are doubtful: signs that a better optimum exists elsewhere, which lead to further starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from odelib.arrays import Reals
from odelib.errors import SolveError
from odelib.likelihood.fisher_information import fisher_information
from odelib.likelihood.residual_tests import structured, variance_beside, without_errors
from odelib.likelihood.scatter import Column, exceeds_scatter, misses_a_steep_change
from odelib.objective.objective import Evaluation, ModelOutput, NotFinite, Objective
from odelib.optimisers.convergence import AS_A_CONSTANT, is_already_converged, noise_deviation, r_squared
from odelib.problem.noise import AnyNoise

LOGARITHMIC = ("lognormal", "log-laplace")  # noise around the logarithm


def is_trustworthy(objective: Objective, best: Evaluation) -> bool:
    """Whether further starts are unnecessary: at an optimum that looks global, with residuals that look like noise."""
    if not is_already_converged(objective, best) or may_be_local_minimum(objective, best):
        return False
    output = objective.model_output(best.coordinates, best.states)
    return not (
        mistimed_changes(objective, output)
        or absorbed_misfits(objective, best, output)
        or structured_residuals(objective, best, output)
    )


def may_be_local_minimum(objective: Objective, best: Evaluation) -> bool:
    """Whether there are signs that a better minimum exists elsewhere.

    The signs: an unknown is far out under its prior or was driven to a bound, an observable is described no better than
    by a constant, or there is a flat direction, as when an unknown has run away to where the model no longer depends on
    it. True as well if the flat directions cannot be computed.
    """
    at, unknowns = best.coordinates, objective.unknowns
    if objective.regularisation.contradicts_a_prior(at) or explains_nothing(objective, best):
        return True
    if unknowns.active_bounds(at, best.gradient).any():
        return True
    try:
        jacobian = objective.gauss_newton(at).jacobian
    except (SolveError, NotFinite):
        return True
    every = np.ones(unknowns.count, dtype=bool)
    noise = noise_deviation(objective, best)
    return len(fisher_information(jacobian * unknowns.magnitudes(at), every, noise).flat) > 0


def explains_nothing(objective: Objective, at: Evaluation) -> bool:
    """Whether the model describes some observable no better than a constant would."""
    return min(r_squared(objective, at), default=1.0) <= AS_A_CONSTANT


def structured_residuals(
    objective: Objective, best: Evaluation, output: ModelOutput, *, may_solve: bool = True
) -> list[str]:
    """Return the observables whose residuals are correlated in time, and not only by errors of the parameters.

    may_solve: whether the equations may be solved to find what such errors explain; else they explain nothing.
    """
    residuals = objective.measurements.residuals(output.model)
    names = structured([column for series in residuals for column in series.items()])
    left = _without_parameter_errors(objective, best, output, names) if may_solve else {}
    return [name for name in names if name not in left or _is_structured(objective, name, left[name])]


def _is_structured(objective: Objective, name: str, residuals: Reals) -> bool:
    series = objective.measurements.series_of(name)
    return bool(structured([(name, residuals[series == each].tolist()) for each in np.unique(series)]))


def absorbed_misfits(
    objective: Objective, best: Evaluation, output: ModelOutput, *, may_solve: bool = True
) -> list[str]:
    """Return the observables whose scale is known from the fit only, and far above their scatter around a smooth curve.

    Of the logarithms for log noise, and relative to the measurements where a share of the noise is proportional.
    Residuals that errors of the parameters explain do not count. may_solve: see `structured_residuals`.
    """
    residuals = _finite_residuals(objective, output)
    estimated = [name for name in residuals if _is_scale_of_the_fit(objective, name)]
    names = [name for name in estimated if exceeds_scatter(_columns(objective, residuals, name))]
    left = _without_parameter_errors(objective, best, output, names) if may_solve else {}
    return [name for name in names if name not in left or exceeds_scatter(_columns(objective, left, name))]


def mistimed_changes(objective: Objective, output: ModelOutput) -> list[str]:
    """Return the observables of which the model seems to miss the time of a jump or another steep change.

    Only those with normal noise, of the values or of their logarithms: other noise has large residuals of its own.
    """
    residuals = _finite_residuals(objective, output)
    return [
        name
        for name in residuals
        if ((settings := objective.noise_of(name)) is None or settings.distribution in ("normal", "lognormal"))
        and misses_a_steep_change(_columns(objective, residuals, name))
    ]


def _finite_residuals(objective: Objective, output: ModelOutput) -> Mapping[str, Reals]:
    """Return data minus model of each observable, (n,); none where the model has no value somewhere."""
    if not all(bool(column.isfinite().all()) for column in output.model.values()):
        return {}
    return objective.measurements.unscaled_residuals(output.model)


def _without_parameter_errors(
    objective: Objective, best: Evaluation, output: ModelOutput, names: Sequence[str]
) -> dict[str, Reals]:
    """Return data minus model, (n,), of those observables whose residuals errors of the parameters may explain.

    Where an observable is measured far better than the others without a `sigma` that says so, the noise of the others
    moves the parameters, and with them the model by more than its own noise. The covariance of the estimates is
    H⁻¹·(Σ σ²ⱼ·Jⱼᵀ·Jⱼ)·H⁻¹, where the noise σⱼ of observable j is what its residuals have outside the space of its
    Jacobian (Huber, Proc. 5th Berkeley Symp. 1, 1967).
    """
    if len(objective.measurements.observables) < 2 or not names:
        return {}  # one observable has no residuals along its Jacobian
    try:
        with torch.enable_grad():  # the report is made without
            blocks = objective.information_blocks(best.coordinates)
            inverse = _inverse_information(objective, best)
    except (SolveError, NotFinite):
        return {}
    residuals = objective.measurements.unscaled_residuals(output.model)
    weights = objective.measurements.location_weights(output.model, output.scales)
    scaled = {name: residuals[name] * weights[name] for name in residuals}
    jacobians = {block.name: block.jacobian[: block.measurements] for block in blocks}
    variances = {name: variance_beside(scaled[name], jacobian) for name, jacobian in jacobians.items()}
    scatter = sum(variances[name] * jacobian.T @ jacobian for name, jacobian in jacobians.items())
    found = {}
    for name in names:
        left = without_errors(scaled[name], jacobians[name], inverse @ scatter @ inverse, variances[name])
        if left is not None:
            found[name] = left / weights[name]
    return found


def _inverse_information(objective: Objective, best: Evaluation) -> Reals:
    """The inverse of the information about the coordinates, (count, count), 0 along flat directions."""
    scales, every = objective.unknowns.magnitudes(best.coordinates), np.ones(objective.unknowns.count, dtype=bool)
    jacobian = objective.gauss_newton(best.coordinates).jacobian * scales
    inverse = fisher_information(jacobian, every, noise_deviation(objective, best)).inverse
    return np.asarray(inverse * np.outer(scales, scales))


def _is_scale_of_the_fit(objective: Objective, name: str) -> bool:
    settings = objective.noise_of(name)
    return bool(settings.estimated_scales) if settings else objective.measurements.estimates_scale


def _has_proportional(settings: AnyNoise) -> bool:
    return "proportional" in {*settings.estimated_scales, *settings.given_scales}


def _columns(objective: Objective, residuals: Mapping[str, Reals], name: str) -> list[Column]:
    """Return an observable's columns, transformed as its noise asks for. residuals: data minus model, (n,)."""
    found, first = [], 0
    settings = objective.noise_of(name)
    for each in objective.fitted:
        entries = [(t, v) for t, v in zip(each.times, each.values.get(name) or [], strict=False) if v is not None]
        if not entries:
            continue
        times, values = (np.array(part, dtype=np.float64) for part in zip(*entries, strict=True))
        residual = residuals[name][first : first + len(values)]
        first += len(values)
        sizes = np.ones(len(values))
        if settings and settings.distribution in LOGARITHMIC:
            # a model of 0 or less has no logarithm; NaN tells nothing
            with np.errstate(divide="ignore", invalid="ignore"):
                residual = np.log(values) - np.log(values - residual)
            values = np.log(values)
        elif settings and _has_proportional(settings):
            sizes = np.abs(values) + 1e-12 * np.abs(values).max(initial=0.0)
            # relative to the neighbours as well, so that a value that is small by chance does not count for all
            sizes = np.maximum(sizes, np.convolve(np.pad(sizes, 1, mode="edge"), [0.5, 0.0, 0.5], mode="valid"))
            sizes = np.where(sizes > 0, sizes, 1.0)
        found.append(Column(times, values, residual, sizes))
    return found
