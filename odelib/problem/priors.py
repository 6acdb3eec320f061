"""Prior distributions, in the unknown's own units."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypeAliasType

from odelib.problem.fields import Number, PositiveNumber, Request


class NormalPrior(Request):
    """Normal around a mean."""

    distribution: Literal["normal"]
    mean: Number
    standard_deviation: PositiveNumber


class LognormalPrior(Request):
    """The logarithm is normal around that of the median; positive values alone."""

    distribution: Literal["lognormal"]
    median: PositiveNumber
    sigma: Annotated[PositiveNumber, Field(description="The standard deviation of the logarithm.")]


class LaplacePrior(Request):
    """Falls off exponentially on both sides of the median."""

    distribution: Literal["laplace"]
    median: Number
    scale: PositiveNumber


class UniformPrior(Request):
    """The same between two ends, and nothing beyond them: they bound the unknown as well."""

    distribution: Literal["uniform"]
    lower: Number
    upper: Number


class HalfNormalPrior(Request):
    """The upper half of a normal distribution around 0; values from 0 on alone."""

    distribution: Literal["half-normal"]
    scale: PositiveNumber


AnyPrior = NormalPrior | LognormalPrior | LaplacePrior | UniformPrior | HalfNormalPrior
Prior = TypeAliasType("Prior", Annotated[AnyPrior, Field(discriminator="distribution")])


def support(prior: AnyPrior) -> tuple[float, float]:
    """Between which values the density is above 0."""
    if isinstance(prior, UniformPrior):
        return prior.lower, prior.upper
    return (0.0 if isinstance(prior, LognormalPrior | HalfNormalPrior) else float("-inf")), float("inf")
