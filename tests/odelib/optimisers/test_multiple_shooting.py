"""Multiple shooting: derivatives, states from the data, and optima found from distant guesses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from odelib.fitting import fit
from odelib.objective.objective import Objective
from odelib.optimisers.multiple_shooting.normal_equations import NormalEquations
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


def columns_of(segments: Segments, count: int, inner_index: int | None) -> list[int]:
    """Where the coordinates and the initial state of a segment are among all variables."""
    if inner_index is None:
        return list(range(count))
    first = count + inner_index * segments.state_count
    return [*range(count), *range(first, first + segments.state_count)]


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

    columns = [columns_of(segments, len(start), index) for index in segments.inner_index]
    jacobian = np.zeros((sum(map(len, at.jacobians.values())) + at.gaps.size, len(everything)))
    for offset, of_observable in zip((0, len(at.jacobians["prey"])), at.jacobians.values(), strict=True):
        for rows, own in zip(segments.rows, columns, strict=True):
            jacobian[offset + rows.start : offset + rows.stop, own] = of_observable[rows, : len(own)]
    gaps = jacobian[-at.gaps.size :].reshape(*at.gaps.shape, -1)
    for b, index in enumerate(segments.inner_index):
        if index is not None:
            own = columns[b - 1]
            gaps[index][:, own] = at.end_jacobian[index][:, : len(own)]
            gaps[index][:, columns[b][len(start) :]] = -np.eye(2)
    for column in range(len(everything)):
        step = np.zeros(len(everything))
        step[column] = 1e-5
        expected = (outputs(everything + step) - outputs(everything - step)) / 2e-5
        np.testing.assert_allclose(jacobian[:, column], expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("upper", [np.inf, 1e-3])
def test_a_condensed_step_is_that_of_the_dense_matrix(upper: float) -> None:
    """Two series of three and two segments, three coordinates and two states."""
    rng, count, n, gap_weight = np.random.default_rng(3), 3, 2, 1e4
    inner_indices, units = [None, 0, 1, None, 2], np.array([0.5, 2.0])
    size = count + 3 * n
    residuals, gaps = NormalEquations.zeros(count, 3, n), NormalEquations.zeros(count, 3, n)
    rows: list[Array] = []
    right_side: list[Array] = []

    def columns(index: int | None) -> list[int]:
        return [*range(count), *([] if index is None else range(count + index * n, count + index * n + n))]

    for b, index in enumerate(inner_indices):
        own, residual = rng.normal(size=(6, count + n)), rng.normal(size=6)
        residuals.add_residuals(residual, own, index)
        row = np.zeros((6, size))
        row[:, columns(index)] = own[:, : len(columns(index))]
        rows, right_side = [*rows, row], [*right_side, residual]
        if index is not None:
            before, end, gap = inner_indices[b - 1], rng.normal(size=(n, count + n)), rng.normal(size=n)
            gaps.add_gap(gap, end, units, index, before)
            row = np.zeros((n, size))
            row[:, columns(before)] = end[:, : len(columns(before))]
            row[:, columns(index)[count:]] = -np.diag(1 / units)
            rows, right_side = [*rows, row * np.sqrt(gap_weight)], [*right_side, gap * np.sqrt(gap_weight)]
    variable_units = rng.uniform(0.1, 10, size)
    jacobian = np.concatenate(rows) * variable_units
    matrix, gradient = jacobian.T @ jacobian, jacobian.T @ np.concatenate(right_side)
    damped = matrix + 1e-3 * np.diag(np.diag(matrix))
    wanted = -np.linalg.solve(damped, gradient)
    if at_bound := [i for i in range(count) if wanted[i] > upper]:
        free = [i for i in range(size) if i not in at_bound]
        wanted[at_bound] = upper
        rest = gradient[free] + damped[np.ix_(free, at_bound)] @ wanted[at_bound]
        wanted[free] = -np.linalg.solve(damped[np.ix_(free, free)], rest)
        assert wanted[:count].max() <= upper
    equations = residuals.plus(gaps, gap_weight).scaled(variable_units[:count], variable_units[count:].reshape(3, n))
    step, inner_step = equations.step(1e-3, np.full(count, -np.inf), np.full(count, upper))
    np.testing.assert_allclose(np.concatenate([step, inner_step.reshape(-1)]), wanted, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("growth", [1e160, np.inf, np.nan])
def test_equations_that_are_not_finite_give_no_step(growth: float) -> None:
    """Two segments after the first; the square of 1e160 is too large for a double."""
    equations = NormalEquations.zeros(2, 2, 2)
    for index in range(2):
        with np.errstate(all="ignore"):
            equations.add_gap(np.ones(2), np.full((2, 4), growth), np.ones(2), index, index - 1 if index else None)
    with np.errstate(all="ignore"), pytest.raises(np.linalg.LinAlgError):
        equations.step(1e-3, np.full(2, -np.inf), np.full(2, np.inf))


def test_equations_without_a_step_are_tried_again_with_more_damping(monkeypatch: pytest.MonkeyPatch) -> None:
    step, dampings = NormalEquations.step, list[float]()

    def fail_at_first(self: NormalEquations, damping: float, *bounds: NDArray[np.float64]) -> Any:
        dampings.append(damping)
        if len(dampings) <= 2:
            raise np.linalg.LinAlgError
        return step(self, damping, *bounds)

    request = LOTKA_VOLTERRA | {"data": simulated(LOTKA_VOLTERRA, TIMES), "stages": SHOOT}
    best = fit(parse_problem(request))
    monkeypatch.setattr(NormalEquations, "step", fail_at_first)
    assert fit(parse_problem(request)).loss == pytest.approx(best.loss, rel=1e-6)
    assert dampings[0] < dampings[1] < dampings[2]


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


DOUBTFUL = [{"kind": "least_squares", "steps": 50}, {"kind": "multiple_shooting", "when": "doubtful"}]


def test_after_a_local_minimum_it_starts_from_the_guess_and_ends_below_it() -> None:
    data = simulated(LOTKA_VOLTERRA, TIMES)
    best = fit(parse_problem(LOTKA_VOLTERRA | {"data": data, "stages": [{"kind": "least_squares"}]}))
    guesses = {"parameters": {"alpha": 4.5, "beta": 1 / 3, "gamma": 3.0, "delta": 1.0}}
    result = fit(parse_problem(LOTKA_VOLTERRA | {"data": data, "stages": DOUBTFUL} | guesses))
    assert result.stages[0].loss > 100 * best.loss
    assert result.stages[1].steps > 0
    assert result.loss == pytest.approx(best.loss, rel=1e-3)


def test_an_optimum_beyond_doubt_is_left_alone() -> None:
    data = simulated(LOTKA_VOLTERRA, TIMES)
    result = fit(parse_problem(LOTKA_VOLTERRA | {"data": data, "stages": DOUBTFUL}))
    assert [stage.stopped.code for stage in result.stages] == ["converged", "converged"]
    assert result.stages[1].gradients == 0


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


def sixty_decays(times: Array, values: Array, stages: list[dict[str, Any]]) -> dict[str, Any]:
    names = [f"x{i}" for i in range(60)]
    return {
        "system": {"states": names, "parameters": ["k"], "equations": {n: f"-k*{n}" for n in names}},
        "data": {"times": times.tolist(), "values": {"x0": values.tolist()}},
        "parameters": {"k": 0.6},
        "initial_state": {name: {"guess": 1.0, "fixed": True} for name in names},
        "stages": stages,
    }


def test_a_system_that_is_too_large_is_left_to_the_other_stages() -> None:
    times = np.linspace(0, 1, 9000)
    result = fit(parse_problem(sixty_decays(times, np.exp(-0.7 * times), SHOOT)))
    assert [stage.stopped.code for stage in result.stages] == ["too_large", "converged"]
    assert result.parameters["k"].value == pytest.approx(0.7, rel=1e-5)


def test_a_doubt_does_not_bring_what_costs_many_gradients_a_step() -> None:
    times = np.linspace(0, 1, 100)
    values = np.exp(-0.7 * times) + 0.05 * np.sin(20 * times)
    result = fit(parse_problem(sixty_decays(times, values, DOUBTFUL)))
    assert [stage.stopped.code for stage in result.stages] == ["converged", "too_large"]
    assert result.stages[1].gradients == 0


def test_fifty_states_and_one_unknown_take_no_derivatives_by_all_states() -> None:
    """From outside: the default plan took 86 s, 78 of them in multiple shooting."""
    path = Path(__file__).parents[2] / "faults" / "diffusion-50-states.json"
    result = fit(parse_problem(json.loads(path.read_text("utf-8"))))
    assert result.outcome.code == "converged"
    assert result.parameters["D"].value == pytest.approx(0.0099666, abs=1e-7)
    assert {stage.kind: stage.gradients for stage in result.stages}["multiple_shooting"] == 0
