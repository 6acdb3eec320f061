"""Noise: how measurements scatter around an observable. The model's value is the median, for Poisson the mean."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag
from typing_extensions import TypeAliasType

from odelib.problem.fields import Omittable, PositiveNumber, Request
from odelib.problem.priors import Prior

ESTIMATE: Literal["estimate"] = "estimate"


def _form_of_scale(value: Any) -> str:
    return "~text" if isinstance(value, str) else "~number"


Scale = TypeAliasType(
    "Scale",
    Annotated[
        Annotated[PositiveNumber, Tag("~number")] | Annotated[Literal["estimate"], Tag("~text")],
        Discriminator(_form_of_scale),
    ],
)
_Sigma = Annotated[Omittable[Scale], Field(description="Left out where the data give one.")]
_OnePrior = Annotated[Omittable[Prior], Field(description="Of the scale that is estimated.")]


class NormalNoise(Request):
    """Standard deviation `sigma`; with `proportional` √(sigma² + (proportional·model)²)."""

    distribution: Literal["normal"]
    sigma: _Sigma = None
    proportional: Annotated[
        Omittable[Scale], Field(description="The part of the standard deviation that grows with the model's value.")
    ] = None
    prior: _OnePrior = None


class LognormalNoise(Request):
    """The logarithm is normal with standard deviation `sigma`; values above 0."""

    distribution: Literal["lognormal"]
    sigma: _Sigma = None
    prior: _OnePrior = None


class LaplaceNoise(Request):
    """`sigma` is the scale b: the mean absolute deviation."""

    distribution: Literal["laplace"]
    sigma: _Sigma = None
    prior: _OnePrior = None


class StudentTNoise(Request):
    """Student's t with scale `sigma`: robust against outliers."""

    distribution: Literal["student-t"]
    sigma: _Sigma = None
    degrees_of_freedom: PositiveNumber = 4.0
    prior: _OnePrior = None


class PoissonNoise(Request):
    """Counts: whole values from 0 on."""

    distribution: Literal["poisson"]


AnyNoise = NormalNoise | LognormalNoise | LaplaceNoise | StudentTNoise | PoissonNoise
Noise = TypeAliasType("Noise", Annotated[AnyNoise, Field(discriminator="distribution")])
