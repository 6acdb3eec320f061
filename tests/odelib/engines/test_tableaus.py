"""The methods' coefficients: order conditions over all rooted trees, and the observed order of convergence."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import chain, combinations_with_replacement, product
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from odelib.engines.tableaus import registry
from odelib.engines.tableaus.dop853 import DOP853
from odelib.engines.tableaus.kvaerno5 import KVAERNO5
from odelib.engines.tableaus.tableau import Tableau
from tests.odelib.engines.detest import PROBLEMS, exact

Array = NDArray[np.float64]
Tree = tuple["Tree", ...]  # a root and what hangs from it
Rates = Callable[[float, Array], Array]


class Orders(NamedTuple):
    """Of the solution, of the interpolant, and up to which the error estimates vanish."""

    solution: int
    interpolant: int
    error: int
    error_low: int | None = None


METHODS = {tableau.name: tableau for tableau in registry.METHODS}
EXPLICIT = [tableau.name for tableau in registry.EXPLICIT]
ORDERS = {
    "dopri5": Orders(5, 4, 4),
    "tsit5": Orders(5, 4, 4),
    "dop853": Orders(8, 7, 5, 3),
    "kvaerno5": Orders(5, 4, 4),
}
ROUNDING = 1e-12
each_method = pytest.mark.parametrize("method", METHODS)


# ------------------------------------------------------------------------------------------ order conditions


def partitions(total: int, largest: int) -> Iterator[list[int]]:
    if total == 0:
        yield []
    for first in range(min(total, largest), 0, -1):
        for rest in partitions(total - first, first):
            yield [first, *rest]


@cache
def trees(order: int) -> tuple[Tree, ...]:
    """All rooted trees with this many nodes."""
    found: set[Tree] = set()
    for partition in partitions(order - 1, order - 1):
        groups = [
            list(combinations_with_replacement(trees(nodes), partition.count(nodes)))
            for nodes in sorted(set(partition))
        ]
        found.update(tuple(chain.from_iterable(branches)) for branches in product(*groups))
    return tuple(sorted(found, key=repr))


def size(tree: Tree) -> int:
    return 1 + sum(size(branch) for branch in tree)


def density(tree: Tree) -> int:
    return size(tree) * math.prod(density(branch) for branch in tree)


def stage_weights(tree: Tree, a: Array) -> Array:
    weights = np.ones(len(a))
    for branch in tree:
        weights = weights * (a @ stage_weights(branch, a))
    return weights


def up_to(order: int) -> list[Tree]:
    return [tree for n in range(1, order + 1) for tree in trees(n)]


def weights_at(tableau: Tableau, theta: float) -> Array:
    powers = theta ** np.arange(1, tableau.interpolant.shape[1] + 1)
    weights: Array = tableau.interpolant @ powers
    return weights


def test_there_are_as_many_trees_as_cayley_counted() -> None:
    assert [len(trees(n)) for n in range(1, 9)] == [1, 1, 2, 4, 9, 20, 48, 115]


@each_method
def test_the_solution_meets_all_conditions_of_its_order_and_not_of_the_next(method: str) -> None:
    tableau = METHODS[method]
    order = ORDERS[method].solution
    assert tableau.order == order
    end = tableau.a[tableau.main - 1]
    for tree in up_to(order):
        assert end @ stage_weights(tree, tableau.a) == pytest.approx(1 / density(tree), abs=ROUNDING)
    assert any(abs(end @ stage_weights(tree, tableau.a) - 1 / density(tree)) > 1e-6 for tree in trees(order + 1))


@each_method
def test_the_interpolant_meets_all_conditions_of_its_order_everywhere(method: str) -> None:
    tableau = METHODS[method]
    for theta in (0.0, 0.13, 0.5, 0.86, 1.0):
        weights = weights_at(tableau, theta)
        for tree in up_to(ORDERS[method].interpolant):
            expected = theta ** size(tree) / density(tree)
            assert weights @ stage_weights(tree, tableau.a) == pytest.approx(expected, abs=ROUNDING)


@each_method
def test_the_interpolant_ends_with_the_step(method: str) -> None:
    tableau = METHODS[method]
    np.testing.assert_allclose(weights_at(tableau, 1.0), tableau.a[tableau.main - 1], atol=ROUNDING)


@pytest.mark.parametrize("method", EXPLICIT)
def test_the_explicit_methods_interpolants_are_smooth_between_steps(method: str) -> None:
    tableau = METHODS[method]
    stages = len(tableau.c)
    powers = np.arange(1, tableau.interpolant.shape[1] + 1)
    np.testing.assert_allclose(tableau.interpolant[:, 0], np.eye(stages)[0], atol=ROUNDING)
    np.testing.assert_allclose(tableau.interpolant @ powers, np.eye(stages)[tableau.main - 1], atol=ROUNDING)


@each_method
def test_the_stages_and_the_error_estimates_are_consistent(method: str) -> None:
    tableau = METHODS[method]
    np.testing.assert_allclose(tableau.a.sum(axis=1), tableau.c, atol=ROUNDING)
    assert tableau.c[tableau.main - 1] == pytest.approx(1, abs=ROUNDING)
    orders = ORDERS[method]
    for weights, order in ((tableau.error, orders.error), (tableau.error_low, orders.error_low)):
        if order is None:
            assert not weights.any()
            continue
        for tree in up_to(order):
            assert weights @ stage_weights(tree, tableau.a) == pytest.approx(0, abs=ROUNDING)
        assert max(abs(weights @ stage_weights(tree, tableau.a)) for tree in trees(order + 1)) > 1e-6


def growth(weights: Array, z: complex) -> complex:
    """The stability function: the factor of y after a step, or a part of one, for y' = λ·y and z = h·λ."""
    a = KVAERNO5.a
    return complex(1 + z * weights @ np.linalg.solve(np.eye(len(a)) - z * a, np.ones(len(a))))


