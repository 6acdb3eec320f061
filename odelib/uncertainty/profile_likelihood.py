"""Profile likelihoods: how the least loss grows as one unknown is held away from its best value.

An interval ends where the profile meets the threshold of a likelihood-ratio test (Raue et al., Bioinformatics 25,
2009): of χ² with one degree of freedom if every noise scale is given, of F with 1 and n − p degrees of freedom if one
is estimated (Bates and Watts, Nonlinear Regression Analysis, 1988, section 6.1). Unlike those of the covariance, such
intervals follow a loss that is not a parabola, and do not depend on how an unknown is parametrised.

Each point of a profile is found by least squares over the other unknowns, from where the last two points lead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import stats

from odelib.arrays import Reals
from odelib.objective.objective import Evaluation
from odelib.optimisers.convergence import gain_threshold
from odelib.optimisers.evaluator import Evaluator, TrialFailed
from odelib.optimisers.least_squares import levenberg_marquardt
from odelib.result import Profile

CONFIDENCE = 0.95
MAX_POINTS = 60  # on a side
POINTS_TO_THRESHOLD = 4  # where the profile is a parabola
# At this distance from the best value (in magnitudes, or as the logarithm of a factor), the interval is open.
MAX_DISTANCE, MAX_LOG_DISTANCE = 1e4, 30.0
CROSSING_TOLERANCE = 1e-4  # relative, of the threshold or of the distance from the best value
SECANT_STEPS, MAX_CROSSING_STEPS = 3, 40  # steps before every other one bisects, and steps in all
MAX_OUTWARD_WALKS = 5  # on a side: another one where a crossing turned out to be none
OPTIMISER_STEPS = 50  # at one point
UNKNOWN_HALF_WIDTH = 0.1  # magnitudes: the first guess of an interval that the covariance does not give


class BetterOptimumFound(Exception):
    """A profile fell below the best loss, so the best point was no optimum. `evaluation` is the better point."""

    def __init__(self, evaluation: Evaluation) -> None:
        self.evaluation = evaluation
        super().__init__(f"a profile found the lower loss {evaluation.loss:g}")


@dataclass(frozen=True)
class _Side:
    """One side of a profile, from the best value outwards, in coordinates. end: where it meets the threshold."""

    values: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    end: float | None = None


class Profiler:
    """Computes profiles of free unknowns around the evaluator's best point.

    degrees_of_freedom: n − p if a noise scale is estimated, otherwise None.
    """

    def __init__(self, evaluator: Evaluator, degrees_of_freedom: float | None) -> None:
        self._evaluator = evaluator
        self._best = evaluator.best
        self._threshold = self._loss_rise(degrees_of_freedom)
        self._negligible = gain_threshold(evaluator.objective, evaluator.best)

    def _loss_rise(self, degrees_of_freedom: float | None) -> float:
        """By how much the loss rises from the best point to an end of an interval.

        With q the quantile of χ²: q/2 for a negative log-likelihood, q for a sum of squares in units of sigma. With Q
        that of F over n − p: RSS·Q for a sum of squares. A likelihood whose scale is concentrated out is n/2·log RSS
        up to a constant, so that RSS grows by the same factor 1 + Q if it rises by n/2·log(1 + Q).
        """
        measurements = self._evaluator.objective.measurements
        if degrees_of_freedom is None:
            quantile = float(stats.chi2.ppf(CONFIDENCE, 1))
            return quantile / 2 if measurements.is_likelihood else quantile
        ratio = float(stats.f.ppf(CONFIDENCE, 1, degrees_of_freedom)) / degrees_of_freedom
        if measurements.is_likelihood:
            return 0.5 * measurements.observations * math.log1p(ratio)
        return self._best.loss * ratio

    def profile(self, index: int, half_width: float | None) -> tuple[Profile, float | None, float | None]:
        """The profile of an unknown and the ends of its interval, in the caller's units; None for an open end.

        half_width: of the covariance's interval, in coordinates; None if there is none. Raises `BetterOptimumFound`
        and `StopRequested`.
        """
        best, least = float(self._best.coordinates[index]), self._best.loss
        step = half_width or UNKNOWN_HALF_WIDTH * self._magnitude(index)
        low, high = self._side(index, -step), self._side(index, step)
        values = [*reversed(low.values), best, *high.values]
        parabola = [least + self._threshold * ((v - best) / half_width) ** 2 for v in values] if half_width else None
        profile = Profile(
            values=[self._value(index, v) for v in values],
            losses=[*reversed(low.losses), least, *high.losses],
            limit=least + self._threshold,
            parabola=parabola,
        )
        lower, upper = (None if side.end is None else self._value(index, side.end) for side in (low, high))
        return profile, lower, upper

    def _side(self, index: int, step: float) -> _Side:
        """Walk outwards until the loss passes the threshold, then find where. step: the expected distance to there."""
        side = _Side()
        before = last = self._best
        for _ in range(MAX_OUTWARD_WALKS):
            for at in self._walk_outwards(index, step / POINTS_TO_THRESHOLD, before, last):
                before, last = last, at
                side.values.append(float(at.coordinates[index]))
                side.losses.append(at.loss)
                if self._is_outside(at):
                    break
            else:
                return side
            crossing = self._find_crossing(index, before, last)
            if isinstance(crossing, float):
                return replace(side, end=crossing)
            # The point outside was in a worse local minimum: the better one there is inside, and the walk goes on.
            last = crossing
            side.losses[-1] = crossing.loss
            step = POINTS_TO_THRESHOLD * (float(crossing.coordinates[index]) - float(before.coordinates[index]))
        return side

    def _is_outside(self, at: Evaluation) -> bool:
        return at.loss - self._best.loss >= self._threshold

    def _walk_outwards(self, index: int, step: float, before: Evaluation, last: Evaluation) -> Iterator[Evaluation]:
        """Points of the profile, each farther out than the one before.

        The root of the loss's rise is a straight line where the profile is a parabola. The step size aims at equal
        increments of it, `POINTS_TO_THRESHOLD` of them, so that few points describe flat and steep profiles alike.
        """
        unknowns, best = self._evaluator.unknowns, float(self._best.coordinates[index])
        magnitude = self._magnitude(index)
        max_distance = MAX_LOG_DISTANCE if unknowns.log[index] else MAX_DISTANCE * magnitude
        wanted = math.sqrt(self._threshold) / POINTS_TO_THRESHOLD
        for _ in range(MAX_POINTS):
            position = float(last.coordinates[index])
            max_step = 0.5 * max(magnitude, abs(position - best))  # a profile that starts flat may soon be steep
            step = float(np.clip(step, -max_step, max_step))
            value = float(np.clip(position + step, unknowns.lower[index], unknowns.upper[index]))
            if value == position or abs(value - best) > max_distance:
                return
            at = self._minimise_others(index, value, before, last)
            if at is None:
                step /= 2
                if abs(step) < 1e-6 * magnitude:
                    return
                continue
            yield at
            increment = self._root_of_rise(at) - self._root_of_rise(last)
            step *= float(np.clip(wanted / max(increment, 1e-300), 0.5, 3.0))
            before, last = last, at

    def _find_crossing(self, index: int, inside: Evaluation, outside: Evaluation) -> float | Evaluation:
        """Where the loss meets the threshold between two points, by secants of the root of its rise.

        If these have not found it soon, every other step bisects, because the loss may jump, as at a bound where the
        model changes. The loss may also only seem to cross, because the point outside is in a worse local minimum: if
        a better one at the same value is inside, that is returned.
        """
        best, wanted = float(self._best.coordinates[index]), math.sqrt(self._threshold)
        farthest = b = float(outside.coordinates[index])
        high = self._root_of_rise(outside)
        for tried in range(MAX_CROSSING_STEPS):
            a, low = float(inside.coordinates[index]), self._root_of_rise(inside)
            share = float(np.clip((wanted - low) / max(high - low, 1e-300), 0.0, 1.0))
            value = a + (b - a) * (0.5 if not share or (tried > SECANT_STEPS and tried % 2) else share)
            at = self._minimise_others(index, value, inside, outside)
            if (
                at is not None
                and abs(at.loss - self._best.loss - self._threshold) < CROSSING_TOLERANCE * self._threshold
            ):
                return value
            if at is None:  # a point that cannot be solved counts as outside
                b, high = value, math.inf
            elif self._is_outside(at):
                outside, b, high = at, value, self._root_of_rise(at)
            else:
                inside = at
            if abs(b - float(inside.coordinates[index])) < CROSSING_TOLERANCE * abs(value - best):
                break
        again = self._minimise_from(index, farthest, inside.coordinates)
        return again if again is not None and not self._is_outside(again) else value

    def _minimise_others(self, index: int, value: float, before: Evaluation, last: Evaluation) -> Evaluation | None:
        """The least loss over the other unknowns; None if it cannot be computed.

        Starts on the line through the last two points, which follows the profile. If that ends outside, it may have
        led into a worse local minimum, so the last point inside serves as another start.
        """
        at = self._minimise_from(index, value, _extrapolate(before, last, index, value))
        if at is not None and not self._is_outside(at):
            return at
        other = self._minimise_from(index, value, (before if self._is_outside(last) else last).coordinates)
        found = [each for each in (at, other) if each is not None]
        return min(found, key=lambda each: each.loss, default=None)

    def _minimise_from(self, index: int, value: float, start: Reals) -> Evaluation | None:
        """The local minimum that least squares finds from a start (count,), with one coordinate fixed at a value."""
        evaluator = self._evaluator.nested(self._evaluator.unknowns.with_fixed(index, value))
        try:
            at, gauss_newton = evaluator.linearise(evaluator.unknowns.clip(start))
        except TrialFailed:
            return None
        end = levenberg_marquardt(evaluator, at, gauss_newton, steps=OPTIMISER_STEPS, negligible=self._negligible)
        if end.evaluation.loss < self._best.loss - self._negligible:
            raise BetterOptimumFound(end.evaluation)
        return end.evaluation

    def _root_of_rise(self, at: Evaluation) -> float:
        return math.sqrt(max(at.loss - self._best.loss, 0.0))

    def _magnitude(self, index: int) -> float:
        return float(self._evaluator.unknowns.magnitudes(self._best.coordinates)[index])

    def _value(self, index: int, coordinate: float) -> float:
        """A coordinate in the caller's units."""
        unknowns = self._evaluator.unknowns
        coordinates = self._best.coordinates.copy()
        coordinates[index] = coordinate
        return unknowns.free_values(coordinates)[unknowns.names[index]]


def _extrapolate(before: Evaluation, last: Evaluation, index: int, value: float) -> Reals:
    """The point on the line through two points at which one coordinate has a value, (count,)."""
    difference = last.coordinates - before.coordinates
    if not difference[index]:
        return last.coordinates
    return np.asarray(last.coordinates + difference * ((value - last.coordinates[index]) / difference[index]))
