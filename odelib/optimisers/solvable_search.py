"""The search for a point that can be evaluated, if the guess cannot.

The solution may blow up there, take too many steps, or have a value that is not finite.
Points of Sobol's sequence are tried, half of them over the intervals from which `multi_start` takes its starts, half of
them over wider ones, and the best of the first few that can be evaluated is kept.
"""

from __future__ import annotations

from collections import Counter
from itertools import chain

from odelib.errors import SolveError
from odelib.objective.objective import Evaluation, NotFinite, Objective
from odelib.optimisers.evaluator import min_trial_steps
from odelib.optimisers.multi_start import candidate_points

POINTS = 64  # over each kind of interval
ENOUGH = 8  # points that could be evaluated, of which the best is kept
STEPS_FACTOR = 5  # times the least that a trial may take, as there is no good point to compare with

REASONS = {  # by the code of a `SolveError`
    "max_steps": "the solver used all the steps allowed in this search",
    "step_too_small": "the solver's step became too small",
    "not_finite": "the solution, an observable, the loss or its derivative was not finite",
    "too_many_events": "an event happened more often than its 'most' allows",
    "endless_events": "an event happened at ever shorter intervals",
    "sliding": "the solution slid along a comparison at which a rate jumps",
    "not_settled": "no steady state was reached before the start",
    "before_start": "a dose or change lay before the start of its experiment",
    "dose": "a dose had a time, amount, duration, rate or interval without meaning",
    "change": "a change had a time that was not finite",
}


class SolvableSearch:
    """The search, and what it tried: the number of points `tried`, and of those that `failed`."""

    def __init__(self, objective: Objective, seed: int) -> None:
        self._objective, self._seed = objective, seed
        self._codes: Counter[str] = Counter()
        self.tried = 0

    @property
    def failed(self) -> int:
        """How many points could not be evaluated."""
        return self._codes.total()

    def run(self) -> Evaluation | None:
        """The best of the first points that can be evaluated; None if there is none. Raises `StopRequested`."""
        unknowns, found = self._objective.unknowns, []
        near, far = (candidate_points(unknowns, POINTS, self._seed, wide=wide) for wide in (False, True))
        with self._objective.step_limit(STEPS_FACTOR * min_trial_steps(self._objective)):
            for point in chain.from_iterable(zip(near, far, strict=True)):
                self.tried += 1
                try:
                    found.append(self._objective.evaluate(point))
                except (SolveError, NotFinite) as error:
                    self._codes[error.code if isinstance(error, SolveError) else "not_finite"] += 1
                if len(found) == ENOUGH:
                    break
        return min(found, key=lambda evaluation: evaluation.loss, default=None)

    def describe(self) -> str:
        """A sentence, and a space, on what was tried and the commonest reason why it failed; empty if nothing was."""
        if not self.tried:
            return ""
        code, count = self._codes.most_common(1)[0]
        return (
            f"None of {self.tried} other points within the bounds, or around the guesses where there are no bounds, "
            f"can be evaluated either; at {count} of them {REASONS[code]}. "
        )
