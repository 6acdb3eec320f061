"""Training of networks: segments first, then the whole series under less and less weight decay.

Over the whole series an untrained network is far from the data, and the loss has many local minima. Multiple shooting
trains it on short segments that start from the data, and closes the gaps between them (see `multiple_shooting`). From
there Levenberg–Marquardt follows the regularisation path: the minimum of loss + λ·Σw² for one smaller weight decay λ
after the other. The held-out data choose the point on it. That is early stopping, but by how large the weights may be
rather than by the number of steps, which would depend on the optimiser.

Held-out data are few, and their loss is flat near its minimum, so that they choose a λ too large by a factor of 10 as
often as not. Inputs and outputs are scaled so that weights have the size 1, which bounds λ: points under a decay that
says more about the weights than N(0, 1) does are passed, but not kept.

With thousands of weights there is only Adam, over the whole series; the held-out data end it.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from odelib.arrays import Reals
from odelib.objective.objective import Evaluation, Objective
from odelib.optimisers.adam import Adam
from odelib.optimisers.base import StopCode
from odelib.optimisers.convergence import is_already_converged
from odelib.optimisers.evaluator import Evaluator, TrialFailed
from odelib.optimisers.least_squares import Accuracy, levenberg_marquardt
from odelib.optimisers.multiple_shooting.optimiser import ShootingSolver
from odelib.problem.stages import AdamStage, TrainingStage

SHOOTING_STEPS = 60
MAX_SEGMENTS = 100  # of each series: the untrained network is right nowhere, and can be so only over a short time
FIRST_DECAY, FIRST_OVER_NOISE = (
    1e-3,
    100.0,
)  # λ, of the variance of the data, and of what multiple shooting leaves of it
LAST_DECAY = 1e-7  # of the first
DECAY_FACTOR = 10**-0.5  # from one λ to the next
MAX_DECAY = 0.3  # λ of a point that is kept, of the variance of the noise
MAX_UNKNOWNS = 1_500  # beyond it, Adam: Levenberg-Marquardt takes count³ operations a step, and all derivatives
STEPS_PER_LOOK, MAX_LOOKS = 10, 10  # steps of Adam from one look at the held-out data to the next; looks without a gain
STEPS_PER_DECAY = 15
NEGLIGIBLE, SLOW = 1e-4, 1e-3  # of the loss: gains that are not worth a step on the path
PATIENCE, WORSE = 3, 1.05  # how many λ may have a held-out loss so many times the lowest before the path ends


class Training:
    """Training with the settings of a request's stage."""

    kind: ClassVar[str] = "training"

    def __init__(self, settings: TrainingStage) -> None:
        self.steps = settings.steps

    def run(self, evaluator: Evaluator) -> StopCode:
        """See `Optimiser.run`. Its state is that of multiple shooting, or the place on the path; see `_Path`."""
        state = evaluator.optimiser_state or {}
        if "path" in state:
            return _Path(evaluator, self.steps, state["path"]).follow()
        if evaluator.unknowns.count > MAX_UNKNOWNS:
            return _Descent(evaluator, self.steps).run()
        best = evaluator.best
        start = _shoot(evaluator, self.steps, state.get("shooting")) or best
        if not evaluator.objective.held_out or not evaluator.unknowns.is_weight.any():
            return _minimise(evaluator, start, self.steps)
        return _Path(evaluator, self.steps, _start_of_path(evaluator, start)).follow()


def _shoot(evaluator: Evaluator, steps: int, saved: dict[str, Any] | None) -> Evaluation | None:
    """Multiple shooting from the best point; None where it fails."""
    apart = evaluator.apart(lambda state: evaluator.step({"shooting": state}))
    solver = ShootingSolver(apart, evaluator.best.coordinates, np.inf, MAX_SEGMENTS)
    return solver.run(min(SHOOTING_STEPS, steps) - evaluator.counts.steps, saved)


def _minimise(evaluator: Evaluator, start: Evaluation, steps: int) -> StopCode:
    """Minimise the loss itself, where nothing is held out that could end the training."""
    try:
        at, gauss_newton = evaluator.linearise(start.coordinates)
    except TrialFailed:
        return "solve_failed"
    return levenberg_marquardt(evaluator, at, gauss_newton, steps=steps - evaluator.counts.steps).code


class _Ended(Exception):
    """Leaves Adam's loop: the held-out data have been described worse for a while."""


class _Descent:
    """Adam over the whole series, for so many weights that their second derivatives cannot be held.

    Its state is Adam's, the lowest held-out loss so far (None if infinite), and how many looks since had a higher one.
    """

    def __init__(self, evaluator: Evaluator, steps: int) -> None:
        self._evaluator, self._steps = evaluator, steps
        saved = evaluator.optimiser_state
        held_out = evaluator.objective.held_out_loss(evaluator.best) if evaluator.objective.held_out else math.inf
        self._state = saved or {"adam": None, "held_out": held_out if math.isfinite(held_out) else None, "worse": 0}

    def run(self) -> StopCode:
        """Step until the held-out data are described worse and worse, or the steps are used."""
        apart = self._evaluator.apart(self._step)
        apart.optimiser_state, apart.counts.steps = self._state["adam"], self._evaluator.counts.steps
        self._apart = apart
        try:
            return Adam(AdamStage(kind="adam", steps=self._steps)).run(apart)
        except _Ended:
            return "early_stopped"

    def _step(self, adam: dict[str, Any] | None) -> None:
        evaluator, at = self._evaluator, self._apart.latest
        self._state = {**self._state, "adam": adam}
        if not evaluator.objective.held_out:
            if at.loss < evaluator.best.loss:
                evaluator.adopt(at)
        elif (evaluator.counts.steps + 1) % STEPS_PER_LOOK == 0:
            self._look(at)
        evaluator.step(self._state)
        if self._state["worse"] >= MAX_LOOKS:
            raise _Ended

    def _look(self, at: Evaluation) -> None:
        """Keep the point if it describes the held-out data best so far."""
        loss, lowest = self._evaluator.objective.held_out_loss(at), self._state["held_out"]
        if math.isfinite(loss) and (lowest is None or loss <= lowest):
            self._evaluator.adopt(at)
            self._state |= {"held_out": loss, "worse": 0}
        else:
            self._state["worse"] += 1


