"""The concentrated scales of noise: those that minimise the loss of a given model, with their prior.

The search is in the logarithms u of the scales, which keeps them positive, and in which the expected information I of a
location–scale family is constant. For finite data it always ends, within a fixed number of evaluations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from odelib.arrays import Booleans, Reals
from odelib.likelihood.priors import PriorDensity

MAX_BISECTIONS = 64  # of Brent's method
MAX_EVALUATIONS = 100  # of scoring
MAX_LOG_STEP = 2.0  # the longest step of scoring in the logarithm of a scale
LOG_TOLERANCE = 1e-9  # in the logarithm of a scale: the loss is then exact to the square of this
ROUNDING = 1e-15  # of the loss: a smaller decrease is rounding
SCALES = 1e-150, 1e150  # between which a scale is searched: its square and the inverse of that are finite numbers
STEEPEST = 1e300  # the derivative of a loss that overflows


@dataclass(frozen=True)
class ScaleScore:
    """The loss, its gradient by the logarithms of the scales, (k,), and the expected information, (k, k)."""

    loss: float
    gradient: Reals
    information: Reals


def estimate_scales(
    score: Callable[[Reals], ScaleScore], starts: Sequence[Reals], floor: Reals, prior: PriorDensity | None
) -> Reals:
    """Return the scales that minimise the loss, with their prior, between the floor and the end of the prior's support.

    score: of the scales without the prior. starts: (k,) each. floor: (k,). A prior is over a single scale. Where the
    loss is not finite because the model is not, a start is returned.

    There may be several minima: the search starts from all `starts`, and the deepest minimum that it finds is returned.
    """
    if not np.isfinite(starts).all():
        return starts[0]
    if len(floor) == 1:
        return _single(score, [float(start[0]) for start in starts], float(floor[0]), prior)
    lower = np.clip(floor, *SCALES)
    return _deepest(score, [_by_scoring(score, np.clip(start, lower, SCALES[1]), lower) for start in starts])


def _deepest(score: Callable[[Reals], ScaleScore], found: Sequence[Reals]) -> Reals:
    if len(found) == 1:
        return found[0]
    losses = np.array([score(scales).loss for scales in found])
    return found[int(np.argmin(np.where(np.isnan(losses), math.inf, losses)))]


def _single(
    score: Callable[[Reals], ScaleScore], starts: Sequence[float], floor: float, prior: PriorDensity | None
) -> Reals:
    """Return the one scale that minimises the loss, (1,).

    A prior far from the measurements is another minimum, and so may each of its kinks be.
    """
    lower, upper = prior.support if prior else (0.0, math.inf)
    lower, upper = np.clip([max(lower, floor), max(upper, floor)], *SCALES).tolist()
    kinks = [kink.location for kink in prior.kinks] if prior else []
    centres = [prior.centre] if prior and prior.centre is not None else []

    def with_prior(scales: Reals) -> ScaleScore:
        return _add_prior(score(scales), prior, float(scales[0])) if prior else score(scales)

    def scored(scale: float) -> ScaleScore:
        return with_prior(np.array([scale]))

    found = [_descend(scored, min(max(at, lower), upper), lower, upper) for at in (*starts, *kinks, *centres)]
    found += [kink for kink in kinks if lower <= kink <= upper]
    return _deepest(with_prior, [np.array([scale]) for scale in found])


def _add_prior(score: ScaleScore, prior: PriorDensity, scale: float) -> ScaleScore:
    return ScaleScore(
        score.loss + prior.negative_log(scale),
        score.gradient + scale * prior.derivative(scale),  # d/d(log x) = x·d/dx
        score.information + prior.log_information(scale),
    )


def _descend(scored: Callable[[float], ScaleScore], start: float, lower: float, upper: float) -> float:
    """Return the scale at the minimum of the loss that lies downhill from the start, or the bound that is met first.

    The derivative g by u = log(scale) is followed downhill, by steps that double, until it changes its sign; the first
    is Fisher's scoring step −g/I. Brent's method then finds where g changes from negative to positive, which is a
    minimum, at a kink too (Brent, Algorithms for Minimization without Derivatives, 1973, chapter 4). Unlike a test on
    the loss, the sign of g is not lost in rounding near the minimum.
    """
    lowest, highest = math.log(lower), math.log(upper)

    def scale_at(u: float) -> float:
        return min(max(math.exp(u), lower), upper)

    def score_at(u: float) -> tuple[float, float]:
        at = scored(scale_at(u))
        gradient = float(at.gradient[0])
        if math.isnan(gradient):  # the loss overflows: the scale is too small for the residuals
            gradient = -STEEPEST
        return min(max(gradient, -STEEPEST), STEEPEST), float(at.information[0, 0])

    u = min(max(math.log(start), lowest), highest)
    gradient, information = score_at(u)
    step = -gradient / information if 0 < information < math.inf else -math.copysign(1.0, gradient)
    step = math.copysign(min(abs(step), 1.0), step)
    while abs(step) > LOG_TOLERANCE:
        end = min(max(u + step, lowest), highest)
        if score_at(end)[0] * step >= 0:  # beyond the minimum
            tolerance = LOG_TOLERANCE / 10
            root = brentq(lambda at: score_at(at)[0], u, end, xtol=tolerance, maxiter=MAX_BISECTIONS, disp=False)
            return scale_at(root)
        if end in (lowest, highest):
            return scale_at(end)
        u, step = end, 2 * step
    return scale_at(u)


def _by_scoring(score: Callable[[Reals], ScaleScore], start: Reals, floor: Reals) -> Reals:
    """Return the scales, (k,), that minimise the loss above the floor.

    Fisher scoring: u ← u − I⁻¹·g, with g the gradient of the loss by u and I its information (Osborne, Fisher's
    method of scoring, International Statistical Review 60, 1992). The expected information is used rather than the
    loss's own second derivatives because the latter need not be positive far from the minimum. A step s from g to g'
    is halved until the loss does not increase and g'·s ≤ −½·g·s: the second condition limits how far a step may pass
    the minimum, so that steps do not oscillate about it where the loss curves more than expected.
    """
    scales, now = start, score(start)
    step = _scoring_step(now, scales <= floor)
    for _ in range(MAX_EVALUATIONS):
        predicted = -float(now.gradient @ step)
        # Written so that it ends where anything is not a number.
        if not (np.abs(step).max() > LOG_TOLERANCE and predicted > ROUNDING * abs(now.loss)):
            break
        trial_scales = np.clip(scales * np.exp(step), floor, SCALES[1])
        trial = score(trial_scales)
        if trial.loss <= now.loss and trial.gradient @ step <= 0.5 * predicted:
            scales, now = trial_scales, trial
            step = _scoring_step(now, scales <= floor)
        else:
            step = step / 2
    return scales


def _scoring_step(score: ScaleScore, is_at_floor: Booleans) -> Reals:
    """Return the step s, (k,), that minimises gᵀs + ½·sᵀIs, with no component longer than `MAX_LOG_STEP`.

    A scale that matters little compared with another has a long step. It is cut to the maximum and held there, and the
    step of the other is computed again: shortening the whole step would stop the other short of its minimum.
    """
    information, gradient = score.information, score.gradient
    step, is_free = np.zeros(len(gradient)), ~(is_at_floor & (gradient > 0))
    if not (np.isfinite(information).all() and np.isfinite(gradient).all()):
        return step
    while is_free.any():
        places = np.flatnonzero(is_free)
        matrix, rest = information[np.ix_(places, places)], gradient[places] + information[places] @ step
        # The diagonal scaled to 1, so that the cutoff of the singular values means the same for any pair of scales.
        size = np.sqrt(np.diag(matrix))
        size = np.where(size > 0, size, 1.0)
        found = -np.linalg.lstsq(matrix / np.outer(size, size), rest / size, rcond=1e-12)[0] / size
        longest = int(np.abs(found).argmax())
        if abs(found[longest]) <= MAX_LOG_STEP:
            step[places] = found
            break
        step[places[longest]] = math.copysign(MAX_LOG_STEP, found[longest])
        is_free[places[longest]] = False
    return step
