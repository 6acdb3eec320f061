"""The torch program against plain Python, operation by operation, with torch's derivatives at kinks and poles."""

from __future__ import annotations

import math

import pytest
import torch

from odelib.engines.torch_program import TorchProgram
from odelib.problem.expressions.parser import parse_expression

CASES = {
    "x + 1": lambda x: x + 1,
    "1 - x": lambda x: 1 - x,
    "x*3": lambda x: x * 3,
    "3/x": lambda x: 3 / x,
    "x**1.5": lambda x: x**1.5,
    "2**x": lambda x: 2**x,
    "-x**2": lambda x: -(x**2),
    "2**-x": lambda x: 2**-x,
    "x - 1 - 2": lambda x: x - 1 - 2,
    "8/x/2": lambda x: 8 / x / 2,
    "2**3**0.5*x": lambda x: 2 ** (3**0.5) * x,
    "where(x > 1, x, 2*x)": lambda x: x if x > 1 else 2 * x,
    "where(1 <= x, 7, 8)": lambda x: 7 if x >= 1 else 8,
    "where(x < 2*x, x, 0)": lambda x: x,
    "abs(-x)": abs,
    "min(x, 1, 0.5)": lambda x: min(x, 1, 0.5),
    "max(1, x)": lambda x: max(x, 1),
    "exp(x)": math.exp,
    "log(x)": math.log,
    "log10(x)": math.log10,
    "sqrt(x)": math.sqrt,
    "sin(x)": math.sin,
    "cos(x)": math.cos,
    "tan(x)": math.tan,
    "asin(x/9)": lambda x: math.asin(x / 9),
    "acos(x/9)": lambda x: math.acos(x / 9),
    "atan(x)": math.atan,
    "sinh(x)": math.sinh,
    "cosh(x)": math.cosh,
    "tanh(x)": math.tanh,
    "erf(x)": math.erf,
    "floor(x)": math.floor,
    "sign(1 - x)": lambda x: math.copysign(1, 1 - x),
    "pi*x": lambda x: math.pi * x,
    "sin(1) + 2": lambda _: math.sin(1) + 2,
    "min(2, 3)": lambda _: 2,
    "5": lambda _: 5,
}


@pytest.mark.parametrize("x", [0.3, 1.7])
@pytest.mark.parametrize("text", CASES)
def test_every_operation_is_pythons(text: str, x: float) -> None:
    bound = TorchProgram([parse_expression(text)], ["x"]).bind({})
    (value,) = bound(torch.tensor(x, dtype=torch.float64))
    assert value.item() == pytest.approx(CASES[text](x), rel=1e-14, abs=1e-15)


def test_constant_parts_are_computed_once_and_common_ones_are_shared() -> None:
    texts = ["a*sin(b)*x + a*sin(b)", "x*x + 1", "x*x + 1"]
    program = TorchProgram([parse_expression(text) for text in texts], ["x"])
    assert len(program._once) == 2  # sin(b), a·sin(b)
    assert len(program._each_call) == 4  # ·x, +, x·x, + 1
    bound = program.bind({"a": torch.tensor(2.0), "b": 0.5})
    first, second, third = bound(torch.tensor(3.0, dtype=torch.float64))
    assert first.item() == pytest.approx(2 * math.sin(0.5) * 4)
    assert second.item() == 10
    assert third is second


def test_values_broadcast_over_a_batch() -> None:
    program = TorchProgram([parse_expression("a*x")], ["x"])
    (value,) = program.bind({"a": torch.tensor([1.0, 2.0])})(torch.tensor([3.0, 4.0]))
    assert value.tolist() == [3, 8]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("x**n/(1 + x**n)", 0.0), ("x**2", 0.0), ("abs(x)", 0.0), ("where(x > 0, 5*x, 3*x)", 3.0)],
)
def test_derivatives_at_kinks_and_poles_are_torchs(text: str, expected: float) -> None:
    x = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    n = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    (value,) = TorchProgram([parse_expression(text)], ["x"]).bind({"n": n})(x)
    slope, by_exponent = torch.autograd.grad(value, [x, n], allow_unused=True)
    assert slope.item() == expected
    assert by_exponent is None or by_exponent.item() == 0


def test_a_power_tower_costs_nothing_and_is_infinite() -> None:
    (value,) = TorchProgram([parse_expression("9**9**9**9*x")], ["x"]).bind({})(torch.tensor(1.0, dtype=torch.float64))
    assert value.item() == math.inf


def test_a_sum_of_two_thousand_terms_is_no_recursion() -> None:
    text = " + ".join(["x"] * 2000)
    (value,) = TorchProgram([parse_expression(text)], ["x"]).bind({})(torch.tensor(1.0, dtype=torch.float64))
    assert value.item() == 2000


def test_the_names_are_those_that_expressions_use_through_definitions() -> None:
    definitions = {"d": parse_expression("2*k"), "unused": parse_expression("w")}
    assert TorchProgram([parse_expression("x + d")], ["t", "x"], definitions).names == {"t", "x", "k"}
