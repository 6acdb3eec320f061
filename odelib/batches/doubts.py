"""Which fits of a batch are beyond doubt: those of which a single fit would say no more than their estimates.

A single fit asks many questions of the point at which least squares ends, and searches on where one is open. Here each
is asked of all members at once, more strictly. A member for which one is open is fitted alone, from its guess.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr
from scipy.stats import rankdata

from odelib.arrays import Booleans, Integers, Reals
from odelib.batches.objective import BatchObjective
from odelib.likelihood.residual_tests import LEVEL, MIN_RESIDUALS, structured
from odelib.likelihood.scatter import MIN_NEIGHBOURS, Column, exceeds_scatter, pseudo_residuals
from odelib.likelihood.scatter import MIN_RATIO as MIN_SCATTER_RATIO
from odelib.optimisers.batched.least_squares import Ends, Points
from odelib.optimisers.convergence import AS_A_CONSTANT, NO_RESPONSE

MIN_RATIO = 1e-10  # of the eigenvalues of the information: above what counts as a flat direction, 1e-12
MAX_INFLATION = 8e3  # of a variance by the other unknowns: below what counts as hardly determined, 1e4
BOUND_TOLERANCE = 1e-8  # relative: as near counts as at a bound
COARSE_BESIDE_NOISE = 5e-5  # in a loss: such errors move estimates by a hundredth of a standard error at most
# Of the data's squares. Where the noise is known from the fit only, a single fit counts no change of an estimate by
# less than 1e-4: ten times such errors, as those of many steps may be, are no more.
EXACT = 1e-10
COARSE = 1e-5  # of the data's squares: far below the solver's error that calls for a warning, 1e-4


def beyond_doubt(objective: BatchObjective, ends: Ends) -> Booleans:
    """Which members' ends need no second look, (B,)."""
    points, observations = ends.points, objective.noise.observations
    everyone, size = np.arange(len(points.loss)), points.coordinates.shape[1]
    scales = objective.magnitudes(everyone, points.coordinates)
    found: Booleans = ends.is_settled & (observations > size) & _is_resolved(objective, points)
    tolerance = BOUND_TOLERANCE * np.maximum(np.abs(points.coordinates), scales)
    lower, upper = objective.box.lower + tolerance, objective.box.upper - tolerance
    found &= ((points.coordinates > lower) & (points.coordinates < upper)).all(axis=1)
    noise = objective.noise.variance(everyone, points.loss, size)
    found &= _is_determined(points.information * (scales[:, :, None] * scales[:, None, :]), noise)
    if found.any():
        found[found] = _looks_like_noise(objective, points.residuals[found], found)
    return found


def _is_resolved(objective: BatchObjective, points: Points) -> Booleans:
    """Whether the solver's error is far below the data, and far below their noise or negligible beside them.

    So it decides nothing that a single fit would warn of: see `report.tolerance_effect`.
    """
    noise, everyone = objective.noise, np.arange(len(points.loss))
    weights = noise.weights(everyone, points.residuals.reshape(*noise.counts.shape, -1))
    error, data = noise.solver_error(everyone, weights)
    has_scale = noise.shared.is_likelihood | noise.knows_scale
    variance = np.where(has_scale, 1.0, noise.variance(everyone, points.loss, points.coordinates.shape[1]))
    is_exact = ~has_scale & (error < EXACT * data)
    found: Booleans = (error < COARSE * data) & (is_exact | (error < COARSE_BESIDE_NOISE * variance))
    return found


def _is_determined(information: Reals, noise: Reals) -> Booleans:
    """Whether every unknown has an effect, no direction is flat, and none is known only beside the others.

    noise: the variance of the residuals in the units of the loss, (B,).
    """
    size = information.shape[1]
    diagonal = np.diagonal(information, axis1=1, axis2=2)
    responds = (diagonal > (10 * NO_RESPONSE) ** 2 * noise[:, None]).all(axis=1) & (diagonal > 0).all(axis=1)
    units = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    correlations = information / (units[:, :, None] * units[:, None, :])
    usable: Booleans = responds & np.isfinite(correlations).all(axis=(1, 2))
    correlations[~usable] = np.eye(size)
    information = np.where(usable[:, None, None], information, np.eye(size))
    eigenvalues = np.linalg.eigvalsh(information)
    usable &= eigenvalues[:, 0] > MIN_RATIO * eigenvalues[:, -1]
    correlations[~usable] = np.eye(size)
    inflation = np.diagonal(np.linalg.inv(correlations), axis1=1, axis2=2)
    usable &= (inflation < MAX_INFLATION).all(axis=1)
    return usable


