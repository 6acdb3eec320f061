"""Densities of priors, in the unknown's own units, constants included."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from scipy.special import gammainc, gammaincc

from odelib.arrays import Reals
from odelib.problem.priors import (
    CauchyPrior,
    ChiSquarePrior,
    ExponentialPrior,
    GammaPrior,
    HalfCauchyPrior,
    HalfNormalPrior,
    LaplacePrior,
    LogLaplacePrior,
    LognormalPrior,
    LogUniformPrior,
    NormalPrior,
    PriorSettings,
    RayleighPrior,
    UniformPrior,
)

FAR_OUT = 0.05  # a value is far out if those at least as far have this probability
LOG_SQRT_2_PI = 0.5 * math.log(2 * math.pi)


class Kink(NamedTuple):
    """A term weight·|x − location| of −log p(x)."""

    location: float
    weight: float


class PriorDensity(ABC):
    """The density p of a prior at x, in the unknown's own units.

    settings_type: the prior of a request that this is the density of. shape: whether values far from the centre are
    unlikely on both sides, or only above, or neither. centre: where most of the mass is; the search
    for an estimated scale also starts there, because far from the measurements the prior may be a second minimum of
    the loss. None where it cannot be. kinks: the terms of −log p that have a kink, in order.
    """

    settings_type: ClassVar[type[PriorSettings]]
    shape: ClassVar[Literal["two-sided", "one-sided", "flat"]] = "two-sided"

    def __init__(self, settings: PriorSettings) -> None:
        self.support = settings.support_of_quantity
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
    def tails(self, x: float) -> tuple[float, float]:
        """Return the probabilities of values below and above x, each exact where it is small; x may be ±inf."""

    def is_far_out(self, x: float) -> bool:
        """Whether x is outside the central 95 % of the prior, or above the lower 95 % of a one-sided one."""
        if self.shape == "flat":
            return False
        below, above = self.tails(x)
        return above < FAR_OUT if self.shape == "one-sided" else min(below, above) < FAR_OUT / 2

    def log_information(self, x: float) -> float:
        """`information` about log x, for x > 0."""
        return x * x * self.information(x)

    def absolute_terms(self, x: float) -> list[tuple[float, float]]:
        """Return offset and weight of the terms of −log p that have a kink: weight·|offset + change of x|."""
        return [(x - kink.location, kink.weight) for kink in self.kinks]

    def mass(self, lower: float, upper: float) -> float:
        """Return the probability of values between the bounds."""
        lower, upper = max(lower, self.support[0]), min(upper, self.support[1])
        if not lower < upper:
            return 0.0
        (below_lower, above_lower), (below_upper, above_upper) = self.tails(lower), self.tails(upper)
        # The difference of the small ones of two tails, which are exact.
        return below_upper - below_lower if below_lower < 0.5 else above_lower - above_upper


def normal_tails(z: float) -> tuple[float, float]:
    """Return the probabilities below and above z of a standard normal distribution."""
    return 0.5 * math.erfc(-z / math.sqrt(2)), 0.5 * math.erfc(z / math.sqrt(2))


def laplace_tails(z: float) -> tuple[float, float]:
    """Return the probabilities below and above z of a standard Laplace distribution."""
    small = 0.5 * math.exp(-abs(z))
    return (small, 1 - small) if z < 0 else (1 - small, small)


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

    def tails(self, x: float) -> tuple[float, float]:
        """See `PriorDensity.tails`."""
        return normal_tails((x - self._mean) / self._deviation)


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

    def tails(self, x: float) -> tuple[float, float]:
        """See `PriorDensity.tails`."""
        return normal_tails(math.log(x / self._median) / self._sigma) if x > 0 else (0.0, 1.0)


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

    def tails(self, x: float) -> tuple[float, float]:
        """See `PriorDensity.tails`."""
        return laplace_tails((x - self._median) / self._scale)

    def log_information(self, x: float) -> float:
        """See `PriorDensity.log_information`.

        A scale is searched on either side of the kink, where −log p is linear in x and so curves only in u = log x:
        d²(exp(u)/b)/du² = x/b. It is negative below the kink, where its size serves as well.
        """
        return abs(x * self.derivative(x))


class UniformDensity(PriorDensity):
    """−log p = log(upper − lower)."""

    settings_type = UniformPrior
    shape = "flat"

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

    def tails(self, x: float) -> tuple[float, float]:
        """See `PriorDensity.tails`."""
        return (x - self.support[0]) / self._width, (self.support[1] - x) / self._width


class HalfNormalDensity(PriorDensity):
    """−log p = ½·(x/s)² + log s + ½·log 2π − log 2, for x ≥ 0."""

    settings_type = HalfNormalPrior
    shape = "one-sided"

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

    def tails(self, x: float) -> tuple[float, float]:
        """See `PriorDensity.tails`."""
        z = x / (math.sqrt(2) * self._scale)
        return math.erf(z), math.erfc(z)


class CauchyDensity(PriorDensity):
    """−log p = log(1 + z²) + log πs, with z = (x − m)/s."""

    settings_type = CauchyPrior

    def __init__(self, settings: CauchyPrior) -> None:
        super().__init__(settings)
        self.centre = self._median = settings.median
        self._scale = settings.scale

    def _negative_log(self, x: float) -> float:
        return 2 * math.log(math.hypot(1.0, (x - self._median) / self._scale)) + math.log(math.pi * self._scale)

    def derivative(self, x: float) -> float:
        """See `PriorDensity.derivative`."""
        z = (x - self._median) / self._scale
        return 2 * z / (1 + z * z) / self._scale

    def information(self, x: float) -> float:
        """See `PriorDensity.information`. (dL/dx)/(x − m), as the true curvature is negative in the tails."""
        z = (x - self._median) / self._scale
        return 2 / (1 + z * z) / self._scale / self._scale

    def tails(self, x: float) -> tuple[float, float]:
        """See `PriorDensity.tails`."""
        z = (x - self._median) / self._scale
        return math.atan2(1.0, -z) / math.pi, math.atan2(1.0, z) / math.pi


class HalfCauchyDensity(PriorDensity):
    """−log p = log(1 + z²) + log(πs/2), with z = x/s, for x ≥ 0."""

    settings_type = HalfCauchyPrior
    shape = "one-sided"

    def __init__(self, settings: HalfCauchyPrior) -> None:
        super().__init__(settings)
        self._scale = settings.scale

    def _negative_log(self, x: float) -> float:
        return 2 * math.log(math.hypot(1.0, x / self._scale)) + math.log(0.5 * math.pi * self._scale)

    def derivative(self, x: float) -> float:
        """See `PriorDensity.derivative`."""
        z = x / self._scale
        return 2 * z / (1 + z * z) / self._scale

    def information(self, x: float) -> float:
        """See `PriorDensity.information`. That of a Cauchy distribution."""
        z = x / self._scale
        return 2 / (1 + z * z) / self._scale / self._scale

    def tails(self, x: float) -> tuple[float, float]:
        """See `PriorDensity.tails`."""
        return 2 / math.pi * math.atan2(x, self._scale), 2 / math.pi * math.atan2(self._scale, x)


class GammaDensity(PriorDensity):
    """−log p = −(k − 1)·log x + x/θ + log Γ(k) + k·log θ, for x > 0."""

    settings_type: ClassVar[type[PriorSettings]] = GammaPrior

    def __init__(self, settings: GammaPrior) -> None:
        self._set(settings, settings.shape, settings.scale)

    def _set(self, settings: PriorSettings, shape: float, scale: float) -> None:
        super().__init__(settings)
        self._shape, self._scale = shape, scale
        self.centre = shape * scale

    def _negative_log(self, x: float) -> float:
        of_power = (self._shape - 1) * math.log(x) if self._shape != 1 else 0.0
        return x / self._scale - of_power + math.lgamma(self._shape) + self._shape * math.log(self._scale)

    def derivative(self, x: float) -> float:
        """See `PriorDensity.derivative`."""
        return 1 / self._scale - ((self._shape - 1) / x if self._shape != 1 else 0.0)

    def information(self, x: float) -> float:
        """See `PriorDensity.information`. 0 where −log p is not convex."""
        return max(self._shape - 1, 0.0) / x / x if self._shape != 1 else 0.0

    def tails(self, x: float) -> tuple[float, float]:
        """See `PriorDensity.tails`."""
        z = x / self._scale
        return float(gammainc(self._shape, z)), float(gammaincc(self._shape, z))


class ChiSquareDensity(GammaDensity):
    """A gamma distribution with k = ν/2 and θ = 2."""

    settings_type = ChiSquarePrior

    def __init__(self, settings: ChiSquarePrior) -> None:
        self._set(settings, settings.degrees_of_freedom / 2, 2.0)


class ExponentialDensity(GammaDensity):
    """A gamma distribution with k = 1: −log p = x/θ + log θ."""

    settings_type = ExponentialPrior
    shape = "one-sided"

    def __init__(self, settings: ExponentialPrior) -> None:
        self._set(settings, 1.0, settings.scale)


class RayleighDensity(PriorDensity):
    """−log p = ½·(x/s)² − log x + 2·log s, for x > 0."""

    settings_type = RayleighPrior

    def __init__(self, settings: RayleighPrior) -> None:
        super().__init__(settings)
        self.centre = self._scale = settings.scale

    def _negative_log(self, x: float) -> float:
        z = x / self._scale
        return 0.5 * z * z - math.log(z) + math.log(self._scale)

    def derivative(self, x: float) -> float:
        """See `PriorDensity.derivative`."""
        return x / self._scale / self._scale - 1 / x

    def information(self, x: float) -> float:
        """See `PriorDensity.information`."""
        return 1 / self._scale / self._scale + 1 / x / x

    def tails(self, x: float) -> tuple[float, float]:
        """See `PriorDensity.tails`."""
        z = x / self._scale
        return -math.expm1(-0.5 * z * z), math.exp(-0.5 * z * z)


class LogarithmDensity(PriorDensity):
    """The density of q = log(x)/c has the form given: −log p is that of q at log(x)/c, for x > 0.

    with_jacobian: whether p is the density of x rather than of q: −log p then has a term log(c·x) more.
    """

    def __init__(self, settings: PriorSettings, of_quantity: PriorDensity, c: float, *, with_jacobian: bool) -> None:
        super().__init__(settings)
        self._of_quantity, self._c, self._with_jacobian = of_quantity, c, with_jacobian
        lower, upper = of_quantity.support
        self.support = self._value(lower), self._value(upper)
        self.centre = None if of_quantity.centre is None else self._value(of_quantity.centre)
        # The weight where the kink is: further away the term is no multiple of |x − location|, see `absolute_terms`.
        self.kinks = tuple(
            Kink(location, kink.weight / (c * location))
            for kink in of_quantity.kinks
            if 0 < (location := self._value(kink.location)) < math.inf
        )

    def _value(self, quantity: float) -> float:
        try:
            return math.exp(self._c * quantity)
        except OverflowError:
            return math.inf

    def _quantity(self, x: float) -> float:
        if x <= 0:
            return -math.inf
        return math.log(x) / self._c

    def negative_log(self, x: float) -> float:
        """See `PriorDensity.negative_log`."""
        return super().negative_log(x) if x > 0 else math.inf

    def _negative_log(self, x: float) -> float:
        jacobian = math.log(self._c * x) if self._with_jacobian else 0.0
        return self._of_quantity.negative_log(self._quantity(x)) + jacobian

    def derivative(self, x: float) -> float:
        """See `PriorDensity.derivative`."""
        if x <= 0:
            return math.nan
        return (self._of_quantity.derivative(self._quantity(x)) / self._c + (1.0 if self._with_jacobian else 0.0)) / x

    def information(self, x: float) -> float:
        """See `PriorDensity.information`. That about the logarithm."""
        return self._of_quantity.information(self._quantity(x)) / self._c**2 / x / x if x > 0 else 0.0

    def absolute_terms(self, x: float) -> list[tuple[float, float]]:
        """See `PriorDensity.absolute_terms`. w·|q − q₀ + δx/(c·x)| = w/(c·x)·|(q − q₀)·c·x + δx|."""
        unit = self._c * x
        return [
            (offset * unit, weight / unit) for offset, weight in self._of_quantity.absolute_terms(self._quantity(x))
        ]

    def tails(self, x: float) -> tuple[float, float]:
        """See `PriorDensity.tails`."""
        return self._of_quantity.tails(self._quantity(x))

    def is_far_out(self, x: float) -> bool:
        """See `PriorDensity.is_far_out`."""
        return x <= 0 or self._of_quantity.is_far_out(self._quantity(x))


class LogLaplaceDensity(LogarithmDensity):
    """−log p = |log(x/m)|/b + log 2b + log x, for x > 0."""

    settings_type = LogLaplacePrior

    def __init__(self, settings: LogLaplacePrior) -> None:
        of_log = LaplacePrior(distribution="laplace", median=math.log(settings.median), scale=settings.scale)
        super().__init__(settings, LaplaceDensity(of_log), 1.0, with_jacobian=True)


class LogUniformDensity(LogarithmDensity):
    """−log p = log x + log log(upper/lower)."""

    settings_type = LogUniformPrior

    def __init__(self, settings: LogUniformPrior) -> None:
        of_log = UniformPrior(distribution="uniform", lower=math.log(settings.lower), upper=math.log(settings.upper))
        super().__init__(settings, UniformDensity(of_log), 1.0, with_jacobian=True)
        self.support = settings.support_of_quantity  # the logarithm's would be rounded

    def _negative_log(self, x: float) -> float:
        return math.log(x) + self._of_quantity.negative_log(self._of_quantity.support[0])


class NormalisedDensity(PriorDensity):
    """A density divided by its mass between bounds, so that what they leave has mass 1."""

    def __init__(self, settings: PriorSettings, whole: PriorDensity, lower: float, upper: float) -> None:
        super().__init__(settings)
        self._whole = whole
        self.support, self.centre, self.kinks = whole.support, whole.centre, whole.kinks
        mass = whole.mass(lower, upper)
        self._log_mass = math.log(mass) if mass > 0 else math.nan

    def negative_log(self, x: float) -> float:
        """See `PriorDensity.negative_log`."""
        return self._whole.negative_log(x) + self._log_mass

    _negative_log = negative_log

    def derivative(self, x: float) -> float:
        """See `PriorDensity.derivative`."""
        return self._whole.derivative(x)

    def information(self, x: float) -> float:
        """See `PriorDensity.information`."""
        return self._whole.information(x)

    def log_information(self, x: float) -> float:
        """See `PriorDensity.log_information`."""
        return self._whole.log_information(x)

    def absolute_terms(self, x: float) -> list[tuple[float, float]]:
        """See `PriorDensity.absolute_terms`."""
        return self._whole.absolute_terms(x)

    def tails(self, x: float) -> tuple[float, float]:
        """See `PriorDensity.tails`. Those of the whole density."""
        return self._whole.tails(x)

    def is_far_out(self, x: float) -> bool:
        """See `PriorDensity.is_far_out`."""
        return self._whole.is_far_out(x)


def _all_densities(kind: type[Any]) -> Iterator[type[Any]]:
    for density in kind.__subclasses__():
        yield density
        yield from _all_densities(density)


_DENSITIES: Mapping[type[PriorSettings], Callable[[Any], PriorDensity]] = {
    density.settings_type: density for density in _all_densities(PriorDensity) if "settings_type" in vars(density)
}


def prior_density(settings: PriorSettings, lower: float | None = None, upper: float | None = None) -> PriorDensity:
    """Return the density of a request's prior. lower, upper: the bounds of the value, None where there is none."""
    density = _DENSITIES[type(settings)](settings)
    if settings.of != "value":
        c = 1.0 if settings.of == "log" else math.log(10)
        density = LogarithmDensity(settings, density, c, with_jacobian=False)
    low, high = -math.inf if lower is None else lower, math.inf if upper is None else upper
    return NormalisedDensity(settings, density, low, high) if settings.normalised and low < high else density


