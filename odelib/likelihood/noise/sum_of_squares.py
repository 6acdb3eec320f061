"""No noise is described: the loss is the sum of squares."""

from __future__ import annotations

import math

import numpy as np

from odelib.arrays import Reals
from odelib.likelihood.noise.base import InformationFactor, MeasuredValues, NoiseDistribution


class SumOfSquares(NoiseDistribution):
    """L = Σ (d/σ)² with d = y − m, σ being 1 where the data give none. This is not a likelihood."""

    def __init__(self, data: MeasuredValues) -> None:
        super().__init__(None, data)

    def loss(self, model: Reals, scales: Reals) -> tuple[float, Reals]:
        """See `NoiseDistribution.loss`."""
        residual = self._difference(model) / self._sigma
        return float(residual @ residual), -2 * residual / self._sigma

    def information(self, model: Reals, scales: Reals) -> list[InformationFactor]:
        """See `NoiseDistribution.information`. The second derivative of the loss is 2/σ²."""
        by_model = math.sqrt(2) / self._sigma
        return [InformationFactor(by_model, np.zeros(len(model)), np.zeros((len(model), 0)))]
