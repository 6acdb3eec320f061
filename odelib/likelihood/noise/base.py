"""The noise of one observable: its likelihood, the scales that it estimates, and the expected information.

A scale that is estimated is not a coordinate of the fit. It is concentrated out: at every point of the fit it takes the
value that minimises the loss there, with its prior where it has one. By the envelope theorem the gradient of the loss
is then that at constant scales (Seber and Wild, Nonlinear Regression, 1989, section 2.2.3).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from odelib.arrays import Booleans, Reals
from odelib.likelihood.noise.scale import SCALES, ScaleScore, estimate_scales
from odelib.likelihood.priors import prior_density
from odelib.problem.noise import NoiseSettings

COLLAPSED = 10.0  # times the floor of a scale: errors of steps add up to several times the tolerance


@dataclass(frozen=True)
class MeasuredValues:
    """All measurements of one observable.

    values, sigma, resolution: (n,), in the observable's units. sigma: as the data give it, 1 where they do not, 0
    for purely proportional noise.
    resolution: the size below which the solver resolves nothing, which is its absolute tolerance. rtol: its relative
    tolerance.
    """

    values: Reals
    sigma: Reals
    resolution: Reals
    rtol: float

    @property
    def solver_error(self) -> Reals:
        """The error that the solver may make in each value, (n,)."""
        return self.resolution + self.rtol * np.abs(self.values)


@dataclass(frozen=True)
class InformationFactor:
    """A factor F of the expected information of one observable's measurements, which is the sum of FᵀF over them.

    by_model: (n,), row i of F by the model's value at measurement i. by_sigma: (n,), by the sigma of measurement i
    where that is an expression, else 0. by_log_scales: (n, scales), by the logarithms of the estimated scales.
    """

    by_model: Reals
    by_sigma: Reals
    by_log_scales: Reals


class NoiseDistribution(ABC):
    """The noise of one observable at its n measurements.

    Model values are (n,), in the observable's units; scales are the estimated ones, (estimated_scales,). Where sigma is
    an expression, only what `with_sigma` returns has a loss.

    settings_type: the noise of a request that this is the likelihood of. is_smooth: whether the loss has no kinks.
    model_rule: the values of the model that the noise can be around, in words.
    """

    settings_type: ClassVar[type[NoiseSettings]]
    is_smooth: ClassVar[bool] = True
    model_rule: ClassVar[str] = ""

    def __init__(self, settings: NoiseSettings | None, data: MeasuredValues) -> None:
        self.estimated_scales = settings.estimated_scales if settings else ()
        self.prior = prior_density(settings.scale_prior, 0.0) if settings and settings.scale_prior else None
        given = settings.given_scales.get("sigma") if settings else None
        self._has_sigma_expression = settings is not None and settings.sigma_expression is not None
        self._values = data.values
        self._sigma = data.sigma if given is None else np.full(len(data.values), given)

    def with_sigma(self, sigma: Reals) -> Self:
        """Return the noise with these sigmas, (n,), the values of an expression. Those that are not above 0 are NaN."""
        noise = copy(self)
        noise._sigma = np.where((sigma > 0) & (sigma < np.inf), sigma, np.nan)
        return noise

    def has_no_sigma(self) -> Booleans:
        """Return which measurements have no sigma, because its expression is not above 0 there, (n,)."""
        return np.isnan(self._sigma)

    @abstractmethod
    def loss(self, model: Reals, scales: Reals) -> tuple[float, Reals]:
        """Return the negative log-likelihood, and its derivatives by the model's values at constant scales, (n,).

        Not finite where the model is not finite or `is_impossible`.
        """

    def loss_by_sigma(self, model: Reals, scales: Reals) -> Reals:
        """Return the derivatives of the loss by the sigma of each measurement, (n,), where that is an expression."""
        return np.zeros(len(model))

    @abstractmethod
    def information(self, model: Reals, scales: Reals) -> list[InformationFactor]:
        """Return factors whose FᵀF add up to the expected information. The first is that about the location."""

    def concentrated_scales(self, model: Reals) -> Reals:
        """Return the estimated scales that minimise the loss, with their prior."""
        return np.zeros(0)

    def prior_loss(self, scales: Reals) -> float:
        """Return −log of the prior density of the estimated scale, 0 without a prior."""
        return self.prior.negative_log(float(scales[0])) if self.prior else 0.0

    def is_collapsed(self, scales: Reals) -> bool:
        """Whether the estimated scales are so small that the solver's error, not the noise, determines them."""
        return False

    def residuals(self, model: Reals) -> Reals:
        """Return data minus model, (n,), divided by the scale where it is given. Of the logarithms for log noise."""
        difference = self._difference(model)
        return difference if self.estimated_scales else difference / self._sigma

    def absolute_terms(self, model: Reals, scales: Reals) -> tuple[Reals, Reals]:
        """Return offsets and weights, (n,) each, if the loss is Σ weight·|offset + change of the model|; else empty."""
        return np.zeros(0), np.zeros(0)

    def is_impossible(self, model: Reals) -> Booleans:
        """Return which values of the model the noise cannot be around, (n,)."""
        return np.zeros(len(model), dtype=bool)

    def _difference(self, model: Reals) -> Reals:
        return self._values - model


