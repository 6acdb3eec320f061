"""Noise: how measurements scatter around an observable. The model's value is the median, for Poisson noise the mean.

A distribution is a class here, with its facts that checks need, and its likelihood in `odelib/likelihood/noise/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Discriminator, Field, Tag
from typing_extensions import TypeAliasType

from odelib.problem.fields import NonNegativeNumber, Omittable, PositiveNumber, Request, Text
from odelib.problem.priors import Prior, PriorSettings

ESTIMATE: Literal["estimate"] = "estimate"


def _form_of_scale(value: Any) -> str:
    return "~text" if isinstance(value, str) else "~number"


_SigmaText = Annotated[Text, Field(description='"estimate", or an expression.'), Tag("~text")]


Scale = TypeAliasType(
    "Scale",
    Annotated[
        Annotated[PositiveNumber, Tag("~number")] | Annotated[Literal["estimate"], Tag("~text")],
        Discriminator(_form_of_scale),
    ],
)
Sigma = TypeAliasType(
    "Sigma", Annotated[Annotated[PositiveNumber, Tag("~number")] | _SigmaText, Discriminator(_form_of_scale)]
)
SigmaOrZero = TypeAliasType(
    "SigmaOrZero", Annotated[Annotated[NonNegativeNumber, Tag("~number")] | _SigmaText, Discriminator(_form_of_scale)]
)
_SIGMA = (
    'A number, "estimate", or an expression of states, parameters, constants, definitions, `t` and observables, these '
    "being the model's values. Omit it where the data give a sigma."
)
_Sigma = Annotated[Omittable[Sigma], Field(description=_SIGMA)]
_ScalePrior = Annotated[Omittable[Prior], Field(description="Prior of the estimated scale.")]


class NoiseSettings(Request):
    """The base of all noise distributions.

    scales: the fields that are scales, each a number or "estimate"; "sigma" may also be an expression. A distribution
    that has "sigma" takes it from the data where the field is omitted. value_rule: the values that the distribution can
    yield, in words; empty for all.
    """

    scales: ClassVar[tuple[str, ...]] = ()
    value_rule: ClassVar[str] = ""

    @classmethod
    def can_yield(cls, value: float) -> bool:
        """Whether a measurement can have this value."""
        return True

    @property
    def given_scales(self) -> dict[str, float]:
        """The scales that are numbers."""
        given = {scale: getattr(self, scale) for scale in self.scales}
        return {scale: value for scale, value in given.items() if isinstance(value, float)}

    @property
    def estimated_scales(self) -> tuple[str, ...]:
        """The names of the scales that are estimated."""
        return tuple(scale for scale in self.scales if getattr(self, scale) == ESTIMATE)

    @property
    def sigma_expression(self) -> str | None:
        """The text of the expression that gives sigma, if one does."""
        sigma = getattr(self, "sigma", None)
        return sigma if isinstance(sigma, str) and sigma != ESTIMATE else None

    @property
    def is_relative(self) -> bool:
        """Whether the scale of the noise is relative to the value, so that small values count as much as large ones."""
        return False

    @property
    def needs_sigma(self) -> bool:
        """Whether each measurement needs a sigma, from here or from the data."""
        return "sigma" in self.scales

    @property
    def scale_prior(self) -> PriorSettings | None:
        """The prior of the estimated scale, if any."""
        return getattr(self, "prior", None)


class NormalNoise(NoiseSettings):
    """Normal noise with standard deviation `sigma`, or √(sigma² + (proportional·model)²) with `proportional`."""

    scales = ("sigma", "proportional")

    distribution: Literal["normal"]
    sigma: Annotated[
        Omittable[SigmaOrZero], Field(description=f"{_SIGMA} Beside `proportional` it may be 0 or omitted.")
    ] = None
    proportional: Annotated[
        Omittable[Scale], Field(description="The part of the standard deviation that grows with the model's value.")
    ] = None
    prior: _ScalePrior = None

    @property
    def is_relative(self) -> bool:
        """See `NoiseSettings.is_relative`."""
        return self.proportional is not None

    @property
    def needs_sigma(self) -> bool:
        """See `NoiseSettings.needs_sigma`."""
        return self.proportional is None


class LognormalNoise(NoiseSettings):
    """Normal noise of the logarithm, with standard deviation `sigma`. Positive values only."""

    scales = ("sigma",)
    value_rule = "values must be greater than 0"

    distribution: Literal["lognormal"]
    sigma: _Sigma = None
    prior: _ScalePrior = None

    @property
    def is_relative(self) -> bool:
        """See `NoiseSettings.is_relative`."""
        return True

    @classmethod
    def can_yield(cls, value: float) -> bool:
        """See `NoiseSettings.can_yield`."""
        return value > 0


class LaplaceNoise(NoiseSettings):
    """Laplace noise; `sigma` is its scale b, the mean absolute deviation."""

    scales = ("sigma",)

    distribution: Literal["laplace"]
    sigma: _Sigma = None
    prior: _ScalePrior = None


class LogLaplaceNoise(NoiseSettings):
    """Laplace noise of the logarithm, with scale `sigma`: robust against outliers. Positive values only."""

    scales = ("sigma",)
    value_rule = "values must be greater than 0"

    distribution: Literal["log-laplace"]
    sigma: _Sigma = None
    prior: _ScalePrior = None

    @property
    def is_relative(self) -> bool:
        """See `NoiseSettings.is_relative`."""
        return True

    @classmethod
    def can_yield(cls, value: float) -> bool:
        """See `NoiseSettings.can_yield`."""
        return value > 0


class StudentTNoise(NoiseSettings):
    """Student's t noise with scale `sigma`: robust against outliers."""

    scales = ("sigma",)

    distribution: Literal["student-t"]
    sigma: _Sigma = None
    degrees_of_freedom: PositiveNumber = 4.0
    prior: _ScalePrior = None


class PoissonNoise(NoiseSettings):
    """Counts: whole numbers of at least 0."""

    value_rule = "values must be whole numbers, at least 0"

    distribution: Literal["poisson"]

    @classmethod
    def can_yield(cls, value: float) -> bool:
        """See `NoiseSettings.can_yield`."""
        return value >= 0 and value.is_integer()


AnyNoise = NormalNoise | LognormalNoise | LaplaceNoise | LogLaplaceNoise | StudentTNoise | PoissonNoise
Noise = TypeAliasType("Noise", Annotated[AnyNoise, Field(discriminator="distribution")])

# by the word on the wire
DISTRIBUTIONS: Mapping[str, type[NoiseSettings]] = {
    get_args(kind.model_fields["distribution"].annotation)[0]: kind for kind in get_args(AnyNoise)
}
SCALES = frozenset(scale for kind in DISTRIBUTIONS.values() for scale in kind.scales)
