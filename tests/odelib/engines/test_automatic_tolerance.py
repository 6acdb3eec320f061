"""`atol: "auto"`: units, states that begin at 0, states far below any fixed atol."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import gammainc

from odelib import ODELayer
from odelib.engines.base import DifferentiateBy, SolverOptions, never
from odelib.engines.compiled.kernels import Solved, kernels_of
from odelib.problem.checks.system import build_system
from odelib.problem.solver import AbsoluteTolerance
from odelib.problem.system import SystemDefinition
from tests.systems import STIFF

Array = NDArray[np.float64]


def solved(
    equations: dict[str, str], start: list[float], parameters: dict[str, float], times: Array,
    atol: AbsoluteTolerance = "auto", method: str = "auto", max_steps: int = 100_000,
) -> Solved:  # fmt: skip
    definition = SystemDefinition(states=list(equations), parameters=list(parameters), equations=equations)
    by = DifferentiateBy(tuple(range(len(start))), tuple(range(len(parameters))))
    options = SolverOptions(method, 1e-6, atol, max_steps)
    kernels = kernels_of(build_system(definition))
    return kernels.solve(times[None], np.array([start]), np.array([list(parameters.values())]), by, options, never)


BINDING = {"E": "-kon*E*(S0 - C - P) + (koff + kcat)*C", "C": "kon*E*(S0 - C - P) - (koff + kcat)*C", "P": "kcat*C"}
RATES = {"kon": 1e7, "koff": 337.922, "kcat": 105.7148, "S0": 5e-5}


@pytest.mark.parametrize("atol", ["auto", 1e-8])
@pytest.mark.parametrize("method", ["auto", "kvaerno5"])
def test_what_the_equations_keep_is_kept(method: str, atol: AbsoluteTolerance) -> None:
    """An enzyme of 1e-9 mol/L, far below an atol of 1e-8."""
    found = solved(BINDING, [1e-9, 0.0, 0.0], RATES, np.array([0.0, 300.0, 600.0]), atol, method)
    states = found.states[0]
    assert not found.failures
    np.testing.assert_allclose(states[:, 0] + states[:, 1], 1e-9, rtol=1e-12)
    assert states[-1, 2] == pytest.approx(2.766905e-5, rel=1e-5)


@pytest.mark.parametrize("unit", [2.0**-40, 2.0**40])
@pytest.mark.parametrize("time_unit", [2.0**-30, 1.0, 2.0**30])
def test_units_change_nothing(unit: float, time_unit: float) -> None:
    example = STIFF["Robertson"]
    k1, k2, k3 = example.parameter_values
    times = np.array([0.0, 1.0, 100.0])
    here = solved(dict(example.equations), example.state_values, dict(example.parameters), times)
    rates = {"k1": k1 / time_unit, "k2": k2 / time_unit / unit, "k3": k3 / time_unit / unit}
    there = solved(dict(example.equations), [unit * v for v in example.state_values], rates, times * time_unit)
    np.testing.assert_array_equal(there.states / unit, here.states)
    np.testing.assert_array_equal(there.sensitivities[..., :3], here.sensitivities[..., :3])


def test_a_chain_of_reactions_needs_no_more_steps_than_with_a_fixed_tolerance() -> None:
    """The k-th product begins like t^k."""
    n = 30
    equations = {f"y{i}": (f"k*y{i - 1} " if i else "") + f"- k*y{i}" for i in range(n)}
    times = np.array([0.0, 25.0])
    found = solved(equations, [1.0] + [0.0] * (n - 1), {"k": 1.0}, times, max_steps=150)
    assert not found.failures
    poisson = np.exp(-25.0) * np.cumprod([1.0, *(25.0 / np.arange(1, n))])
    np.testing.assert_allclose(found.states[0, -1], poisson, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("method", ["auto", "kvaerno5"])
@pytest.mark.parametrize("rate", [10.0, 1e4])
def test_what_diffuses_into_empty_cells_from_outside_needs_few_steps(method: str, rate: float) -> None:
    """No state feeds the first cell, and at the end the sensitivities vanish in a steady state."""
    n = 40
    padded = ["1", *(f"c{i}" for i in range(n)), "0"]
    equations = {f"c{i}": f"D*({padded[i]} - 2*c{i} + {padded[i + 2]})" for i in range(n)}
    times = np.array([0.0, 1.0, 2500.0 / rate + 1.0])
    found = solved(equations, [0.0] * n, {"D": rate}, times, method=method, max_steps=600)
    assert not found.failures
    if rate == 1e4:
        np.testing.assert_allclose(found.states[0, -1], 1 - np.arange(1, n + 1) / (n + 1), rtol=1e-5)


@pytest.mark.parametrize("depth", [1, 4])
def test_a_constant_infusion_fills_compartments_as_accurately_as_any_start(depth: int) -> None:
    equations = {f"x{i}": (f"x{i - 1}" if i else "r") + f" - x{i}" for i in range(depth)}
    times = np.array([0.0, 1e-3, 0.1, 1.0, 10.0])
    found = solved(equations, [0.0] * depth, {"r": 1e-9}, times, max_steps=200)
    expected = 1e-9 * gammainc(depth, times)
    np.testing.assert_allclose(found.states[0, :, -1], expected, rtol=2e-5, atol=1e-6 * expected[-1])


def test_the_tail_of_what_began_at_zero_is_resolved_like_any_other() -> None:
    """Its tolerance while it rises, 1e-6 of what feeds it, would hide its tail."""
    times = np.array([0.0, 1.0, 16.0])
    found = solved({"a": "-2*a", "b": "2*a - b"}, [1.0, 0.0], {}, times)
    np.testing.assert_allclose(found.states[0, -1, 1], 2 * np.exp(-16.0), atol=1e-7 * 0.5)


class TestTorchdiffeq:
    """The same rules where the steps run in Python."""

    @pytest.mark.parametrize("unit", [2.0**-40, 2.0**40])
    @pytest.mark.parametrize("time_unit", [2.0**-30, 2.0**30])
    def test_units_change_nothing(self, unit: float, time_unit: float) -> None:
        def states(unit: float, time_unit: float) -> Array:
            system = {"states": ["a", "b", "c"], "parameters": ["k"], "constants": {"time": time_unit},
                      "equations": {"a": "-k*a/time", "b": "(k*a - b)/time", "c": "b/time"}}  # fmt: skip
            layer = ODELayer(system, engine="torchdiffeq")
            times = torch.tensor([0.0, 1.0, 5.0]) * time_unit
            return layer(times, torch.tensor([unit, 0.0, 0.0]), torch.tensor([2.0])).numpy() / unit

        np.testing.assert_array_equal(states(unit, time_unit), states(1.0, 1.0))

    def test_sensitivities_agree_with_those_of_the_compiled_engine(self) -> None:
        definition = {"states": ["x", "y", "z"], "parameters": ["k", "nothing"],
                      "equations": {"x": "-k*x", "y": "k*x - y + nothing*x", "z": "y"}}  # fmt: skip
        arguments = torch.linspace(0, 8, 5), torch.tensor([1e-9, 0.0, 0.0]), torch.tensor([2.0, 0.0])
        found, expected = (ODELayer(definition, engine=name) for name in ("torchdiffeq", "compiled"))
        found._sensitivity_engine = found.engine
        here, there = found.sensitivities(*arguments), expected.sensitivities(*arguments)
        np.testing.assert_allclose(here.states, there.states, atol=1e-6 * 1e-9)
        np.testing.assert_allclose(here.by_parameters, there.by_parameters, atol=1e-5 * 1e-9)

    def test_a_batch_has_tolerances_of_its_own_for_each_member(self) -> None:
        layer = ODELayer({"states": ["x", "y"], "equations": {"x": "-x", "y": "x - 2*y"}}, engine="torchdiffeq")
        start = torch.tensor([[1.0, 0.0], [1e-12, 0.0], [0.0, 0.0]])
        states = layer(torch.tensor([0.0, 3.0]), start, torch.empty(0))[:, -1].numpy()
        end = np.array([np.exp(-3.0), np.exp(-3.0) - np.exp(-6.0)])
        np.testing.assert_allclose(states, start[:, :1].numpy() * end, rtol=1e-5)

    def test_a_chain_of_reactions_ends(self) -> None:
        n = 12
        equations = {f"y{i}": (f"y{i - 1} " if i else "") + f"- y{i}" for i in range(n)}
        layer = ODELayer({"states": list(equations), "equations": equations}, engine="torchdiffeq", max_steps=200)
        states = layer(torch.tensor([0.0, 10.0]), torch.tensor([1.0] + [0.0] * (n - 1)), torch.empty(0))
        poisson = np.exp(-10.0) * np.cumprod([1.0, *(10.0 / np.arange(1, n))])
        np.testing.assert_allclose(states[-1].numpy(), poisson, rtol=1e-4, atol=1e-7)

    def test_what_diffuses_into_empty_cells_from_outside_ends(self) -> None:
        n = 12
        padded = ["1", *(f"c{i}" for i in range(n)), "0"]
        equations = {f"c{i}": f"50*({padded[i]} - 2*c{i} + {padded[i + 2]})" for i in range(n)}
        layer = ODELayer({"states": list(equations), "equations": equations}, engine="torchdiffeq", max_steps=600)
        states = layer(torch.tensor([0.0, 2.0]), torch.zeros(n), torch.empty(0))
        np.testing.assert_allclose(states[-1].numpy(), 1 - np.arange(1, n + 1) / (n + 1), rtol=2e-2)


def test_a_state_that_is_at_rest_until_later_is_resolved() -> None:
    equations = {"x": "max(0, t - 5)", "y": "x"}
    found = solved(equations, [0.0, 0.0], {}, np.array([0.0, 7.0]))
    assert not found.failures
    np.testing.assert_allclose(found.states[0, -1], [2.0, 4.0 / 3.0], rtol=1e-4)


def test_fast_components_that_only_the_sensitivities_show_are_found_stiff() -> None:
    """A state at its equilibrium does not move, and its sensitivity by the fast rate's target does."""
    equations = {"x": "k*(a - x)", "y": "-y"}
    found = solved(equations, [1.0, 1.0], {"k": 1e6, "a": 1.0}, np.array([0.0, 10.0]), 1e-8, max_steps=1000)
    assert not found.failures
    assert found.methods == ("dopri5", "kvaerno5")
    assert found.sensitivities[0, -1, 0, 3] == pytest.approx(1.0, rel=1e-6)
