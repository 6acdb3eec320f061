"""Profile likelihoods: how the least loss grows as one unknown is held away from its best value.

An interval ends where the profile meets the threshold of a likelihood-ratio test (Raue et al., Bioinformatics 25,
2009): of χ² with one degree of freedom if every noise scale is given, of F with 1 and n − p degrees of freedom if one
is estimated (Bates and Watts, Nonlinear Regression Analysis, 1988, section 6.1). Unlike those of the covariance, such
intervals follow a loss that is not a parabola, and do not depend on how an unknown is parametrised.

Each point of a profile is found by least squares over the other unknowns, from where the tangent of the profile at the
point before leads. Both sides of several profiles are walked along at the same time, so that their points are solved as
one batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from scipy import stats

from odelib.arrays import Reals
from odelib.likelihood.fisher_information import fisher_information
from odelib.objective.objective import Evaluation
from odelib.optimisers.convergence import gain_threshold, noise_deviation
from odelib.optimisers.evaluator import Evaluator
from odelib.optimisers.least_squares import Accuracy, Linearisation, minimise
from odelib.result import Profile

T = TypeVar("T")
Walk = Generator[Reals, Linearisation | None, T]  # yields points to linearise, is sent what comes of each

CONFIDENCE = 0.95
MAX_POINTS = 60  # on a side
POINTS_TO_THRESHOLD = 4  # where the profile is a parabola
# At this distance from the best value (in magnitudes, or as the logarithm of a factor), the interval is open.
MAX_DISTANCE, MAX_LOG_DISTANCE = 1e4, 30.0
CROSSING_TOLERANCE = 5e-4  # relative, of the threshold or of the distance from the best value
SLOW = 1e-4  # of the threshold: a minimisation that gains less in some steps creeps along a valley
MAX_SIDES = 8  # of profiles, at once
SECANT_STEPS, MAX_CROSSING_STEPS = 3, 40  # steps before every other one bisects, and steps in all
MAX_OUTWARD_WALKS = 5  # on a side: another one where a crossing turned out to be none
OPTIMISER_STEPS = 50  # at one point
SMALLEST_STEP = 1e-6  # of the magnitude
MAX_SHIFT = 2.0  # magnitudes of the others, by which a tangent is believed
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


@dataclass(frozen=True)
class ProfiledUnknown:
    """The profile of an unknown, and the ends of its interval in the caller's units; None for an open end."""

    profile: Profile
    lower: float | None
    upper: float | None

    def to_json(self) -> dict[str, Any]:
        """The same as JSON."""
        return {"profile": self.profile.model_dump(), "lower": self.lower, "upper": self.upper}

    @classmethod
    def of_json(cls, saved: Mapping[str, Any]) -> ProfiledUnknown:
        """Make it from what `to_json` returned."""
        return cls(Profile.model_validate(saved["profile"]), saved["lower"], saved["upper"])


@dataclass
class ProfileRecord:
    """The profiles that are done, by unknown, those of earlier attempts included.

    publish: called with them before the first is computed, and after each.
    """

    done: dict[str, ProfiledUnknown] = field(default_factory=dict)
    publish: Callable[[Mapping[str, ProfiledUnknown]], None] = lambda _: None

    def add(self, name: str, profiled: ProfiledUnknown) -> None:
        """Add one that is done."""
        self.done[name] = profiled
        self.publish(self.done)


