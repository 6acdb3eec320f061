"""Profile likelihoods: how the least loss grows as one unknown is held away from its best value.

An interval's ends are where the profile meets the threshold of a likelihood ratio test (Raue et al., 2009): of χ² with
one degree of freedom where every scale is given, of F with 1 and n − p where one is estimated (Bates and Watts,
Nonlinear Regression Analysis, 1988, 6.1). Each point is found by least squares from where the last ones lead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import stats

from odelib.arrays import Reals
from odelib.objective.objective import Evaluation
from odelib.optimisers.evaluator import Evaluator, TrialFailed
from odelib.optimisers.least_squares import descend
from odelib.result import Profile

CONFIDENCE = 0.95
POINTS = 60  # on a side, at most
RISES = 4  # points until the threshold where the profile is a parabola
FAR, FAR_IN_LOG = 1e4, 30.0  # magnitudes away from the best value, or factors of e: there is no end to be found
NEAR_ENOUGH = 1e-4  # of the threshold, or of the way from the best value: the crossing is found
SECANTS, CROSSINGS = 3, 40  # before steps that halve, and steps at most
WALKS = 5  # on a side: new ones where what seemed its end was none
STEPS = 50  # of least squares at one point
UNKNOWN_WIDTH = 0.1  # magnitudes: how far an end may be away where the covariance does not tell


class BetterOptimumFound(Exception):
    """A profile went below the best loss: the optimum was none. `at` is the better point."""

    def __init__(self, at: Evaluation) -> None:
        self.at = at
        super().__init__(f"a loss of {at.loss:g} was found")


@dataclass(frozen=True)
class Side:
    """One side of a profile: coordinates going away from the best one, losses there, and where the threshold is met."""

    values: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    end: float | None = None


class Profiler:
    """Profiles the free unknowns of a fit at its best point.

    freedom: n − p where a scale is estimated, else None.
    """

    def __init__(self, evaluator: Evaluator, freedom: float | None) -> None:
        self._loop = evaluator
        self._best = evaluator.best
        self._threshold = self._rise(freedom)
        self._negligible = evaluator.threshold(evaluator.best)

    def _rise(self, freedom: float | None) -> float:
        """By how much the loss has grown at an end of an interval."""
        measurements = self._loop.objective.measurements
        if freedom is None:
            chi = float(stats.chi2.ppf(CONFIDENCE, 1))
            return chi / 2 if measurements.is_likelihood else chi
        ratio = float(stats.f.ppf(CONFIDENCE, 1, freedom)) / freedom
        if measurements.is_likelihood:
            return 0.5 * measurements.observations * math.log1p(ratio)
        return self._best.loss * ratio

    def profile(self, place: int, width: float | None) -> tuple[Profile, float | None, float | None]:
        """The profile of a coordinate with its interval's ends, in the caller's units; None where it is open.

        width: how far from the best value the covariance's interval ends, None where there is none. Raises
        `BetterOptimumFound`, and `StopRequested`.
        """
        best, least = float(self._best.coordinates[place]), self._best.loss
        step = width or UNKNOWN_WIDTH * float(self._loop.unknowns.magnitudes(self._best.coordinates)[place])
        low, high = self._side(place, -step), self._side(place, step)
        values = [*reversed(low.values), best, *high.values]
        parabola = [least + self._threshold * ((v - best) / width) ** 2 for v in values] if width else None
        return (
            Profile(
                values=[self._unit(place, v) for v in values],
                losses=[*reversed(low.losses), least, *high.losses],
                limit=least + self._threshold,
                parabola=parabola,
            ),
            None if low.end is None else self._unit(place, low.end),
            None if high.end is None else self._unit(place, high.end),
        )

    def _side(self, place: int, step: float) -> Side:
        side = Side()
        before = last = self._best
        for _ in range(WALKS):
            for at in self._walk(place, step / RISES, before, last):
                before, last = last, at
                side.values.append(float(at.coordinates[place]))
                side.losses.append(at.loss)
                if self._is_outside(at):
                    break
            else:
                return side
            end = self._cross(place, before, last)
            if isinstance(end, float):
                return replace(side, end=end)
            last = end  # it was no crossing: from nearby a lower loss is found there, and the walk goes on
            side.losses[-1] = end.loss
            step = RISES * (float(end.coordinates[place]) - float(before.coordinates[place]))
        return side

    def _is_outside(self, at: Evaluation) -> bool:
        return at.loss - self._best.loss >= self._threshold

    def _walk(self, place: int, step: float, before: Evaluation, last: Evaluation) -> Iterator[Evaluation]:
        """Points further and further away, their distance by how much the loss has grown from one to the next."""
        unknowns = self._loop.unknowns
        magnitude = float(unknowns.magnitudes(self._best.coordinates)[place])
        far = FAR_IN_LOG if unknowns.log[place] else FAR * magnitude
        wanted = math.sqrt(self._threshold) / RISES  # the root of the rise grows evenly along a parabola
        for _ in range(POINTS):
            farthest = 0.5 * max(magnitude, abs(float(last.coordinates[place] - self._best.coordinates[place])))
            step = float(np.clip(step, -farthest, farthest))  # a flat start is no reason to leap
            value = float(np.clip(last.coordinates[place] + step, unknowns.lower[place], unknowns.upper[place]))
            if value == last.coordinates[place] or abs(value - self._best.coordinates[place]) > far:
                return
            at = self._least(place, value, before, last)
            if at is None:
                step /= 2
                if abs(step) < 1e-6 * magnitude:
                    return
                continue
            yield at
            grown = self._root_of_rise(at) - self._root_of_rise(last)
            step *= float(np.clip(wanted / max(grown, 1e-300), 0.5, 3.0))
            before, last = last, at

    def _cross(self, place: int, inside: Evaluation, outside: Evaluation) -> float | Evaluation:
        """Where the loss meets the threshold between two points: by secants of the root of its rise.

        Where these have not found it soon, every other step halves: the loss may jump, as at a bound where the model
        is another one. It may also have seemed so because the point outside was found in a worse valley: if a better
        one there is inside, that is returned.
        """
        best, wanted = float(self._best.coordinates[place]), math.sqrt(self._threshold)
        farthest = b = float(outside.coordinates[place])
        high = self._root_of_rise(outside)
        for tried in range(CROSSINGS):
            a, low = float(inside.coordinates[place]), self._root_of_rise(inside)
            share = float(np.clip((wanted - low) / max(high - low, 1e-300), 0.0, 1.0))
            value = a + (b - a) * (0.5 if not share or (tried > SECANTS and tried % 2) else share)
            at = self._least(place, value, inside, outside)
            if at is not None and abs(at.loss - self._best.loss - self._threshold) < NEAR_ENOUGH * self._threshold:
                return value
            if at is None:  # it cannot be solved there, which is outside
                b, high = value, math.inf
            elif self._is_outside(at):
                outside, b, high = at, value, self._root_of_rise(at)
            else:
                inside = at
            if abs(b - float(inside.coordinates[place])) < NEAR_ENOUGH * abs(value - best):
                break
        again = self._descended(place, farthest, inside.coordinates)
        return again if again is not None and not self._is_outside(again) else value

    def _least(self, place: int, value: float, before: Evaluation, last: Evaluation) -> Evaluation | None:
        """The least loss with one coordinate held; None where it cannot be had.

        From where two points lead, and where that ends outside, from the first of them that is inside as well: the
        line may lead into a worse valley.
        """
        at = self._descended(place, value, _onwards(before, last, place, value))
        if at is not None and not self._is_outside(at):
            return at
        other = self._descended(place, value, (before if self._is_outside(last) else last).coordinates)
        found = [one for one in (at, other) if one is not None]
        return min(found, key=lambda one: one.loss, default=None)

    def _descended(self, place: int, value: float, start: Reals) -> Evaluation | None:
        """The bottom of the valley of a point, one coordinate held at a value, wherever the point has it."""
        evaluator = self._loop.nested()
        evaluator.unknowns = self._loop.unknowns.with_fixed(place, value)
        try:
            at, curvature = evaluator.linearise(evaluator.unknowns.clip(start))
        except TrialFailed:
            return None
        end = descend(evaluator, at, curvature, steps=STEPS, negligible=self._negligible).end
        if end.loss < self._best.loss - self._negligible:
            raise BetterOptimumFound(end)
        return end

    def _root_of_rise(self, at: Evaluation) -> float:
        return math.sqrt(max(at.loss - self._best.loss, 0.0))

    def _unit(self, place: int, coordinate: float) -> float:
        unknowns = self._loop.unknowns
        coordinates = self._best.coordinates.copy()
        coordinates[place] = coordinate
        return unknowns.free_values(coordinates)[unknowns.names[place]]


def _onwards(before: Evaluation, last: Evaluation, place: int, value: float) -> Reals:
    """The point at which one coordinate has a value, on the line through two points."""
    way = last.coordinates - before.coordinates
    start: Reals = last.coordinates + (way * ((value - last.coordinates[place]) / way[place]) if way[place] else 0.0)
    return start
