"""Standard errors and 95 % intervals of the members of a batch: see `uncertainty.covariance`."""

from __future__ import annotations

import numpy as np
from scipy import stats

from odelib.arrays import Integers, Reals
from odelib.batches.objective import BatchObjective
from odelib.optimisers.batched.least_squares import Points
from odelib.uncertainty.covariance import UPPER_TAIL


class BatchErrors:
    """The covariances of the chosen members' unknowns: none is at a bound or in a flat direction.

    members: (b,). points: of these. Intervals have a last axis of three: standard error, lower and upper end; they are
    not finite where there is none, as without a degree of freedom.
    """

    def __init__(self, objective: BatchObjective, members: Integers, points: Points) -> None:
        self._objective, self._members, self._points = objective, members, points
        self._units = objective.magnitudes(members, points.coordinates)
        noise, size = objective.noise, points.coordinates.shape[1]
        shape = len(members), noise.counts.shape[1]
        self._inflation = np.ones(shape)
        freedom = noise.observations[members] - float(size)
        if noise.shared.is_likelihood and noise.shared.is_estimated.any():
            freedom = self._inflate()
        else:
            self.covariance = self._inverse(points.information) * noise.curvature
            is_unknown = ~noise.knows_scale[members]
            variance = np.where(is_unknown, noise.variance(members, points.loss, size), 1.0)
            self.covariance = self.covariance * variance[:, None, None]
        with np.errstate(invalid="ignore"):
            of_t = stats.t.ppf(UPPER_TAIL, freedom)  # NaN without a degree of freedom
        self._quantile = np.where(noise.knows_scale[members], stats.norm.ppf(UPPER_TAIL), of_t)

    def _inflate(self) -> Reals:
        """Correct the variances of estimated scales for degrees of freedom; returns those that are left, (b,)."""
        noise, members = self._objective.noise, self._members
        estimated, counts = noise.shared.is_estimated, noise.counts[members]
        residuals = self._points.residuals.reshape(*counts.shape, -1)
        weights = noise.weights(members, residuals)[:, :, None, None]
        blocks = weights * self._objective.information_by_observable(members, self._points.coordinates)
        traces = np.einsum("boij,bji->bo", blocks, self._inverse(blocks.sum(axis=1)))
        has_own = estimated & (counts > 0)
        self._inflation = np.where(has_own, counts / np.maximum(counts - traces, 1.0), 1.0)
        self.covariance = self._inverse((blocks / self._inflation[:, :, None, None]).sum(axis=1))
        size = self._points.coordinates.shape[1]
        is_all = (has_own | (counts == 0)).all(axis=1)
        taken = np.where(is_all, size, np.where(has_own, traces, 0.0).sum(axis=1))
        return np.asarray(np.where(has_own, counts, 0).sum(axis=1) - taken)

    def _inverse(self, information: Reals) -> Reals:
        """The inverses of matrices in coordinates, (b, k, k), NaN of one that is singular."""
        outer = self._units[:, :, None] * self._units[:, None, :]
        scaled = information * outer
        try:
            return np.asarray(np.linalg.inv(scaled) * outer)
        except np.linalg.LinAlgError:
            return np.full(scaled.shape, np.nan)

    def of_unknowns(self) -> Reals:
        """The intervals of the unknowns, (b, k, 3), in the caller's units, symmetric in their coordinates."""
        objective = self._objective
        errors = np.sqrt(np.diagonal(self.covariance, axis1=1, axis2=2))
        values = objective.values(self._members, self._points.coordinates)[:, objective.free]
        return np.where(
            objective.is_log[:, None],
            self._of_logarithms(values, errors),
            self._symmetric(values, errors),
        )

    def of_scales(self) -> Reals:
        """The intervals of the estimated scales, (b, observables, 3), symmetric in their logarithms.

        A sigma that is one number tells nothing of the unknowns, so that the variance of its logarithm is 1/(2n), but
        for the correction. See `StandardErrors.of_scales`.
        """
        noise = self._objective.noise
        counts = noise.counts[self._members]
        residuals = self._points.residuals.reshape(*counts.shape, -1)
        centres = noise.scales(self._members, residuals) * np.sqrt(self._inflation)
        return self._of_logarithms(centres, np.sqrt(self._inflation / (2 * np.maximum(counts, 1))))

    def of_derived(self, values: Reals, by_parameters: Reals) -> Reals:
        """The intervals of quantities (b, d), (b, d, 3), from their derivatives by all parameters, (b, d, p)."""
        objective = self._objective
        free, units = objective.free, objective.units(objective.values(self._members, self._points.coordinates))
        jacobian = np.zeros((*values.shape, len(free)))
        is_parameter = free < by_parameters.shape[2]
        jacobian[:, :, is_parameter] = by_parameters[:, :, free[is_parameter]] * units[:, None, is_parameter]
        variances = np.einsum("bdi,bij,bdj->bd", jacobian, self.covariance, jacobian)
        return self._symmetric(values, np.sqrt(np.maximum(variances, 0.0)))

    def _symmetric(self, values: Reals, errors: Reals) -> Reals:
        reach = self._quantile[:, None] * errors
        return np.stack([errors, values - reach, values + reach], axis=2)

    def _of_logarithms(self, values: Reals, errors: Reals) -> Reals:
        with np.errstate(over="ignore", invalid="ignore"):
            factor = np.exp(self._quantile[:, None] * errors)
            return np.stack([values * errors, values / factor, values * factor], axis=2)
