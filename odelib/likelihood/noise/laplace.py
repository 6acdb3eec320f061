"""Laplace noise, whose density decays exponentially on both sides. The scale is b, the mean absolute deviation."""

from __future__ import annotations

import math

import numpy as np

from odelib.arrays import Reals
from odelib.likelihood.noise.location_scale import LocationScaleNoise
from odelib.problem.noise import LaplaceNoise


class Laplace(LocationScaleNoise):
    """ℓ(z) = |z| + log 2."""

    settings_type = LaplaceNoise
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
        return model - self._values, 1 / self._scale(scales)
