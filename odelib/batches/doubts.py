"""Which fits of a batch are beyond doubt: those of which a single fit would say no more than their estimates.

A single fit asks many questions of the point at which least squares ends, and searches on where one is open. Here each
is asked of all members at once, more strictly. A member for which one is open is fitted alone, from its guess.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr
from scipy.stats import rankdata

from odelib.arrays import Booleans, Integers, Reals
from odelib.batches.sums_of_squares import SumsOfSquares
from odelib.likelihood.measurements import MAX_SOLVER_ERROR
from odelib.likelihood.residual_tests import LEVEL, MIN_RESIDUALS, structured
from odelib.optimisers.batched.least_squares import Ends
from odelib.optimisers.convergence import AS_A_CONSTANT, NO_RESPONSE

MIN_RATIO = 1e-10  # of the eigenvalues of the information: above what counts as a flat direction, 1e-12
MAX_INFLATION = 8e3  # of a variance by the other unknowns: below what counts as hardly determined, 1e4
BOUND_TOLERANCE = 1e-8  # relative: as near counts as at a bound
COARSE = 1e-5  # of the data's squares: far below the solver's error that calls for a warning, 1e-4


def beyond_doubt(sums: SumsOfSquares, ends: Ends, observations: Integers) -> Booleans:
    """Which members' ends need no second look, (B,)."""
    points = ends.points
    scales = sums.magnitudes(np.arange(len(points.loss)), points.coordinates)
    error, data = sums.solver_error
    found: Booleans = ends.is_settled & (observations > points.coordinates.shape[1]) & (error < COARSE * data)
    tolerance = BOUND_TOLERANCE * np.maximum(np.abs(points.coordinates), scales)
    inside = (points.coordinates > sums.box.lower + tolerance) & (points.coordinates < sums.box.upper - tolerance)
    found &= inside.all(axis=1)
    found &= _is_determined(points.information * (scales[:, :, None] * scales[:, None, :]), points.loss, observations)
    if found.any():
        found[found] = _looks_like_noise(sums, points.residuals[found], found)
    return found


def negligible_gains(sums: SumsOfSquares) -> Reals:
    """What the solver's errors add to the loss of a perfect fit, (B,): see `Measurements.solver_error`."""
    error, data = sums.solver_error
    gains: Reals = np.minimum(error, MAX_SOLVER_ERROR * data)
    return gains


def _is_determined(information: Reals, loss: Reals, observations: Integers) -> Booleans:
    """Whether every unknown has an effect, no direction is flat, and none is known only beside the others."""
    size = information.shape[1]
    noise = loss / np.maximum(observations - size, 1)
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


def _looks_like_noise(sums: SumsOfSquares, residuals: Reals, members: Booleans) -> Booleans:
    """Whether each observable is described better than by a constant, with residuals without structure."""
    is_measured, data = sums.is_measured[members], sums.data[members]
    shape = is_measured.shape
    residuals = residuals.reshape(shape)
    counts = is_measured.sum(axis=2)
    means = data.sum(axis=2) / np.maximum(counts, 1)
    total = np.where(is_measured, np.square(data - means[:, :, None]), 0.0).sum(axis=2)
    rest = np.square(residuals).sum(axis=2)
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
