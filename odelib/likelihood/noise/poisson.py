"""Poisson noise: counts with the model's value as their mean."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import gammaln

from odelib.arrays import Booleans, Reals
from odelib.likelihood.noise.base import InformationFactor, MeasuredValues, NoiseDistribution
from odelib.problem.noise import PoissonNoise


class Poisson(NoiseDistribution):
    """L = Σ m − k·log m + log k! for counts k around the model's values m. A count of 0 allows m = 0."""

    settings_type = PoissonNoise
    model_rule = "greater than 0"

    def __init__(self, settings: PoissonNoise, data: MeasuredValues) -> None:
        super().__init__(settings, data)
        self._solver_error = data.solver_error
        self._is_counted = data.values > 0

    def loss(self, model: Reals, scales: Reals) -> tuple[float, Reals]:
        """See `NoiseDistribution.loss`. dL/dm = 1 − k/m."""
        rate = np.where(self.is_impossible(model), math.nan, model)
        # Where k = 0 the term k·log m is 0 even at m = 0: m is replaced by 1 there, so that no 0·log 0 arises.
        rate_if_counted = np.where(self._is_counted, rate, 1.0)
        loss = rate - self._values * np.log(rate_if_counted) + gammaln(self._values + 1)
        return float(loss.sum()), 1 - self._values / rate_if_counted

    def information(self, model: Reals, scales: Reals) -> list[InformationFactor]:
        """See `NoiseDistribution.information`. It is 1/m, and that at the solver's error where m is smaller."""
        by_model = np.maximum(model, self._solver_error) ** -0.5
        return [InformationFactor(by_model, np.zeros(len(model)), np.zeros((len(model), 0)))]

    def is_impossible(self, model: Reals) -> Booleans:
        """See `NoiseDistribution.is_impossible`. Without counts a value below 0 by the solver's error is 0."""
        return np.where(self._is_counted, model <= 0, model < -self._solver_error)
