"""How sure the estimates are: the expected (Gauss–Newton) information at the optimum.

With J the derivatives of the scaled residuals by the free unknowns' coordinates, their covariance is s²·(JᵀJ)⁻¹
(Seber and Wild, Nonlinear Regression, 1989, 5.1). Where every sigma is given s is 1 and the quantile the normal
one; else s² = RSS/(n − p), and the quantile is Student's with n − p degrees of freedom.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from odelib.information import FLAT, Matrix, information
from odelib.unknowns import Unknowns, Vector


@dataclass(frozen=True)
class Interval:
    """A standard error and a 95 % interval, in the caller's units."""

    standard_error: float
    lower: float
    upper: float


class Uncertainty:
    """The covariance of the free unknowns.

    names: those that have a standard error: not at a bound, in no flat direction. covariance: of their
    coordinates. flat: the names that take part in a flat direction. quantile: of a 95 % interval; None where
    there is no degree of freedom left.
    """

    def __init__(self, unknowns: Unknowns, coordinates: Vector, jacobian: Matrix, *, sigma_given: bool) -> None:
        self._unknowns = unknowns
        self._coordinates = coordinates
        free = ~unknowns.held(coordinates)
        scales = unknowns.magnitudes(coordinates)
        scaled = jacobian * scales
        found = information(scaled, free)
        participants = found.participants()
        names = np.array(unknowns.names, dtype=object)
        self.flat: list[str] = names[participants].tolist()
        self.known = free & ~participants
        self.names: list[str] = names[self.known].tolist()
        self.degrees_of_freedom = len(jacobian) - int(free.sum())
        self._whole = found.inverse * np.outer(scales, scales)
        self.flat_directions = found.flat * scales  # in the coordinates themselves
        self.sigma_given = sigma_given
        self.quantile: float | None = None
        if sigma_given:
            self.quantile = float(stats.norm.ppf(0.975))
        elif self.degrees_of_freedom > 0:
            self.quantile = float(stats.t.ppf(0.975, self.degrees_of_freedom))

    def scaled_by(self, loss: float) -> Matrix | None:
        """The covariance of all coordinates, zero where there is none; None without a degree of freedom."""
        if self.sigma_given:
            return self._whole
        return self._whole * (loss / self.degrees_of_freedom) if self.degrees_of_freedom > 0 else None


class Errors:
    """Standard errors, intervals and bands from an uncertainty whose scale is known.

    usable: whether there are any; not without a degree of freedom from which the scale could be estimated.
    """

    def __init__(self, uncertainty: Uncertainty, loss: float) -> None:
        matrix = uncertainty.scaled_by(loss)
        self.usable = matrix is not None and uncertainty.quantile is not None
        self._matrix = matrix if matrix is not None else np.zeros((0, 0))
        self._quantile = uncertainty.quantile or 0.0
        self._uncertainty = uncertainty
        self._unknowns = uncertainty._unknowns
        self._values = self._unknowns.free_values(uncertainty._coordinates)

    def of(self, name: str) -> Interval | None:
        """The interval of an unknown; None where it has none. On a log scale it is made in the logarithm."""
        if not self.usable or name not in self._uncertainty.names:
            return None
        place = self._unknowns.names.index(name)
        error, value = float(np.sqrt(self._matrix[place, place])), self._values[name]
        if self._unknowns.log[place]:
            with np.errstate(over="ignore"):
                factor = float(np.exp(self._quantile * error))
            upper = value * factor
            return Interval(value * error, value / factor, upper) if np.isfinite(upper) else None
        return Interval(error, value - self._quantile * error, value + self._quantile * error)

    def along(self, values: Vector, slopes: Matrix) -> list[Interval] | None:
        """The intervals of quantities with these slopes (k, free unknowns) by the coordinates.

        None where a flat direction moves them, or there is no degree of freedom.
        """
        if not self.usable or not self._settled(slopes):
            return None
        errors = np.sqrt(np.maximum(np.einsum("ki,ij,kj->k", slopes, self._matrix, slopes), 0.0))
        reach = self._quantile * errors
        return [
            Interval(e, v - r, v + r) for v, e, r in zip(values.tolist(), errors.tolist(), reach.tolist(), strict=True)
        ]

    def covariance(self) -> tuple[list[str], list[list[float]]] | None:
        """Names and covariance matrix in the caller's units."""
        if not self.usable:
            return None
        values = np.array(list(self._values.values()))
        units = np.where(self._unknowns.log, values, 1.0)
        matrix = self._matrix * np.outer(units, units)
        known = self._uncertainty.known
        return self._uncertainty.names, matrix[np.ix_(known, known)].tolist()

    def _settled(self, slopes: Matrix) -> bool:
        """Whether no flat direction moves the quantities by more than rounding."""
        along = np.abs(slopes @ self._uncertainty.flat_directions.T)
        scales = self._unknowns.magnitudes(self._uncertainty._coordinates)
        return float(along.max(initial=0.0)) <= FLAT * float(np.abs(slopes * scales).max(initial=0.0))
