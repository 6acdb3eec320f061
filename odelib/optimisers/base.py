"""What a stage is: a start vector in; a better vector, and an honest reason for stopping, out."""

from __future__ import annotations

from typing import ClassVar, Literal, Protocol

from odelib.optimisers.evaluator import Evaluator

StopCode = Literal["converged", "step_limit", "no_progress", "solve_failed", "finished", "too_large"]

STOP_MESSAGES: dict[StopCode, str] = {
    "converged": "what could still be gained is far below the noise",
    "step_limit": "all steps of the stage were used",
    "no_progress": "no better point was found along the directions tried, and the optimum is not reached",
    "finished": "the stage has done what it does; the stages after it go on from there",
    "too_large": "the problem is too large for this stage; the stages after it go on from where it began",
    "solve_failed": "the equations could not be solved at any of the points tried",
}


class Stage(Protocol):
    """One optimiser with its settings."""

    kind: ClassVar[str]
    steps: int

    def run(self, evaluator: Evaluator) -> StopCode:
        """Improve on `evaluator.best`; evaluate through `evaluator.evaluate`, end each step with `evaluator.step`.

        `evaluator.memory` is what the stage last gave to `evaluator.step`, where an earlier attempt was interrupted.
        """
        ...