def test_the_implicit_method_is_l_stable() -> None:
    end = KVAERNO5.a[-1]
    assert abs(growth(end, -1e9)) < 1e-6
    assert max(abs(growth(end, 1j * y)) for y in np.geomspace(1e-3, 1e6, 200)) <= 1 + 1e-12
    assert np.ptp(np.diag(KVAERNO5.a)[1:]) == 0


def test_its_interpolant_amplifies_no_stiff_component() -> None:
    for theta in (0.1, 0.3, 0.5, 0.7, 0.9, 1.0):
        weights = weights_at(KVAERNO5, theta)
        assert max(abs(growth(weights, -z)) for z in np.geomspace(1e-3, 1e7, 100)) <= 1
        assert growth(weights, -1e7) == pytest.approx((1 - theta) ** 4, abs=1e-4)


# ---------------------------------------------------------------------------------------- the observed order


def step(tableau: Tableau, rates: Rates, t: float, y: Array, h: float) -> Array:
    """The derivatives at the stages of one step, implicit ones by Newton's method with a complex-step Jacobian."""
    stages = np.zeros((len(tableau.c), len(y)))
    for i, row in enumerate(tableau.a):
        base, time = y + h * (row[:i] @ stages[:i]), t + tableau.c[i] * h
        stages[i] = rates(time, base) if row[i] == 0 else implicit(rates, time, base, h * row[i], stages[i - 1])
    return stages


def implicit(rates: Rates, t: float, base: Array, hg: float, guess: Array) -> Array:
    state = base + hg * guess
    identity = np.eye(len(base))
    for _ in range(12):
        columns = [rates(t, state + 1e-30j * direction).imag / 1e-30 for direction in identity]
        residual = state - base - hg * rates(t, state)
        change = np.linalg.solve(identity - hg * np.transpose(columns), residual)
        state = state - change
        if np.abs(change).max() < 1e-15:
            break
    return (state - base) / hg


def observed_order(steps: Sequence[float], errors: Sequence[float]) -> float:
    """The slope of log error over log step."""
    slope, _ = np.polyfit(np.log(steps), np.log(errors), 1)
    return float(slope)


def solved_by(tableau: Tableau, rates: Rates, t: float, state: Array, h: float, count: int) -> Array:
    """The state after this many steps."""
    for i in range(count):
        state = state + h * (tableau.a[tableau.main - 1] @ step(tableau, rates, t + i * h, state, h))
    return state


def rates_of(name: str) -> Rates:
    rates = PROBLEMS[name].rates()
    return lambda t, y: rates(t, y, y[:0])


# steps in a unit of time, where the errors are between rounding and the first sign of the order
CONVERGENCE = [
    ("dopri5", "A3", [6, 12, 24]),
    ("dopri5", "B5", [8, 16, 32]),
    ("dopri5", "D3", [16, 32, 64]),
    ("tsit5", "D1", [12, 24, 48]),
    ("tsit5", "D2", [12, 24, 48]),
    ("tsit5", "D3", [16, 32, 64]),
    ("dop853", "A3", [2, 3, 4]),
    ("dop853", "B5", [2, 3, 4]),
    ("dop853", "D3", [3, 4, 6, 8, 12]),
    ("kvaerno5", "A3", [4, 8, 16]),
    ("kvaerno5", "B1", [8, 16, 32]),
    ("kvaerno5", "B5", [4, 8, 16]),
    ("kvaerno5", "D1", [8, 16, 32]),
]


@pytest.mark.parametrize(("method", "name", "counts"), CONVERGENCE)
def test_fixed_steps_converge_with_the_methods_order(method: str, name: str, counts: list[int]) -> None:
    tableau, rates = METHODS[method], rates_of(name)
    expected = exact(name, 21)[1:5]
    errors = []
    for count in counts:
        states = [np.array(PROBLEMS[name].state_values)]
        for t in range(4):
            states.append(solved_by(tableau, rates, t, states[-1], 1 / count, count))
        errors.append(float(np.linalg.norm(np.array(states[1:]) - expected)))
    assert observed_order([1 / count for count in counts], errors) == pytest.approx(ORDERS[method].solution, abs=0.3)


@each_method
@pytest.mark.parametrize("name", ["B4", "B5", "D1"])
def test_the_interpolant_converges_with_its_order_within_a_step(name: str, method: str) -> None:
    tableau, rates = METHODS[method], rates_of(name)
    start = solved_by(DOP853, rates, 0.0, np.array(PROBLEMS[name].state_values), 1 / 32, 32)
    steps = [0.3, 0.2, 0.12] if method == "dop853" else [0.08, 0.04, 0.02]
    errors = []
    for h in steps:
        stages = step(tableau, rates, 1.0, start, h)
        between = [start + h * (weights_at(tableau, theta) @ stages) for theta in (0.25, 0.5, 0.75)]
        quarters = [start]
        for i in range(3):
            quarters.append(solved_by(DOP853, rates, 1.0 + i * h / 4, quarters[-1], h / 40, 10))
        errors.append(float(np.linalg.norm(np.array(between) - np.array(quarters[1:]))))
    assert observed_order(steps, errors) == pytest.approx(ORDERS[method].interpolant + 1, abs=0.3)