class Profiler:
    """Computes profiles of free unknowns around the evaluator's best point.

    degrees_of_freedom: n − p if a noise scale is estimated, otherwise None.
    """

    def __init__(self, evaluator: Evaluator, degrees_of_freedom: float | None) -> None:
        self._evaluator = evaluator
        self._best = evaluator.best
        self._threshold = self._loss_rise(degrees_of_freedom)
        self._negligible = gain_threshold(evaluator.objective, evaluator.best)
        self._accuracy = Accuracy(self._negligible, SLOW * self._threshold)

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

    def run(self, half_widths: Mapping[int, float | None]) -> Iterator[tuple[int, ProfiledUnknown]]:
        """Profile unknowns, by their indices, several at once; yield each of them when it is done.

        half_widths: of the covariance's intervals, in coordinates; None where there is none. Raises
        `BetterOptimumFound` and `StopRequested`.
        """
        [best] = self._evaluator.linearise_all([self._best.coordinates])
        if best is None:
            raise AssertionError("the best point could be linearised for the covariance")
        waiting = [(index, sign) for index in half_widths for sign in (-1, 1)]
        walks: dict[tuple[int, int], Walk[_Side]] = {}
        points: dict[tuple[int, int], Reals] = {}
        sides: dict[tuple[int, int], _Side] = {}

        def advance(key: tuple[int, int], trial: Linearisation | None) -> None:
            try:
                points[key] = walks[key].send(trial)
            except StopIteration as end:
                sides[key] = end.value
                points.pop(key, None)

        while waiting or points:
            while waiting and len(points) < MAX_SIDES:
                key = index, sign = waiting.pop(0)
                step = half_widths[index] or UNKNOWN_HALF_WIDTH * self._magnitude(index)
                walks[key] = self._side(index, sign * step, best)
                advance(key, None)
            keys = list(points)
            for key, trial in zip(keys, self._evaluator.linearise_all([points[key] for key in keys]), strict=True):
                advance(key, trial)
            for index in [index for index, sign in sides if sign < 0 and (index, 1) in sides]:
                yield index, self._profile(index, sides.pop((index, -1)), sides.pop((index, 1)), half_widths[index])

    def _profile(self, index: int, low: _Side, high: _Side, half_width: float | None) -> ProfiledUnknown:
        best, least = float(self._best.coordinates[index]), self._best.loss
        values = [*reversed(low.values), best, *high.values]
        parabola = [least + self._threshold * ((v - best) / half_width) ** 2 for v in values] if half_width else None
        profile = Profile(
            values=[self._value(index, v) for v in values],
            losses=[*reversed(low.losses), least, *high.losses],
            limit=least + self._threshold,
            parabola=parabola,
        )
        lower, upper = (None if side.end is None else self._value(index, side.end) for side in (low, high))
        return ProfiledUnknown(profile, lower, upper)

    def _side(self, index: int, step: float, best: Linearisation) -> Walk[_Side]:
        """Walk outwards until the loss passes the threshold, then find where. step: the expected distance to there."""
        side, before, last = _Side(), best, best
        for _ in range(MAX_OUTWARD_WALKS):
            step /= POINTS_TO_THRESHOLD
            for _ in range(MAX_POINTS):
                found = yield from self._step_outwards(index, step, before, last)
                if found is None:
                    return side
                (at, step), before = found, last
                side.values.append(float(at[0].coordinates[index]))
                side.losses.append(at[0].loss)
                last = at
                if self._is_outside(at):
                    break
            else:
                return side
            crossing = yield from self._find_crossing(index, before, last)
            if isinstance(crossing, float):
                return replace(side, end=crossing)
            # The point outside was in a worse local minimum: the better one there is inside, and the walk goes on.
            last = crossing
            side.losses[-1] = crossing[0].loss
            step = POINTS_TO_THRESHOLD * float(crossing[0].coordinates[index] - before[0].coordinates[index])
        return side

    def _is_outside(self, at: Linearisation) -> bool:
        return self._excess(at) >= 0

    def _excess(self, at: Linearisation) -> float:
        """By how much the loss at a point is above the threshold."""
        return at[0].loss - self._best.loss - self._threshold

    def _step_outwards(
        self, index: int, step: float, before: Linearisation, last: Linearisation
    ) -> Walk[tuple[Linearisation, float] | None]:
        """The next point of the profile, and a size for the step after it; None where the profile ends.

        The root of the loss's rise is a straight line where the profile is a parabola. The step size aims at equal
        increments of it, `POINTS_TO_THRESHOLD` of them, so that few points describe flat and steep profiles alike.
        """
        unknowns, best = self._evaluator.unknowns, float(self._best.coordinates[index])
        magnitude, position = self._magnitude(index), float(last[0].coordinates[index])
        max_distance = MAX_LOG_DISTANCE if unknowns.log[index] else MAX_DISTANCE * magnitude
        max_step = 0.5 * max(magnitude, abs(position - best))  # a profile that starts flat may soon be steep
        step = float(np.clip(step, -max_step, max_step))
        tangent = self._tangent(index, last)
        while abs(step) >= SMALLEST_STEP * magnitude:
            value = float(np.clip(position + step, unknowns.lower[index], unknowns.upper[index]))
            if value == position or abs(value - best) > max_distance:
                return None
            shift = (value - position) * tangent
            longest = float(np.abs(shift / unknowns.magnitudes(last[0].coordinates)).max())
            along_tangent = last[0].coordinates + shift * min(1.0, MAX_SHIFT / longest)
            starts = [along_tangent, _between(before[0], last[0], index, value), last[0].coordinates]
            at = yield from self._minimise_others(index, value, starts)
            if at is not None:
                increment = self._root_of_rise(at) - self._root_of_rise(last)
                wanted = math.sqrt(self._threshold) / POINTS_TO_THRESHOLD
                return at, step * float(np.clip(wanted / max(increment, 1e-300), 0.5, 3.0))
            step /= 2
        return None

    def _tangent(self, index: int, at: Linearisation) -> Reals:
        """How the coordinates change along the profile with that at the index, (count,).

        Where H is the matrix of the loss, the others are at their minimum as long as H·d = 0 in their rows, which the
        Gauss–Newton matrix without flat directions solves (Chen and Jennrich, Journal of the American Statistical
        Association 91, 1996). A line through two points would carry on whatever they have in flat directions.
        """
        evaluation, gauss_newton = at
        unknowns = self._evaluator.unknowns
        scales = unknowns.magnitudes(evaluation.coordinates)
        jacobian = gauss_newton.jacobian * scales
        others = ~unknowns.active_bounds(evaluation.coordinates, evaluation.gradient)
        others[index] = False
        noise = noise_deviation(self._evaluator.objective, evaluation)
        direction = -fisher_information(jacobian, others, noise).inverse @ (jacobian.T @ jacobian[:, index])
        direction[index] = 1.0
        return np.asarray(direction * scales / scales[index])

    def _find_crossing(self, index: int, inside: Linearisation, outside: Linearisation) -> Walk[float | Linearisation]:
        """Where the loss meets the threshold between two points, by secants of the root of its rise.

        An end that stays while the other moves counts half (the Illinois method, Dowell and Jarratt, BIT 11, 1971). If
        this has not found it soon, every other step bisects, because the loss may jump, as at a bound where the model
        changes.

        The walk may have led into a worse local minimum, so where the loss crosses, another one is looked for from the
        best point. The loss may also only seem to cross, because the point outside is in a worse local minimum: if a
        better one at the same value is inside, that is returned.
        """
        best, wanted = float(self._best.coordinates[index]), math.sqrt(self._threshold)
        a, low = float(inside[0].coordinates[index]), self._root_of_rise(inside) - wanted
        farthest = b = float(outside[0].coordinates[index])
        high, moved = self._root_of_rise(outside) - wanted, ""
        for tried in range(MAX_CROSSING_STEPS):
            share = float(np.clip(-low / max(high - low, 1e-300), 0.0, 1.0))
            value = a + (b - a) * (0.5 if not share or (tried > SECANT_STEPS and tried % 2) else share)
            starts = [_between(inside[0], outside[0], index, value), inside[0].coordinates]
            at = yield from self._minimise_others(index, value, starts)
            excess = math.inf if at is None else self._excess(at)
            if abs(excess) < CROSSING_TOLERANCE * self._threshold:
                from_best = yield from self._minimise_from(index, value, self._best.coordinates)
                if from_best is None or self._excess(from_best) > -CROSSING_TOLERANCE * self._threshold:
                    return value
                inside, a, low, moved = from_best, value, self._root_of_rise(from_best) - wanted, ""
                continue
            if at is None or excess > 0:  # a point that cannot be solved counts as outside
                outside, b, high = at or outside, value, self._root_of_rise(at) - wanted if at else math.inf
                low, moved = (low / 2 if moved == "outside" else low), "outside"
            else:
                inside, a, low = at, value, self._root_of_rise(at) - wanted
                high, moved = (high / 2 if moved == "inside" else high), "inside"
            if abs(b - a) < CROSSING_TOLERANCE * abs(value - best):
                break
        again = yield from self._minimise_from(index, farthest, inside[0].coordinates)
        return again if again is not None and not self._is_outside(again) else value

    def _minimise_others(self, index: int, value: float, starts: Sequence[Reals]) -> Walk[Linearisation | None]:
        """The least loss over the other unknowns; None if it cannot be computed.

        A minimisation that ends outside may have been led into a worse local minimum, so the next start is tried.
        """
        found: list[Linearisation] = []
        for start in starts:
            at = yield from self._minimise_from(index, value, start)
            if at is not None:
                found.append(at)
                if not self._is_outside(at):
                    break
        return min(found, key=lambda each: each[0].loss, default=None)

    def _minimise_from(self, index: int, value: float, start: Reals) -> Walk[Linearisation | None]:
        """The local minimum that least squares finds from a start (count,), with one coordinate fixed at a value."""
        unknowns = self._evaluator.unknowns.with_fixed(index, value)
        trial = yield unknowns.clip(start)
        if trial is None:
            return None
        end = yield from minimise(self._evaluator.objective, unknowns, trial, OPTIMISER_STEPS, accuracy=self._accuracy)
        if end.evaluation.loss < self._best.loss - self._negligible:
            raise BetterOptimumFound(end.evaluation)
        return end.evaluation, end.gauss_newton

    def _root_of_rise(self, at: Linearisation) -> float:
        return math.sqrt(max(at[0].loss - self._best.loss, 0.0))

    def _magnitude(self, index: int) -> float:
        return float(self._evaluator.unknowns.magnitudes(self._best.coordinates)[index])

    def _value(self, index: int, coordinate: float) -> float:
        """A coordinate in the caller's units."""
        unknowns = self._evaluator.unknowns
        coordinates = self._best.coordinates.copy()
        coordinates[index] = coordinate
        return unknowns.free_values(coordinates)[unknowns.names[index]]


def _between(one: Evaluation, other: Evaluation, index: int, value: float) -> Reals:
    """The point on the line through two points at which one coordinate has a value, (count,)."""
    difference = other.coordinates - one.coordinates
    if not difference[index]:
        return one.coordinates
    return np.asarray(one.coordinates + difference * ((value - one.coordinates[index]) / difference[index]))
