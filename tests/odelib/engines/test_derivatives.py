"""The symbolic derivatives and the compiled code against torch: the same numbers, also at kinks and poles.

Where torch has no finite number (the root of a negative one, in a branch that `where` does not take) the symbolic
derivative may have one.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import erf

from odelib import ODELayer
from odelib.engines.compiled.kernels import Kernels, kernels_of
from odelib.engines.compiled.simd import padded
from odelib.engines.symbolic.graph import Graph
from odelib.engines.torch_program import TorchProgram
from odelib.problem.expressions.parser import parse_expression
from tests.odelib.engines.expressions import NAMES, expressions, points

Array = NDArray[np.float64]
Point = tuple[float, ...]
HUGE = 1e80  # beyond, the order of multiplications decides what overflows


def examples(count: int, **more: Any) -> settings:
    return settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck), **more)


# ---------------------------------------------------------------------------------------- the graph, interpreted


def _minimum_weight(a: float, b: float) -> float:
    return 1.0 if a < b else 0.5 if a == b else 0.0


def _power_derivative(a: float, b: float) -> float:
    return 0.0 if b == 0 else b * np.power(a, b - 1)


def _exponent_derivative(a: float, b: float, power: float) -> float:
    return 0.0 if a == 0 and b >= 0 else power * np.log(a)


_MEANING: Mapping[str, Callable[..., Any]] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "**": np.power, "neg": np.negative,
    "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal, "where": np.where,
    "==": np.equal, "!=": np.not_equal, "and": np.logical_and, "or": np.logical_or, "not": np.logical_not,
    "abs": np.abs, "min": np.minimum, "max": np.maximum, "erf": erf,
    **{name: getattr(np, name) for name in ("exp", "log", "log2", "log10", "sqrt", "sin", "cos", "tan", "floor")},
    **{name: getattr(np, name) for name in ("sign", "sinh", "cosh", "tanh")},
    **{f"a{name}": getattr(np, f"arc{name}") for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    "minimum_weight": _minimum_weight,
    "maximum_weight": lambda a, b: _minimum_weight(b, a),
    "guarded_product": lambda a, b: 0.0 if b == 0 else a * b,
    "power_by_base": _power_derivative,
    "power_by_exponent": _exponent_derivative,
}  # fmt: skip


def interpret(graph: Graph, outputs: list[int], values: Mapping[str, float]) -> tuple[list[float], float]:
    """The nodes' values, and the largest number on the way."""
    known: dict[int, Any] = {}
    with np.errstate(all="ignore"):
        for node in graph.needed(outputs):
            entry = graph.entries[node]
            if entry.operator == "number":
                known[node] = np.float64(entry.value)
            elif entry.operator == "name":
                known[node] = np.float64(values[str(entry.value)])
            else:
                known[node] = _MEANING[entry.operator](*(known[operand] for operand in entry.operands))
    sizes = [abs(float(value)) for value in known.values()]
    return [float(known[node]) for node in outputs], max(sizes)


def is_singular(text: str) -> Array:
    """Whether the value (never) and the derivatives by x, y and n may be infinite where the expression is finite."""
    graph = Graph()
    output = graph.add(parse_expression(text))
    derivatives = [graph.derivatives([output], name).get(0) for name in NAMES]
    return np.array([False, *(node is not None and graph.is_singular(node) for node in derivatives)])


def by_graph(text: str, point: Point) -> tuple[Array, float]:
    """The value, and the derivatives by x, y and n."""
    graph = Graph()
    output = graph.add(parse_expression(text))
    derivatives = [graph.derivatives([output], name).get(0) for name in NAMES]
    nodes = [output, *(graph.number(0.0) if derivative is None else derivative for derivative in derivatives)]
    values, largest = interpret(graph, nodes, dict(zip(NAMES, point, strict=True)))
    return np.array(values), largest


def by_torch(text: str, point: Point) -> Array:
    """The value, and the derivatives by x, y and n."""
    variables = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in point]
    (value,) = TorchProgram([parse_expression(text)], NAMES).bind({})(*variables)
    derivatives: list[float] = [0.0] * len(NAMES)
    if value.requires_grad:
        found = torch.autograd.grad(value, variables, allow_unused=True)
        derivatives = [0.0 if derivative is None else derivative.item() for derivative in found]
    return np.array([value.item(), *derivatives])


def sign_of_nothing(text: str, computed: Array) -> bool:
    """Whether this may be the sign of NaN, which torch takes for 0."""
    return "sign(" in text and bool(np.isnan(computed[0]))


@examples(300)
@given(expressions(), points())
def test_derivatives_of_random_expressions_are_torchs(text: str, point: Point) -> None:
    expected = by_torch(text, point)
    computed, largest = by_graph(text, point)
    assume(math.isfinite(expected[0]) and not HUGE < largest < math.inf and not sign_of_nothing(text, computed))
    # backwards, a factor of 0 hides an infinite slope: x*(1/sqrt(x)) is NaN at 0 here, and its derivative 0 in torch
    finite = np.isfinite(expected) & ~(is_singular(text) & ~np.isfinite(computed))
    scale = 1e-13 * max(largest, 1.0) if largest < HUGE else 0.0
    np.testing.assert_allclose(computed[finite], expected[finite], rtol=1e-9, atol=scale)


