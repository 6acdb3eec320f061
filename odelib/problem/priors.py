"""Prior distributions, in the unknown's own units.

A prior is a class here, with its facts that checks need, and a density in `odelib.likelihood.priors`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field
from typing_extensions import TypeAliasType

from odelib.problem.fields import Number, PositiveNumber, Request


class PriorSettings(Request):
    """The base of all priors.

    support_ends: the ends of the interval outside which the density is 0, each a number or the field that gives it.
    is_open: whether the density is 0 at the ends, too.
    """

    support_ends: ClassVar[tuple[float | str, float | str]] = (-math.inf, math.inf)
    is_open: ClassVar[bool] = False

    @property
    def support(self) -> tuple[float, float]:
        """The ends of the interval outside which the density is 0."""
        lower, upper = (getattr(self, end) if isinstance(end, str) else end for end in self.support_ends)
        return lower, upper


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


AnyPrior = NormalPrior | LognormalPrior | LaplacePrior | UniformPrior | HalfNormalPrior
Prior = TypeAliasType("Prior", Annotated[AnyPrior, Field(discriminator="distribution")])

# by the word on the wire
PRIORS: Mapping[str, type[PriorSettings]] = {
    get_args(kind.model_fields["distribution"].annotation)[0]: kind for kind in get_args(AnyPrior)
}
