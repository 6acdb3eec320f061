"""Several starts: each is followed by multiple shooting and least squares, and the best end stands.

The starts are the caller's guess, the best point so far, and points spread over the bounds, or around the guess where
there are none (Sobol's sequence, scrambled by the request's seed). Many points are looked at once, and the best of them
run on; a start that cannot be solved harms no other.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from scipy.stats import qmc

from odelib.arrays import Reals
from odelib.objective.objective import Evaluation
from odelib.objective.unknowns import Unknowns
from odelib.optimisers.base import StopCode
from odelib.optimisers.evaluator import Evaluator, TrialFailed
from odelib.optimisers.least_squares import descend
from odelib.optimisers.multiple_shooting.optimiser import ShootingSearch
from odelib.problem.stages import MultiStartStage
from odelib.result import has_reached

LOOKED_AT = 4  # points for each start that is run
AROUND = 5.0  # by which factor a positive guess may be wrong where there are no bounds
SHOOTING_STEPS = 50
AGREED = 5  # the guess and the best point so far, which end where they did before, and three more


class MultiStart:
    """Several starts with the settings of a request's stage."""

    kind: ClassVar[str] = "multi_start"

    def __init__(self, settings: MultiStartStage, seed: int) -> None:
        self.settings = settings
        self.steps = settings.starts  # one step is one start
        self.seed = seed

    def run(self, evaluator: Evaluator) -> StopCode:
        """See `Stage.run`. Its memory is the starts that are left, and where the others ended."""
        if self.settings.when == "doubtful" and evaluator.memory is None and evaluator.is_trustworthy():
            return "converged"
        memory = evaluator.memory or {"starts": [start.tolist() for start in self._starts(evaluator)], "ends": []}
        starts = [np.array(start) for start in memory["starts"]]
        ends: list[float | None] = memory["ends"]
        evaluator.ends = [loss for loss in ends if loss is not None]
        while starts and not self._agree(evaluator):
            end = self._run_one(evaluator, starts.pop(0))
            ends = [*ends, None if end is None else end.loss]
            evaluator.ends = [loss for loss in ends if loss is not None]
            evaluator.step({"starts": [start.tolist() for start in starts], "ends": ends})
        return "finished" if evaluator.ends else "solve_failed"

    def _agree(self, evaluator: Evaluator) -> bool:
        """Whether so many starts have reached the best loss that a doubt is settled."""
        reached = sum(has_reached(loss, evaluator.best.loss) for loss in evaluator.ends)
        return self.settings.when == "doubtful" and reached >= AGREED

    def _run_one(self, evaluator: Evaluator, start: Reals) -> Evaluation | None:
        """Where a start ends; None where it cannot be solved.

        Multiple shooting comes near the best point from anywhere, and where that is right no more is needed. It may as
        well lead all starts into the same odd valley, so there each goes downhill by itself too.
        """
        inner = evaluator.nested()
        found = ShootingSearch(inner, start).run(SHOOTING_STEPS)
        end = None if found is None else self._downhill(inner, found.coordinates)
        if end is not None and has_reached(end.loss, evaluator.best.loss) and not evaluator.may_be_local_minimum():
            return end
        ends = [end, self._downhill(inner, start)]
        return min((end for end in ends if end is not None), key=lambda end: end.loss, default=None)

    def _downhill(self, evaluator: Evaluator, start: Reals) -> Evaluation | None:
        try:
            at, curvature = evaluator.linearise(start)
        except TrialFailed:
            return None
        return descend(evaluator, at, curvature, steps=self.settings.steps).end

    def _starts(self, evaluator: Evaluator) -> list[Reals]:
        """The guess, the best point, and the best of the points looked at."""
        unknowns, count = evaluator.unknowns, self.settings.starts
        first = [unknowns.start] + (
            [] if np.array_equal(unknowns.start, evaluator.best.coordinates) else [evaluator.best.coordinates]
        )
        others = max(count - len(first), 0)
        looked_at = []
        for point in spread(unknowns, others * LOOKED_AT, self.seed):
            try:
                looked_at.append(evaluator.nested().evaluate(point))
            except TrialFailed:
                continue
        looked_at.sort(key=lambda evaluation: evaluation.loss)
        return [*first[:count], *(evaluation.coordinates for evaluation in looked_at[:others])]


def spread(unknowns: Unknowns, count: int, seed: int) -> list[Reals]:
    """Points over the unknowns' bounds, in the logarithm where these are positive, or around the guess."""
    if not count:
        return []
    sampler = qmc.Sobol(max(unknowns.count, 1), rng=np.random.default_rng(seed))
    unit = sampler.random_base2(int(np.ceil(np.log2(count))))[:count]
    columns = [_column(unit[:, i], *limits) for i, limits in enumerate(_regions(unknowns))]
    return [
        unknowns.clip(unknowns.coordinates(dict(zip(unknowns.names, row, strict=True))))
        for row in zip(*columns, strict=True)
    ]


def _regions(unknowns: Unknowns) -> list[tuple[float, float]]:
    """Between which values each unknown is sought, in the caller's units."""
    regions = []
    low, high = (unknowns.free_values(bound) for bound in (unknowns.lower, unknowns.upper))
    for name, guess in zip(unknowns.names, unknowns.guess.tolist(), strict=True):
        if np.isfinite(low[name]) and np.isfinite(high[name]):
            regions.append((low[name], high[name]))
        elif guess > 0:
            regions.append((max(guess / AROUND, low[name]), min(guess * AROUND, high[name])))
        else:
            reach = (AROUND - 1) * max(abs(guess), 0.1)
            regions.append((max(guess - reach, low[name]), min(guess + reach, high[name])))
    return regions


def _column(unit: Reals, low: float, high: float) -> list[float]:
    values = low * (high / low) ** unit if low > 0 else low + (high - low) * unit
    return [float(value) for value in values]
