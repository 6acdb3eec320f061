"""What an optimiser is: it starts at the best point so far, improves on it, and reports why it stopped."""

from __future__ import annotations

from typing import ClassVar, Literal, Protocol

from odelib.optimisers.evaluator import Evaluator

StopCode = Literal["converged", "step_limit", "no_progress", "solve_failed", "finished", "too_large", "early_stopped"]

STOP_MESSAGES: dict[StopCode, str] = {
    "converged": "the stage reached an optimum: any further gain is negligible compared with the noise",
    "step_limit": "the stage used all its steps",
    "no_progress": "the stage found no better point in the directions it tried, although it has not reached an optimum",
    "finished": "the stage is complete; the stages after it continue from the best point",
    "too_large": "the problem is too large for this stage; the stages after it continue from where it started",
    "early_stopped": "the held-out data are described best at this point: from there on the networks follow the noise",
    "solve_failed": "the equations could not be solved at any of the points that the stage tried",
}


class Optimiser(Protocol):
    """An optimiser with the settings of its stage.

    kind: its name in a request. steps: how often it calls `evaluator.step` at most, for the progress that is reported.
    """

    kind: ClassVar[str]
    steps: int

    def run(self, evaluator: Evaluator) -> StopCode:
        """Improve on `evaluator.best`, and return why it stopped.

        It evaluates points only by `evaluator.evaluate` and `evaluator.linearise`, and goes on if these raise
        `TrialFailed`. After each step it calls `evaluator.step`. If an earlier attempt was interrupted,
        `evaluator.optimiser_state` is the state that was last passed to `evaluator.step`; otherwise it is None.
        """
        ...
