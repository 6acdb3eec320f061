"""Lognormal noise: the logarithm of a measurement is normal around the logarithm of the model's value."""

from __future__ import annotations

import numpy as np

from odelib.arrays import Reals
from odelib.likelihood.noise.location_scale import LocationScaleNoise
from odelib.likelihood.priors import LOG_SQRT_2_PI
from odelib.problem.noise import LognormalNoise


class Lognormal(LocationScaleNoise):
    """ℓ(z) = ½z² + ½·log 2π, of z = (log y − log m)/σ."""

    settings_type = LognormalNoise
    model_rule = "greater than 0"
    is_of_logarithm = True
    has_closed_form = True
    location_information = 1.0  # E[z²]
    scale_information = 2.0  # E[(z² − 1)²]

    def standard_loss(self, z: Reals) -> Reals:
        """See `LocationScaleNoise.standard_loss`."""
        return 0.5 * z**2 + LOG_SQRT_2_PI

    def standard_derivative(self, z: Reals) -> Reals:
        """See `LocationScaleNoise.standard_derivative`."""
        return z

    def initial_scale(self, differences: Reals) -> float:
        """Return √(Σd²/n), where dL/d(log σ) = Σ (1 − d²/σ²) is 0."""
        return float(np.sqrt(np.mean(differences**2)))
