"""How the measurements of one observable scatter: likelihoods, their estimated scales, and expected information.

An estimated scale is no coordinate of the fit: at every point of it the scale is the likeliest one there (with its
prior, where it has one). The gradient of the loss is then that at a constant scale, since the loss does not change
with the scale to first order.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np
from scipy.special import gammaln

from odelib.arrays import Booleans, Reals
from odelib.likelihood.priors import LOG_SQRT_2_PI, PriorDensity, prior_density
from odelib.problem.noise import (
    ESTIMATE,
    AnyNoise,
    LaplaceNoise,
    LognormalNoise,
    NormalNoise,
    PoissonNoise,
    StudentTNoise,
)

Floor = float | Reals  # of the estimated scales
MAX_ITERATIONS = 200
MAX_LOG_STEP = 2.0  # step in the logarithm of a scale
SETTLED = 1e-9  # of the logarithm of a scale: the loss has then settled to its square


@dataclass(frozen=True)
class InformationRows:
    """Rows whose squares sum up to the expected information of one observable's measurements.

    Row i is along[i]·∇(model i), and, for the logarithms of the estimated scales, scales[i].
    """

    along: Reals
    scales: Reals


class Noise(ABC):
    """The noise of one observable at all its measurements.

    observed, sigma: (N,); sigma is not looked at where it is estimated. estimated: the names of the estimated scales.
    accuracy: (N,), the error that the solver may make of each value; no scale is estimated below it.
    """

    estimated: tuple[str, ...] = ()
    prior: PriorDensity | None = None
    is_smooth: ClassVar[bool] = True
    needs_sigma: ClassVar[bool] = True

    def __init__(self, observed: Reals, sigma: Reals, accuracy: Reals) -> None:
        self._observed = observed
        self._sigma = sigma
        self._floor: Floor = _root_mean_square(accuracy)

    @abstractmethod
    def loss(self, model: Reals, scales: Reals) -> tuple[float, Reals]:
        """The negative log-likelihood, and its derivatives by the model, (N,), at constant scales.

        model: (N,); scales: the estimated ones, in order. Not finite where the model is not, or is `impossible`.
        """

    @abstractmethod
    def rows(self, model: Reals, scales: Reals) -> list[InformationRows]:
        """The expected information of model and logarithms of the scales."""

    def concentrated_scales(self, model: Reals) -> Reals:
        """The estimated scales at which the loss, with their prior, is least."""
        if not self.estimated:
            return np.zeros(0)
        return self._search(model)

    def prior_loss(self, scales: Reals) -> float:
        """−log of the prior density of the estimated scale; 0 without one."""
        return self.prior.negative_log(float(scales[0])) if self.prior else 0.0

    def residuals(self, model: Reals, scales: Reals) -> Reals:
        """Data minus model (of the logarithms, for lognormal noise), divided by the scale where it is given."""
        difference = self._difference(model)
        return difference if self.estimated else difference / self._sigma

    def absolute_terms(self, model: Reals, scales: Reals) -> tuple[Reals, Reals]:
        """Where the loss is a sum of heights·|offsets + change of the model|: these two, (N,) each or empty."""
        return np.zeros(0), np.zeros(0)

    def impossible(self, model: Reals) -> Booleans:
        """Which values of the model this noise cannot be around, (N,)."""
        return np.zeros(len(model), dtype=bool)

    def _difference(self, model: Reals) -> Reals:
        return self._observed - model

    def _start(self, model: Reals) -> Reals:
        """From where the search for the likeliest scales starts."""
        raise NotImplementedError

    def _score(self, model: Reals, scales: Reals) -> tuple[float, Reals, Reals]:
        """Loss, its slope by the logarithms of the scales, and their expected information."""
        raise NotImplementedError

    def _search(self, model: Reals) -> Reals:
        """Within what the prior allows: on either side of its tip, where it has one, and from where it has its centre.

        A prior far from the measurements leaves two minima; the deeper one is taken.
        """
        low, high = self.prior.support if self.prior else (0.0, math.inf)
        least, most = np.maximum(low, self._floor), np.maximum(high, self._floor)
        starts = [self._start(model)]
        borders = [least, most]
        if self.prior:
            starts += [] if self.prior.centre is None else [np.array([self.prior.centre])]
            borders[1:1] = [np.clip(kink.location, least, most) for kink in self.prior.kinks]
        found = [self._descend(model, at, lower, upper) for lower, upper in pairwise(borders) for at in starts]
        return min(found, key=lambda end: end[0])[1]

    def _descend(self, model: Reals, start: Reals, least: Floor, most: Floor) -> tuple[float, Reals]:
        """Fisher scoring in the logarithms of the scales, each step halved where it goes too far: loss and scales.

        Too far is where the loss grows, or rises more than half as steeply as it fell before: where a prior holds the
        scale far below the residuals, the loss bends several times as much as is expected, and steps would swing about.
        """
        scales = np.clip(start, least, most)
        loss, gradient, matrix = self._with_prior(model, scales)
        for _ in range(MAX_ITERATIONS):
            held = ((scales <= least) & (gradient > 0)) | ((scales >= most) & (gradient < 0))
            step = _newton_step(matrix, gradient, held)
            if np.abs(step).max(initial=0.0) < SETTLED:
                break
            for _ in range(40):
                trial = np.clip(scales * np.exp(step), least, most)
                trial_loss, trial_gradient, trial_matrix = self._with_prior(model, trial)
                if trial_loss <= loss and trial_gradient @ step <= -0.5 * (gradient @ step):
                    break
                step = step / 2
            else:
                break  # no better to within rounding
            scales, loss, gradient, matrix = trial, trial_loss, trial_gradient, trial_matrix
        return loss, scales

    def _with_prior(self, model: Reals, scales: Reals) -> tuple[float, Reals, Reals]:
        loss, gradient, matrix = self._score(model, scales)
        if self.prior:
            (x,) = scales.tolist()
            loss += self.prior.negative_log(x)
            gradient = gradient + x * self.prior.derivative(x)
            matrix = matrix + self.prior.log_information(x)
        return loss, gradient, matrix


class SumOfSquares(Noise):
    """No noise is described: the loss is the sum of (residual/sigma)², sigma being 1 where the data give none."""

    needs_sigma = False

    def loss(self, model: Reals, scales: Reals) -> tuple[float, Reals]:
        """See `Noise.loss`."""
        residual = self._difference(model) / self._sigma
        return float(residual @ residual), -2 * residual / self._sigma

    def rows(self, model: Reals, scales: Reals) -> list[InformationRows]:
        """See `Noise.rows`; half of the loss's second derivative, doubled as everywhere, is 2/sigma²."""
        return [InformationRows(math.sqrt(2) / self._sigma, np.zeros((len(model), 0)))]


