"""States and gradients of the compiled engine against torchdiffeq, at tight tolerances, system by system."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from odelib import ODELayer
from odelib.problem.catalogue import CATALOGUE
from tests.engines import COMPILED_METHODS
from tests.problems import window
from tests.systems import SYSTEMS, Example

Array = NDArray[np.float64]
OUTPUTS = 4


def example_of(name: str) -> Example:
    """A catalogue system in the same form; constants become parameters and are differentiated too."""
    if name in SYSTEMS:
        return SYSTEMS[name]
    system = CATALOGUE[name]
    assert system.example is not None
    return Example(
        {state: expression.text for state, expression in system.equations.items()},
        system.example.initial_state,
        {**{p: system.example.parameters[p] for p in system.parameters}, **system.constants},
        window(name),
    )


def solve(example: Example, engine: str, method: str, rtol: float, atol: float) -> tuple[Array, Array]:
    """The states (T, n), and the gradient of a weighted sum of them by initial state and parameters."""
    layer = ODELayer(example.definition, engine=engine, method=method, rtol=rtol, atol=atol)
    times = torch.linspace(0, example.end, OUTPUTS, dtype=torch.float64)
    initial = torch.tensor(example.state_values, dtype=torch.float64, requires_grad=True)
    parameters = torch.tensor(example.parameter_values, dtype=torch.float64, requires_grad=True)
    states = layer(times, initial, parameters)
    weights = torch.tensor(np.random.default_rng(5).uniform(0.5, 1.5, states.shape))
    gradients = torch.autograd.grad((weights * states).sum(), (initial, parameters))
    return states.detach().numpy(), torch.cat(gradients).numpy()


@pytest.mark.parametrize("name", [*CATALOGUE, *SYSTEMS])
def test_states_and_gradients_are_those_of_torchdiffeq(name: str) -> None:
    example = example_of(name)
    states, gradient = solve(example, "compiled", "auto", 1e-11, 1e-13)
    expected_states, expected_gradient = solve(example, "torchdiffeq", "dopri8", 1e-10, 1e-12)
    np.testing.assert_allclose(states, expected_states, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-6, atol=0)


@pytest.mark.parametrize("method", COMPILED_METHODS)
@pytest.mark.parametrize("name", ["toggle switch", "all functions", "Duffing, driven"])
def test_every_method_has_the_same_states_and_gradients(name: str, method: str) -> None:
    example = SYSTEMS[name]
    states, gradient = solve(example, "compiled", method, 1e-10, 1e-12)
    expected_states, expected_gradient = solve(example, "compiled", "dop853", 1e-12, 1e-14)
    np.testing.assert_allclose(states, expected_states, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-6, atol=0)


@pytest.mark.parametrize("method", COMPILED_METHODS)
def test_gradients_are_exact_across_a_kink_of_the_equations(method: str) -> None:
    """x' = max(x, 1): a line up to 1, at t = 1 - x₀, then an exponential."""
    layer = ODELayer(
        {"states": ["x"], "parameters": ["k"], "equations": {"x": "k*max(x, 1)"}},
        engine="compiled", method=method, rtol=1e-10, atol=1e-12,
    )  # fmt: skip
    initial = torch.tensor([0.25], dtype=torch.float64, requires_grad=True)
    rate = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
    final = layer(torch.tensor([0.0, 2.0], dtype=torch.float64), initial, rate)[1, 0]
    gradients = torch.autograd.grad(final, (initial, rate))
    expected = np.exp(2.0 - 0.75)  # x = exp(k·t - (1 - x₀))
    np.testing.assert_allclose(final.item(), expected, rtol=1e-7)
    np.testing.assert_allclose([g.item() for g in gradients], [expected, 2 * expected], rtol=1e-7)
