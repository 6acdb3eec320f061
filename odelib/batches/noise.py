"""The noise of a batch's plain series: none (a sum of squares), or normal noise whose sigma is given or estimated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from odelib.arrays import Booleans, Integers, Reals
from odelib.likelihood.measurements import MAX_SOLVER_ERROR
from odelib.likelihood.priors import LOG_SQRT_2_PI
from odelib.optimisers.convergence import NEGLIGIBLE_GAIN
from odelib.problem.noise import AnyNoise, NormalNoise
from odelib.problem.solver import AUTO, AUTO_ATOL, AbsoluteTolerance


@dataclass(frozen=True)
class SharedNoise:
    """What the request says of the noise of the observables, whose number is O.

    is_likelihood: whether there is any; without, the loss is a sum of squares. is_described: which observables have
    noise, (O,): a series measures these and no others. given: the sigmas that are numbers, (O,), else NaN.
    is_estimated: which sigmas are estimated, (O,). Where none is given or estimated, the data give it.
    """

    is_likelihood: bool
    is_described: Booleans
    given: Reals
    is_estimated: Booleans

    @classmethod
    def of(cls, noise: Mapping[str, AnyNoise] | None, observables: Sequence[str]) -> Self | None:
        """From the noise of a request; None if it is not normal with a constant sigma, or has a prior."""
        settings = [(noise or {}).get(name) for name in observables]
        if not all(each is None or _is_plain(each) for each in settings):
            return None
        scales = [each.given_scales if each else {} for each in settings]
        return cls(
            noise is not None,
            np.array([each is not None for each in settings]),
            np.array([each.get("sigma", np.nan) for each in scales]),
            np.array([bool(each and each.estimated_scales) for each in settings]),
        )

    def sigmas(self, of_data: Reals, is_measured: Booleans) -> Reals | None:
        """What a series' residuals are divided by, (O, T), 1 where it is estimated or nobody gives it.

        of_data: the sigmas that the series gives, (O, T), else NaN. is_measured: (O, T). None if the request and the
        series do not fit together: a scale that both or none of them give, a measured observable without noise.
        """
        by_data = np.isfinite(of_data)
        if self.is_likelihood:
            is_known = np.isfinite(self.given) | self.is_estimated
            expected = self.is_described & ~is_known
            if (is_measured.any(axis=1) != self.is_described).any() or (by_data.any(axis=1) != expected).any():
                return None
        found: Reals = np.where(by_data, of_data, 1.0)
        given = np.isfinite(self.given)
        found[given] = self.given[given, None]
        return found


def _is_plain(settings: AnyNoise) -> bool:
    is_normal = isinstance(settings, NormalNoise) and settings.proportional is None
    return is_normal and settings.sigma_expression is None and settings.scale_prior is None


class BatchNoise:
    """The losses of B members' residuals, (b, O, T), which are divided by the sigmas that are given, 0 if not measured.

    A scale that is estimated is concentrated out, as `likelihood.noise.Normal` does it: σ² = Σr²/n, but not below the
    solver's error.

    values: the measurements, (B, O, T), NaN where there is none. sigmas: see `SharedNoise.sigmas`. has_sigma: which
    members have a sigma for all measurements, (B,). rtol, atol: the solver's tolerances.

    curvature: of the loss, by half the square of a residual: 1 of a likelihood, 2 of a sum of squares.
    counts: how many values each observable has, (B, O). observations: in all, (B,).
    """

    def __init__(
        self, values: Reals, sigmas: Reals, has_sigma: Booleans, shared: SharedNoise, rtol: float,
        atol: AbsoluteTolerance,
    ) -> None:  # fmt: skip
        self.shared = shared
        self.curvature = 1.0 if shared.is_likelihood else 2.0
        is_measured = np.isfinite(values)
        sizes = np.where(is_measured, np.abs(values), 0.0)
        largest = sizes.max(axis=2, keepdims=True)
        absolute = AUTO_ATOL * rtol * np.where(largest > 0, largest, 1.0) if atol == AUTO else atol
        errors = np.where(is_measured, (absolute + rtol * sizes) / sigmas, 0.0)
        self._squared_errors = np.square(errors).sum(axis=2)
        self._squared_data = np.square(sizes / sigmas).sum(axis=2)
        self.counts: Integers = is_measured.sum(axis=2)
        self.observations: Integers = self.counts.sum(axis=1)
        self._floors = np.sqrt(self._squared_errors / np.maximum(self.counts, 1))
        self._log_sigmas = np.where(is_measured, np.log(sigmas), 0.0).sum(axis=(1, 2))
        self.knows_scale: Booleans = np.full(len(values), not shared.is_estimated.any())
        if not shared.is_likelihood:
            self.knows_scale &= has_sigma

    def scales(self, members: Integers, residuals: Reals) -> Reals:
        """The estimated scales, (b, O), 1 where a scale is not estimated."""
        squares = np.square(residuals).sum(axis=2)
        found = np.maximum(np.sqrt(squares / np.maximum(self.counts[members], 1)), self._floors[members])
        return np.where(self.shared.is_estimated & (self.counts[members] > 0), found, 1.0)

    def weights(self, members: Integers, residuals: Reals) -> Reals:
        """By what the squares of each observable's residuals are multiplied, (b, O): 1/σ² of an estimated scale."""
        weights: Reals = self.scales(members, residuals) ** -2.0
        return weights

    def losses(self, members: Integers, residuals: Reals) -> Reals:
        """The negative log-likelihoods, or the sums of squares, (b,)."""
        squares = np.square(residuals).sum(axis=2)
        if not self.shared.is_likelihood:
            return np.asarray(squares.sum(axis=1))
        scales = self.scales(members, residuals)
        by_observable = 0.5 * squares / scales**2 + self.counts[members] * (np.log(scales) + LOG_SQRT_2_PI)
        return np.asarray(by_observable.sum(axis=1) + self._log_sigmas[members])

    def variance(self, members: Integers, losses: Reals, unknowns: int) -> Reals:
        """As `optimisers.convergence.noise_variance`, (b,)."""
        if self.shared.is_likelihood:
            return np.ones(len(members))
        return np.asarray(losses / np.maximum(self.observations[members] - unknowns, 1))

    def negligible(self, members: Integers, losses: Reals, weights: Reals, unknowns: int) -> Reals:
        """As `optimisers.convergence.gain_threshold`, (b,)."""
        error, data = self.solver_error(members, weights)
        least = NEGLIGIBLE_GAIN * self.variance(members, losses, unknowns)
        return np.maximum(least, np.minimum(error, MAX_SOLVER_ERROR * data))

    def solver_error(self, members: Integers, weights: Reals) -> tuple[Reals, Reals]:
        """What the solver's errors add to the loss of a perfect fit, and what the data themselves would, (b,) each."""
        half = 0.5 * self.curvature
        error, data = ((weights * each[members]).sum(axis=1) for each in (self._squared_errors, self._squared_data))
        return half * error, half * data
