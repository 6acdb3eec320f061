"""Several starts, each followed by least squares, growing windows and multiple shooting; the best end is kept.

The starts are the caller's guess, the best point so far, and points of Sobol's sequence (scrambled by the request's
seed) over the bounds, or around the guess where there are none. Least squares runs from many points first, all solved
as one batch, and only the best of them are followed in other ways. A start that cannot be solved does not affect the
others.

If the stage runs only because the best fit is doubtful, it goes on in rounds until the doubt is gone, until starts
agree, or until it has done enough work. The first starts are followed in all ways, the others in one of them, which
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
from odelib.optimisers.doubts import explains_nothing, is_trustworthy
from odelib.optimisers.evaluator import Evaluator, TrialFailed
from odelib.optimisers.growing_window import grow_window
from odelib.optimisers.lbfgsb import Lbfgsb
from odelib.optimisers.least_squares import Accuracy, levenberg_marquardt, lowest_by_least_squares
from odelib.optimisers.multiple_shooting.optimiser import ShootingSolver
from odelib.problem.stages import LbfgsbStage, MultiStartStage
from odelib.result import OtherOptimum, has_reached

CANDIDATES_PER_START = 5  # points from which least squares runs for each start that is followed in other ways
CANDIDATE_STEPS = 100  # of least squares from each of them
# Of a round of them, see `Evaluator.work`: about 10 s. Only so many begin that each can take `MIN_GRADIENTS` within it.
CANDIDATE_WORK, MIN_GRADIENTS = 1.5e8, 30
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
MAX_WORK = 4e7  # of all starts of a doubt, see `Evaluator.work`: about 4 s
MAX_WORK_UNEXPLAINED = 4e8  # the same where an observable is described no better than by a constant
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
        self._judged: tuple[Evaluation, bool] | None = None

    def run(self, evaluator: Evaluator) -> StopCode:
        """See `Optimiser.run`. Its state is the starts that are left, where the others ended, and the work so far."""
        state = evaluator.optimiser_state
        if state is None:
            if self._is_for_doubt and self._is_trustworthy(evaluator):
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
        best_before, work, (start, *direct) = evaluator.best, dict(state.get("work", {})), state["starts"][0]
        found: list[Evaluation | None] = []
        for way in self._ways(state):
            work_before = evaluator.work
            found.append(self._follow(way, evaluator, np.array(start), [np.array(end) for end in direct]))
            work[way] = work.get(way, 0.0) + evaluator.work - work_before
            if found[-1] and has_reached(found[-1].loss, evaluator.best.loss) and self._is_trustworthy(evaluator):
                break
        end = min((each for each in found if each is not None), key=lambda each: each.loss, default=None)
        ends = [*state["ends"], None if end is None else end.loss]
        evaluator.start_losses = _losses(ends)
        others = _with_other_optima(evaluator, [best_before, *([end] if end else [])])
        return state | {"ends": ends, "other_optima": others, "work": work, "starts": state["starts"][1:]}

    def _ways(self, state: dict[str, Any]) -> Sequence[Way]:
        """How to follow the next start: in all ways if it is one of the first, which are the best, or was asked for."""
        if not self._is_for_doubt or len(state["ends"]) < ROUND:
            return ("direct", "windows", "shooting")
        work = state["work"]
        return (min(SHARES, key=lambda each: work.get(each, 0.0) / SHARES[each]),)

    def _is_trustworthy(self, evaluator: Evaluator) -> bool:
        """Whether the best point is beyond doubt; asked again only where there is another one."""
        if self._judged is None or self._judged[0] is not evaluator.best:
            self._judged = (evaluator.best, is_trustworthy(evaluator.objective, evaluator.best))
        return self._judged[1]

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

        Where the model explains nothing, starts agree only on that. The best point so far is always followed.
        """
        starts = len(state["ends"])
        if not self._is_for_doubt or not starts:
            return False
        if self._is_trustworthy(evaluator):
            return True
        is_unexplained = explains_nothing(evaluator.objective, evaluator.best)
        most_work = MAX_WORK_UNEXPLAINED if is_unexplained else MAX_WORK
        if starts >= MIN_STARTS and sum(state["work"].values()) > most_work:
            next_start = state["starts"][0] if state["starts"] else []
            return evaluator.best.coordinates.tolist() not in next_start[1:]
        return _is_well_searched(evaluator) and not is_unexplained

    def _follow(self, way: Way, evaluator: Evaluator, start: Reals, direct: list[Reals]) -> Evaluation | None:
        """Minimise from a start in one of the ways; None if it cannot be solved.

        direct: where least squares from it ended, if it ran. It goes on from there, because it may not have converged.
        """
        inner = evaluator.nested()
        if way == "shooting":
            return self._shoot(inner, start)
        if way == "windows":
            near = grow_window(inner, start)
            if near is not None:
                return self._minimise(inner, near)
        return self._minimise(inner, direct[0] if direct else start)

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

    def _known_starts(self, evaluator: Evaluator) -> list[list[list[float]]]:
        """The guess and the best point, see `_draw`."""
        start, best = evaluator.unknowns.start, evaluator.best.coordinates
        known = [start] if np.array_equal(start, best) else [start, best]
        return [[point.tolist()] for point in known[: self.settings.starts]]

    def _draw(self, evaluator: Evaluator, state: dict[str, Any]) -> dict[str, Any]:
        """Add the best of so many candidates to the starts: all that are missing, or those of the next round.

        A start is the coordinates of its point and, if least squares ran from there, those of where that ended.
        """
        missing = self.settings.starts - len(state["ends"]) - len(state["starts"])
        count = min(missing, ROUND - len(state["starts"])) if self._is_for_doubt else missing
        if count <= 0:
            return state
        unknowns, drawn, fresh = evaluator.unknowns, state.get("drawn", 0), count * CANDIDATES_PER_START
        points = candidate_points(unknowns, drawn + fresh, self.seed)[drawn:]
        if drawn or explains_nothing(evaluator.objective, evaluator.best):
            wider = candidate_points(unknowns, drawn + fresh, self.seed, wide=True)[drawn:]
            points += [point for near, point in zip(points, wider, strict=True) if not np.array_equal(near, point)]
        work = evaluator.work
        found = _minimised_at_once(evaluator, points, CANDIDATE_WORK * count / ROUND)
        works = dict(state.get("work", {}))
        works["direct"] = works.get("direct", 0.0) + evaluator.work - work
        others = _with_other_optima(evaluator, [end for _, *ends in found for end in ends])
        starts = [[each.coordinates.tolist() for each in start] for start in found[:count]]
        new = {"starts": [*state["starts"], *starts], "drawn": drawn + fresh, "work": works}
        return state | new | {"other_optima": others}


def _minimised_at_once(evaluator: Evaluator, points: Sequence[Reals], work: float) -> list[list[Evaluation]]:
    """These points, (count,) each, and where least squares from each ends, by ascending loss of that.

    It runs from as many as it can within so much work, those of the lowest loss; the others follow by their loss.
    """
    before = evaluator.work
    found = [each for each in evaluator.linearise_all(points) if each is not None]
    found.sort(key=lambda each: each[0].loss)
    of_one = (evaluator.work - before) / max(len(points), 1)
    begun = found[: int(work / MIN_GRADIENTS / max(of_one, 1.0))]
    ends = lowest_by_least_squares(evaluator, begun, steps=CANDIDATE_STEPS, most_work=before + work)
    followed = sorted(zip(begun, ends, strict=True), key=lambda each: each[1].loss)
    return [[start, end] for (start, _), end in followed] + [[start] for start, _ in found[len(begun) :]]


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


def _with_other_optima(evaluator: Evaluator, ends: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """Add those ends to the evaluator's other optima that are elsewhere than all of them and the best point.

    Returns all of them as JSON.
    """
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
    evaluator.other_optima = found[:MAX_OTHER_OPTIMA]
    return [other.model_dump() for other in evaluator.other_optima]


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
