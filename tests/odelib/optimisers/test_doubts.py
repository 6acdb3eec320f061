"""Which residuals make a fit doubtful: those of a model that misses something, not those of its parameters' errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from odelib.errors import StopRequested
from odelib.fitting import fit, partial_result
from odelib.likelihood.residual_tests import structured
from odelib.objective.objective import Objective
from odelib.problem.request import FitProblem, parse_problem
from odelib.result import FitResult
from odelib.simulation.simulated_data import run_simulation
from tests.stopping import Stopper

TIMES = np.linspace(0.0, 6.0, 80)


def decay(activity_noise: float, missed: float, seed: int) -> FitProblem:
    """A decay whose concentration is measured exactly and whose activity roughly, without a sigma that says so.

    missed: the size of an oscillation of the concentration that the model does not have.
    """
    random = np.random.default_rng(seed)
    x = np.exp(-0.5 * TIMES)
    concentration = x + 3e-4 * random.standard_normal(len(TIMES)) + missed * np.sin(3 * TIMES)
    activity = 10 * x + activity_noise * random.standard_normal(len(TIMES))
    request: dict[str, Any] = {
        "system": {
            "states": ["x"],
            "parameters": ["k"],
            "equations": {"x": "-k*x"},
            "observables": {"concentration": "x", "activity": "10*x"},
        },
        "data": {
            "times": TIMES.tolist(),
            "values": {"concentration": concentration.tolist(), "activity": activity.tolist()},
        },
        "parameters": {"k": 1.0},
        "initial_state": {"x": 0.5},
        "stages": [{"kind": "least_squares"}],
    }
    return parse_problem(request)


def told(result: FitResult) -> set[str]:
    return {
        name for warning in result.warnings if warning.code == "structured_residuals" for name in warning.names or []
    }


def test_the_noise_of_one_observable_does_not_make_the_residuals_of_another_doubtful() -> None:
    """It moves k, and by that the concentration by more than its own noise."""
    fits = [fit(decay(0.5, 0.0, seed)) for seed in range(20)]
    columns = [result.trajectories[0].residuals["concentration"] for result in fits]
    assert sum(bool(structured([("concentration", column)])) for column in columns) > 10
    assert [told(result) for result in fits] == [set()] * 20


def test_what_the_model_misses_in_an_observable_is_told_beside_the_noise_of_another() -> None:
    fits = [fit(decay(0.5, 0.02, seed)) for seed in range(5)]
    assert [told(result) for result in fits] == [{"concentration"}] * 5


@pytest.mark.usefixtures("checkpoint_at_every_step")
def test_what_is_left_of_a_stopped_fit_is_judged_without_solving(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, monitor = decay(0.5, 0.02, 0), Stopper(1, "interrupted")
    with pytest.raises(StopRequested):
        fit(problem, monitor=monitor)
    assert monitor.checkpoint is not None

    def solve(*_: object) -> None:
        raise AssertionError("the equations are solved")

    monkeypatch.setattr(Objective, "information_blocks", solve)
    assert "concentration" in told(partial_result(problem, monitor.checkpoint, "interrupted"))


@pytest.mark.parametrize("noise", [None, {"x": {"distribution": "normal", "sigma": "estimate"}}, "given"])
def test_a_relaxation_oscillation_that_jumps_one_measurement_too_early_is_doubtful(noise: Any) -> None:
    """Van der Pol's oscillator near mu = 99 misses one measurement: a local minimum. 100 is right."""
    times = np.linspace(0, 300, 151)
    system = {"states": ["x", "y"], "parameters": ["mu"], "equations": {"x": "y", "y": "mu*(1 - x**2)*y - x"}}
    initial_state = {"x": {"guess": 2.0, "fixed": True}, "y": {"guess": 0.0, "fixed": True}}
    truth = {"system": system, "parameters": {"mu": 100.0}, "initial_state": initial_state}
    data = run_simulation(truth | {"data": {"times": times.tolist()}}, noise=0.05, seed=0).data
    extra = {} if noise in (None, "given") else {"noise": noise}
    if noise == "given":
        data["sigma"] = {"x": 0.07}
    data["values"] = {"x": data["values"]["x"]}
    stages = [{"kind": "least_squares"}]
    ends = [
        fit(parse_problem(truth | extra | {"data": data, "parameters": {"mu": mu}, "stages": stages}))
        for mu in (100.0, 99.0)
    ]
    assert ends[1].loss > ends[0].loss + 1
    assert [told(end) for end in ends] == [set(), {"x"}]
