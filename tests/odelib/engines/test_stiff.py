"""Stiff systems: states and sensitivities against variational equations, and the switching between methods."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from odelib import ODELayer
from odelib.engines.base import Sensitivities
from tests.odelib.engines.variational import stiff_reference
from tests.systems import STIFF

Array = NDArray[np.float64]
OUTPUTS = 5


def tensor(values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def layer_of(name: str, method: str = "auto", rtol: float = 1e-10, atol: float = 1e-14) -> ODELayer:
    return ODELayer(STIFF[name].definition, engine="compiled", method=method, rtol=rtol, atol=atol)


def sensitivities(name: str, method: str = "auto", rtol: float = 1e-10) -> Sensitivities:
    example = STIFF[name]
    layer = layer_of(name, method, rtol, rtol * 1e-4)
    times = torch.linspace(0, example.end, OUTPUTS, dtype=torch.float64)
    return layer.sensitivities(times, tensor(example.state_values), tensor(example.parameter_values))


@pytest.mark.parametrize("method", ["auto", "kvaerno5"])
@pytest.mark.parametrize("name", STIFF)
def test_states_and_sensitivities_are_those_of_the_variational_equations(name: str, method: str) -> None:
    expected_states, expected = stiff_reference(name, OUTPUTS)
    found = sensitivities(name, method)
    np.testing.assert_allclose(found.states, expected_states, rtol=1e-6, atol=1e-20)
    computed = np.concatenate([found.by_initial_state, found.by_parameters], axis=2)
    largest = np.abs(expected).max(axis=0)  # of every curve; derivatives change their sign
    assert (np.abs(computed - expected) <= 1e-6 * largest + 1e-30).all()


@pytest.mark.parametrize("method", ["auto", "kvaerno5"])
def test_the_sensitivity_to_a_parameter_of_any_magnitude_is_controlled(method: str) -> None:
    """Robertson's parameters are 0.04, 3e7 and 1e4: in units of each its sensitivity keeps to the tolerance."""
    expected_states, expected = stiff_reference("Robertson", OUTPUTS)
    found = sensitivities("Robertson", method, rtol=1e-6)
    values = np.array(STIFF["Robertson"].parameter_values)
    error = np.abs(found.by_parameters - expected[:, :, 3:]) * values
    assert (error <= 1e-4 * np.abs(expected_states).max(axis=0)[:, None]).all()


@cache
def between_and_at_ends(name: str) -> tuple[Array, Array, Array]:
    """States at times within steps, at the same times as ends of a solve, and exact."""
    example = STIFF[name]
    rates, parameters = example.rates(), np.array(example.parameter_values)
    layer = layer_of(name, "kvaerno5", 1e-7, 1e-13)
    times = np.linspace(0, example.end, 9)
    start = tensor(example.state_values)
    between = layer(tensor(times), start, tensor(parameters)).numpy()
    ends = [layer(tensor([0.0, time]), start, tensor(parameters))[1].numpy() for time in times[1:]]
    exact = solve_ivp(
        lambda t, y: rates(t, y, parameters), (0, example.end), example.state_values, method="Radau", rtol=1e-9,
        atol=1e-18, t_eval=times,
    ).y.T  # fmt: skip
    return between[1:], np.array(ends), exact[1:]


@pytest.mark.parametrize("name", ["Robertson", "HIRES", "van der Pol, mu = 1000", "Oregonator"])
def test_dense_output_is_as_accurate_for_stiff_components_as_for_others(name: str) -> None:
    between, ends, exact = between_and_at_ends(name)
    error = np.abs(between / exact - 1).max(axis=0)
    at_ends = np.abs(ends / exact - 1).max(axis=0)
    assert error.max() < 5e-6
    assert at_ends.max() < 2e-6
    assert error.max() <= 20 * error.min() + 20 * at_ends.max()


class TestSwitching:
    def test_a_nonstiff_system_stays_with_the_explicit_method(self) -> None:
        layer = ODELayer({"states": ["x", "v"], "equations": {"x": "v", "v": "-x"}}, engine="compiled")
        layer(tensor([0.0, 100.0]), tensor([1.0, 0.0]), torch.empty(0))
        assert layer.engine.methods_used == ("dopri5",)

    def test_tight_tolerances_start_with_the_method_of_high_order(self) -> None:
        layer = ODELayer("lotka-volterra", engine="compiled", rtol=1e-10, atol=1e-12)
        layer(tensor([0.0, 5.0]), tensor([1.0, 1.0]), tensor([1.5, 1.0, 1.0, 3.0]))
        assert layer.engine.methods_used == ("dop853",)

    def test_a_stiff_system_is_handed_to_the_implicit_method(self) -> None:
        system = STIFF["Robertson"].definition
        layer = ODELayer(system, engine="compiled", atol=1e-10, max_steps=2000)  # explicit ones would need millions
        states = layer(tensor([0.0, 1e4]), tensor([1.0, 0.0, 0.0]), tensor([0.04, 3e7, 1e4]))
        assert layer.engine.methods_used == ("dopri5", "kvaerno5")
        assert states[1].sum().item() == pytest.approx(1, abs=1e-6)

    def test_it_is_handed_back_where_stiffness_ends(self) -> None:
        """Stiff before t = 10, an oscillation after it."""
        definition = {
            "states": ["x", "v", "w"],
            "equations": {
                "w": "where(t < 10, 10000, 0.01)*(cos(t) - w)",
                "x": "v",
                "v": "-where(t < 10, 0.01, 100)*x",
            },
        }
        layer = ODELayer(definition, engine="compiled", rtol=1e-6, atol=1e-9, max_steps=20_000)
        states = layer(tensor([0.0, 10.0, 20.0]), tensor([1.0, 0.0, 1.0]), torch.empty(0)).numpy()
        assert layer.engine.methods_used == ("dopri5", "kvaerno5")
        rates = solve_ivp(
            lambda t, y: [y[1], -(0.01 if t < 10 else 100) * y[0], (10000 if t < 10 else 0.01) * (np.cos(t) - y[2])],
            (0, 10), [1, 0, 1], method="Radau", rtol=1e-9, atol=1e-12,
        )  # fmt: skip
        # as accurate as a step over the jump: 1e-5 to 3e-4, as the steps happen to lie
        np.testing.assert_allclose(states[1], rates.y[:, -1], rtol=1e-3)