class ScaledNoise(NoiseDistribution):
    """Noise with scales that may be estimated."""

    def is_collapsed(self, scales: Reals) -> bool:
        """See `NoiseDistribution.is_collapsed`. Beside a given scale an estimated one may well be 0.

        Nor does one count whose prior vanishes at 0 faster than the likelihood of an exact fit grows.
        """
        if not self.estimated_scales:
            return self._has_sigma_expression and bool((self._sigma <= COLLAPSED * self._error_of_sigma()).all())
        if self._has_given_scale() or self._is_held_by_prior(scales):
            return False
        return bool((scales <= COLLAPSED * self._scale_floor()).all())

    def _is_held_by_prior(self, scales: Reals) -> bool:
        """Whether the loss of an exact fit, n·log σ, rises with its prior as σ falls to 0."""
        if not self.prior:
            return False
        scale, smallest = float(scales[0]), SCALES[0]
        rise = self.prior.negative_log(smallest) - self.prior.negative_log(scale)
        return bool(rise > len(self._values) * np.log(scale / smallest))

    def concentrated_scales(self, model: Reals) -> Reals:
        """See `NoiseDistribution.concentrated_scales`."""
        if not self.estimated_scales:
            return np.zeros(0)
        with np.errstate(all="ignore"):  # models that blow up
            starts, floor = self._initial_scales(model), self._scale_floor()
            if self._initial_scales_are_optimal() and not self.prior:
                return np.maximum(starts[0], floor)
            return estimate_scales(lambda scales: self._scale_score(model, scales), starts, floor, self.prior)

    @abstractmethod
    def _initial_scales(self, model: Reals) -> list[Reals]:
        """The scales from which the search for the concentrated ones starts; the deepest minimum counts."""

    @abstractmethod
    def _initial_scales_are_optimal(self) -> bool:
        """Whether the initial scales minimise the loss where there is no prior, so that no search is needed."""

    def _has_given_scale(self) -> bool:
        """Whether a scale is given beside the estimated ones."""
        return False

    @abstractmethod
    def _scale_floor(self) -> Reals:
        """The lower bounds of the estimated scales: the spread that the solver's error alone makes."""

    @abstractmethod
    def _error_of_sigma(self) -> Reals:
        """The solver's error in the units of the sigma of each measurement, (n,)."""

    @abstractmethod
    def _scale_score(self, model: Reals, scales: Reals) -> ScaleScore:
        """The loss as a function of the logarithms of the scales."""


def harmonic_root_mean_square(errors: Reals) -> float:
    """Return (Σe⁻²/n)^(-½) of errors above 0: the precise ones count, however imprecise others are."""
    return 1 / root_mean_square(1 / errors)


def root_mean_square(values: Reals) -> float:
    """Return √(Σv²/n), 0 for no values."""
    return float(np.sqrt(np.mean(np.square(values)))) if len(values) else 0.0
