"""Normal noise, whose standard deviation may grow with the model's value."""

from __future__ import annotations

import math

import numpy as np

from odelib.arrays import Reals
from odelib.likelihood.noise.base import (
    InformationFactor,
    MeasuredValues,
    ScaledNoise,
    harmonic_root_mean_square,
    root_mean_square,
)
from odelib.likelihood.noise.scale import SCALES, ScaleScore
from odelib.likelihood.priors import LOG_SQRT_2_PI
from odelib.problem.noise import NormalNoise


class Normal(ScaledNoise):
    """Normal with variance v = σ² + (p·m)² + e², p being `proportional` and m the model's value.

    L = Σ ½·d²/v + ½·log v + ½·log 2π with d = y − m. It is not a location–scale family because v depends on m.

    With p·m alone, measurements near 0 would count without limit, although there m is nothing but the solver's error e.
    Its variance is therefore added to that of the measurement, also if σ is an expression, which may become as small.
    Otherwise e is 0: then σ has a floor instead.
    """

    settings_type = NormalNoise

    def __init__(self, settings: NormalNoise, data: MeasuredValues) -> None:
        super().__init__(settings, data)
        self._proportional = settings.given_scales.get("proportional", 0.0)
        error = data.solver_error
        if settings.proportional is None:
            self._error_variance = error**2 if self._has_sigma_expression else np.zeros(len(error))
            floor, relative_floor = root_mean_square(error), 0.0
        else:
            self._error_variance = error**2
            floor = harmonic_root_mean_square(error)
            relative_floor = 1 / max(root_mean_square(data.values / error), 1.0)
        self._floor = np.array([floor if name == "sigma" else relative_floor for name in self.estimated_scales])

    def loss(self, model: Reals, scales: Reals) -> tuple[float, Reals]:
        """See `NoiseDistribution.loss`. dL/dm = p²·m·(1/v − d²/v²) − d/v, since dv/dm = 2·p²·m."""
        proportional, variance = self._variance(model, scales)
        difference = self._difference(model)
        weighted = difference / variance
        loss = 0.5 * float(weighted @ difference + np.log(variance).sum()) + len(model) * LOG_SQRT_2_PI
        return loss, proportional**2 * model * (1 / variance - weighted**2) - weighted

    def information(self, model: Reals, scales: Reals) -> list[InformationFactor]:
        """See `NoiseDistribution.information`.

        Of any normal distribution it is ∇m∇mᵀ/v + ∇v∇vᵀ/(2v²) (Kay, Fundamentals of Statistical Signal Processing,
        1993, section 3.9).
        """
        proportional, variance = self._variance(model, scales)
        nothing = np.zeros(len(model))
        about_mean = InformationFactor(variance**-0.5, nothing, np.zeros((len(model), len(self.estimated_scales))))
        about_variance = InformationFactor(
            math.sqrt(2) * proportional**2 * model / variance,
            math.sqrt(2) * self._sigma / variance if self._has_sigma_expression else nothing,
            self._variance_by_log_scales(model, scales) / (math.sqrt(2) * variance[:, None]),
        )
        return [about_mean, about_variance]

    def loss_by_sigma(self, model: Reals, scales: Reals) -> Reals:
        """See `NoiseDistribution.loss_by_sigma`. dL/dσ = σ·(1/v − d²/v²), since dv/dσ = 2σ."""
        _, variance = self._variance(model, scales)
        return np.asarray(self._sigma * (1 - self._difference(model) ** 2 / variance) / variance)

    def residuals(self, model: Reals) -> Reals:
        """See `NoiseDistribution.residuals`."""
        difference = self._difference(model)
        return difference if self.estimated_scales else difference / np.sqrt(self._variance(model, np.zeros(0))[1])

    def _variance(self, model: Reals, scales: Reals) -> tuple[float, Reals]:
        """Return p, and v of each measurement, (n,)."""
        estimated = dict(zip(self.estimated_scales, scales.tolist(), strict=True))
        sigma = estimated.get("sigma", self._sigma)
        proportional = estimated.get("proportional", self._proportional)
        return proportional, sigma**2 + (proportional * model) ** 2 + self._error_variance

    def _variance_by_log_scales(self, model: Reals, scales: Reals) -> Reals:
        """The derivatives of v by the logarithms of the estimated scales, (n, scales): 2σ² and 2(p·m)²."""
        columns = np.zeros((len(model), len(scales)))
        for place, (name, value) in enumerate(zip(self.estimated_scales, scales.tolist(), strict=True)):
            columns[:, place] = 2 * value**2 * (1.0 if name == "sigma" else model**2)
        return columns

    def _initial_scales(self, model: Reals) -> list[Reals]:
        """Where all noise is σ, σ² = Σd²/n; where all is proportional, p² = Σ(d/m)²/n, m being at least the error."""
        square = (self._values - model) ** 2
        all_sigma = float(np.sqrt(np.mean(square)))
        all_proportional = float(np.sqrt(np.mean(square / (model**2 + self._error_variance))))
        if self.estimated_scales == ("sigma",):
            return [np.array([all_sigma])]
        if self.estimated_scales == ("proportional",):
            return [
                np.array([all_proportional]),
                np.array([all_sigma / np.maximum(root_mean_square(model), SCALES[0])]),
            ]
        relative = all_sigma / np.maximum(root_mean_square(model), SCALES[0])
        return [np.array([all_sigma, relative]) / math.sqrt(2), np.array([self._floor[0], all_proportional])]

    def _initial_scales_are_optimal(self) -> bool:
        """With σ only, dL/d(log σ) = Σ (1 − d²/σ²) is 0 there."""
        return self.estimated_scales == ("sigma",) and self._proportional == 0.0

    def _has_given_scale(self) -> bool:
        if self.estimated_scales == ("sigma",):
            return self._proportional > 0
        return self.estimated_scales == ("proportional",) and bool((self._sigma > 0).any())

    def _scale_floor(self) -> Reals:
        return self._floor

    def _error_of_sigma(self) -> Reals:
        return np.sqrt(self._error_variance)

    def _scale_score(self, model: Reals, scales: Reals) -> ScaleScore:
        """With V = dv/d(log scales)/v: the gradient ½·Σ (1 − d²/v)·V, the information Σ VVᵀ/2."""
        _, variance = self._variance(model, scales)
        square = (self._values - model) ** 2 / variance
        by_log_scales = self._variance_by_log_scales(model, scales) / variance[:, None]
        return ScaleScore(
            0.5 * float((np.log(variance) + square).sum()),
            0.5 * (1 - square) @ by_log_scales,
            0.5 * by_log_scales.T @ by_log_scales,
        )
