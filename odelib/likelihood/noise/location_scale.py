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
from odelib.likelihood.noise.base import InformationFactor, MeasuredValues, ScaledNoise, root_mean_square
from odelib.likelihood.noise.scale import ScaleScore
from odelib.problem.noise import NoiseSettings


class LocationScaleNoise(ScaledNoise):
    """Noise of a location–scale family with a symmetric density, whose scale is `sigma`.

    is_of_logarithm: whether log y is in the family, around log m; the loss of y itself has a term log y more.
    location_information: E[ℓ'(z)²]. scale_information: E[(z·ℓ'(z) − 1)²].
    has_closed_form: whether `initial_scale` is the maximum-likelihood estimate.
    """

    is_of_logarithm: ClassVar[bool] = False
    has_closed_form: ClassVar[bool] = False
    location_information: float
    scale_information: float

    def __init__(self, settings: NoiseSettings, data: MeasuredValues) -> None:
        super().__init__(settings, data)
        error = data.solver_error
        if self.is_of_logarithm:
            self._values = np.log(data.values)
            error = error / data.values
        self._floor = np.array([root_mean_square(error)])

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
        if self.is_of_logarithm:  # p(y) = p(log y)/y, and d(log m)/dm = 1/m
            return loss + float(self._values.sum()), by_location / model
        return loss, by_location

    def information(self, model: Reals, scales: Reals) -> list[InformationFactor]:
        """See `NoiseDistribution.information`."""
        count, width = len(model), len(self.estimated_scales)
        by_model = math.sqrt(self.location_information) / self._scale(scales)
        if self.is_of_logarithm:
            by_model = by_model / model
        factors = [InformationFactor(by_model, np.zeros((count, width)))]
        if width:
            by_scale = np.full((count, width), math.sqrt(self.scale_information))
            factors.append(InformationFactor(np.zeros(count), by_scale))
        return factors

    def is_impossible(self, model: Reals) -> Booleans:
        """See `NoiseDistribution.is_impossible`."""
        return model <= 0 if self.is_of_logarithm else super().is_impossible(model)

    def _scale(self, scales: Reals) -> Reals:
        return np.full(len(self._values), scales[0]) if self.estimated_scales else self._sigma

    def _difference(self, model: Reals) -> Reals:
        if not self.is_of_logarithm:
            return self._values - model
        with np.errstate(divide="ignore", invalid="ignore"):  # not finite where the model is not positive
            return np.asarray(self._values - np.log(model))

    def _initial_scales(self, model: Reals) -> Reals:
        return np.array([self.initial_scale(self._difference(model))])

    def _initial_scales_are_optimal(self) -> bool:
        return self.has_closed_form

    def _scale_floor(self) -> Reals:
        return self._floor

    def _scale_score(self, model: Reals, scales: Reals) -> ScaleScore:
        z = self._difference(model) / scales[0]
        loss = float((self.standard_loss(z) + np.log(scales[0])).sum())
        gradient = np.array([(1 - z * self.standard_derivative(z)).sum()])
        return ScaleScore(loss, gradient, np.array([[len(z) * self.scale_information]]))
