"""Adam (Kingma and Ba, 2015), in the caller's units or their logarithm, projected onto the bounds."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from odelib.arrays import Reals
from odelib.objective.objective import Evaluation
from odelib.optimisers.base import StopCode
from odelib.optimisers.convergence import is_already_converged
from odelib.optimisers.evaluator import Evaluator, TrialFailed
from odelib.problem.stages import AdamStage

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8  # as in the paper
MAX_HALVINGS = 20


class Adam:
    """Adam with the settings of a request's stage."""

    kind: ClassVar[str] = "adam"

    def __init__(self, settings: AdamStage) -> None:
        self.steps = settings.steps
        self.learning_rate = settings.learning_rate

    def run(self, evaluator: Evaluator) -> StopCode:
        """See `Optimiser.run`. Its state is both moments and the current point, which need not be the best one."""
        state = evaluator.optimiser_state
        if state is None and is_already_converged(evaluator.objective, evaluator.best):
            return "converged"
        first, second = np.zeros(evaluator.unknowns.count), np.zeros(evaluator.unknowns.count)
        current = evaluator.best
        if state:
            first, second = np.array(state["first_moment"]), np.array(state["second_moment"])
            current = _resumed_point(evaluator, np.array(state["coordinates"]))
        unknowns = evaluator.unknowns
        learning_rate = np.where(unknowns.is_weight, unknowns.learning_rate, self.learning_rate)
        while evaluator.counts.steps < self.steps:
            # m = β₁·m + (1 − β₁)·g and v = β₂·v + (1 − β₂)·g², both divided by 1 − βᵗ because they start at 0
            t = evaluator.counts.steps + 1
            first = BETA_1 * first + (1 - BETA_1) * current.gradient
            with np.errstate(over="ignore"):  # where g² overflows, v is infinite and the unknown does not move
                second = BETA_2 * second + (1 - BETA_2) * current.gradient**2
            mean, variance = first / (1 - BETA_1**t), second / (1 - BETA_2**t)
            step = learning_rate * mean / (np.sqrt(variance) + EPSILON)
            moved = _evaluate_towards(evaluator, current, evaluator.unknowns.clip(current.coordinates - step))
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


def _resumed_point(evaluator: Evaluator, coordinates: Reals) -> Evaluation:
    try:
        return evaluator.evaluate(coordinates)
    except TrialFailed:  # solvable where the earlier attempt ran, such as on another machine
        return evaluator.best


def _evaluate_towards(evaluator: Evaluator, current: Evaluation, target: Reals) -> Evaluation | None:
    """Evaluate the target; while it cannot be solved, halve its distance. None if that never succeeds."""
    for _ in range(MAX_HALVINGS):
        try:
            return evaluator.evaluate(target)
        except TrialFailed:
            target = (current.coordinates + target) / 2
    return None
