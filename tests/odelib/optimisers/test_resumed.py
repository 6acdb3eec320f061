"""A stage that is interrupted at any step and resumed ends where it would have ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from odelib.errors import StopRequested
from odelib.fitting import fit
from odelib.monitor import Checkpoint, Monitor, Progress
from odelib.problem.request import parse_problem
from odelib.result import FitResult
from odelib.simulation.simulated_data import run_simulation
from odelib.uncertainty.profile_likelihood import ProfiledUnknown, Profiler

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


def test_all_starts_of_a_fit_that_remains_doubtful_run() -> None:
    """Only the product of the two rates is determined."""
    decay = {"system": {"states": ["y"], "parameters": ["a", "b"], "equations": {"y": "-a*b*y"}}}
    start = {"initial_state": {"y": 1.0}, "parameters": {"a": 0.7, "b": 1.0}}
    data = run_simulation(decay | start | {"data": {"times": TIMES}}, noise=0.02, seed=1).data
    several = [{"kind": "multi_start", "starts": 4, "when": "doubtful"}]
    request = decay | start | {"data": data, "parameters": {"a": 0.3, "b": 1.0}, "stages": several}
    whole = fit(parse_problem(request)).stages[0]
    again = resumed(request, 0, 2).stages[0]
    assert again.steps == whole.steps == 4
    assert again.start_losses == pytest.approx(whole.start_losses)


class Recorder(StopAt):
    """Keeps all progress."""

    def __init__(self, stage: int, step: int) -> None:
        super().__init__(stage, step)
        self.all: list[Progress] = []

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "progress" and value is not None:
            self.all.append(value)


def test_profiles_report_progress_and_those_that_are_done_are_not_computed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request = LOTKA_VOLTERRA | {
        "data": run_simulation(LOTKA_VOLTERRA | {"data": {"times": TIMES}}, noise=0.05, seed=1).data,
        "stages": [{"kind": "least_squares"}],
        "uncertainty": "profile",
    }
    undisturbed = Recorder(9, 9)
    whole = fit(parse_problem(request), monitor=undisturbed)
    of_profiles = [progress for progress in undisturbed.all if progress.stage == "profile"]
    assert [progress.step for progress in of_profiles] == list(range(7))
    assert {progress.steps for progress in of_profiles} == {6}
    fractions = [progress.fraction for progress in undisturbed.all]
    assert fractions == sorted(fractions)
    assert (of_profiles[0].fraction, of_profiles[-1].fraction) == (0.5, 1.0)

    monitor = Recorder(1, 2)
    with pytest.raises(StopRequested):
        fit(parse_problem(request), monitor=monitor)
    assert monitor.checkpoint is not None
    assert monitor.checkpoint.optimiser is not None
    done = monitor.checkpoint.optimiser["profiles"]
    assert 2 <= len(done) < 6

    computed: list[int] = []
    run = Profiler.run

    def recorded(self: Profiler, half_widths: Mapping[int, float | None]) -> Iterator[tuple[int, ProfiledUnknown]]:
        computed.extend(half_widths)
        return run(self, half_widths)

    monkeypatch.setattr(Profiler, "run", recorded)
    resume = Checkpoint.from_json(monitor.checkpoint.to_json())
    after = Recorder(9, 9)
    again = fit(parse_problem(request), monitor=after, resume=resume)
    assert len(computed) == 6 - len(done)
    assert after.all[0].stage == "profile"
    assert after.all[0].step == len(done)
    assert again.outcome == whole.outcome
    assert len(again.stages) == len(whole.stages) == 1
    assert again.profiles is not None
    assert whole.profiles is not None
    assert list(again.profiles) == list(whole.profiles)
    for name, profile in whole.profiles.items():
        assert again.profiles[name].values == pytest.approx(profile.values, rel=1e-6)
        assert again.profiles[name].losses == pytest.approx(profile.losses, rel=1e-6)
    for name, estimate in whole.parameters.items():
        assert again.parameters[name].lower_95 == pytest.approx(estimate.lower_95, rel=1e-6)


def test_a_better_optimum_that_a_profile_finds_has_later_checkpoints_than_the_one_before() -> None:
    """The request of a test of profiles: the loss has two minima, and the fit begins in the worse one."""
    request = {
        "system": {"states": ["x"], "parameters": ["a"], "equations": {"x": "0*a"}},
        "data": {"times": [0.0, 1.0, 2.0, 3.0], "values": {"x": [3.0, 3.1, 2.9, 3.0]}, "sigma": {"x": 1.0}},
        "parameters": {"a": -0.9},
        "initial_state": {"x": "3 - min((a + 1)**2 + 0.5, 0.05*(a - 4)**2)"},
        "uncertainty": "profile",
        "stages": [{"kind": "least_squares"}],
    }
    monitor = StopAt(2, 0)
    with pytest.raises(StopRequested):
        fit(parse_problem(request), monitor=monitor)
    assert monitor.checkpoint is not None
    resume = Checkpoint.from_json(monitor.checkpoint.to_json())
    assert resume.position == (2, 0)
    again = fit(parse_problem(request), resume=resume)
    assert again.outcome.code == "converged"
    assert again.parameters["a"].value == pytest.approx(4.0, abs=0.3)
    assert again.profiles is not None
