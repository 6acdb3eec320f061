"""The covariance of the estimates, from the expected (Gauss–Newton) information at the optimum, and their intervals.

The covariance of the free unknowns is the inverse of the information of measurements, priors and penalty, where the
estimated noise scales are unknowns as well (Seber and Wild, Nonlinear Regression, 1989, section 5.1). For a sum of
squares it is s²·(JᵀJ)⁻¹ with the Jacobian J of the residuals, and s² = RSS/(n − p) if no sigma is given.

An estimated noise scale maximises the likelihood, and is too small because the fit follows part of the noise. The
variance of an observable with n measurements is therefore multiplied by n/(n − p), where p is the trace of its part of
the hat matrix. For one normal observable that is RSS/(n − p) again.

If a scale is estimated, intervals have the quantile of Student's t, otherwise that of the normal distribution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from odelib.arrays import Reals
from odelib.likelihood.fisher_information import FLAT_TOLERANCE, fisher_information
from odelib.likelihood.measurements import InformationBlock, Measurements, Scales
from odelib.objective.objective import eliminate_scales
from odelib.objective.unknowns import Unknowns

UPPER_TAIL = 0.975  # of a 95 % interval


@dataclass(frozen=True)
class Interval:
    """A standard error and a 95 % interval, in the caller's units."""

    standard_error: float
    lower: float
    upper: float


class ParameterCovariance:
    """The covariance of the free unknowns.

    blocks: the information of each observable's measurements. regularisation: that of priors and penalty, (count,).
    noise: the standard deviation of the noise in the units of the residuals, 1 under a likelihood.

    determined: the unknowns that have a standard error, (count,): not at a bound, in no flat direction, and no weights
    of networks, which are nuisances. names: their names. flat: the names in flat directions. flat_directions: in
    coordinates, (directions, count). quantile: of 95 % intervals; None without a degree of freedom. variance_inflation:
    by observable, n/(n − p).
    """

    def __init__(
        self,
        unknowns: Unknowns,
        coordinates: Reals,
        blocks: Sequence[InformationBlock],
        regularisation: Reals,
        measurements: Measurements,
        noise: float,
    ) -> None:
        self.unknowns, self.coordinates, self.blocks = unknowns, coordinates, blocks
        self.is_likelihood, self.estimates_scale = measurements.is_likelihood, measurements.estimates_scale
        free = ~unknowns.at_bound(coordinates)
        units = unknowns.magnitudes(coordinates)
        jacobians = {block.name: eliminate_scales(block) * units for block in blocks}
        of_regularisation = np.diag(np.sqrt(regularisation)) * units
        found = fisher_information(np.concatenate([*jacobians.values(), of_regularisation]), free, noise)
        in_flat = found.in_flat_direction()
        names = np.array(unknowns.names, dtype=object)
        self.flat: list[str] = names[in_flat & ~unknowns.is_weight].tolist()
        self.flat_directions = found.flat * units
        self.determined = free & ~in_flat & ~unknowns.is_weight
        self.names: list[str] = names[self.determined].tolist()

        estimated = [b for b in blocks if not self.is_likelihood or measurements.has_estimated_scale(b.name)]
        traces = {block.name: _hat_matrix_trace(block, found.inverse, units) for block in estimated}
        # Degrees of freedom are pooled over the observables whose scale is estimated. If these are all, every free
        # unknown takes one of them; otherwise the unknowns take as many as these observables determine of them.
        # Parameters that occur in noise alone take none, as estimated scales take none.
        # Weights of networks, of which there may be more than measurements, take as many as the measurements determine.
        of_model = free & ~unknowns.in_noise_alone
        counts_all = len(estimated) == len(blocks) and not unknowns.is_weight.any()
        unknown_count = float(of_model.sum()) if counts_all else sum(traces.values())
        self._units, self._before_inflation = units, found.inverse
        self.degrees_of_freedom = sum(block.measurements for block in estimated) - unknown_count
        self.quantile = self._quantile()
        self.variance_inflation = dict.fromkeys(jacobians, 1.0)
        if self.is_likelihood and self.estimates_scale:
            for block in estimated:
                n = block.measurements
                self.variance_inflation[block.name] = n / max(n - traces[block.name], 1.0)
            inflated = [jacobian / np.sqrt(self.variance_inflation[name]) for name, jacobian in jacobians.items()]
            found = fisher_information(np.concatenate([*inflated, of_regularisation]), free, noise)
        self._inverse = found.inverse * np.outer(units, units)

    @property
    def effective_count(self) -> float:
        """The degrees of freedom that all unknowns take: the trace of the hat matrix."""
        return sum(_hat_matrix_trace(block, self._before_inflation, self._units) for block in self.blocks)

    def _quantile(self) -> float | None:
        if not self.estimates_scale:
            return float(stats.norm.ppf(UPPER_TAIL))
        return float(stats.t.ppf(UPPER_TAIL, self.degrees_of_freedom)) if self.degrees_of_freedom > 0 else None

    def shift(self, changes: Mapping[str, Reals]) -> Reals:
        """How the estimates move, (count,), if the model's values change: −(JᵀJ)⁻¹·Jᵀc, to first order.

        changes: c, of each observable at its measurements, in the units of its information; see `Measurements.changes`.
        """
        rows = {block.name: block.jacobian[: block.measurements] for block in self.blocks}
        total = sum((rows[name].T @ change for name, change in changes.items()), np.zeros(self.unknowns.count))
        return np.asarray(-self._inverse @ total)

    def matrix(self, data_loss: float) -> Reals | None:
        """The covariance of the coordinates, (count, count), 0 for those at a bound and along flat directions.

        None if the scale has no degree of freedom. data_loss: the loss of the measurements.
        """
        if self.quantile is None:
            return None
        if self.is_likelihood:
            return self._inverse
        # A sum of squares is twice a negative log-likelihood with sigma = 1, and its information counts double.
        return self._inverse * 2.0 * (data_loss / self.degrees_of_freedom if self.estimates_scale else 1.0)


