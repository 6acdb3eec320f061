"""Location–scale families: the noise z = (y − m)/σ of a measurement y around the model's value m has one density p(z).

Of a family only p is needed: with ℓ(z) = −log p(z) the loss of n measurements and its derivatives are

    L = Σ ℓ(zᵢ) + log σᵢ    dL/dmᵢ = −ℓ'(zᵢ)/σᵢ    dL/d(log σ) = Σ (1 − zᵢ·ℓ'(zᵢ))

and if p is symmetric, location and scale share no expected information. It is E[ℓ'(z)²]/σᵢ² about mᵢ, and
E[(z·ℓ'(z) − 1)²] about log σ for each measurement.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

import numpy as np

from odelib.arrays import Booleans, Reals
from odelib.likelihood.noise.base import (
    InformationFactor,
    MeasuredValues,
    ScaledNoise,
    harmonic_root_mean_square,
    root_mean_square,
)
from odelib.likelihood.noise.scale import ScaleScore
from odelib.problem.noise import NoiseSettings


class LocationScaleNoise(ScaledNoise):
    """Noise of a location–scale family with a symmetric density, whose scale is `sigma`.

    is_of_logarithm: whether g(y) is in the family, around g(m); the loss of y itself has a term −log g'(y) more. g is
    the logarithm, but for values that the solver does not resolve: see `_Logarithm`.
    location_information: E[ℓ'(z)²]. scale_information: E[(z·ℓ'(z) − 1)²].
    has_closed_form: whether `initial_scale` is the maximum-likelihood estimate.
    """

    is_of_logarithm: ClassVar[bool] = False
    has_closed_form: ClassVar[bool] = False
    location_information: float
    scale_information: float

    def __init__(self, settings: NoiseSettings, data: MeasuredValues) -> None:
        super().__init__(settings, data)
        if self.is_of_logarithm:
            self._logarithm = _Logarithm(data.resolution)
            self._is_resolved = data.values > 10 * data.resolution
            self._values = self._logarithm(data.values)
            by_value = self._logarithm.derivative(data.values)
            self._log_jacobian = -float(np.log(by_value).sum())
            self._error = data.solver_error * by_value
            self._floor = np.array([harmonic_root_mean_square(self._error)])
        else:
            self._error = data.solver_error if self._has_sigma_expression else np.zeros(len(data.values))
            self._floor = np.array([root_mean_square(data.solver_error)])

    @abstractmethod
    def standard_loss(self, z: Reals) -> Reals:
        """Return ℓ(z), (n,)."""

    @abstractmethod
    def standard_derivative(self, z: Reals) -> Reals:
        """Return ℓ'(z), (n,); at a kink the mean of the two one-sided derivatives."""

    @abstractmethod
    def initial_scale(self, differences: Reals) -> float:
        """Return an estimate of σ from the differences y − m, (n,)."""

    def loss(self, model: Reals, scales: Reals) -> tuple[float, Reals]:
        """See `NoiseDistribution.loss`."""
        sigma = self._scale(scales)
        z = self._difference(model) / sigma
        loss = float((self.standard_loss(z) + np.log(sigma)).sum())
        by_location = -self.standard_derivative(z) / sigma
        if self.is_of_logarithm:
            return loss + self._log_jacobian, by_location * self._logarithm.derivative(model)
        return loss, by_location

    def information(self, model: Reals, scales: Reals) -> list[InformationFactor]:
        """See `NoiseDistribution.information`."""
        count, width = len(model), len(self.estimated_scales)
        by_model = math.sqrt(self.location_information) / self._scale(scales)
        if self.is_of_logarithm:
            by_model = by_model * self._logarithm.derivative(model)
        nothing = np.zeros(count)
        factors = [InformationFactor(by_model, nothing, np.zeros((count, width)))]
        about_log_sigma = math.sqrt(self.scale_information) * self._share(scales)
        if width:
            factors.append(InformationFactor(nothing, nothing, about_log_sigma[:, None]))
        elif self._has_sigma_expression:
            factors.append(InformationFactor(nothing, about_log_sigma / self._sigma, np.zeros((count, 0))))
        return factors

    def loss_by_sigma(self, model: Reals, scales: Reals) -> Reals:
        """See `NoiseDistribution.loss_by_sigma`. dL/dσ = (1 − z·ℓ'(z))·d(log s)/dσ, s being the scale."""
        z = self._difference(model) / self._scale(scales)
        return np.asarray((1 - z * self.standard_derivative(z)) * self._share(scales) / self._sigma)

    def is_impossible(self, model: Reals) -> Booleans:
        """See `NoiseDistribution.is_impossible`."""
        return (model <= 0) & self._is_resolved if self.is_of_logarithm else super().is_impossible(model)

    def residuals(self, model: Reals) -> Reals:
        """See `NoiseDistribution.residuals`."""
        difference = self._difference(model)
        return difference if self.estimated_scales else difference / self._scale(np.zeros(0))

    def _scale(self, scales: Reals) -> Reals:
        """The scale of each measurement, (n,): √(σ² + e²).

        e is the solver's error, in the logarithm for noise of that. It is 0 for a sigma of the value itself that is
        given, or estimated and then not less than a floor.
        """
        return np.asarray(np.hypot(self._only_sigma(scales), self._error))

    def _share(self, scales: Reals) -> Reals:
        """The derivative of the logarithm of each measurement's scale by log σ, (n,)."""
        return (self._only_sigma(scales) / self._scale(scales)) ** 2

    def _only_sigma(self, scales: Reals) -> Reals:
        return np.full(len(self._values), scales[0]) if self.estimated_scales else self._sigma

    def _difference(self, model: Reals) -> Reals:
        if not self.is_of_logarithm:
            return self._values - model
        return np.asarray(self._values - np.where(self.is_impossible(model), math.nan, self._logarithm(model)))

    def _initial_scales(self, model: Reals) -> list[Reals]:
        return [np.array([self.initial_scale(self._difference(model))])]

    def _initial_scales_are_optimal(self) -> bool:
        return self.has_closed_form and not self.is_of_logarithm  # the solver's error is a part of each scale there

    def _scale_floor(self) -> Reals:
        return self._floor

    def _error_of_sigma(self) -> Reals:
        return self._error

    def _scale_score(self, model: Reals, scales: Reals) -> ScaleScore:
        sigma, share = self._scale(scales), self._share(scales)
        z = self._difference(model) / sigma
        loss = float((self.standard_loss(z) + np.log(sigma)).sum())
        gradient = np.array([(1 - z * self.standard_derivative(z)) @ share])
        return ScaleScore(loss, gradient, np.array([[self.scale_information * float(share @ share)]]))


class _Logarithm:
    """The logarithm g of values, and what continues it to those that the solver does not resolve.

    Of these even the sign is unknown, and the logarithm of the solver's error has no bound. With a the resolution,

        g(x) = log((x + √(x² + 4a²))/2)    g'(x) = 1/√(x² + 4a²)

    is log x for x ≫ a, and linear near 0, where noise of g(x) is noise of x itself (the generalised logarithm of Durbin
    et al., A variance-stabilizing transformation for gene-expression microarray data, Bioinformatics 18, 2002).
    """

    def __init__(self, resolution: Reals) -> None:
        self._resolution = resolution

    def __call__(self, x: Reals) -> Reals:
        of_size = np.log(0.5 * (np.abs(x) + np.hypot(x, 2 * self._resolution)))
        return np.asarray(np.where(x < 0, 2 * np.log(self._resolution) - of_size, of_size))

    def derivative(self, x: Reals) -> Reals:
        """g'(x)."""
        return np.asarray(1 / np.hypot(x, 2 * self._resolution))
