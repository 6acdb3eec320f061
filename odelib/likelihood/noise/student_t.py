"""Student's t noise: its heavy tails let an outlier count for little."""

from __future__ import annotations

import math

import numpy as np

from odelib.arrays import Reals
from odelib.likelihood.noise.base import MeasuredValues
from odelib.likelihood.noise.location_scale import LocationScaleNoise
from odelib.problem.noise import StudentTNoise

NORMAL_MAD = 1.4826  # the standard deviation of a normal distribution over its median absolute deviation


class StudentT(LocationScaleNoise):
    """ℓ(z) = (ν + 1)/2·log(1 + z²/ν) + log Γ(ν/2) − log Γ((ν + 1)/2) + ½·log νπ.

    The informations are those of Lange, Little and Taylor, JASA 84, 1989, appendix B.
    """

    settings_type = StudentTNoise

    def __init__(self, settings: StudentTNoise, data: MeasuredValues) -> None:
        super().__init__(settings, data)
        nu = self._nu = settings.degrees_of_freedom
        self.location_information = (nu + 1) / (nu + 3)
        self.scale_information = 2 * nu / (nu + 3)
        self._constant = math.lgamma(nu / 2) - math.lgamma((nu + 1) / 2) + 0.5 * math.log(nu * math.pi)

    def standard_loss(self, z: Reals) -> Reals:
        """See `LocationScaleNoise.standard_loss`."""
        return (self._nu + 1) / 2 * np.log1p(z**2 / self._nu) + self._constant

    def standard_derivative(self, z: Reals) -> Reals:
        """See `LocationScaleNoise.standard_derivative`."""
        return (self._nu + 1) * z / (self._nu + z**2)

    def initial_scale(self, differences: Reals) -> float:
        """Return the standard deviation of the normal distribution with the same median absolute deviation."""
        return float(NORMAL_MAD * np.median(np.abs(differences)))
