"""The one loop that all stages share: evaluations counted, best point kept, progress and checkpoints told.

A stage drives; the loop stands between it and the objective, so that no stage has its own copy of these rules.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from odelib.errors import SolveError, StopReason, StopRequested
from odelib.information import information
from odelib.objective import Evaluation, NotFinite, Objective
from odelib.unknowns import Vector

CHECKPOINT_SECONDS = 0.25  # how often a step leaves a checkpoint, at most


class TrialFailed(Exception):
    """The point cannot be evaluated; `reason` says why. The best point stands."""

    def __init__(self, reason: SolveError | NotFinite) -> None:
        self.reason = reason
        super().__init__(str(reason))


@dataclass
class Counts:
    """What a stage has done so far."""

    steps: int = 0
    gradients: int = 0
    failed_solves: int = 0
    seconds: float = 0.0


class Loop:
    """One stage's dealings with the objective.

    best: the best evaluation so far, over all stages. counts: this stage's, over all attempts. memory: what the
    stage last said it could go on from.
    """

    def __init__(
        self,
        objective: Objective,
        best: Evaluation,
        counts: Counts,
        memory: dict[str, Any] | None,
        stop: Callable[[], StopReason | None],
        tell: Callable[[Loop], None],
    ) -> None:
        self.objective = objective
        self.unknowns = objective.unknowns
        self.best = best
        self.counts = counts
        self.memory = memory
        self._stop = stop
        self._tell = tell
        self._latest = best
        self._since = time.monotonic() - counts.seconds
        self._told = -np.inf

    def evaluate(self, coordinates: Vector) -> Evaluation:
        """Loss and gradient at a point within the bounds. Raises `TrialFailed`, and `StopRequested`."""
        if np.array_equal(coordinates, self._latest.coordinates):
            return self._latest
        if reason := self._stop():
            raise StopRequested(reason)
        self.counts.gradients += 1
        try:
            self._latest = self.objective.evaluate(coordinates)
        except (SolveError, NotFinite) as error:
            self.counts.failed_solves += 1
            raise TrialFailed(error) from error
        finally:
            self.counts.seconds = time.monotonic() - self._since
        if self._latest.loss < self.best.loss:
            self.best = self._latest
        return self._latest

    def step(self, memory: dict[str, Any] | None = None) -> None:
        """A step is done; `memory` is the optimiser's own, as JSON, from which it could go on."""
        self.counts.steps += 1
        self.memory = memory
        now = time.monotonic()
        self.counts.seconds = now - self._since
        if now - self._told >= CHECKPOINT_SECONDS:
            self._told = now
            self._tell(self)

    def threshold(self, loss: float) -> float:
        """Below which a predicted gain means that the optimum is reached.

        1e-3·s² with s² = loss/(observations − free unknowns), but not below what the solver's error makes of
        the loss of a perfect fit; which is not more than a millionth of the data's own squares, lest anything
        counts as perfect beside an atol as large as the data.
        """
        scored, options = self.objective.scored, self.objective.layer.options
        freedom = max(scored.observations - self.unknowns.count, 1)
        perfect = min(scored.solver_error(options.rtol, options.atol), 1e-6 * scored.squares)
        return max(1e-3 * loss / freedom, perfect)

    def nothing_to_gain(self) -> bool:
        """Whether the further gain that the Gauss–Newton matrix predicts at the best point is below the threshold.

        Raises `TrialFailed` where the matrix cannot be had.
        """
        return self._gauss_newton_gain(self.best) < self.threshold(self.best.loss)

    def _gauss_newton_gain(self, at: Evaluation) -> float:
        """½·gᵀBg with B the inverse of 2·JᵀJ; unknowns held at a bound and flat directions are left out."""
        scales = self.unknowns.magnitudes(at.coordinates)
        free = ~self.unknowns.held(at.coordinates, at.gradient)
        try:
            jacobian = self.objective.jacobian(at.coordinates) * scales
        except (SolveError, NotFinite) as error:
            raise TrialFailed(error) from error
        gradient = at.gradient * scales
        return float(0.25 * gradient @ information(jacobian, free).inverse @ gradient)
