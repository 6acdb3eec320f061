"""Densities of priors, in the unknown's own units, constants included."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from odelib.arrays import Reals
from odelib.problem.priors import (
    HalfNormalPrior,
    LaplacePrior,
    LognormalPrior,
    NormalPrior,
    PriorSettings,
    UniformPrior,
)

NORMAL_95 = 1.959964  # a standard normal is within ± this with probability 0.95
LAPLACE_95 = math.log(20)  # a standard Laplace distribution likewise: P(|x| > a) = exp(−a)
LOG_SQRT_2_PI = 0.5 * math.log(2 * math.pi)


class Kink(NamedTuple):
    """A term weight·|x − location| of −log p(x)."""

    location: float
    weight: float


class PriorDensity(ABC):
    """The density p of a prior at x, in the unknown's own units.

    settings_type: the prior of a request that this is the density of. centre: where most of the mass is; the search
    for an estimated scale also starts there, because far from the measurements the prior may be a second minimum of
    the loss. None where it cannot be. kinks: the terms of −log p that have a kink, in order.
    """

    settings_type: ClassVar[type[PriorSettings]]

    def __init__(self, settings: PriorSettings) -> None:
        self.support = settings.support
        self.centre: float | None = None
        self.kinks: tuple[Kink, ...] = ()
        self._is_open = settings.is_open

    def negative_log(self, x: float) -> float:
        """Return −log p(x), which is infinite where p is 0."""
        lower, upper = self.support
        if not lower <= x <= upper or (self._is_open and x in self.support):
            return math.inf
        return self._negative_log(x)

    @abstractmethod
    def _negative_log(self, x: float) -> float:
        """−log p(x) at an x within the support."""

    @abstractmethod
    def derivative(self, x: float) -> float:
        """The derivative of −log p; at a kink the mean of its two one-sided derivatives."""

    @abstractmethod
    def information(self, x: float) -> float:
        """The curvature of −log p around x that counts as information about the unknown, never below 0."""

    @abstractmethod
    def is_far_out(self, x: float) -> bool:
        """Whether x is outside the central 95 % of the prior, or above the lower 95 % of a one-sided one."""

    def log_information(self, x: float) -> float:
        """`information` about log x, for x > 0."""
        return x * x * self.information(x)


class NormalDensity(PriorDensity):
    """−log p = ½·((x − μ)/s)² + log s + ½·log 2π."""

    settings_type = NormalPrior

    def __init__(self, settings: NormalPrior) -> None:
        super().__init__(settings)
        self.centre = self._mean = settings.mean
        self._deviation = settings.standard_deviation

    def _negative_log(self, x: float) -> float:
        z = (x - self._mean) / self._deviation
        return 0.5 * z * z + math.log(self._deviation) + LOG_SQRT_2_PI

    def derivative(self, x: float) -> float:
        """See `PriorDensity.derivative`."""
        return (x - self._mean) / self._deviation**2

    def information(self, x: float) -> float:
        """See `PriorDensity.information`."""
        return self._deviation**-2

    def is_far_out(self, x: float) -> bool:
        """See `PriorDensity.is_far_out`."""
        return abs(x - self._mean) > NORMAL_95 * self._deviation


class LognormalDensity(PriorDensity):
    """−log p = ½·(log(x/m)/s)² + log s + ½·log 2π + log x, the last term being the Jacobian of the logarithm."""

    settings_type = LognormalPrior

    def __init__(self, settings: LognormalPrior) -> None:
        super().__init__(settings)
        self.centre = self._median = settings.median
        self._sigma = settings.sigma

    def _negative_log(self, x: float) -> float:
        normal = 0.5 * (math.log(x / self._median) / self._sigma) ** 2 + math.log(self._sigma) + LOG_SQRT_2_PI
        return normal + math.log(x)

    def derivative(self, x: float) -> float:
        """See `PriorDensity.derivative`."""
        return (math.log(x / self._median) / self._sigma**2 + 1) / x if x > 0 else math.nan

    def information(self, x: float) -> float:
        """See `PriorDensity.information`. That of a normal measurement of log x; the true curvature may be negative."""
        return (self._sigma * x) ** -2 if x != 0 else 0.0

    def is_far_out(self, x: float) -> bool:
        """See `PriorDensity.is_far_out`."""
        return x <= 0 or abs(math.log(x / self._median)) > NORMAL_95 * self._sigma


class LaplaceDensity(PriorDensity):
    """−log p = |x − m|/b + log 2b."""

    settings_type = LaplacePrior

    def __init__(self, settings: LaplacePrior) -> None:
        super().__init__(settings)
        self._median, self._scale = settings.median, settings.scale
        self.kinks = (Kink(self._median, 1 / self._scale),)

    def _negative_log(self, x: float) -> float:
        return abs(x - self._median) / self._scale + math.log(2 * self._scale)

    def derivative(self, x: float) -> float:
        """See `PriorDensity.derivative`."""
        return float(np.sign(x - self._median)) / self._scale

    def information(self, x: float) -> float:
        """See `PriorDensity.information`. The expected E[(d(log p)/dx)²] = 1/b²: the curvature is 0 or infinite."""
        return self._scale**-2

    def is_far_out(self, x: float) -> bool:
        """See `PriorDensity.is_far_out`."""
        return abs(x - self._median) > LAPLACE_95 * self._scale

    def log_information(self, x: float) -> float:
        """See `PriorDensity.log_information`.

        A scale is searched on either side of the kink, where −log p is linear in x and so curves only in u = log x:
        d²(exp(u)/b)/du² = x/b. It is negative below the kink, where its size serves as well.
        """
        return abs(x * self.derivative(x))


class UniformDensity(PriorDensity):
    """−log p = log(upper − lower)."""

    settings_type = UniformPrior

    def __init__(self, settings: UniformPrior) -> None:
        super().__init__(settings)
        self._width = settings.upper - settings.lower

    def _negative_log(self, x: float) -> float:
        return math.log(self._width)

    def derivative(self, x: float) -> float:
        """See `PriorDensity.derivative`."""
        return 0.0

    def information(self, x: float) -> float:
        """See `PriorDensity.information`."""
        return 0.0

    def is_far_out(self, x: float) -> bool:
        """See `PriorDensity.is_far_out`. Never: all values between the ends are equally expected."""
        return False


class HalfNormalDensity(PriorDensity):
    """−log p = ½·(x/s)² + log s + ½·log 2π − log 2, for x ≥ 0."""

    settings_type = HalfNormalPrior

    def __init__(self, settings: HalfNormalPrior) -> None:
        super().__init__(settings)
        self._scale = settings.scale

    def _negative_log(self, x: float) -> float:
        z = x / self._scale
        return 0.5 * z * z + math.log(self._scale) + LOG_SQRT_2_PI - math.log(2)

    def derivative(self, x: float) -> float:
        """See `PriorDensity.derivative`."""
        return x / self._scale**2

    def information(self, x: float) -> float:
        """See `PriorDensity.information`."""
        return self._scale**-2

    def is_far_out(self, x: float) -> bool:
        """See `PriorDensity.is_far_out`."""
        return x > NORMAL_95 * self._scale


_DENSITIES: Mapping[type[PriorSettings], Callable[[Any], PriorDensity]] = {
    density.settings_type: density for density in PriorDensity.__subclasses__()
}


def prior_density(settings: PriorSettings) -> PriorDensity:
    """Return the density of a request's prior."""
    return _DENSITIES[type(settings)](settings)


class Priors:
    """The joint prior of several unknowns. Values are (n,), one for each prior, in the unknowns' own units."""

    def __init__(self, priors: Sequence[PriorSettings]) -> None:
        self.densities = [prior_density(prior) for prior in priors]

    def loss(self, values: Reals) -> float:
        """Return −log of the joint density, which is infinite where the density is 0."""
        return math.fsum(density.negative_log(x) for density, x in self._pairs(values))

    def is_far_out(self, values: Reals) -> bool:
        """Whether any value is far out under its prior."""
        return any(density.is_far_out(x) for density, x in self._pairs(values))

    def gradient(self, values: Reals) -> Reals:
        """The derivatives of the loss, (n,)."""
        return np.array([density.derivative(x) for density, x in self._pairs(values)], dtype=np.float64)

    def information(self, values: Reals) -> Reals:
        """The information that each prior adds about its unknown, (n,)."""
        return np.array([density.information(x) for density, x in self._pairs(values)], dtype=np.float64)

    def _pairs(self, values: Reals) -> Sequence[tuple[PriorDensity, float]]:
        return list(zip(self.densities, values.tolist(), strict=True))
