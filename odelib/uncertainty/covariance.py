"""How sure the estimates are: the expected (Gauss–Newton) information at the optimum.

With I the information of the free unknowns (of measurements, priors and penalty together; estimated scales go with
the unknowns) their covariance is its inverse. Where no sigma is given, the information is JᵀJ/s² with J the
derivatives of the residuals and s² = RSS/(n − p) (Seber and Wild, Nonlinear Regression, 1989, 5.1). A scale that noise
estimates is the likeliest one, hence too small by as much as the fit has taken from the residuals: the variance of an
observable with n measurements is taken n/(n − p) times as large, p being the trace of its part of the hat matrix, which
is RSS/(n − p) where there is one observable. Where anything is estimated the quantile is Student's with n − p degrees
of freedom, of the measurements whose scale is estimated; else it is the normal one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from odelib.arrays import Reals
from odelib.likelihood.fisher_information import FLAT_TOLERANCE, fisher_information
from odelib.likelihood.measurements import InformationBlock, Measurements, Scales
from odelib.objective.objective import eliminate_scales
from odelib.objective.unknowns import Unknowns


@dataclass(frozen=True)
class Interval:
    """A standard error and a 95 % interval, in the caller's units."""

    standard_error: float
    lower: float
    upper: float


class ParameterCovariance:
    """The covariance of the free unknowns.

    names: those that have a standard error: not at a bound, in no flat direction. flat: the names that take part in a
    flat direction. quantile: of a 95 % interval; None where there is no degree of freedom left.
    """

    def __init__(
        self,
        unknowns: Unknowns,
        coordinates: Reals,
        blocks: Sequence[InformationBlock],
        added: Reals,
        measurements: Measurements,
    ) -> None:
        self.unknowns = unknowns
        self.coordinates = coordinates
        free = ~unknowns.at_bound(coordinates)
        units = unknowns.magnitudes(coordinates)
        extra = np.diag(np.sqrt(added)) * units
        found = fisher_information(np.concatenate([*(eliminate_scales(b) * units for b in blocks), extra]), free)
        participants = found.in_flat_direction()
        names = np.array(unknowns.names, dtype=object)
        self.flat: list[str] = names[participants].tolist()
        self.determined = free & ~participants
        self.names: list[str] = names[self.determined].tolist()
        self.flat_directions = found.flat * units  # in the coordinates themselves
        self.is_likelihood = measurements.is_likelihood
        self.estimates_scale = measurements.estimates_scale
        self.blocks = blocks
        estimated = [b for b in blocks if not self.is_likelihood or measurements.estimated_scales(b.name)]
        taken = {b.name: _taken(b, found.inverse, units) for b in estimated}
        # beside measurements of a known spread the others are not left alone with all the unknowns
        unknown = float(free.sum()) if len(estimated) == len(blocks) else sum(taken.values())
        self.degrees_of_freedom = sum(b.measurements for b in estimated) - unknown
        self.quantile: float | None = None
        if not self.estimates_scale:
            self.quantile = float(stats.norm.ppf(0.975))
        elif self.degrees_of_freedom > 0:
            self.quantile = float(stats.t.ppf(0.975, self.degrees_of_freedom))
        self.factors = dict.fromkeys((b.name for b in blocks), 1.0)
        if self.is_likelihood and self.estimates_scale:
            self.factors |= {b.name: b.measurements / max(b.measurements - taken[b.name], 1.0) for b in estimated}
            shares = [eliminate_scales(b) * units / np.sqrt(self.factors[b.name]) for b in blocks]
            found = fisher_information(np.concatenate([*shares, extra]), free)
        self._inverse = found.inverse * np.outer(units, units)

    def matrix(self, data_loss: float) -> Reals | None:
        """Of all coordinates, zero where there is none; None without a degree of freedom for the scale.

        data_loss: the data's part of the loss.
        """
        if self.quantile is None:
            return None
        if self.is_likelihood:
            return self._inverse
        return self._inverse * 2.0 * (data_loss / self.degrees_of_freedom if self.estimates_scale else 1.0)


