"""The concentrated scales of noise: those that minimise the loss of a given model, with their prior.

Fisher scoring in the logarithms u of the scales: u ← u − I⁻¹·g, with g the gradient of the loss and I its expected
information (Osborne, Fisher's method of scoring, International Statistical Review 60, 1992). The logarithm keeps the
scales positive, and in it I does not depend on the scales of a location–scale family. The expected information is used
rather than the loss's own second derivatives because the latter need not be positive far from the minimum.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from odelib.arrays import Booleans, Reals
from odelib.likelihood.priors import PriorDensity

MAX_ITERATIONS = 200
MAX_HALVINGS = 40  # of one step
MAX_LOG_STEP = 2.0  # the longest step in the logarithm of a scale
LOG_TOLERANCE = 1e-9  # in the logarithm of a scale: the loss is then exact to the square of this


@dataclass(frozen=True)
class ScaleScore:
    """The loss, its gradient by the logarithms of the scales, (k,), and the expected information, (k, k)."""

    loss: float
    gradient: Reals
    information: Reals


def estimate_scales(
    score: Callable[[Reals], ScaleScore], start: Reals, floor: Reals, prior: PriorDensity | None
) -> Reals:
    """Return the scales that minimise the loss, with their prior, between the floor and the end of the prior's support.

    score: of the scales without the prior. start, floor: (k,). A prior is over a single scale.

    A prior far from the measurements makes two minima, one near each: the search starts from both, and the deeper
    minimum is returned. Where the prior has kinks, the search runs on either side of them.
    """
    lower, upper = prior.support if prior else (0.0, math.inf)
    borders = [np.maximum(lower, floor), np.maximum(upper, floor)]
    starts = [start]
    if prior:
        starts += [] if prior.centre is None else [np.array([prior.centre])]
        borders[1:1] = [np.clip(kink.location, *borders) for kink in prior.kinks]

    def with_prior(scales: Reals) -> ScaleScore:
        return _add_prior(score(scales), prior, float(scales[0])) if prior else score(scales)

    found = [_descend(with_prior, at, low, high) for low, high in pairwise(borders) for at in starts]
    return min(found, key=lambda end: end[0])[1]


def _add_prior(score: ScaleScore, prior: PriorDensity, scale: float) -> ScaleScore:
    return ScaleScore(
        score.loss + prior.negative_log(scale),
        score.gradient + scale * prior.derivative(scale),  # d/d(log x) = x·d/dx
        score.information + prior.log_information(scale),
    )


def _descend(score: Callable[[Reals], ScaleScore], start: Reals, lower: Reals, upper: Reals) -> tuple[float, Reals]:
    """Return the loss and the scales at the minimum between the bounds, by Fisher scoring.

    A step s from g to g' is halved until the loss does not increase and g'·s ≤ −½·g·s. The second condition limits how
    far a step may pass the minimum: if a prior holds the scale far below the residuals, the loss curves several times
    as much as expected, and steps that only decrease the loss would oscillate about the minimum for long.
    """
    scales = np.clip(start, lower, upper)
    now = score(scales)
    for _ in range(MAX_ITERATIONS):
        is_held = ((scales <= lower) & (now.gradient > 0)) | ((scales >= upper) & (now.gradient < 0))
        step = _scoring_step(now.information, now.gradient, is_held)
        if np.abs(step).max(initial=0.0) < LOG_TOLERANCE:
            break
        for _ in range(MAX_HALVINGS):
            trial_scales = np.clip(scales * np.exp(step), lower, upper)
            trial = score(trial_scales)
            if trial.loss <= now.loss and trial.gradient @ step <= -0.5 * (now.gradient @ step):
                break
            step = step / 2
        else:
            break  # no better to within rounding
        scales, now = trial_scales, trial
    return now.loss, scales


def _scoring_step(information: Reals, gradient: Reals, is_held: Booleans) -> Reals:
    """Return the step s, (k,), that minimises gᵀs + ½·sᵀIs, with no component longer than `MAX_LOG_STEP`.

    A scale that matters little compared with another has a long step. It is cut to the maximum and held there, and the
    step of the other is computed again: shortening the whole step would stop the other short of its minimum.
    """
    step, is_free = np.zeros(len(gradient)), ~is_held
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
