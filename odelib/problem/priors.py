"""Prior distributions of the unknown, in its own units, or of its logarithm.

A prior is a class here, with its facts that checks need, and a density in `odelib.likelihood.priors`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field
from typing_extensions import TypeAliasType

from odelib.problem.fields import Number, PositiveNumber, Request

PriorOf = Literal["value", "log", "log10"]


def value_of(quantity: float, of: PriorOf) -> float:
    """Return the value whose `of` the quantity is."""
    try:
        return quantity if of == "value" else math.exp(quantity) if of == "log" else 10.0**quantity
    except OverflowError:
        return math.inf


class PriorSettings(Request):
    """The base of all priors.

    support_ends: the ends of the interval outside which the density is 0, each a number or the field that gives it, of
    the quantity that `of` names. is_open: whether the density is 0 or infinite at the ends, too.
    """

    support_ends: ClassVar[tuple[float | str, float | str]] = (-math.inf, math.inf)
    is_open: ClassVar[bool] = False

    of: Annotated[PriorOf, Field(description="The quantity whose density this is: the value, or its logarithm.")] = (
        "value"
    )
    normalised: Annotated[
        bool, Field(strict=True, description="Whether the density has mass 1 between the bounds of the value.")
    ] = False

    @property
    def support_of_quantity(self) -> tuple[float, float]:
        """The ends of the interval outside which the density is 0, of the quantity that `of` names."""
        lower, upper = (getattr(self, end) if isinstance(end, str) else end for end in self.support_ends)
        return lower, upper

    @property
    def support(self) -> tuple[float, float]:
        """The same of the value."""
        lower, upper = self.support_of_quantity
        return value_of(lower, self.of), value_of(upper, self.of)


class NormalPrior(PriorSettings):
    """A normal distribution."""

    distribution: Literal["normal"]
    mean: Number
    standard_deviation: PositiveNumber


class LognormalPrior(PriorSettings):
    """The logarithm has a normal distribution around the logarithm of `median`. Positive values only."""

    support_ends = (0.0, math.inf)
    is_open = True

    distribution: Literal["lognormal"]
    median: PositiveNumber
    sigma: Annotated[PositiveNumber, Field(description="The standard deviation of the logarithm.")]


class LaplacePrior(PriorSettings):
    """A Laplace distribution: the density decays exponentially on both sides of `median`."""

    distribution: Literal["laplace"]
    median: Number
    scale: PositiveNumber


class UniformPrior(PriorSettings):
    """The same density everywhere from `lower` to `upper`, which also bound the unknown."""

    support_ends = ("lower", "upper")

    distribution: Literal["uniform"]
    lower: Number
    upper: Number


class HalfNormalPrior(PriorSettings):
    """The upper half of a normal distribution around 0 with standard deviation `scale`. No negative values."""

    support_ends = (0.0, math.inf)

    distribution: Literal["half-normal"]
    scale: PositiveNumber


class CauchyPrior(PriorSettings):
    """A Cauchy distribution: a peak at `median`, with tails so heavy that far values remain possible."""

    distribution: Literal["cauchy"]
    median: Number
    scale: PositiveNumber


class HalfCauchyPrior(PriorSettings):
    """The upper half of a Cauchy distribution around 0. No negative values."""

    support_ends = (0.0, math.inf)

    distribution: Literal["half-cauchy"]
    scale: PositiveNumber


class ChiSquarePrior(PriorSettings):
    """A χ² distribution. Positive values only."""

    support_ends = (0.0, math.inf)
    is_open = True

    distribution: Literal["chi-square"]
    degrees_of_freedom: PositiveNumber


class ExponentialPrior(PriorSettings):
    """An exponential distribution with mean `scale`. No negative values."""

    support_ends = (0.0, math.inf)

    distribution: Literal["exponential"]
    scale: PositiveNumber


class GammaPrior(PriorSettings):
    """A gamma distribution with mean shape·scale. Positive values only."""

    support_ends = (0.0, math.inf)
    is_open = True

    distribution: Literal["gamma"]
    shape: PositiveNumber
    scale: PositiveNumber


class LogLaplacePrior(PriorSettings):
    """The logarithm has a Laplace distribution around the logarithm of `median`. Positive values only."""

    support_ends = (0.0, math.inf)
    is_open = True

    distribution: Literal["log-laplace"]
    median: PositiveNumber
    scale: Annotated[PositiveNumber, Field(description="The mean absolute deviation of the logarithm.")]


class LogUniformPrior(PriorSettings):
    """The logarithm has the same density everywhere from `lower` to `upper`, which also bound the unknown."""

    support_ends = ("lower", "upper")

    distribution: Literal["log-uniform"]
    lower: PositiveNumber
    upper: PositiveNumber


class RayleighPrior(PriorSettings):
    """A Rayleigh distribution: the length of a vector whose two components are normal. Positive values only."""

    support_ends = (0.0, math.inf)
    is_open = True

    distribution: Literal["rayleigh"]
    scale: PositiveNumber


AnyPrior = (
    NormalPrior
    | LognormalPrior
    | LaplacePrior
    | UniformPrior
    | HalfNormalPrior
    | CauchyPrior
    | HalfCauchyPrior
    | ChiSquarePrior
    | ExponentialPrior
    | GammaPrior
    | LogLaplacePrior
    | LogUniformPrior
    | RayleighPrior
)
Prior = TypeAliasType("Prior", Annotated[AnyPrior, Field(discriminator="distribution")])

# by the word on the wire
PRIORS: Mapping[str, type[PriorSettings]] = {
    get_args(kind.model_fields["distribution"].annotation)[0]: kind for kind in get_args(AnyPrior)
}