def _start_of_path(evaluator: Evaluator, start: Evaluation) -> dict[str, Any]:
    """The state of a `_Path` that begins at a point, and has to be better than the best one so far."""
    objective, best = evaluator.objective, evaluator.best
    output = objective.model_output(best.coordinates, best.states)
    spread = 2 * objective.measurements.loss_of_spread(output.model, output.scales)
    of_data = FIRST_DECAY * (spread or best.loss or 1.0) / max(objective.measurements.observations, 1)
    held_out = objective.held_out_loss(best)
    return {
        "first": min(of_data, FIRST_OVER_NOISE * _noise_variance(objective, start)) or of_data,
        "index": 0,
        "worse": 0,
        "judged": 0,
        "held_out": held_out if math.isfinite(held_out) else None,
        "coordinates": start.coordinates.tolist(),
    }


def _noise_variance(objective: Objective, at: Evaluation) -> float:
    """What a measurement adds to the loss at a point; ½ under a likelihood."""
    measurements = objective.measurements
    return 0.5 if measurements.is_likelihood else at.loss / max(measurements.observations, 1)


class _Path:
    """The minima under one weight decay after the other.

    state: the first weight decay, the index of the current one, the coordinates, the lowest held-out loss so far (None
    if infinite), how many points were judged by theirs, and how many of the last ones were worse.
    """

    def __init__(self, evaluator: Evaluator, steps: int, state: dict[str, Any]) -> None:
        self._evaluator, self._objective = evaluator, evaluator.objective
        self._steps, self._state = steps, state
        self._own_decay = float(evaluator.unknowns.weight_decay[evaluator.unknowns.is_weight].min())

    def follow(self) -> StopCode:
        """Go along the path until the held-out data are described worse and worse; return why it ended."""
        code: StopCode = "finished"
        while not self._is_at_end():
            end = self._minimise(np.array(self._state["coordinates"]))
            code = "finished" if end else "solve_failed"
            self._judge(end) if end else self._pass()
            if self._evaluator.counts.steps >= self._steps:
                code = "step_limit"
                break
        if is_already_converged(self._objective, self._evaluator.best):
            return "converged"
        return "early_stopped" if code != "step_limit" and self._state["judged"] else code

    def _is_at_end(self) -> bool:
        index = self._state["index"]
        is_least = self._decay(index) < LAST_DECAY * self._decay(0) or (
            index > 0 and self._decay(index - 1) <= self._own_decay
        )
        return is_least or self._state["worse"] >= PATIENCE

    def _decay(self, index: int) -> float:
        return float(self._state["first"] * DECAY_FACTOR**index)

    def _minimise(self, start: Reals) -> Evaluation | None:
        """The minimum under the current weight decay, roughly; evaluated without it. None if it cannot be solved."""
        decay = self._decay(self._state["index"])
        apart = self._evaluator.apart(lambda _: self._step(apart.latest))
        steps = min(STEPS_PER_DECAY, self._steps - self._evaluator.counts.steps)
        try:
            with self._objective.weight_decay(decay):
                at, gauss_newton = apart.linearise(start)
                # the damping is no stronger than the decay, in whose directions it would hardly move otherwise
                end = levenberg_marquardt(
                    apart,
                    at,
                    gauss_newton,
                    steps=steps,
                    accuracy=Accuracy(negligible=NEGLIGIBLE * abs(at.loss), slow=SLOW * abs(at.loss)),
                    first_damping=decay,
                )
            return apart.linearise(end.evaluation.coordinates)[0]
        except TrialFailed:
            return None

    def _step(self, at: Evaluation) -> None:
        """Count a step; another attempt continues from where it led."""
        self._evaluator.step({"path": {**self._state, "coordinates": at.coordinates.tolist()}})

    def _pass(self) -> None:
        """Go on to the next weight decay from the same point: under this one the equations could not be solved."""
        self._state = {**self._state, "index": self._state["index"] + 1, "worse": self._state["worse"] + 1}

    def _judge(self, end: Evaluation) -> None:
        """Keep the point if it describes the held-out data best so far, and go on to the next weight decay."""
        decay, lowest = self._decay(self._state["index"]), self._state["held_out"]
        self._state = {
            **self._state,
            "coordinates": end.coordinates.tolist(),
            "index": self._state["index"] + 1,
        }
        if decay > max(MAX_DECAY * _noise_variance(self._objective, end), self._own_decay):
            return
        self._state["judged"] += 1
        loss = self._objective.held_out_loss(end)
        if math.isfinite(loss) and (lowest is None or loss <= lowest):
            self._evaluator.adopt(end)
            self._state |= {"held_out": loss, "worse": 0}
        elif lowest is not None and loss - lowest > (WORSE - 1) * abs(lowest):
            self._state["worse"] += 1