class Normal(Noise):
    """Variance sigma² + (proportional·model)²."""

    def __init__(self, settings: NormalNoise, observed: Reals, sigma: Reals, accuracy: Reals) -> None:
        super().__init__(observed, sigma, accuracy)
        self.prior = prior_density(settings.prior) if settings.prior else None
        scales = {"sigma": settings.sigma, "proportional": settings.proportional}
        self.estimated = tuple(name for name, value in scales.items() if value == ESTIMATE)
        self._proportional = settings.proportional if isinstance(settings.proportional, float) else 0.0
        self._plain = self.estimated == ("sigma",) and self._proportional == 0.0
        floor = _root_mean_square(accuracy)
        relative = floor / max(_root_mean_square(self._observed), floor)
        self._floor = np.array([floor if name == "sigma" else relative for name in self.estimated])

    def loss(self, model: Reals, scales: Reals) -> tuple[float, Reals]:
        """See `Noise.loss`."""
        proportional, variance = self._spread(model, scales)
        difference = self._difference(model)
        weighted = difference / variance
        loss = 0.5 * float(weighted @ difference + np.log(variance).sum()) + len(model) * LOG_SQRT_2_PI
        return loss, proportional**2 * model * (1 / variance - weighted**2) - weighted

    def rows(self, model: Reals, scales: Reals) -> list[InformationRows]:
        """See `Noise.rows`. (1/v)·∇m∇mᵀ + ∇v∇vᵀ/(2v²), as for any normal distribution."""
        proportional, variance = self._spread(model, scales)
        of_model = InformationRows(variance**-0.5, np.zeros((len(model), len(self.estimated))))
        of_variance = InformationRows(
            math.sqrt(2) * proportional**2 * model / variance,
            self._variance_by_scales(model, scales) / (math.sqrt(2) * variance[:, None]),
        )
        return [of_model, of_variance]

    def concentrated_scales(self, model: Reals) -> Reals:
        """See `Noise.concentrated_scales`; in closed form where sigma alone is estimated."""
        if self._plain and not self.prior:
            return np.maximum(self._start(model), self._floor)
        return super().concentrated_scales(model)

    def residuals(self, model: Reals, scales: Reals) -> Reals:
        """See `Noise.residuals`."""
        difference = self._difference(model)
        return difference if self.estimated else difference / np.sqrt(self._spread(model, scales)[1])

    def _spread(self, model: Reals, scales: Reals) -> tuple[float, Reals]:
        """The proportional part, and the variance of each measurement, (N,)."""
        named = dict(zip(self.estimated, scales.tolist(), strict=True))
        sigma, proportional = named.get("sigma", self._sigma), named.get("proportional", self._proportional)
        return proportional, sigma**2 + (proportional * model) ** 2

    def _variance_by_scales(self, model: Reals, scales: Reals) -> Reals:
        named = dict(zip(self.estimated, scales.tolist(), strict=True))
        columns = np.zeros((len(model), len(named)))
        for place, (name, value) in enumerate(named.items()):
            columns[:, place] = 2 * value**2 * (1.0 if name == "sigma" else model**2)
        return columns

    def _start(self, model: Reals) -> Reals:
        square = float(np.mean((self._observed - model) ** 2))
        if len(self.estimated) == 2:
            square /= 2
        relative = square / max(float(np.mean(model**2)), 1e-300)
        return np.sqrt([square if name == "sigma" else relative for name in self.estimated])

    def _score(self, model: Reals, scales: Reals) -> tuple[float, Reals, Reals]:
        _, variance = self._spread(model, scales)
        square = (self._observed - model) ** 2
        by_scales = self._variance_by_scales(model, scales)
        gradient = 0.5 * (1 / variance - square / variance**2) @ by_scales
        matrix = 0.5 * (by_scales / variance[:, None] ** 2).T @ by_scales
        return 0.5 * float((np.log(variance) + square / variance).sum()), gradient, matrix


