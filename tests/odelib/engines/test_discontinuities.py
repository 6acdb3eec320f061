"""Inputs that are short compared with a solver's steps, on both engines."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from odelib import ODELayer
from odelib.engines.discontinuities import Discontinuities
from odelib.problem.solver import ABILITIES

METHODS = [(engine, method) for engine, able in ABILITIES.items() for method in (*able.methods, None)]
K, RATE, BEGIN, END = 0.5, 10.0, 96.0, 97.0
TIMES = [0.0, 20.0, 95.0, 96.0, 96.5, 97.0, 98.0, 100.0]


def infused(times: Any, begin: float = BEGIN, end: float = END, k: float = K) -> Any:
    """8 at time 0, decaying at the rate k, and a constant inflow from `begin` to `end`."""
    times = np.asarray(times)
    during = np.clip(times, begin, end)
    return 8 * np.exp(-k * times) + RATE / k * (np.exp(-k * (times - during)) - np.exp(-k * (times - begin))) * (
        times > begin
    )


def layer(equation: str, engine: str = "compiled", method: str | None = None, **more: Any) -> ODELayer:
    return ODELayer(
        {"states": ["c"], "parameters": ["k", "begin"], "equations": {"c": f"-k*c + {equation}"}} | more,
        engine=engine,
        method=method or "auto",
        rtol=1e-6,
        atol=1e-8,
    )


@pytest.mark.parametrize(("engine", "method"), METHODS)
@pytest.mark.parametrize(
    "equation",
    [
        "where(t < 96, 0, where(t < 97, 10, 0))",
        "where(begin > t, 0, where(t - begin <= 1, 10, 0))",
        "10*where(abs(t - 96.5) < 0.5, 1, 0)",
        "5*(1 + sign(t/24 - 4)) - 5*(1 + sign(t - 97))",
    ],
)
def test_a_short_input_after_a_long_rest_is_not_missed(equation: str, engine: str, method: str | None) -> None:
    solve = layer(equation, engine, method)
    k, begin = torch.tensor(K, dtype=torch.float64, requires_grad=True), torch.tensor(BEGIN, dtype=torch.float64)
    start = torch.tensor([8.0], dtype=torch.float64)
    states = solve(torch.tensor(TIMES, dtype=torch.float64), start, torch.stack([k, begin]))[:, 0]
    accuracy = 1e-3 if method in ("fehlberg2", "adaptive_heun", "bosh3") else 5e-5
    assert states.detach().numpy() == pytest.approx(infused(TIMES), abs=accuracy)
    (slope,) = torch.autograd.grad(states[-1], k)
    by_differences = (infused(100.0, k=K + 1e-6) - infused(100.0, k=K - 1e-6)) / 2e-6
    assert slope.item() == pytest.approx(by_differences, abs=10 * accuracy)


@pytest.mark.parametrize("engine", ABILITIES)
def test_each_member_of_a_batch_has_its_own(engine: str) -> None:
    solve = layer("where(t < dose, 0, where(t < dose + 1, 10, 0))", engine, constants={"dose": 0.0})
    doses = torch.tensor([[30.0], [96.0], [500.0]], dtype=torch.float64)
    vectors = torch.tensor([8.0], dtype=torch.float64), torch.tensor([K, 0.0], dtype=torch.float64)
    states = solve(torch.tensor(TIMES, dtype=torch.float64), *vectors, doses)[..., 0]
    for row, (dose,) in zip(states.numpy(), doses.tolist(), strict=True):
        assert row == pytest.approx(infused(TIMES, dose, dose + 1), abs=5e-5)


def test_no_daily_dose_is_missed() -> None:
    days = [24.0 * day for day in range(1, 21)]
    solve = layer(" + ".join(f"where(t < {day}, 0, where(t < {day + 0.01}, 10, 0))" for day in days))
    times = torch.tensor([0.0, *(day + 0.01 for day in days)], dtype=torch.float64)
    states = solve(times, torch.zeros(1, dtype=torch.float64), torch.tensor([K, 0.0], dtype=torch.float64))
    after = RATE / K * -math.expm1(-K * 0.01)
    assert states[1:, 0].numpy() == pytest.approx(np.full(20, after), rel=1e-3)


def test_discontinuities_are_where_time_meets_a_constant_side() -> None:
    definition: dict[str, Any] = {
        "states": ["x"],
        "parameters": ["a", "b"],
        "constants": {"c": 3.0},
        "equations": {
            "x": "where(t < a, 0, 1) + max(t/2, b, c) + abs(2*t - c) + where(t**2 < 9, x, 0) + where(x < t, 1, 0)"
            " + where(a < b, 1, 0)"
        },
    }
    values = np.array([[5.0, 4.0, 3.0], [7.0, -1.0, 4.0]])
    found = Discontinuities(ODELayer(definition).system).find(values, -10.0, 9.0, with_jacobian=True)
    # t = a; t/2 = b; t/2 = c; 2·t = c; t² = 9; a comparison with a state is left out
    assert [row[np.isfinite(row)].tolist() for row in found.times] == [
        pytest.approx([-3.0, 1.5, 3.0, 5.0, 6.0, 8.0]),
        pytest.approx([-3.0, -2.0, 2.0, 3.0, 7.0, 8.0]),
    ]
    by_a_and_b = found.jacobian[0][np.isfinite(found.times[0])]
    np.testing.assert_allclose(by_a_and_b, [[0, 0], [0, 0], [0, 0], [1, 0], [0, 0], [0, 2]], atol=1e-12)


def test_an_equation_without_time_has_none() -> None:
    definition = {"states": ["x"], "parameters": ["a"], "equations": {"x": "where(x < a, sin(t), max(x, 0))"}}
    found = Discontinuities(ODELayer(definition).system).find(np.array([[1.0]]), 0.0, 1.0, with_jacobian=True)
    assert found.times.shape == (1, 0)


def test_a_side_may_be_a_sum_of_any_length() -> None:
    definition = {"states": ["x"], "parameters": ["a"], "equations": {"x": f"max(0, t{' - a' * 1500})"}}
    found = Discontinuities(ODELayer(definition).system).find(np.array([[2.0]]), 0.0, 9.0, with_jacobian=True)
    assert found.times == pytest.approx(np.array([[3000.0]]))
    assert found.jacobian == pytest.approx(np.array([[[1500.0]]]))
