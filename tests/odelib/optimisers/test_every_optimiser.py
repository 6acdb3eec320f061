"""What every optimiser must do, on small problems."""

from __future__ import annotations

from typing import Any

import pytest

from odelib.errors import StopRequested
from odelib.fitting import fit
from odelib.monitor import Checkpoint
from odelib.problem.request import parse_problem
from odelib.result import FitResult
from tests.optimisers import SLOW, STAGES
from tests.problems import decay_request
from tests.stopping import Stopper

every_optimiser = pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage["kind"])


def decay(stage: dict[str, Any], **changes: Any) -> FitResult:
    return fit(parse_problem(decay_request(stages=[stage], **changes)))


def test_every_optimiser_has_a_problem_that_keeps_it_busy() -> None:
    assert sorted(SLOW) == sorted(stage["kind"] for stage in STAGES)


@every_optimiser
def test_it_finds_the_optimum(stage: dict[str, Any]) -> None:
    result = decay(stage)
    assert result.outcome.code == "converged"
    assert result.parameters["k"].value == pytest.approx(0.7, rel=0.02)


@every_optimiser
def test_it_finds_the_optimum_on_a_log_scale(stage: dict[str, Any]) -> None:
    result = decay(stage, parameters={"k": {"guess": 0.4, "scale": "log"}})
    assert result.parameters["k"].value == pytest.approx(0.7, rel=0.02)


@every_optimiser
def test_it_stays_within_bounds_and_reaches_them(stage: dict[str, Any]) -> None:
    result = decay(stage, parameters={"k": {"guess": 0.4, "lower": 0.3, "upper": 0.5}})
    assert result.parameters["k"].value == 0.5
    assert result.outcome.code == "converged"


@every_optimiser
def test_it_survives_points_that_cannot_be_solved(stage: dict[str, Any]) -> None:
    # x' = k·x² from x = 1 is infinite at t = 1/k, and so can only be solved for k < 1/0.9
    times = [0.0, 0.3, 0.6, 0.9]
    result = decay(
        stage,
        system={"states": ["x"], "parameters": ["k"], "equations": {"x": "k*x**2"}},
        data={"times": times, "values": {"x": [1 / (1 - t) for t in times]}},
        parameters={"k": {"guess": 0.5, "lower": 0.0, "upper": 5.0}},
        initial_state={"x": {"guess": 1.0, "fixed": True}},
        solver={"max_steps": 2000},
    )
    assert result.parameters["k"].value == pytest.approx(1.0, rel=0.01)


@every_optimiser
def test_the_same_request_gives_the_same_answer(stage: dict[str, Any]) -> None:
    first, second = (decay(stage | {"steps": 8}) for _ in range(2))
    assert first.parameters == second.parameters
    assert first.trajectories == second.trajectories


@every_optimiser
@pytest.mark.usefixtures("checkpoint_at_every_step")
def test_cancelled_it_comes_back_with_its_best_point(stage: dict[str, Any]) -> None:
    problem = parse_problem(decay_request(stages=[stage], predictions=[{"name": "p", "times": [5.0]}]))
    result = fit(problem, monitor=Stopper(3, "cancelled"))
    assert result.outcome.code == "cancelled"
    assert result.stages[0].steps == 3
    assert result.stages[0].stopped.code == "cancelled"
    at_guess = decay(stage, parameters={"k": {"guess": 0.4, "fixed": True}})
    assert result.loss == result.stages[0].loss <= at_guess.loss * (1 + 1e-6)  # its steps may not have gained yet
    assert result.predictions is not None
    assert result.predictions[0].error is not None


@every_optimiser
@pytest.mark.usefixtures("checkpoint_at_every_step")
def test_interrupted_and_resumed_it_ends_at_the_same_point(stage: dict[str, Any]) -> None:
    problem = parse_problem(decay_request(stages=[stage]))
    whole, monitor = fit(problem), Stopper(2, "interrupted")
    with pytest.raises(StopRequested):
        fit(problem, monitor=monitor)
    assert monitor.checkpoint is not None
    resumed = fit(problem, resume=Checkpoint.from_json(monitor.checkpoint.to_json()))
    assert resumed.stages[0].steps > 2
    assert resumed.parameters["k"].value == pytest.approx(whole.parameters["k"].value, rel=1e-3)