class _OneScale(Noise):
    """Noise with one scale, the same for all measurements where it is estimated."""

    def __init__(
        self,
        settings: LognormalNoise | LaplaceNoise | StudentTNoise,
        observed: Reals,
        sigma: Reals,
        accuracy: Reals,
    ) -> None:
        super().__init__(observed, sigma, accuracy)
        self.prior = prior_density(settings.prior) if settings.prior else None
        self.estimated = ("sigma",) if settings.sigma == ESTIMATE else ()

    def _scale(self, scales: Reals) -> Reals:
        return np.full(len(self._observed), scales[0]) if self.estimated else self._sigma

    def _rows(self, along: Reals, of_scale: float) -> list[InformationRows]:
        """Location and scale do not share information in these families."""
        count, width = len(along), len(self.estimated)
        return [
            InformationRows(along, np.zeros((count, width))),
            InformationRows(np.zeros(count), np.full((count, width), of_scale)),
        ]

    def _score_of(self, loss: float, terms: Reals, of_scale: float) -> tuple[float, Reals, Reals]:
        return loss, np.array([terms.sum()]), np.array([[len(terms) * of_scale**2]])


class Lognormal(_OneScale):
    """The logarithm of a measurement is normal around that of the model."""

    def __init__(self, settings: LognormalNoise, observed: Reals, sigma: Reals, accuracy: Reals) -> None:
        super().__init__(settings, observed, sigma, accuracy)
        self._floor = _root_mean_square(accuracy / self._observed)
        self._logarithm = np.log(observed)

    def loss(self, model: Reals, scales: Reals) -> tuple[float, Reals]:
        """See `Noise.loss`."""
        sigma = self._scale(scales)
        residual = self._difference(model) / sigma
        loss = float((0.5 * residual**2 + np.log(sigma) + self._logarithm).sum())
        return loss + len(model) * LOG_SQRT_2_PI, -residual / (sigma * model)

    def rows(self, model: Reals, scales: Reals) -> list[InformationRows]:
        """See `Noise.rows`."""
        return self._rows(1 / (model * self._scale(scales)), math.sqrt(2))

    def concentrated_scales(self, model: Reals) -> Reals:
        """See `Noise.concentrated_scales`; in closed form without a prior."""
        if self.estimated and not self.prior:
            return np.maximum(self._start(model), self._floor)
        return super().concentrated_scales(model)

    def impossible(self, model: Reals) -> Booleans:
        """See `Noise.impossible`."""
        return model <= 0

    def _difference(self, model: Reals) -> Reals:
        with np.errstate(divide="ignore", invalid="ignore"):  # a model's value not above 0 makes the loss no number
            difference: Reals = self._logarithm - np.log(model)
        return difference

    def _start(self, model: Reals) -> Reals:
        return np.sqrt([np.mean(self._difference(model) ** 2)])

    def _score(self, model: Reals, scales: Reals) -> tuple[float, Reals, Reals]:
        square = (self._difference(model) / scales[0]) ** 2
        return self._score_of(float((0.5 * square + np.log(scales[0])).sum()), 1 - square, math.sqrt(2))


