"""Adam (Kingma and Ba, 2015), in the caller's units or their logarithm, projected onto the bounds."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from odelib.arrays import Reals
from odelib.objective.objective import Evaluation
from odelib.optimisers.base import StopCode
from odelib.optimisers.evaluator import Evaluator, TrialFailed
from odelib.problem.stages import AdamStage

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8  # the article's and everybody's
RETREATS = 20


class Adam:
    """Adam with the settings of a request's stage."""

    kind: ClassVar[str] = "adam"

    def __init__(self, settings: AdamStage) -> None:
        self.steps = settings.steps
        self.learning_rate = settings.learning_rate

    def run(self, evaluator: Evaluator) -> StopCode:
        """See `Stage.run`. A point that cannot be solved is approached from the last good one, halfway each time."""
        if evaluator.memory is None and evaluator.is_done():
            return "converged"
        first, second = np.zeros(evaluator.unknowns.count), np.zeros(evaluator.unknowns.count)
        current = evaluator.best
        if memory := evaluator.memory:
            first, second = np.array(memory["first_moment"]), np.array(memory["second_moment"])
            current = _taken_up(evaluator, np.array(memory["coordinates"]))
        while evaluator.counts.steps < self.steps:
            step = evaluator.counts.steps + 1
            first = BETA_1 * first + (1 - BETA_1) * current.gradient
            with np.errstate(over="ignore"):  # a slope beyond 1e154 stands still, and the outcome says so
                second = BETA_2 * second + (1 - BETA_2) * current.gradient**2
            mean, variance = first / (1 - BETA_1**step), second / (1 - BETA_2**step)
            move = self.learning_rate * mean / (np.sqrt(variance) + EPSILON)
            moved = _evaluate_towards(evaluator, current, evaluator.unknowns.clip(current.coordinates - move))
            if moved is None:
                return "solve_failed"
            current = moved
            evaluator.step(
                {
                    "first_moment": first.tolist(),
                    "second_moment": second.tolist(),
                    "coordinates": current.coordinates.tolist(),
                }
            )
        return "step_limit"


def _taken_up(evaluator: Evaluator, coordinates: Reals) -> Evaluation:
    try:
        return evaluator.evaluate(coordinates)
    except TrialFailed:  # it could be solved where the earlier attempt ran
        return evaluator.best


def _evaluate_towards(evaluator: Evaluator, current: Evaluation, target: Reals) -> Evaluation | None:
    for _ in range(RETREATS):
        try:
            return evaluator.evaluate(target)
        except TrialFailed:
            target = (current.coordinates + target) / 2
    return None