EDGES = [
    ("x**n/(1 + x**n)", (0.0, 1.0, 2.0)),
    ("x**n", (0.0, 1.0, 0.0)),
    ("x**n", (0.0, 1.0, 1.0)),
    ("n**x", (0.5, 1.0, 0.0)),
    ("0**n", (1.0, 1.0, 2.0)),
    ("0**n", (1.0, 1.0, 0.0)),
    ("x**0", (0.0, 1.0, 1.0)),
    ("x**1", (0.0, 1.0, 1.0)),
    ("x**3", (-2.0, 1.0, 1.0)),
    ("x**5", (-2.0, 1.0, 1.0)),
    ("x**-2", (-2.0, 1.0, 1.0)),
    ("x**n", (-2.0, 1.0, 3.0)),  # by n torch has NaN, the logarithm of a negative number
    ("x**(n*y)", (0.0, 0.0, 2.0)),
    ("abs(x)", (0.0, 1.0, 1.0)),
    ("abs(x*y)", (0.0, -2.0, 1.0)),
    ("min(x, y)", (1.5, 1.5, 1.0)),
    ("max(x, y, n)", (2.0, 2.0, 2.0)),
    ("min(x, y, n)", (2.0, 1.0, 1.0)),
    ("max(x, 0)**2", (0.0, 1.0, 1.0)),
    ("min(x, x)", (0.7, 1.0, 1.0)),
    ("where(x > y, x**2, 3*y)", (1.0, 1.0, 1.0)),
    ("where(x >= y, x**2, 3*y)", (1.0, 1.0, 1.0)),
    ("where(x < y, x**2, 3*y)", (-0.0, 0.0, 1.0)),
    ("where(x > 0, x, 0)/y", (0.0, 2.0, 1.0)),
    ("floor(x)*x", (2.0, 1.0, 1.0)),
    ("floor(x)*y", (-1.5, 3.0, 1.0)),
    ("sign(x)*x + sign(y)", (0.0, -3.0, 1.0)),
    ("x*y/n", (0.0, 0.0, 1.0)),
    ("sqrt(x)", (0.25, 1.0, 1.0)),
    ("x**0.5", (0.25, 1.0, 1.0)),
    ("exp(-x**2)*erf(x)", (0.0, 1.0, 1.0)),
    ("asin(x) + acos(y)", (0.0, 0.0, 1.0)),
    ("tanh(x*99)", (3.0, 1.0, 1.0)),
    ("log10(x) + atan(y)", (10.0, 0.0, 1.0)),
    # derivatives that a choice makes 0 stay 0, whatever they are multiplied by
    ("sqrt(max(x, 0))", (-1.0, 1.0, 1.0)),
    ("max(x, 0)**n", (-1.0, 1.0, 0.5)),
    ("y*sqrt(where(x > 0, x, 0))", (-1.0, 2.0, 1.0)),
    ("x**min(n, 3)", (-2.0, 1.0, 5.0)),
    ("sqrt(x**n)", (0.0, 1.0, 2.0)),
    ("asin(x**n)", (1.0, 1.0, 0.0)),
]


@pytest.mark.parametrize(("text", "point"), EDGES)
def test_derivatives_at_kinks_and_poles_are_torchs(text: str, point: Point) -> None:
    expected = by_torch(text, point)
    computed, _ = by_graph(text, point)
    finite = np.isfinite(expected)
    np.testing.assert_allclose(computed[finite], expected[finite], rtol=1e-13, atol=1e-15)
    assert finite[0]


def test_a_structurally_zero_derivative_has_no_node() -> None:
    graph = Graph()
    nodes = [graph.add(parse_expression(text)) for text in ("y**2", "floor(x)", "where(x > 1, y, 2)", "x + y", "x*0")]
    assert sorted(graph.derivatives(nodes, "x")) == [3, 4]
    assert sorted(graph.derivatives(nodes, "y")) == [0, 2, 3]
    assert graph.derivatives(nodes, "n") == {}


def test_common_subexpressions_are_one_node() -> None:
    graph = Graph()
    first = graph.add(parse_expression("sin(x*y) + x*y"))
    count = len(graph.entries)
    assert graph.add(parse_expression("sin(x*y) + x*y")) == first
    assert len(graph.entries) == count == 5


# ------------------------------------------------------------------------------------------------ compiled


