"""Gradients against central differences, and states against an independent solver."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from odelib import ODELayer
from odelib.objective.objective import Objective
from odelib.problem.catalogue import CATALOGUE
from odelib.problem.request import parse_problem
from odelib.problem.resolved import resolve
from tests.engines import ENGINES
from tests.problems import reference, window

Array = NDArray[np.float64]
TIGHT = {"rtol": 1e-10, "atol": 1e-12}


def central_differences(function: Callable[[Array], float], at: Array) -> Array:
    """The gradient by steps of 1e-5·|p|, 1e-5 where p is 0."""
    gradient = np.empty_like(at)
    for i in range(len(at)):
        step = 1e-5 * abs(at[i]) or 1e-5
        up, down = at.copy(), at.copy()
        up[i] += step
        down[i] -= step
        gradient[i] = (function(up) - function(down)) / (up[i] - down[i])
    return gradient


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("system", CATALOGUE)
def test_layer_gradient_of_states_and_parameters_is_the_central_difference(system: str, engine: str) -> None:
    # one method for both: between two points a method of order 8 may change its few steps, which differences feel
    layer = ODELayer(system, engine=engine, method="dopri5", **TIGHT)
    example = CATALOGUE[system].example
    assert example is not None
    times = torch.linspace(0, window(system), 9, dtype=torch.float64)
    states = [example.initial_state[name] for name in layer.system.states]
    parameters = [example.parameters[name] for name in layer.system.parameters]
    point = np.array(states + parameters)
    weights = torch.tensor(np.random.default_rng(1).uniform(0.5, 1.5, (9, len(states))))

    def loss(values: torch.Tensor) -> torch.Tensor:
        return (weights * layer(times, values[: len(states)], values[len(states) :])).sum()

    def number(values: Array) -> float:
        with torch.no_grad():
            return loss(torch.tensor(values)).item()

    at = torch.tensor(point, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(at), at)
    expected = central_differences(number, point)
    np.testing.assert_allclose(gradient.numpy(), expected, rtol=1e-6, atol=0)


OBJECTIVES = {
    "lotka-volterra, log scales": {
        "system": "lotka-volterra",
        "data": {
            "times": [0.5, 1.0, 1.0, 2.5],
            "start_time": 0.0,
            "values": {"prey": [1.2, None, 1.4, 3.0], "predator": [0.6, 0.4, 0.5, None]},
            "sigma": {"prey": 0.1, "predator": [0.1, 0.2, 0.1, 0.3]},
        },
        "parameters": {
            "alpha": {"guess": 1.4, "scale": "log"},
            "beta": {"guess": 1.1, "scale": "log", "lower": 0.1, "upper": 9.0},
            "gamma": {"guess": 1.0, "fixed": True},
            "delta": 2.8,
        },
        "initial_state": {"prey": "alpha/(1 + beta)", "predator": {"guess": 1.0, "scale": "log"}},
    },
    "kuramoto, observables": {
        "system": "kuramoto",
        "data": {"times": [0.0, 1.0, 2.0, 4.0], "values": {"re": [0.1, 0.3, 0.2, None], "im": [0.0, 0.1, 0.2, 0.4]}},
        "parameters": {"omega0": 6.1, "gamma": {"guess": 0.12, "scale": "log"}, "beta": 0.0, "K": 0.9},
        "initial_state": {"psi": "0.1*beta", "R": "gamma + order/10"},
    },
    "an oscillator, constants of the series": {
        "system": {
            "states": ["psi", "R"],
            "parameters": ["w", "g"],
            "constants": {"K": 1.0},
            "equations": {"psi": "w + K*R**2/2 + 0.1*t", "R": "-g*R + K*R*(1 - R**2)/2"},
        },
        "data": {"times": [0.0, 2.0, 3.0], "values": {"R": [0.1, 0.3, 0.5], "psi": [0, 5, 9]}, "constants": {"K": 1.2}},
        "parameters": {"w": 2.0, "g": {"guess": 0.1, "lower": 0.01, "upper": 1.0, "scale": "log"}},
        "initial_state": {"psi": 0.0, "R": "0.05 + exp(-K)*g"},
    },
    "a gene, where and powers": {
        "system": {
            "states": ["x", "y"],
            "parameters": ["a", "n"],
            "equations": {"x": "a - where(x > 9, x, x**2/2) + max(y, 0.1)", "y": "x**n/(1 + x**n) - y"},
            "observables": {"total": "x + 2*y", "x": "x"},
        },
        "data": {"times": [0.0, 0.5, 1.5], "values": {"total": [0.3, 1.0, 3.0], "x": [0.2, None, 1.2]}},
        "parameters": {"a": 1.0, "n": {"guess": 2.0, "scale": "log"}},
        "initial_state": {"x": 0.2, "y": "0.2*a"},
    },
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_objective_gradient_is_the_central_difference(name: str, engine: str) -> None:
    problem = parse_problem(OBJECTIVES[name] | {"solver": {"engine": engine, "method": "dopri5"} | TIGHT})
    objective = Objective(resolve(problem), torch.device("cpu"))
    start = objective.unknowns.start
    gradient = objective.evaluate(start).gradient
    expected = central_differences(lambda at: objective.evaluate(at).loss, start)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("system", CATALOGUE)
def test_states_agree_with_an_independent_solver(system: str, engine: str) -> None:
    layer = ODELayer(system, engine=engine, **TIGHT)
    example = CATALOGUE[system].example
    assert example is not None
    times = np.linspace(0, window(system), 23)
    states = [example.initial_state[name] for name in layer.system.states]
    parameters = [example.parameters[name] for name in layer.system.parameters]
    with torch.no_grad():
        solved = layer(torch.tensor(times), torch.tensor(states), torch.tensor(parameters)).numpy()
    np.testing.assert_allclose(solved, reference(system, times, states, parameters), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_derivatives_of_the_observables_are_their_central_differences(name: str) -> None:
    problem = parse_problem(OBJECTIVES[name] | {"solver": {"method": "dopri5"} | TIGHT})
    objective = Objective(resolve(problem), torch.device("cpu"))
    unknowns, trajectories = objective.unknowns, objective.trajectories

    def observed(at: Array, observable: str) -> Array:
        with torch.no_grad():
            parameters, states = unknowns.values(at)
            return trajectories.observe(trajectories.states(parameters, states), parameters)[observable].numpy()

    for observable, derivatives in trajectories.linearise(unknowns.start)[2].items():
        for row, found in enumerate(derivatives):
            of = central_differences(lambda at, o=observable, row=row: float(observed(at, o)[row]), unknowns.start)
            np.testing.assert_allclose(found, of, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("engine", ENGINES)
def test_sensitivities_are_the_gradients_of_every_state_at_every_time(engine: str) -> None:
    layer = ODELayer("lotka-volterra", engine=engine, rtol=1e-8, atol=1e-10)
    times = torch.tensor([0.0, 0.4, 0.4, 1.0], dtype=torch.float64)
    start = torch.tensor([1.0, 0.9], dtype=torch.float64, requires_grad=True)
    parameters = torch.tensor([1.5, 1.0, 1.1, 3.0], dtype=torch.float64, requires_grad=True)
    found = layer.sensitivities(times, start, parameters)
    states = layer(times, start, parameters)
    np.testing.assert_allclose(found.states, states.detach().numpy(), rtol=1e-6)
    for t in range(4):
        for i in range(2):
            by_start, by_parameters = torch.autograd.grad(states[t, i], [start, parameters], retain_graph=True)
            np.testing.assert_allclose(found.by_initial_state[t, i], by_start.numpy(), rtol=1e-5, atol=1e-9)
            np.testing.assert_allclose(found.by_parameters[t, i], by_parameters.numpy(), rtol=1e-5, atol=1e-9)
