"""A stage that is interrupted at any step and resumed ends where it would have ended."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from odelib.errors import StopRequested
from odelib.fitting import fit
from odelib.monitor import Checkpoint, Monitor
from odelib.problem.request import parse_problem
from odelib.result import FitResult
from odelib.simulation.simulated_data import run_simulation

LOTKA_VOLTERRA: dict[str, Any] = {
    "system": "lotka-volterra",
    "parameters": {"alpha": 1.5, "beta": 1.0, "gamma": 1.0, "delta": 3.0},
    "initial_state": {"prey": 1.0, "predator": 1.0},
}
TIMES = np.linspace(0, 10, 51).tolist()
pytestmark = pytest.mark.usefixtures("checkpoint_at_every_step")


class StopAt(Monitor):
    """Interrupts a fit at the first checkpoint at or after a stage and step."""

    def __init__(self, stage: int, step: int) -> None:
        super().__init__()
        self.position = stage, step

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "checkpoint" and value is not None and value.position >= self.position:
            super().__setattr__("stop", "interrupted")


def resumed(request: dict[str, Any], stage: int, step: int) -> FitResult:
    """The fit after an interruption there."""
    monitor = StopAt(stage, step)
    with pytest.raises(StopRequested):
        fit(parse_problem(request), monitor=monitor)
    assert monitor.checkpoint is not None
    assert monitor.checkpoint.position == (stage, step)
    return fit(parse_problem(request), resume=Checkpoint.from_json(monitor.checkpoint.to_json()))


def test_multiple_shooting_continues_with_its_segments() -> None:
    request = LOTKA_VOLTERRA | {
        "data": run_simulation(LOTKA_VOLTERRA | {"data": {"times": TIMES}}, noise=0.05, seed=1).data,
        "parameters": {"alpha": 0.5, "beta": 3.0, "gamma": 2.5, "delta": 1.0},
        "initial_state": {"prey": 0.5, "predator": 2.0},
        "stages": [{"kind": "multiple_shooting"}],
    }
    whole = fit(parse_problem(request))
    last = whole.stages[0].steps
    request["stages"] = [{"kind": "multiple_shooting", "steps": last}]  # so that nothing can be done twice
    for step in (1, last // 2, last - 1, last):
        again = resumed(request, 0, step)
        assert again.stages[0].steps == last
        assert again.loss == pytest.approx(whole.loss, rel=1e-9)


def test_all_starts_of_a_doubtful_fit_run_although_the_doubt_is_settled_meanwhile() -> None:
    decay = {"system": {"states": ["y"], "parameters": ["k"], "equations": {"y": "-k*y"}}, "initial_state": {"y": 1.0}}
    data = run_simulation(decay | {"parameters": {"k": 0.7}, "data": {"times": TIMES}}, noise=0.02, seed=1).data
    several = [{"kind": "multi_start", "starts": 4, "when": "doubtful"}]
    request = decay | {"data": data, "parameters": {"k": 0.3}, "stages": several}
    whole = fit(parse_problem(request)).stages[0]
    again = resumed(request, 0, 2).stages[0]
    assert again.steps == whole.steps == 4
    assert again.start_losses == pytest.approx(whole.start_losses)
