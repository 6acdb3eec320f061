"""Roots and broken powers of states that reach the border of their domain, and slopes that are infinite there."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from odelib import ODELayer, SolveError
from odelib.arrays import Reals

WAYS = [("compiled", "auto"), ("compiled", "dop853"), ("compiled", "kvaerno5"), ("torchdiffeq", "dopri5")]


@dataclass(frozen=True)
class Process:
    """A process that ends, with one state and the parameter k; its value at k·t, and where it ends in k·t."""

    equation: str
    initial: float
    k: float
    value: Callable[[Reals], Reals]
    end: float
    atol: float = 1e-8


def emptied(power: float, initial: float) -> Callable[[Reals], Reals]:
    """The solution of x' = -x^power by time: x^(1 - power) falls linearly to 0."""
    rest = 1 - power
    return lambda t: np.maximum(initial**rest - rest * t, 0.0) ** (1 / rest)


PROCESSES = {
    "a tank runs empty": Process("-k*sqrt(x)", 50.0, 0.18, emptied(0.5, 50.0), 2 * math.sqrt(50)),
    "a tank in micrometres": Process("-k*1e3*sqrt(x)", 5e7, 0.18, emptied(0.5, 50.0), 2 * math.sqrt(50), 1e-2),
    "a sphere dissolves": Process("-k*x**(2/3)", 2e-6, 0.01, emptied(2 / 3, 2e-6), 3 * 2e-6 ** (1 / 3), 1e-14),
    "a power that is a constant": Process("-k*x**n", 3.0, 2.0, emptied(0.4, 3.0), 3**0.6 / 0.6),
    "a pendulum comes to rest": Process("k*sqrt(1 - x**2)", 0.0, 0.5, lambda t: np.sin(np.minimum(t, np.pi / 2)), 1.57),
}


def layer_of(equation: str, engine: str, method: str, atol: float = 1e-8) -> ODELayer:
    definition = {"states": ["x"], "parameters": ["k"], "constants": {"n": 0.4}, "equations": {"x": equation}}
    return ODELayer(definition, engine=engine, method=method, atol=atol, max_steps=5000)


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(("engine", "method"), WAYS)
@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_is_solved_past_its_end(name: str, engine: str, method: str) -> None:
    process = PROCESSES[name]
    layer = layer_of(process.equation, engine, method, process.atol)
    kt = np.array([0.0, 0.4, 0.9, 1.0, 1.2, 3.0]) * process.end
    k = torch.tensor([process.k], dtype=torch.float64, requires_grad=True)
    states = layer(torch.from_numpy(kt / process.k), tensor(process.initial), k)[:, 0]

    unit = process.initial / process.value(np.zeros(1))[0] if process.initial else 1.0
    size = unit * process.value(kt).max()
    np.testing.assert_allclose(states.detach(), unit * process.value(kt), rtol=1e-4, atol=1e-5 * size)
    step = 1e-6
    slope = unit * (process.value(kt * (1 + step)) - process.value(kt * (1 - step))) / (2 * step)
    for place in (1, 2, 4, 5):
        (by_k,) = torch.autograd.grad(states[place], k, retain_graph=True)
        # backwards through torchdiffeq's steps, nothing controls the error of the derivatives
        error = (2e-3 if engine == "torchdiffeq" else 2e-4) * size
        assert by_k.item() * process.k == pytest.approx(slope[place], rel=1e-3, abs=error)


@pytest.mark.parametrize(("engine", "method"), WAYS)
def test_what_flows_out_of_one_tank_flows_into_the_next(engine: str, method: str) -> None:
    equations = {"a": "-k*sqrt(a)", "b": "k*sqrt(a) - k*sqrt(b)"}
    layer = ODELayer({"states": ["a", "b"], "parameters": ["k"], "equations": equations}, engine=engine, method=method)
    k = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
    states = layer(tensor(0.0, 1.0, 2.5, 6.0, 20.0), tensor(1.0, 0.0), k)

    assert states[1, 0].item() == pytest.approx(0.25, abs=1e-5)
    assert states[1, 1].item() > 0.2
    np.testing.assert_allclose(states[-1].detach(), 0.0, atol=1e-5)
    (by_k,) = torch.autograd.grad(states[1, 0], k, retain_graph=True)
    assert by_k.item() == pytest.approx(-0.5, abs=1e-4)  # a = (1 - k·t/2)²
    assert torch.autograd.grad(states[-1].sum(), k)[0].isfinite().all()