class Compiled:
    """The kernels of a system with these right-hand sides, texts in the states x, y and the parameter n."""

    def __init__(self, texts: list[str]) -> None:
        names = [*NAMES[:2], *(f"s{i}" for i in range(len(texts) - 2))]
        definition = {"states": names, "parameters": [NAMES[2]], "equations": dict(zip(names, texts, strict=True))}
        self.size = len(texts)
        self.kernels: Kernels = kernels_of(ODELayer(definition, engine="compiled").system)

    def call(self, address: int, state: Array, parameter: float, out: Array, width: int) -> Array:
        real, place = ctypes.POINTER(ctypes.c_double), ctypes.POINTER(ctypes.c_int64)
        kind = ctypes.CFUNCTYPE(None, ctypes.c_double, real, real, ctypes.c_int64, place, real, real)
        values = np.array([parameter, *np.zeros(1 + self.size)])  # and the tolerances at borders
        work = np.zeros(self.kernels.work_size)
        column = np.zeros(1, dtype=np.int64)
        arrays = [state, values, work, out]
        pointers = [array.ctypes.data_as(real) for array in arrays]
        kind(address)(0.0, *pointers[:2], width, column.ctypes.data_as(place), *pointers[2:])
        return out

    def derivatives(self, point: Point) -> Array:
        """Per equation its value, and its derivatives by x, y and n."""
        n, state = self.size, np.zeros(self.size)
        state[:2] = point[:2]
        values = self.call(self.kernels.rates, state, point[2], np.zeros(n), 0)
        jacobian = self.call(self.kernels.jacobian, state, point[2], np.zeros(n * n), 0).reshape(n, n)
        start, width = padded(n), padded(1)  # the state, and a row of sensitivities
        z = np.concatenate([state, np.zeros(start - n + n * width)])
        both = self.call(self.kernels.rates_with_sensitivities, z, point[2], np.zeros(len(z)), width)
        np.testing.assert_array_equal(both[:n], values)
        return np.column_stack([values, jacobian[:, :2], both[start::width]])


@examples(2, phases=[Phase.generate])  # no shrinking: every try would be compiled
@given(st.lists(expressions(), min_size=20, max_size=20), st.lists(points(), min_size=20, max_size=20))
def test_the_compiled_code_computes_what_torch_computes(texts: list[str], given_points: list[Point]) -> None:
    compiled = Compiled(texts)
    for point in given_points:
        for text, computed in zip(texts, compiled.derivatives(point), strict=True):
            expected = by_torch(text, point)
            _, largest = by_graph(text, point)
            finite = np.isfinite(expected)
            if largest > HUGE or not finite[0] or sign_of_nothing(text, computed):
                continue
            finite[3] &= np.isfinite(computed[1:3]).all()  # the kernel multiplies these derivatives by sensitivities
            scale = 1e-13 * max(largest, 1.0)
            np.testing.assert_allclose(
                computed[finite], expected[finite], rtol=1e-9, atol=scale, err_msg=f"{text} at {point}"
            )


@pytest.fixture(scope="module")
def edges() -> Compiled:
    return Compiled([text for text, _ in EDGES])


@pytest.mark.parametrize("place", range(len(EDGES)), ids=[f"{text} {point}" for text, point in EDGES])
def test_the_compiled_code_at_kinks_and_poles(place: int, edges: Compiled) -> None:
    text, point = EDGES[place]
    expected = by_torch(text, point)
    computed = edges.derivatives(point)[place]
    finite = np.isfinite(expected)
    np.testing.assert_allclose(computed[finite], expected[finite], rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("value", [3.7, -2.5, 4e9, -1e12, 3e19, 1e200])
def test_floor_does_not_overflow_an_integer(value: float) -> None:
    compiled = Compiled(["floor(n)", "floor(n)*floor(n)", "1/floor(n)"])
    values = compiled.derivatives((0.0, 0.0, value))[:, 0]
    whole = float(np.floor(value))
    np.testing.assert_allclose(values, [whole, whole * whole, 1 / whole], rtol=1e-15)


def test_undefined_values_are_nan_or_infinite_and_never_an_error() -> None:
    texts = {
        "log(x)": math.nan, "sqrt(x)": math.nan, "asin(9*x)": math.nan, "x**0.5": math.nan, "x**1.5": math.nan,
        "1/y": math.inf, "log(y)": -math.inf, "y/y": math.nan, "exp(n)": math.inf, "min(y/y, 1)": math.nan,
        "max(1, y/y)": math.nan, "10**n": math.inf, "sinh(n)": math.inf, "sign(y/y)": math.nan, "floor(1/y)": math.inf,
        "abs(y/y)": math.nan, "where(y/y > 1, 1, 2)": 2.0, "floor(y/y)": math.nan, "9**9**9": math.inf,
        "0*(1/y)": math.nan,
    }  # fmt: skip
    values = Compiled(list(texts)).derivatives((-1.0, 0.0, 999.0))[:, 0]
    np.testing.assert_array_equal(values, list(texts.values()))


@pytest.mark.parametrize("function", ["min", "max"])
def test_the_derivatives_of_an_extreme_of_many_are_short(function: str) -> None:
    """Compared one after the other, each of 50 would pass through 25 comparisons on average; in pairs through 6."""
    names = [f"k{i}" for i in range(50)]
    graph = Graph()
    node = graph.add(parse_expression(f"{function}({', '.join(names)})"))
    for name in names:
        assert graph.derivatives([node], name)
    assert len(graph.entries) < 50 * 10
