"""Densities of priors: negative logarithm, its slope, and the curvature that counts as information."""

from __future__ import annotations

import math

import numpy as np

from odelib.arrays import Reals
from odelib.problem.priors import (
    AnyPrior,
    HalfNormalPrior,
    LaplacePrior,
    LognormalPrior,
    NormalPrior,
    UniformPrior,
    support,
)

NORMAL_95, LAPLACE_95 = 1.959964, math.log(20)
LOG_ROOT_2_PI = 0.5 * math.log(2 * math.pi)


class Priors:
    """The priors of several unknowns, in the unknowns' own units."""

    def __init__(self, priors: list[AnyPrior]) -> None:
        self._priors = priors

    def loss(self, values: Reals) -> float:
        """−log of the joint density; infinite where it is 0."""
        return math.fsum(negative_log(prior, x) for prior, x in zip(self._priors, values.tolist(), strict=True))

    def is_far_out(self, values: Reals) -> bool:
        """Whether any value is one that its prior hardly expected."""
        return any(is_far_out(prior, x) for prior, x in zip(self._priors, values.tolist(), strict=True))

    def gradient(self, values: Reals) -> Reals:
        """The loss's derivative by each value."""
        pairs = zip(self._priors, values.tolist(), strict=True)
        return np.array([slope(prior, x) for prior, x in pairs], dtype=np.float64)

    def information(self, values: Reals) -> Reals:
        """What each prior adds to its unknown's information: its curvature, as of a measurement of the unknown."""
        pairs = zip(self._priors, values.tolist(), strict=True)
        return np.array([information(prior, x) for prior, x in pairs], dtype=np.float64)


def is_far_out(prior: AnyPrior, x: float) -> bool:
    """Whether x lies outside the central 95 % of a prior, for a half-normal one outside its lower 95 %."""
    match prior:
        case NormalPrior():
            return abs(x - prior.mean) > NORMAL_95 * prior.standard_deviation
        case LognormalPrior():
            return x <= 0 or abs(math.log(x / prior.median)) > NORMAL_95 * prior.sigma
        case LaplacePrior():
            return abs(x - prior.median) > LAPLACE_95 * prior.scale
        case UniformPrior():
            return False
        case HalfNormalPrior():
            return x > NORMAL_95 * prior.scale


def negative_log(prior: AnyPrior, x: float) -> float:
    """−log of the density at x; infinite where it is 0."""
    low, high = support(prior)
    if not low <= x <= high or (isinstance(prior, LognormalPrior) and x <= 0):
        return math.inf
    match prior:
        case NormalPrior():
            return 0.5 * _square(x - prior.mean, prior.standard_deviation) + _log_size(prior.standard_deviation)
        case LognormalPrior():
            return 0.5 * _square(math.log(x / prior.median), prior.sigma) + _log_size(prior.sigma) + math.log(x)
        case LaplacePrior():
            return abs(x - prior.median) / prior.scale + math.log(2 * prior.scale)
        case UniformPrior():
            return math.log(prior.upper - prior.lower)
        case HalfNormalPrior():
            return 0.5 * _square(x, prior.scale) + _log_size(prior.scale) - math.log(2)


def slope(prior: AnyPrior, x: float) -> float:
    """The derivative of `negative_log`; at the tip of a Laplace prior 0, in between its two."""
    match prior:
        case NormalPrior():
            return (x - prior.mean) / prior.standard_deviation**2
        case LognormalPrior():
            return (math.log(x / prior.median) / prior.sigma**2 + 1) / x if x > 0 else math.nan
        case LaplacePrior():
            return float(np.sign(x - prior.median)) / prior.scale
        case UniformPrior():
            return 0.0
        case HalfNormalPrior():
            return x / prior.scale**2


def information(prior: AnyPrior, x: float) -> float:
    """The curvature of `negative_log` as of a measurement of the unknown; for Laplace's the expected one, 1/scale²."""
    match prior:
        case NormalPrior():
            return prior.standard_deviation**-2
        case LognormalPrior():
            return (prior.sigma * x) ** -2 if x != 0 else 0.0
        case LaplacePrior() | HalfNormalPrior():
            return prior.scale**-2
        case UniformPrior():
            return 0.0


def _square(difference: float, scale: float) -> float:
    return (difference / scale) ** 2


def _log_size(scale: float) -> float:
    return math.log(scale) + LOG_ROOT_2_PI
