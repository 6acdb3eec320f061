"""Several starts, each followed by multiple shooting, growing windows or least squares; the best end is kept.

The starts are the caller's guess, the best point so far, and points of Sobol's sequence (scrambled by the request's
seed) over the bounds, or around the guess where there are none. Many points are evaluated first, and only the best of
them are followed. A start that cannot be solved does not affect the others.

If the stage runs only because the best fit is doubtful, it goes on in rounds until the doubt is gone, until starts
agree, or until it has done enough work. The first starts are followed in two ways, the others in one of three, which
share the work: which of them finds the optimum depends on the problem, and one may cost many times as much as another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from scipy.stats import qmc

from odelib.arrays import Reals
from odelib.objective.objective import Evaluation
from odelib.objective.unknowns import Unknowns
from odelib.optimisers.base import StopCode
from odelib.optimisers.convergence import gain_threshold, is_already_converged
from odelib.optimisers.doubts import explains_nothing, is_trustworthy, may_be_local_minimum
from odelib.optimisers.evaluator import Evaluator, TrialFailed
from odelib.optimisers.growing_window import grow_window
from odelib.optimisers.lbfgsb import Lbfgsb
from odelib.optimisers.least_squares import Accuracy, levenberg_marquardt
from odelib.optimisers.multiple_shooting.optimiser import ShootingSolver
from odelib.problem.stages import LbfgsbStage, MultiStartStage
from odelib.result import OtherOptimum, has_reached

CANDIDATES_PER_START = 4  # points that are evaluated for each start that is followed
GUESS_FACTOR = 5.0  # by which a positive guess may be wrong where there are no bounds
WIDE_GUESS_FACTOR = 1e3  # the same, where nothing near the guess explains the data
SMALLEST = 1e-12  # of an upper bound: what is searched above a lower bound of 0 where nothing explains the data
SHOOTING_STEPS = 50
# Starts at the best loss that settle a doubt. The guess and the best point so far end where they did before; three more
# then agree. Other optima may have nearly the same loss, if residuals are large.
ENOUGH_AGREEING = 5
UNSEEN = 0.25  # the probability that another start ends at an optimum that is not known, below which a doubt is settled
SAME = 10.0  # times the predicted gain at which a fit has converged: losses that differ by less are of one optimum
ROUND = 10  # starts that are drawn at once, after which more are drawn, and more widely
MIN_STARTS = 10  # however much work they are
MAX_WORK = 4e7  # of all starts of a doubt, see `Evaluator.work`: about 3 s
Way = Literal["windows", "shooting", "direct"]
SHARES: dict[Way, float] = {"windows": 0.25, "shooting": 0.35, "direct": 0.4}  # of the work
FINAL_STEPS = 200  # of least squares from the best end
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
        self._is_for_doubt = settings.when == "doubtful"

    def run(self, evaluator: Evaluator) -> StopCode:
        """See `Optimiser.run`. Its state is the starts that are left, where the others ended, and the work so far."""
        state = evaluator.optimiser_state
        if state is None:
            if self._is_for_doubt and is_trustworthy(evaluator.objective, evaluator.best):
                return "converged"
            state = self._draw(evaluator, {"starts": self._known_starts(evaluator), "ends": []})
        evaluator.start_losses = _losses(state["ends"])
        evaluator.other_optima = [OtherOptimum.model_validate(other) for other in state.get("other_optima", [])]
        while not self._is_settled(evaluator, state):
            if not state["starts"]:
                state = self._draw(evaluator, state)
            if not state["starts"]:
                break
            state = self._follow_next(evaluator, state)
            evaluator.step(state)
        if not evaluator.start_losses:
            return "solve_failed"
        self._finish(evaluator)
        return "finished"

    def _follow_next(self, evaluator: Evaluator, state: dict[str, Any]) -> dict[str, Any]:
        """Follow the next start; return the new state."""
        best_before, work, start = evaluator.best, dict(state.get("work", {})), np.array(state["starts"][0])
        found, is_beyond_doubt = [], False
        for way in self._ways(state) if self._is_for_doubt else ():
            best, work_before = evaluator.best, evaluator.work
            found.append(self._follow_by(way, evaluator, start))
            work[way] = work.get(way, 0.0) + evaluator.work - work_before
            is_beyond_doubt = evaluator.best is not best and is_trustworthy(evaluator.objective, evaluator.best)
            if is_beyond_doubt:
                break
        if not self._is_for_doubt:
            found.append(self._follow(evaluator, start))
        end = min((each for each in found if each is not None), key=lambda each: each.loss, default=None)
        ends = [*state["ends"], None if end is None else end.loss]
        evaluator.start_losses = _losses(ends)
        evaluator.other_optima = _other_optima(evaluator, [best_before, *([end] if end else [])])
        others = [other.model_dump() for other in evaluator.other_optima]
        new = {"ends": ends, "other_optima": others, "work": work, "is_beyond_doubt": is_beyond_doubt}
        return state | new | {"starts": state["starts"][1:]}

    def _ways(self, state: dict[str, Any]) -> Sequence[Way]:
        """How to follow the next start of a doubt: the first ones, which are the best, in two ways."""
        if len(state["ends"]) < ROUND:
            return ("windows", "shooting")
        work = state["work"]
        return (min(SHARES, key=lambda each: work.get(each, 0.0) / SHARES[each]),)

    def _finish(self, evaluator: Evaluator) -> None:
        """Minimise on from the best of the ends, of which the steps were few, until rounding errors end it.

        Ends at one optimum lie anywhere within what counts as converged, and which of them is the best depends on
        rounding errors, as those of other units.
        """
        if not is_already_converged(evaluator.objective, evaluator.best):
            self._minimise(evaluator.nested(), evaluator.best.coordinates, FINAL_STEPS)
        # least squares creeps where residuals are large and the model curves, and a quasi-Newton method does not
        Lbfgsb(LbfgsbStage(kind="lbfgsb", steps=FINAL_STEPS)).run(evaluator.nested())
        try:
            start = evaluator.linearise(evaluator.best.coordinates)
        except TrialFailed:
            return
        accuracy = Accuracy(negligible=REFINED * gain_threshold(evaluator.objective, evaluator.best), slow=0.0)
        levenberg_marquardt(evaluator.nested(), *start, steps=REFINING_STEPS, accuracy=accuracy)

    def _is_settled(self, evaluator: Evaluator, state: dict[str, Any]) -> bool:
        """Whether further starts are not worth while, if they were begun by a doubt.

        Where the model explains nothing, starts agree only on that.
        """
        objective, best, starts = evaluator.objective, evaluator.best, len(state["ends"])
        if not self._is_for_doubt or not starts:
            return False
        if state["is_beyond_doubt"] or (starts >= MIN_STARTS and sum(state["work"].values()) > MAX_WORK):
            return True
        return _is_well_searched(evaluator) and not explains_nothing(objective, best)

    def _follow(self, evaluator: Evaluator, start: Reals) -> Evaluation | None:
        """Minimise from a start; None if it cannot be solved.

        Multiple shooting comes near the best point from almost anywhere, but it can also lead all starts into the same
        local minimum. If the end may be one, or is not the best so far, least squares starts from the start as well.
        """
        end = self._shoot(evaluator.nested(), start)
        is_best = end is not None and has_reached(end.loss, evaluator.best.loss)
        if is_best and not may_be_local_minimum(evaluator.objective, evaluator.best):
            return end
        ends = [end, self._minimise(evaluator.nested(), start)]
        return min((end for end in ends if end is not None), key=lambda end: end.loss, default=None)

    def _follow_by(self, way: Way, evaluator: Evaluator, start: Reals) -> Evaluation | None:
        """Minimise from a start in one of the ways, directly if that leads nowhere; None if it cannot be solved."""
        inner, end = evaluator.nested(), None
        if way == "shooting":
            end = self._shoot(inner, start)
        elif way == "windows" and (near := grow_window(inner, start)) is not None:
            end = self._minimise(inner, near)
        return end or self._minimise(inner, start)

    def _shoot(self, evaluator: Evaluator, start: Reals) -> Evaluation | None:
        """Multiple shooting, and least squares from its end; None if there is none."""
        shot = ShootingSolver(evaluator, start).run(SHOOTING_STEPS)
        return None if shot is None else self._minimise(evaluator, shot.coordinates)

    def _minimise(self, evaluator: Evaluator, start: Reals, steps: int | None = None) -> Evaluation | None:
        try:
            at, gauss_newton = evaluator.linearise(start)
        except TrialFailed:
            return None
        return levenberg_marquardt(evaluator, at, gauss_newton, steps=steps or self.settings.steps).evaluation

    def _known_starts(self, evaluator: Evaluator) -> list[list[float]]:
        """The guess and the best point."""
        start, best = evaluator.unknowns.start, evaluator.best.coordinates
        known = [start.tolist()] if np.array_equal(start, best) else [start.tolist(), best.tolist()]
        return known[: self.settings.starts]

    def _draw(self, evaluator: Evaluator, state: dict[str, Any]) -> dict[str, Any]:
        """Add the best of so many candidates to the starts: all that are missing, or those of the next round."""
        missing = self.settings.starts - len(state["ends"]) - len(state["starts"])
        count = min(missing, ROUND - len(state["starts"])) if self._is_for_doubt else missing
        unknowns, drawn, fresh = evaluator.unknowns, state.get("drawn", 0), max(count, 0) * CANDIDATES_PER_START
        points = candidate_points(unknowns, drawn + fresh, self.seed)[drawn:]
        if drawn or explains_nothing(evaluator.objective, evaluator.best):
            wider = candidate_points(unknowns, drawn + fresh, self.seed, wide=True)[drawn:]
            points += [point for near, point in zip(points, wider, strict=True) if not np.array_equal(near, point)]
        candidates = []
        for point in points:
            try:
                candidates.append(evaluator.nested().evaluate(point))
            except TrialFailed:
                continue
        candidates.sort(key=lambda evaluation: evaluation.loss)
        found = [evaluation.coordinates.tolist() for evaluation in candidates[: max(count, 0)]]
        return state | {"starts": [*state["starts"], *found], "drawn": drawn + fresh}


def _is_well_searched(evaluator: Evaluator) -> bool:
    """Whether enough starts agree on the best loss, and another is unlikely to end at an optimum that is not known.

    After n starts that ended at w optima, all optima being equally likely beforehand, that probability is
    w·(w + 1)/(n·(n − 1)) (Boender and Rinnooy Kan, Mathematical Programming 37, 1987).
    """
    losses, same = np.sort(evaluator.start_losses), SAME * gain_threshold(evaluator.objective, evaluator.best)
    if (losses <= evaluator.best.loss + same).sum() < ENOUGH_AGREEING:
        return False
    n, optima = len(losses), 1 + int((np.diff(losses) > same).sum())
    return optima * (optima + 1) <= UNSEEN * n * (n - 1)


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
