"""Several starts, each followed by multiple shooting and least squares; the best end is kept.

The starts are the caller's guess, the best point so far, and points of Sobol's sequence (scrambled by the request's
seed) over the bounds, or around the guess where there are none. Many points are evaluated first, and only the best of
them are followed. A start that cannot be solved does not affect the others.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from scipy.stats import qmc

from odelib.arrays import Reals
from odelib.objective.objective import Evaluation
from odelib.objective.unknowns import Unknowns
from odelib.optimisers.base import StopCode
from odelib.optimisers.convergence import gain_threshold
from odelib.optimisers.doubts import explains_nothing, is_trustworthy, may_be_local_minimum
from odelib.optimisers.evaluator import Evaluator, TrialFailed
from odelib.optimisers.least_squares import Accuracy, levenberg_marquardt
from odelib.optimisers.multiple_shooting.optimiser import ShootingSolver
from odelib.problem.stages import MultiStartStage
from odelib.result import OtherOptimum, has_reached

CANDIDATES_PER_START = 4  # points that are evaluated for each start that is followed
GUESS_FACTOR = 5.0  # by which a positive guess may be wrong where there are no bounds
WIDE_GUESS_FACTOR = 1e3  # the same, where nothing near the guess explains the data
SMALLEST = 1e-12  # of an upper bound: what is searched above a lower bound of 0 where nothing explains the data
SHOOTING_STEPS = 50
# Starts at the best loss that settle a doubt. The guess and the best point so far end where they did before; three more
# then agree.
ENOUGH_AGREEING = 5
REFINED = 1e-10  # of the predicted gain at which a fit has converged: estimates are then exact to 1e-6 of their errors
REFINING_STEPS = 20  # where the loss is flat to second order they never end
MAX_OTHER_OPTIMA = 10
ELSEWHERE = 0.01  # of an unknown's magnitude: the least distance between two ends that are reported as two


class MultiStart:
    """Several starts with the settings of a request's stage."""

    kind: ClassVar[str] = "multi_start"

    def __init__(self, settings: MultiStartStage, seed: int) -> None:
        self.settings = settings
        self.steps = settings.starts  # one step is one start
        self.seed = seed

    def run(self, evaluator: Evaluator) -> StopCode:
        """See `Optimiser.run`. Its state is the starts that are left, and where the others ended."""
        state = evaluator.optimiser_state
        if state is None:
            if self.settings.when == "doubtful" and is_trustworthy(evaluator.objective, evaluator.best):
                return "converged"
            state = {"starts": [start.tolist() for start in self._starts(evaluator)], "ends": []}
        starts = [np.array(start) for start in state["starts"]]
        ends: list[float | None] = state["ends"]
        evaluator.start_losses = _losses(ends)
        evaluator.other_optima = [OtherOptimum.model_validate(other) for other in state.get("other_optima", [])]
        while starts and not self._is_settled(evaluator):
            best_before = evaluator.best
            end = self._follow(evaluator, starts.pop(0))
            ends = [*ends, None if end is None else end.loss]
            evaluator.start_losses = _losses(ends)
            evaluator.other_optima = _other_optima(evaluator, [best_before, *([end] if end else [])])
            evaluator.step(
                {
                    "starts": [start.tolist() for start in starts],
                    "ends": ends,
                    "other_optima": [other.model_dump() for other in evaluator.other_optima],
                }
            )
        if not evaluator.start_losses:
            return "solve_failed"
        self._refine(evaluator)
        return "finished"

    def _refine(self, evaluator: Evaluator) -> None:
        """Minimise on from the best of the ends, until rounding errors end it.

        Ends at one optimum lie anywhere within what counts as converged, and which of them is the best depends on
        rounding errors, as those of other units.
        """
        try:
            start = evaluator.linearise(evaluator.best.coordinates)
        except TrialFailed:
            return
        accuracy = Accuracy(negligible=REFINED * gain_threshold(evaluator.objective, evaluator.best), slow=0.0)
        levenberg_marquardt(evaluator.nested(), *start, steps=REFINING_STEPS, accuracy=accuracy)

    def _is_settled(self, evaluator: Evaluator) -> bool:
        """Whether so many starts have reached the best loss that a doubt is settled.

        Where the model explains nothing they agree only on that.
        """
        reached = sum(has_reached(loss, evaluator.best.loss) for loss in evaluator.start_losses)
        if self.settings.when != "doubtful" or reached < ENOUGH_AGREEING:
            return False
        return not explains_nothing(evaluator.objective, evaluator.best)

    def _follow(self, evaluator: Evaluator, start: Reals) -> Evaluation | None:
        """Minimise from a start; None if it cannot be solved.

        Multiple shooting comes near the best point from almost anywhere, but it can also lead all starts into the same
        local minimum. If the end may be one, or is not the best so far, least squares starts from the start as well.
        """
        inner = evaluator.nested()
        shot = ShootingSolver(inner, start).run(SHOOTING_STEPS)
        end = None if shot is None else self._minimise(inner, shot.coordinates)
        is_best = end is not None and has_reached(end.loss, evaluator.best.loss)
        if is_best and not may_be_local_minimum(evaluator.objective, evaluator.best):
            return end
        ends = [end, self._minimise(inner, start)]
        return min((end for end in ends if end is not None), key=lambda end: end.loss, default=None)

    def _minimise(self, evaluator: Evaluator, start: Reals) -> Evaluation | None:
        try:
            at, gauss_newton = evaluator.linearise(start)
        except TrialFailed:
            return None
        return levenberg_marquardt(evaluator, at, gauss_newton, steps=self.settings.steps).evaluation

    def _starts(self, evaluator: Evaluator) -> list[Reals]:
        """The guess, the best point, and the best of the candidates."""
        unknowns, best = evaluator.unknowns, evaluator.best.coordinates
        known = [unknowns.start] if np.array_equal(unknowns.start, best) else [unknowns.start, best]
        others = max(self.settings.starts - len(known), 0)
        points = candidate_points(unknowns, others * CANDIDATES_PER_START, self.seed)
        if explains_nothing(evaluator.objective, evaluator.best):
            points += candidate_points(unknowns, others * CANDIDATES_PER_START, self.seed, wide=True)
        candidates = []
        for point in points:
            try:
                candidates.append(evaluator.nested().evaluate(point))
            except TrialFailed:
                continue
        candidates.sort(key=lambda evaluation: evaluation.loss)
        return [*known[: self.settings.starts], *(evaluation.coordinates for evaluation in candidates[:others])]