class Laplace(_OneScale):
    """Falls off exponentially; sigma is the mean absolute deviation b."""

    is_smooth = False

    def loss(self, model: Reals, scales: Reals) -> tuple[float, Reals]:
        """See `Noise.loss`."""
        sigma, difference = self._scale(scales), self._difference(model)
        return float((np.abs(difference) / sigma + np.log(2 * sigma)).sum()), -np.sign(difference) / sigma

    def rows(self, model: Reals, scales: Reals) -> list[InformationRows]:
        """See `Noise.rows`."""
        return self._rows(1 / self._scale(scales), 1.0)

    def concentrated_scales(self, model: Reals) -> Reals:
        """See `Noise.concentrated_scales`; in closed form without a prior."""
        if self.estimated and not self.prior:
            return np.maximum(self._start(model), self._floor)
        return super().concentrated_scales(model)

    def absolute_terms(self, model: Reals, scales: Reals) -> tuple[Reals, Reals]:
        """See `Noise.absolute_terms`."""
        return model - self._observed, 1 / self._scale(scales)

    def _start(self, model: Reals) -> Reals:
        return np.array([np.mean(np.abs(self._observed - model))])

    def _score(self, model: Reals, scales: Reals) -> tuple[float, Reals, Reals]:
        ratio = np.abs(self._observed - model) / scales[0]
        return self._score_of(float((ratio + np.log(scales[0])).sum()), 1 - ratio, 1.0)