def _taken(block: InformationBlock, inverse: Reals, units: Reals) -> float:
    """How many degrees of freedom the fit has taken from a block's residuals: its part of the hat matrix's trace."""
    along = block.jacobian[: block.measurements] * units
    return float(np.einsum("ij,jk,ik->", along, inverse, along, optimize=True))


class StandardErrors:
    """Standard errors, intervals and bands from an uncertainty whose scale is known.

    available: whether there are any; not without a degree of freedom from which the scale could be estimated.
    """

    def __init__(self, uncertainty: ParameterCovariance, data_loss: float) -> None:
        matrix = uncertainty.matrix(data_loss)
        self.available = matrix is not None
        self._matrix = matrix if matrix is not None else np.zeros((0, 0))
        self._quantile = uncertainty.quantile or 0.0
        self._uncertainty = uncertainty
        self._unknowns = uncertainty.unknowns
        self._values = self._unknowns.free_values(uncertainty.coordinates)

    def of(self, name: str) -> Interval | None:
        """The interval of an unknown; None where it has none. On a log scale it is made in the logarithm."""
        if not self.available or name not in self._uncertainty.names:
            return None
        place = self._unknowns.names.index(name)
        error, value = float(np.sqrt(self._matrix[place, place])), self._values[name]
        if self._unknowns.log[place]:
            return self._in_logarithm(value, error)
        return Interval(error, value - self._quantile * error, value + self._quantile * error)

    def of_scales(self, scales: Scales) -> dict[str, list[Interval | None]]:
        """The intervals of the estimated scales of each observable, made in their logarithms.

        They lie around the scale without what the fit has taken from it: the likeliest one is too small.
        """
        if not self.available:
            return {}
        found = {}
        for block in self._uncertainty.blocks:
            if block.name not in scales:
                continue
            own = np.linalg.pinv(block.scale_jacobian.T @ block.scale_jacobian)
            across = own @ (block.scale_jacobian.T @ block.jacobian)
            variance = np.diag(own * self._uncertainty.factors[block.name] + across @ self._matrix @ across.T)
            centres = scales[block.name] * np.sqrt(self._uncertainty.factors[block.name])
            pairs = zip(centres.tolist(), np.sqrt(variance).tolist(), strict=True)
            found[block.name] = [self._in_logarithm(value, error) if error > 0 else None for value, error in pairs]
        return found

    def _in_logarithm(self, value: float, error: float) -> Interval | None:
        with np.errstate(over="ignore"):
            factor = float(np.exp(self._quantile * error))
        upper = value * factor
        return Interval(value * error, value / factor, upper) if np.isfinite(upper) else None

    def of_functions(self, values: Reals, slopes: Reals) -> list[Interval] | None:
        """The intervals of quantities with these slopes (k, free unknowns) by the coordinates.

        None where a flat direction moves them, or there is no degree of freedom.
        """
        if not self.available or not self._settled(slopes):
            return None
        errors = np.sqrt(np.maximum(np.einsum("ki,ij,kj->k", slopes, self._matrix, slopes), 0.0))
        reach = self._quantile * errors
        return [
            Interval(e, v - r, v + r) for v, e, r in zip(values.tolist(), errors.tolist(), reach.tolist(), strict=True)
        ]

    def covariance(self) -> tuple[list[str], list[list[float]]] | None:
        """Names and covariance matrix in the caller's units."""
        if not self.available:
            return None
        values = np.array(list(self._values.values()))
        units = np.where(self._unknowns.log, values, 1.0)
        matrix = self._matrix * np.outer(units, units)
        known = self._uncertainty.determined
        return self._uncertainty.names, matrix[np.ix_(known, known)].tolist()

    def _settled(self, slopes: Reals) -> bool:
        """Whether no flat direction moves the quantities by more than rounding."""
        along = np.abs(slopes @ self._uncertainty.flat_directions.T)
        scales = self._unknowns.magnitudes(self._uncertainty.coordinates)
        return float(along.max(initial=0.0)) <= FLAT_TOLERANCE * float(np.abs(slopes * scales).max(initial=0.0))
