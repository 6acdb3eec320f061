"""Laplace noise, whose density decays exponentially on both sides, of values or of their logarithms.

The scale is b, the mean absolute deviation.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from odelib.arrays import Reals
from odelib.likelihood.noise.location_scale import LocationScaleNoise
from odelib.problem.noise import LaplaceNoise, LogLaplaceNoise, NoiseSettings


class Laplace(LocationScaleNoise):
    """ℓ(z) = |z| + log 2."""

    settings_type: ClassVar[type[NoiseSettings]] = LaplaceNoise
    is_smooth = False
    has_closed_form = True
    location_information = 1.0  # E[sign(z)²]
    scale_information = 1.0  # E[(|z| − 1)²]

    def standard_loss(self, z: Reals) -> Reals:
        """See `LocationScaleNoise.standard_loss`."""
        return np.abs(z) + math.log(2)

    def standard_derivative(self, z: Reals) -> Reals:
        """See `LocationScaleNoise.standard_derivative`."""
        return np.sign(z)

    def initial_scale(self, differences: Reals) -> float:
        """Return Σ|d|/n, where dL/d(log σ) = Σ (1 − |d|/σ) is 0."""
        return float(np.mean(np.abs(differences)))

    def absolute_terms(self, model: Reals, scales: Reals) -> tuple[Reals, Reals]:
        """See `NoiseDistribution.absolute_terms`."""
        return -self._difference(model), 1 / self._scale(scales)


class LogLaplace(Laplace):
    """ℓ(z) = |z| + log 2, of z = (log y − log m)/σ."""

    settings_type = LogLaplaceNoise
    model_rule = "greater than 0"
    is_of_logarithm = True

    def absolute_terms(self, model: Reals, scales: Reals) -> tuple[Reals, Reals]:
        """See `NoiseDistribution.absolute_terms`. |d + g'(m)·δm|/σ = g'(m)/σ·|d/g'(m) + δm|."""
        slope = self._logarithm.derivative(model)
        return -self._difference(model) / slope, slope / self._scale(scales)