class StudentT(_OneScale):
    """Student's t: an outlier counts for little."""

    def __init__(self, settings: StudentTNoise, observed: Reals, sigma: Reals, accuracy: Reals) -> None:
        super().__init__(settings, observed, sigma, accuracy)
        self._nu = settings.degrees_of_freedom
        self._of_scale = math.sqrt(2 * self._nu / (self._nu + 3))

    def loss(self, model: Reals, scales: Reals) -> tuple[float, Reals]:
        """See `Noise.loss`."""
        nu, sigma = self._nu, self._scale(scales)
        constant = math.lgamma(nu / 2) - math.lgamma((nu + 1) / 2) + 0.5 * math.log(nu * math.pi)
        residual = self._difference(model) / sigma
        square = residual**2
        loss = float(((nu + 1) / 2 * np.log1p(square / nu) + np.log(sigma)).sum()) + len(model) * constant
        return loss, -(nu + 1) * residual / (sigma * (nu + square))

    def rows(self, model: Reals, scales: Reals) -> list[InformationRows]:
        """See `Noise.rows` (Lange, Little and Taylor, JASA 84, 1989)."""
        return self._rows(math.sqrt((self._nu + 1) / (self._nu + 3)) / self._scale(scales), self._of_scale)

    def _start(self, model: Reals) -> Reals:
        # a normal distribution's, by its quartiles
        return np.array([1.4826 * np.median(np.abs(self._observed - model))])

    def _score(self, model: Reals, scales: Reals) -> tuple[float, Reals, Reals]:
        nu, square = self._nu, ((self._observed - model) / scales[0]) ** 2
        loss = float(((nu + 1) / 2 * np.log1p(square / nu) + np.log(scales[0])).sum())
        return self._score_of(loss, 1 - (nu + 1) * square / (nu + square), self._of_scale)


class Poisson(Noise):
    """Counts around the model's value; of 0 where none can be."""

    needs_sigma = False

    def __init__(self, settings: PoissonNoise, observed: Reals, sigma: Reals, accuracy: Reals) -> None:
        super().__init__(observed, sigma, accuracy)
        self._accuracy = accuracy
        self._counted = observed > 0

    def loss(self, model: Reals, scales: Reals) -> tuple[float, Reals]:
        """See `Noise.loss`."""
        rate = np.where(self.impossible(model), math.nan, model)
        counted = np.where(self._counted, rate, 1.0)  # no counts at a rate of 0 cost nothing, with a slope
        loss = rate - self._observed * np.log(counted) + gammaln(self._observed + 1)
        return float(loss.sum()), 1 - self._observed / counted

    def rows(self, model: Reals, scales: Reals) -> list[InformationRows]:
        """See `Noise.rows`."""
        return [InformationRows(np.maximum(model, self._accuracy) ** -0.5, np.zeros((len(model), 0)))]

    def impossible(self, model: Reals) -> Booleans:
        """See `Noise.impossible`; below 0 by the solver's error is 0."""
        return np.where(self._counted, model <= 0, model < -self._accuracy)


_CLASSES: dict[type, type[Noise]] = {
    NormalNoise: Normal,
    LognormalNoise: Lognormal,
    LaplaceNoise: Laplace,
    StudentTNoise: StudentT,
    PoissonNoise: Poisson,
}


def noise_of(settings: AnyNoise | None, observed: Reals, sigma: Reals, accuracy: Reals) -> Noise:
    """The noise that a request describes.

    sigma: the data's, 1 where they give none. accuracy: the solver's, of each value.
    """
    if settings is None:
        return SumOfSquares(observed, sigma, accuracy)
    given = getattr(settings, "sigma", None)
    if isinstance(given, float):
        sigma = np.full(len(observed), given)
    return _CLASSES[type(settings)](settings, observed, sigma, accuracy)  # type: ignore[call-arg, arg-type]


def _newton_step(matrix: Reals, gradient: Reals, held: Booleans) -> Reals:
    """The step to the least of gradient·step + ½·stepᵀ·matrix·step, none of it longer than `MAX_LOG_STEP`.

    Where one scale hardly counts beside another its step is long: the other's is then the best beside a shorter one.
    """
    step, free = np.zeros(len(gradient)), ~held
    while free.any():
        places = np.flatnonzero(free)
        square, rest = matrix[np.ix_(places, places)], gradient[places] + matrix[places] @ step
        size = np.sqrt(np.diag(square))
        size = np.where(size > 0, size, 1.0)
        found = -np.linalg.lstsq(square / np.outer(size, size), rest / size, rcond=1e-12)[0] / size
        longest = int(np.abs(found).argmax())
        if abs(found[longest]) <= MAX_LOG_STEP:
            step[places] = found
            break
        step[places[longest]] = math.copysign(MAX_LOG_STEP, found[longest])
        free[places[longest]] = False
    return step


def _root_mean_square(values: Reals) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if len(values) else 0.0