class Priors:
    """The joint prior of several unknowns. Values are (n,), one for each prior, in the unknowns' own units."""

    def __init__(self, densities: Sequence[PriorDensity]) -> None:
        self.densities = densities

    def loss(self, values: Reals) -> float:
        """Return −log of the joint density, which is infinite where the density is 0."""
        return math.fsum(_or_infinity(density.negative_log, x) for density, x in self._pairs(values))

    def is_far_out(self, values: Reals) -> bool:
        """Whether any value is far out under its prior."""
        return any(density.is_far_out(x) for density, x in self._pairs(values))

    def gradient(self, values: Reals) -> Reals:
        """The derivatives of the loss, (n,)."""
        return np.array([_or_infinity(density.derivative, x) for density, x in self._pairs(values)], dtype=np.float64)

    def information(self, values: Reals) -> Reals:
        """The information that each prior adds about its unknown, (n,)."""
        return np.array([_or_infinity(density.information, x) for density, x in self._pairs(values)], dtype=np.float64)

    def _pairs(self, values: Reals) -> Sequence[tuple[PriorDensity, float]]:
        return list(zip(self.densities, values.tolist(), strict=True))


def _or_infinity(function: Callable[[float], float], x: float) -> float:
    """The value of a function, infinite where `math` finds it too large, as far out under a double exponential."""
    try:
        return function(x)
    except OverflowError:
        return math.inf