def _looks_like_noise(objective: BatchObjective, residuals: Reals, members: Booleans) -> Booleans:
    """Whether each observable is described better than by a constant, with residuals without structure."""
    is_measured, data, sigmas = objective.is_measured[members], objective.data[members], objective.sigmas[members]
    shape = is_measured.shape
    residuals = residuals.reshape(shape)
    counts = is_measured.sum(axis=2)
    means = data.sum(axis=2) / np.maximum(counts, 1)
    total = np.where(is_measured, np.square(data - means[:, :, None]), 0.0).sum(axis=2)
    rest = np.square(residuals * sigmas).sum(axis=2)
    explained = ((counts == 0) | ((total > 0) & (rest < (1 - 10 * AS_A_CONSTANT) * total))).all(axis=1)
    tested = (counts >= MIN_RESIDUALS) & (residuals != 0).any(axis=2)
    level = LEVEL / (2 * np.maximum(tested.sum(axis=1), 1))
    has_gaps = (~(is_measured & (residuals != 0)).all(axis=2) & tested).any(axis=1)
    p_values = np.where(tested, np.minimum(*_p_values(residuals)), 1.0)
    unstructured = (p_values >= level[:, None]).all(axis=1)
    for member in np.flatnonzero(has_gaps & explained):  # each has its own numbers of residuals
        columns = zip(residuals[member], is_measured[member], strict=True)
        unstructured[member] = not structured([("", row[measured].tolist()) for row, measured in columns])
    found: Booleans = explained & unstructured
    if found.any():
        found[found] = ~_exceed_scatter(objective, residuals[found], np.flatnonzero(members)[found])
    return found


def _exceed_scatter(objective: BatchObjective, residuals: Reals, members: Integers) -> Booleans:
    """Which members' residuals are far above the scatter of their data, (b,): see `doubts.absorbed_misfits`.

    residuals: (b, observables, T). Only those of a scale that the fit alone knows count. Of columns without gaps, only
    those that exceed it by the least ratio need the whole test.
    """
    noise = objective.noise
    is_measured, data, times = objective.is_measured[members], objective.data[members], objective.times[members]
    found = np.zeros(len(members), dtype=bool)
    if data.shape[2] < MIN_NEIGHBOURS + 2:
        return found
    is_of_fit = noise.shared.is_estimated if noise.shared.is_likelihood else ~noise.knows_scale[members][:, None]
    residuals = -residuals * objective.sigmas[members]  # data minus model
    columns = (np.moveaxis(each, 2, 0) for each in (np.broadcast_to(times[:, None], data.shape), data))
    scatter = np.square(pseudo_residuals(*columns)).mean(axis=0)
    is_above = np.square(residuals).mean(axis=2) > MIN_SCATTER_RATIO * scatter
    for place, row in np.argwhere(is_of_fit & (is_above | ~is_measured.all(axis=2))):
        here = is_measured[place, row]
        measured, values, rest = (each[here] for each in (times[place], data[place, row], residuals[place, row]))
        found[place] |= exceeds_scatter([Column(measured, values, rest, np.ones(len(rest)))])
    return found


def _p_values(residuals: Reals) -> tuple[Reals, Reals]:
    """The p-values of both tests of `likelihood.residual_tests`, (B, observables), of residuals (B, observables, n)."""
    count = residuals.shape[2]
    ranks = rankdata(residuals, axis=2) - (count + 1) / 2
    square = np.maximum(np.square(ranks).sum(axis=2), 1e-300)
    correlation = (ranks[:, :, 1:] * ranks[:, :, :-1]).sum(axis=2) / square
    signs = residuals > 0
    above = signs.sum(axis=2)
    below = count - above
    runs = 1 + (signs[:, :, 1:] != signs[:, :, :-1]).sum(axis=2)
    mean = 1 + 2 * above * below / count
    variance = (mean - 1) * (mean - 2) / max(count - 1, 1)
    deviation = np.sqrt(np.where(variance > 0, variance, 1.0))
    of_runs = np.where(variance > 0, ndtr((runs - mean) / deviation), 1.0)
    of_runs = np.where((above == 0) | (below == 0), 0.5 ** (count - 1), of_runs)
    return ndtr(-correlation * np.sqrt(count)), of_runs