def _hat_matrix_trace(block: InformationBlock, inverse: Reals, units: Reals) -> float:
    """The trace of J·(JᵀJ)⁻¹·Jᵀ over the measurements of a block: the degrees of freedom that the unknowns take."""
    jacobian = block.jacobian[: block.measurements] * units
    return float(np.einsum("ij,jk,ik->", jacobian, inverse, jacobian, optimize=True))


class StandardErrors:
    """Standard errors and 95 % intervals of unknowns, noise scales and functions of the unknowns.

    available: whether there are any; not if the noise scale has no degree of freedom.
    """

    def __init__(self, covariance: ParameterCovariance, data_loss: float) -> None:
        matrix = covariance.matrix(data_loss)
        self.available = matrix is not None
        self._matrix = matrix if matrix is not None else np.zeros((0, 0))
        self._quantile = covariance.quantile or 0.0
        self._covariance = covariance
        self._unknowns = covariance.unknowns
        self._values = self._unknowns.free_values(covariance.coordinates)

    def of(self, name: str) -> Interval | None:
        """The interval of an unknown, symmetric in its coordinate; None if it has none."""
        if not self.available or name not in self._covariance.names:
            return None
        index = self._unknowns.names.index(name)
        error, value = float(np.sqrt(self._matrix[index, index])), self._values[name]
        if self._unknowns.log[index]:
            return self._interval_of_logarithm(value, error)
        return Interval(error, value - self._quantile * error, value + self._quantile * error)

    def of_scales(self, scales: Scales) -> dict[str, list[Interval | None]]:
        """The intervals of the estimated scales of each observable, symmetric in their logarithms.

        Their centres are the scales corrected for degrees of freedom, by the root of the variance inflation.

        With S and J the Jacobians by the logarithms of the scales and by the unknowns, whose covariance is C, the
        covariance of the former is A + A·SᵀJ·C·JᵀS·A with A = (SᵀS)⁻¹, a block of the inverse of the joint information.
        """
        if not self.available:
            return {}
        found = {}
        for block in self._covariance.blocks:
            if block.name not in scales:
                continue
            inflation = self._covariance.variance_inflation[block.name]
            inverse = np.linalg.pinv(block.scale_jacobian.T @ block.scale_jacobian)
            by_unknowns = inverse @ (block.scale_jacobian.T @ block.jacobian)
            variances = np.diag(inverse * inflation + by_unknowns @ self._matrix @ by_unknowns.T)
            errors = np.sqrt(np.maximum(variances, 0.0))  # rounding may leave a scale without influence below 0
            pairs = zip((scales[block.name] * np.sqrt(inflation)).tolist(), errors.tolist(), strict=True)
            found[block.name] = [
                self._interval_of_logarithm(value, error) if error > 0 else None for value, error in pairs
            ]
        return found

    def _interval_of_logarithm(self, value: float, error: float) -> Interval | None:
        """The interval of a value whose logarithm has a standard error; None if it ends beyond all numbers."""
        with np.errstate(over="ignore"):
            factor = float(np.exp(self._quantile * error))
        upper = value * factor
        return Interval(value * error, value / factor, upper) if np.isfinite(upper) else None

    def of_functions(self, values: Reals, jacobian: Reals) -> list[Interval] | None:
        """The intervals of functions of the unknowns, by the delta method: variances diag(J·C·Jᵀ).

        values: (k,). jacobian: J, by the coordinates, (k, count). None without standard errors, or if a flat direction
        changes a function.
        """
        if not self.available or not self._is_determined(jacobian):
            return None
        errors = np.sqrt(np.maximum(np.einsum("ki,ij,kj->k", jacobian, self._matrix, jacobian), 0.0))
        reach = self._quantile * errors
        return [
            Interval(e, v - r, v + r) for v, e, r in zip(values.tolist(), errors.tolist(), reach.tolist(), strict=True)
        ]

    def _is_determined(self, jacobian: Reals) -> bool:
        """Whether flat directions change functions, J being their Jacobian, by no more than rounding errors."""
        changes = np.abs(jacobian @ self._covariance.flat_directions.T)
        magnitudes = self._unknowns.magnitudes(self._covariance.coordinates)
        largest = float(np.abs(jacobian * magnitudes).max(initial=0.0))
        return float(changes.max(initial=0.0)) <= FLAT_TOLERANCE * largest

    def covariance(self) -> tuple[list[str], list[list[float]]] | None:
        """Names and covariance matrix of the unknowns that have a standard error, in the caller's units."""
        if not self.available:
            return None
        values = np.array(list(self._values.values()))
        units = np.where(self._unknowns.log, values, 1.0)
        matrix = self._matrix * np.outer(units, units)
        determined = self._covariance.determined
        return self._covariance.names, matrix[np.ix_(determined, determined)].tolist()