def _other_optima(evaluator: Evaluator, ends: list[Evaluation]) -> list[OtherOptimum]:
    """Those that are known, and those ends that are elsewhere than all of them and the best point."""
    unknowns, best = evaluator.unknowns, evaluator.best
    magnitudes = unknowns.magnitudes(best.coordinates)
    known = evaluator.other_optima + [
        OtherOptimum(loss=e.loss, values=unknowns.free_values(e.coordinates)) for e in ends
    ]
    found: list[OtherOptimum] = []
    places = [best.coordinates]
    for other in sorted(known, key=lambda each: each.loss):
        place = unknowns.coordinates(other.values)
        distance = min(float(np.abs((place - each) / magnitudes).max(initial=0.0)) for each in places)
        if has_reached(other.loss, best.loss) and distance > ELSEWHERE:
            found.append(other)
            places.append(place)
    return found[:MAX_OTHER_OPTIMA]


def _losses(ends: list[float | None]) -> list[float]:
    return [loss for loss in ends if loss is not None]


def candidate_points(unknowns: Unknowns, count: int, seed: int, *, wide: bool = False) -> list[Reals]:
    """Coordinates, (unknowns,) each, over the search intervals: evenly in the logarithm if an interval is positive.

    wide: look over many orders of magnitude, also where a lower bound is 0 or there are no bounds.
    """
    if not count:
        return []
    sampler = qmc.Sobol(max(unknowns.count, 1), rng=np.random.default_rng(seed))
    unit = sampler.random_base2(int(np.ceil(np.log2(count))))[:count]  # only powers of 2 are evenly spread
    columns = [_scaled(unit[:, i], *interval) for i, interval in enumerate(_search_intervals(unknowns, wide))]
    return [
        unknowns.clip(unknowns.coordinates(dict(zip(unknowns.names, row, strict=True))))
        for row in zip(*columns, strict=True)
    ]


def _search_intervals(unknowns: Unknowns, wide: bool) -> list[tuple[float, float]]:
    """Lower and upper end for each unknown, in the caller's units: its bounds, or a range around its guess in them."""
    factor, intervals = WIDE_GUESS_FACTOR if wide else GUESS_FACTOR, []
    lower, upper = (unknowns.free_values(bound) for bound in (unknowns.lower, unknowns.upper))
    guesses = zip(unknowns.names, unknowns.guess.tolist(), unknowns.guess_sizes.tolist(), strict=True)
    for name, guess, size in guesses:
        low, high = lower[name], upper[name]
        if np.isfinite(low) and np.isfinite(high):
            intervals.append((SMALLEST * high if wide and low == 0 else low, high))
        elif guess > 0:
            intervals.append((max(guess / factor, low), min(guess * factor, high)))
        else:
            reach = (factor - 1) * size
            intervals.append((max(guess - reach, low), min(guess + reach, high)))
    return intervals


def _scaled(unit: Reals, low: float, high: float) -> list[float]:
    """Numbers between 0 and 1 as values of an interval."""
    values = low * (high / low) ** unit if low > 0 else low + (high - low) * unit
    return [float(value) for value in values]