OUT = {  # equation, initial value, when, and what the message says
    "-k + 0*sqrt(x)": (1.0, 1.0, "sqrt(x) has no finite value for x = -1", "max(x, 0)"),
    "-k*(x - 0.5)**0.5 - 0.01": (1.0, 1.32927, "(x - 0.5)**0.5 has no", "max(x - 0.5, 0)"),
    "-k + 0*log10(x)": (0.5, 0.5, "log10(x) has no", "SMALL"),
    "log(x - 2)*k": (1.0, 0.0, "log(x - 2) has no finite value for x = 1", "positive"),
    "asin(x)": (1.0, 0.0, "asin(x) has no", "min(max(x, -1), 1)"),
    "k/x": (0.0, 0.0, "k/x has no finite value for k = 1, x = 0", "away from 0"),
    "where(x > 0.5, -k, -k*(0.4 - x)**-1.5)": (1.0, 0.5, "(0.4 - x)**-1.5 has no", "positive"),
}


@pytest.mark.parametrize(("engine", "method"), [WAYS[0], *WAYS[2:]])
@pytest.mark.parametrize("equation", OUT)
def test_a_solution_that_leaves_the_domain_ends_there_and_says_why(equation: str, engine: str, method: str) -> None:
    initial, time, part, advice = OUT[equation]
    with pytest.raises(SolveError) as caught:
        layer_of(equation, engine, method)(tensor(0.0, 10.0), tensor(initial), tensor(1.0))

    assert caught.value.time == pytest.approx(time, abs=2e-5)
    message = str(caught.value)
    assert f"in the equation of 'x', {part}" in message
    assert advice in message
    assert str(pickle.loads(pickle.dumps(caught.value.in_experiment("a")))) == f"in the experiment 'a': {message}"


STEEP = {  # equation, what S = ∂x/∂k begins with for x(0) = 0 and k = 2: x ≈ a·t, and S ≈ the second
    "1 - k*x**0.5": lambda t: (t, -2 / 3 * t**1.5),
    "1 - k*x**n": lambda t: (t, -(t**1.4) / 1.4),
    "k + sqrt(x)": lambda t: (2 * t, t),
    "1 - k*x**0.5*where(t > 5, x, 1)": lambda t: (t, -2 / 3 * t**1.5),
    "2 - k/2*asin(1 - x)/asin(1)": lambda t: (t, -t / 2),
    "1 - k/(1 + max(log(x), -30)**2)": lambda t: (t, 0 * t),
}


@pytest.mark.parametrize(("engine", "method"), WAYS)
@pytest.mark.parametrize("equation", STEEP)
def test_an_infinite_slope_times_a_sensitivity_of_0_is_0(equation: str, engine: str, method: str) -> None:
    layer = layer_of(equation, engine, method)
    t = 1e-4
    k = torch.tensor([2.0], dtype=torch.float64, requires_grad=True)
    states = layer(tensor(0.0, t), tensor(0.0), k)[:, 0]
    value, by_k = STEEP[equation](t)

    assert states[0].item() == 0
    assert states[1].item() == pytest.approx(value, rel=0.05)
    (found,) = torch.autograd.grad(states[1], k)
    assert found.item() == pytest.approx(by_k, rel=0.05, abs=3e-6)


@pytest.mark.parametrize("engine", ["compiled", "torchdiffeq"])
def test_forward_sensitivities_know_it_as_well(engine: str) -> None:
    layer = layer_of("1 - k*x**0.5", engine, "dopri5")
    times, start, k = tensor(0.0, 1.0), tensor(0.0), tensor(2.0)
    by = type(layer.differentiate_by)((), (0,))
    layer.differentiate_by = by
    settings = layer._solve_settings(times, start, k, None)[2]
    found = layer.engine.sensitivities(start.numpy(), k.numpy(), settings)

    moved = [layer(times, start, k + side)[-1, 0].item() for side in (1e-3, -1e-3)]
    assert found.by_parameters[-1, 0, 0] == pytest.approx((moved[0] - moved[1]) / 2e-3, rel=1e-4)


def test_an_infinite_slope_of_a_state_that_unknowns_change_is_no_0() -> None:
    layer = layer_of("1 - k*x**0.5", "compiled", "auto")
    start = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    with pytest.raises(SolveError):
        layer(tensor(0.0, 1.0), start, tensor(2.0))


def test_an_observable_of_an_empty_tank_has_a_value_and_one_beyond_the_border_has_none() -> None:
    definition = {
        "states": ["h"],
        "parameters": ["k"],
        "equations": {"h": "-k*sqrt(h)"},
        "observables": {"outflow": "k*sqrt(h)", "shifted": "sqrt(h - 0.1)", "power": "h**k"},
    }
    layer = ODELayer(definition)
    times = tensor(0.0, 1.0, 3.0)
    states = layer(times, tensor(1.0), tensor(1.0))
    assert states[-1].item() < 0  # beyond the border, by the solver's error
    observed = layer.observe(times, states, tensor(1.0))

    np.testing.assert_allclose(observed["outflow"], [1.0, 0.5, 0.0], atol=1e-4)
    assert observed["shifted"].isnan().tolist() == [False, False, True]
    assert layer.observe(times, states, tensor(0.5))["power"][-1].item() == 0
