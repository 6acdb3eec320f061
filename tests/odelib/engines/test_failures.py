"""Solves that fail: their code and time, single and in a batch, on every engine; random systems must not hang."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from odelib import ODELayer, SolveError
from odelib.engines.base import Solution
from tests.engines import COMPILED_METHODS, ENGINES
from tests.odelib.engines.expressions import NAMES, expressions

CODES = {"max_steps", "not_finite", "step_too_small"}


def tensor(values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def scalar(equation: str) -> dict[str, Any]:
    return {"states": ["x"], "parameters": ["k"], "equations": {"x": equation}}


# equation, initial state, k, the codes it may end with, and when
FAILURES = {
    "it grows beyond all bounds": ("k*x**2", 1.0, 0.5, {"step_too_small", "not_finite"}, 2.0),
    "faster than an exponential can say": ("exp(k*x)*k", 0.0, 1.0, {"step_too_small", "not_finite"}, 1.0),
    "a root becomes imaginary": ("-k + 0*sqrt(x)", 1.0, 1.0, {"step_too_small", "not_finite"}, 1.0),
    "a logarithm of what becomes negative": ("-k + 0*log(x)", 1.0, 0.5, {"step_too_small", "not_finite"}, 2.0),
    "it has no value where it starts": ("log(x - 2)*k", 1.0, 1.0, {"not_finite"}, 0.0),
    "it is infinite where it starts": ("k/(x - 1)", 1.0, 1.0, {"not_finite"}, 0.0),
    "too few steps": ("k*cos(500*t)", 1.0, 500.0, {"max_steps"}, 10.0),
}
WAYS = [("compiled", "auto"), ("compiled", "dopri5"), ("compiled", "dop853"), ("compiled", "kvaerno5")]


@pytest.mark.parametrize(("engine", "method"), [*WAYS, ("torchdiffeq", "dopri5")])
@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_has_a_code_and_a_time_and_leaves_other_members_untouched(
    name: str, engine: str, method: str
) -> None:
    equation, initial, k, codes, time = FAILURES[name]
    layer = ODELayer(scalar(equation), engine=engine, method=method, max_steps=100 if codes == {"max_steps"} else 3000)

    def check(error: SolveError) -> None:
        assert error.code in codes
        # torchdiffeq's time is where its last whole step ended
        early = time if engine == "torchdiffeq" or error.code == "max_steps" else 0.02
        assert time - early <= error.time <= time + 0.02

    times = tensor([0.0, 10.0])
    with pytest.raises(SolveError) as caught:
        layer(times, tensor([initial]), tensor([k]))
    check(caught.value)
    with pytest.raises(SolveError) as caught:
        layer(times, tensor([initial]).requires_grad_(), tensor([k]).requires_grad_())
    check(caught.value)
    states = tensor([[3.0], [initial], [4.0]])
    solution = layer.solve(times, states, tensor([[0.0], [k], [0.0]]))
    assert list(solution.failures) == [1]
    check(solution.failures[1])
    assert solution.states[1].isnan().all()
    assert solution.states[[0, 2], 1, 0].tolist() == [3, 4]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_gradient_of_a_batch_skips_members_that_failed(engine: str) -> None:
    layer = ODELayer(scalar("k*x**2"), engine=engine, max_steps=2000)
    states, parameters = tensor([[0.1], [1.0], [0.2]]).requires_grad_(), tensor([[1.0], [1.0], [0.5]]).requires_grad_()
    solution = layer.solve(tensor([0.0, 2.0]), states, parameters)
    assert set(solution.failures) == {1}
    solved = [i for i in range(3) if i not in solution.failures]
    gradients = torch.autograd.grad(solution.states[solved, 1, 0].sum(), (states, parameters))
    x, k = states.detach()[solved, 0], parameters.detach()[solved, 0]
    bottom = (1 - 2 * k * x) ** 2  # the solution is x/(1 - k·t·x)
    np.testing.assert_allclose(gradients[0][solved, 0], 1 / bottom, rtol=1e-4)
    np.testing.assert_allclose(gradients[1][solved, 0], 2 * x**2 / bottom, rtol=1e-4)


@pytest.mark.parametrize("method", [*COMPILED_METHODS, "auto"])
@pytest.mark.parametrize("steps", [1, 7, 100])
def test_no_method_takes_more_than_max_steps(method: str, steps: int) -> None:
    layer = ODELayer("lorenz", engine="compiled", method=method, rtol=1e-9, atol=1e-9, max_steps=steps)
    with pytest.raises(SolveError) as caught:
        layer(tensor([0.0, 100.0]), tensor([1.0, 1.0, 20.0]), tensor([10.0, 28.0, 8 / 3]))
    assert (caught.value.code, caught.value.max_steps) == ("max_steps", steps)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e308])
def test_values_that_are_not_finite_are_failures(value: float, engine: str) -> None:
    layer = ODELayer(scalar("-k*x"), engine=engine, max_steps=100)
    for state, parameter in ((value, 1.0), (1.0, value)):
        solution = layer.solve(tensor([0.0, 1.0]), tensor([[state], [1.0]]), tensor([[parameter], [1.0]]))
        assert 1 not in solution.failures
        if 0 in solution.failures:
            assert solution.failures[0].code in CODES
        else:
            assert abs(value) == 1e308
            assert solution.states.isfinite().all()


# ---------------------------------------------------------------------------------------------- random systems


def systems(states: int) -> st.SearchStrategy[dict[str, Any]]:
    """Systems in x, y, … and the parameter n, some with time in them."""
    names = [*NAMES[:2], "z"][:states]
    equation = st.builds(
        "{}{}".format, expressions(5), st.sampled_from(["", "", " - x", "*cos(t)", " + where(t < 0.3, 1, x)"])
    )
    if states == 1:
        equation = equation.map(lambda text: text.replace("y", "x"))
    return st.lists(equation, min_size=states, max_size=states).map(
        lambda texts: {"states": names, "parameters": ["n"], "equations": dict(zip(names, texts, strict=True))}
    )


VALUES = st.sampled_from([0.0, 0.5, 1.0, -1.0, 2.0, -0.3, 1.7])
END = 0.9431  # no time at which simple equations with simple numbers become infinite


def attempt(definition: dict[str, Any], engine: str, method: str, values: list[float], gradients: bool) -> Any:
    """The states and gradients, or the error that replaces them. Any other exception fails the test."""
    layer = ODELayer(definition, engine=engine, method=method, rtol=1e-7, atol=1e-9, max_steps=400)
    size = len(definition["states"])
    states, parameters = tensor(values[:size]), tensor(values[3:])
    if gradients:
        states.requires_grad_()
        parameters.requires_grad_()
    try:
        solution: Solution = layer.solve(tensor([0.0, 0.3, END]), states, parameters)
        if gradients and solution.states.requires_grad:
            torch.autograd.grad(solution.states.sum(), (states, parameters), allow_unused=True)
    except SolveError as error:
        failure = error
    else:
        assert solution.states.isfinite().all()
        return solution.states.detach().numpy()
    assert failure.code in CODES
    assert 0 <= failure.time <= END
    return failure


def examples(count: int) -> settings:
    """Without shrinking failures: every try would be compiled."""
    return settings(
        max_examples=count,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )


@examples(16)
@given(
    st.integers(1, 3).flatmap(systems),
    st.lists(VALUES, min_size=4, max_size=4),
    st.sampled_from(["auto", "dopri5", "tsit5", "dop853", "kvaerno5"]),
)
def test_random_systems_end_with_a_result_or_a_reason(
    definition: dict[str, Any], values: list[float], method: str
) -> None:
    without = attempt(definition, "compiled", method, values, False)
    attempt(definition, "compiled", method, values, True)
    again = attempt(definition, "compiled", "dop853", values, False)
    if not isinstance(without, SolveError) and not isinstance(again, SolveError):
        np.testing.assert_allclose(without, again, rtol=1e-3, atol=1e-3 * max(1.0, np.abs(again).max()))


@examples(5)
@given(systems(2), st.lists(VALUES, min_size=4, max_size=4))
def test_both_engines_agree_on_random_systems(definition: dict[str, Any], values: list[float]) -> None:
    solved = [attempt(definition, engine, "dopri5", values, True) for engine in ENGINES]
    if not any(isinstance(one, SolveError) for one in solved):
        np.testing.assert_allclose(solved[0], solved[1], rtol=1e-3, atol=1e-3 * max(1.0, np.abs(solved[1]).max()))
