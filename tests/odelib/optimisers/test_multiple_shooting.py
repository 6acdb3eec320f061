"""Multiple shooting: derivatives, states from the data, and optima found from distant guesses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from odelib.fitting import fit
from odelib.objective.objective import Objective
from odelib.optimisers.multiple_shooting.segments import Segments
from odelib.optimisers.multiple_shooting.state_estimates import StateEstimates
from odelib.problem.request import FitProblem, parse_problem
from odelib.problem.resolved import resolve
from odelib.problem.solver import Solver
from odelib.simulation.simulated_data import run_simulation

Array = NDArray[np.float64]
SHOOT = [{"kind": "multiple_shooting"}, {"kind": "least_squares"}]
LOTKA_VOLTERRA = {
    "system": "lotka-volterra",
    "parameters": {"alpha": 1.5, "beta": 1.0, "gamma": 1.0, "delta": 3.0},
    "initial_state": {"prey": 1.0, "predator": 1.0},
}
TIMES = np.linspace(0, 10, 51).tolist()


def simulated(request: dict[str, Any], times: list[float], noise: float = 0.05) -> dict[str, Any]:
    return run_simulation(request | {"data": {"times": times}}, noise=noise, seed=1).data


def objective_of(problem: FitProblem) -> Objective:
    tight = problem.model_copy(update={"solver": Solver(rtol=1e-10, atol=1e-12)})
    return Objective(resolve(tight), torch.device("cpu"))


def two_experiments() -> FitProblem:
    data = simulated(LOTKA_VOLTERRA, TIMES[:21])
    first = data | {"name": "a", "start_time": -0.5}
    second = {
        "name": "b",
        "times": data["times"][2:9],
        "values": {"prey": data["values"]["prey"][2:9]},
        "initial_state": {"predator": {"guess": 0.8, "scale": "log"}},
    }
    return parse_problem(
        {
            "system": "lotka-volterra",
            "experiments": [first, second],
            "parameters": {"alpha": {"guess": 1.4, "scale": "log"}, "beta": 1.1, "gamma": 0.9, "delta": 2.8},
            "per_experiment": ["beta"],
            "initial_state": {"prey": 1.1, "predator": "alpha/beta"},
        }
    )


def test_jacobians_of_observables_and_gaps_are_central_differences() -> None:
    objective = objective_of(two_experiments())
    segments = Segments(objective, 4)
    start = objective.unknowns.start
    rng = np.random.default_rng(0)
    inner = rng.uniform(0.5, 2, (segments.inner, 2))
    assert segments.inner == 6
    at = segments.linearise(start, inner)
    everything = np.concatenate([start, inner.reshape(-1)])

    def outputs(variables: Array) -> Array:
        found = segments.linearise(variables[: len(start)], variables[len(start) :].reshape(-1, 2))
        return np.concatenate([*found.observables.values(), found.gaps.reshape(-1)])

    jacobian = np.concatenate([*at.jacobians.values(), at.gap_jacobian.reshape(-1, len(everything))])
    for column in range(len(everything)):
        step = np.zeros(len(everything))
        step[column] = 1e-5
        expected = (outputs(everything + step) - outputs(everything - step)) / 2e-5
        np.testing.assert_allclose(jacobian[:, column], expected, rtol=1e-6, atol=1e-7)


class _Uncorrected:
    is_ambiguous = False

    def at(self, index: int, time: float, predicted: NDArray[np.float64]) -> NDArray[np.float64]:
        return predicted


def test_states_on_one_trajectory_leave_no_gaps_and_give_its_observables() -> None:
    objective = objective_of(two_experiments())
    segments = Segments(objective, 4)
    start = objective.unknowns.start
    _, inner = segments.start_states(start, _Uncorrected())
    at = segments.linearise(start, np.array(inner))
    np.testing.assert_allclose(at.gaps, 0, atol=1e-8)
    parameters, states = objective.unknowns.values(start)
    whole = objective.trajectories.observe(objective.trajectories.states(parameters, states), parameters)
    for name, column in whole.items():
        np.testing.assert_allclose(at.observables[name], column.numpy(), rtol=1e-7)


def test_states_follow_from_observables_and_angles_keep_turning() -> None:
    times = np.linspace(0, 10, 101)
    truth = {"omega0": 3.0, "gamma": 0.1, "beta": 0.1, "K": 1.0}
    request = {"system": "kuramoto", "parameters": truth, "initial_state": {"psi": 0.2, "R": 0.4}}
    simulation = run_simulation(request | {"data": {"times": times.tolist()}})
    problem = parse_problem(request | {"data": simulation.data})
    estimates = StateEstimates(objective_of(problem), np.array([3.0, 0.1, 0.1, 1.0, 0.2, 0.4]))
    state = np.array([0.2, 0.4])
    for i, time in enumerate(times):
        state = estimates.at(0, float(time), state)
        wanted = [simulation.data["values"][name][i] for name in ("re", "im")]
        assert [state[1] * np.cos(state[0]), state[1] * np.sin(state[0])] == pytest.approx(wanted, abs=1e-3)
    assert state[0] > 9 * np.pi


def test_an_angle_is_followed_through_all_turns_if_the_model_turns_three_times_too_fast() -> None:
    times = np.linspace(0, 20, 401)
    truth = {"omega0": 6.37, "gamma": 0.08, "beta": -0.02, "K": 0.85}
    request = {"system": "kuramoto", "parameters": truth, "initial_state": {"psi": 0.2, "R": 0.4}}
    problem = parse_problem(request | {"data": run_simulation(request | {"data": {"times": times.tolist()}}).data})
    objective = objective_of(problem)
    wrong = objective.unknowns.coordinates({**truth, "omega0": 3 * 6.37, "psi": 0.2, "R": 0.4})
    _, inner = Segments(objective, 20).start_states(wrong, StateEstimates(objective, wrong))
    with torch.no_grad():
        found = objective.trajectories.states(*objective.unknowns.values(objective.unknowns.start)).numpy()
    assert [state[0] for state in inner] == pytest.approx(found[20:400:20, 0], abs=0.05)


def test_states_that_the_observables_leave_open_stay_as_predicted() -> None:
    data = simulated(LOTKA_VOLTERRA, TIMES)
    del data["values"]["predator"]
    problem = parse_problem(LOTKA_VOLTERRA | {"data": data})
    estimates = StateEstimates(objective_of(problem), np.array([1.5, 1, 1, 3, 1, 1]))
    state = estimates.at(0, 2.0, np.array([7.0, 5.0]))
    assert state == pytest.approx([data["values"]["prey"][10], 5.0])
    assert estimates.at(0, 11.0, np.array([7.0, 5.0])) == pytest.approx([7.0, 5.0])  # after the last measurement


@pytest.mark.parametrize("factors", [(3, 1 / 3, 3, 1 / 3), (1 / 3, 3, 0.5, 2), (2, 2, 1 / 3, 1 / 3)])
def test_the_optimum_is_found_from_guesses_that_are_wrong_by_a_factor_of_three(factors: tuple[float, ...]) -> None:
    data = simulated(LOTKA_VOLTERRA, TIMES)
    best = fit(parse_problem(LOTKA_VOLTERRA | {"data": data, "stages": [{"kind": "least_squares"}]}))
    guesses = {n: v * f for (n, v), f in zip(LOTKA_VOLTERRA["parameters"].items(), factors, strict=True)}  # type: ignore[attr-defined]
    request = LOTKA_VOLTERRA | {"data": data, "parameters": guesses, "stages": SHOOT}
    result = fit(parse_problem(request | {"initial_state": {"prey": 2.5, "predator": 0.4}}))
    assert result.loss == pytest.approx(best.loss, rel=1e-4)
    assert result.outcome.code == "converged"
    assert [stage.stopped.code for stage in result.stages] == ["finished", "converged"]


def test_bounds_and_log_scales_are_respected() -> None:
    data = simulated(LOTKA_VOLTERRA, TIMES)
    parameters = {
        "alpha": {"guess": 0.6, "lower": 0.1, "upper": 1.4},
        "beta": {"guess": 3.0, "scale": "log"},
        "gamma": {"guess": 0.4, "scale": "log", "upper": 0.9},
        "delta": {"guess": 1.0, "lower": 0.0},
    }
    result = fit(parse_problem(LOTKA_VOLTERRA | {"data": data, "parameters": parameters, "stages": SHOOT}))
    assert 0.1 <= result.parameters["alpha"].value <= 1.4
    assert result.parameters["gamma"].value <= 0.9
    assert result.parameters["beta"].value > 0


def test_several_experiments_are_fitted_together() -> None:
    experiments = []
    for name, prey in (("a", 1.0), ("b", 2.0)):
        data = simulated(LOTKA_VOLTERRA | {"initial_state": {"prey": prey, "predator": 1.0}}, TIMES[:31])
        experiments.append(data | {"name": name})
    request = {"system": "lotka-volterra", "experiments": experiments, "stages": SHOOT}
    guesses = {"parameters": {"alpha": 0.5, "beta": 3.0, "gamma": 2.5, "delta": 1.0}}
    result = fit(parse_problem(request | guesses | {"initial_state": {"prey": 0.5, "predator": 2.0}}))
    assert {n: e.value for n, e in result.parameters.items()} == pytest.approx(LOTKA_VOLTERRA["parameters"], rel=0.05)
    assert [t.initial_state["prey"].value for t in result.trajectories] == pytest.approx([1.0, 2.0], abs=0.1)


def test_a_system_that_is_too_large_is_left_to_the_other_stages() -> None:
    names = [f"x{i}" for i in range(60)]
    times = np.linspace(0, 1, 2000)
    problem = parse_problem(
        {
            "system": {"states": names, "parameters": ["k"], "equations": {n: f"-k*{n}" for n in names}},
            "data": {"times": times.tolist(), "values": {"x0": np.exp(-0.7 * times).tolist()}},
            "parameters": {"k": 0.6},
            "initial_state": {name: {"guess": 1.0, "fixed": True} for name in names},
            "stages": SHOOT,
        }
    )
    result = fit(problem)
    assert [stage.stopped.code for stage in result.stages] == ["too_large", "converged"]
    assert result.parameters["k"].value == pytest.approx(0.7, rel=1e-5)
