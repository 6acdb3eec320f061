"""The catalogue against the contract's table."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odelib.problem.catalogue import CATALOGUE
from odelib.problem.checks.system import build_system
from odelib.problem.request import parse_problem
from odelib.problem.system import System
from tests.odelib.problem.expressions.interpreter import evaluate
from tests.odelib.problem.requests import examples

Formula = Callable[..., dict[str, float]]


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    states: tuple[str, ...]
    parameters: tuple[str, ...]
    equations: Formula
    constants: Mapping[str, float] = field(default_factory=dict)
    observables: Formula | None = None


def lotka_volterra(
    prey: float, predator: float, alpha: float, beta: float, gamma: float, delta: float
) -> dict[str, float]:
    return {
        "prey": alpha * prey - beta * prey * predator,
        "predator": gamma * prey * predator - delta * predator,
    }


def stuart_landau(psi: float, R: float, omega0: float, gamma: float, beta: float, K: float) -> dict[str, float]:
    return {
        "psi": omega0 + (K / 2) * math.sin(beta) * (1 + R**2),
        "R": -gamma * R + (K / 2) * math.cos(beta) * R * (1 - R**2),
    }


def lorenz(x: float, y: float, z: float, sigma: float, rho: float, beta: float) -> dict[str, float]:
    return {"x": sigma * (y - x), "y": x * (rho - z) - y, "z": x * y - beta * z}


def kuramoto(
    psi: float, R: float, omega0: float, gamma: float, beta: float, K: float, order: float = 2.0
) -> dict[str, float]:
    power = R ** (2 * order)
    return {
        "psi": omega0 + (K / 2) * math.sin(beta) * (1 + power),
        "R": -gamma * R + (K / 2) * math.cos(beta) * R * (1 - power),
    }


def order_parameter(psi: float, R: float, **_: float) -> dict[str, float]:
    return {"re": R * math.cos(psi), "im": R * math.sin(psi)}


OSCILLATORS = ("psi", "R"), ("omega0", "gamma", "beta", "K")
TABLE = {
    "lotka-volterra": Row(("prey", "predator"), ("alpha", "beta", "gamma", "delta"), lotka_volterra),
    "stuart-landau": Row(*OSCILLATORS, stuart_landau),
    "lorenz": Row(("x", "y", "z"), ("sigma", "rho", "beta"), lorenz),
    "kuramoto": Row(*OSCILLATORS, kuramoto, {"order": 2.0}, order_parameter),
}
every_system = pytest.mark.parametrize("name", list(TABLE))
numbers = st.floats(-10, 10).filter(lambda x: abs(x) > 1e-6)


def test_the_systems_of_the_table_in_its_order() -> None:
    assert list(CATALOGUE) == list(TABLE)


@every_system
def test_names_and_their_order(name: str) -> None:
    system, row = CATALOGUE[name], TABLE[name]
    assert system.name == name
    assert system.title
    assert system.states == row.states
    assert system.parameters == row.parameters
    assert system.constants == row.constants
    assert tuple(system.equations) == row.states
    assert tuple(system.observables) == (("re", "im") if row.observables else row.states)


@every_system
@examples(100)
@given(data=st.data())
def test_equations_and_observables_at_random_points(name: str, data: st.DataObject) -> None:
    system, row = CATALOGUE[name], TABLE[name]
    point = {n: data.draw(numbers, label=n) for n in (*row.states, *row.parameters)}
    found = {state: evaluate(e, **point, **row.constants) for state, e in system.equations.items()}
    assert found == pytest.approx(row.equations(**point), rel=1e-12, abs=1e-12)
    observed = {n: evaluate(e, **point, **row.constants) for n, e in system.observables.items()}
    expected = row.observables(**point) if row.observables else {state: point[state] for state in row.states}
    assert observed == pytest.approx(expected, rel=1e-12)


@examples(100)
@given(st.floats(0.1, 3), numbers, st.floats(-1, 1), st.floats(0.01, 1))
def test_kuramotos_order_is_a_constant_that_a_series_may_override(
    order: float, K: float, beta: float, R: float
) -> None:
    point = {"psi": 0.1, "R": R, "omega0": 1.0, "gamma": 0.2, "beta": beta, "K": K}
    found = {n: evaluate(e, **point, order=order) for n, e in CATALOGUE["kuramoto"].equations.items()}
    assert found == pytest.approx(kuramoto(**point, order=order), rel=1e-12)
    body = {
        "system": "kuramoto",
        "data": {"times": [0.0], "values": {"re": [1.0]}, "constants": {"order": order}},
        "parameters": {"omega0": 1.0, "gamma": 0.2, "beta": beta, "K": K},
        "initial_state": {"psi": 0.1, "R": R},
    }
    assert parse_problem(body).data.constants == {"order": order}


@every_system
def test_the_example_is_complete(name: str) -> None:
    example, row = CATALOGUE[name].example, TABLE[name]
    assert example is not None
    assert tuple(example.parameters) == row.parameters
    assert tuple(example.initial_state) == row.states
    assert len(example.times) > 1
    assert list(example.times) == sorted(set(example.times))
    values = (*example.parameters.values(), *example.initial_state.values(), *example.times)
    assert all(type(value) is float and math.isfinite(value) for value in values)


@every_system
def test_a_catalogue_system_is_what_its_definition_makes(name: str) -> None:
    system = CATALOGUE[name]
    again = build_system(system.definition())
    assert signature(again) == signature(system)


def signature(system: System) -> tuple[object, ...]:
    return system.states, system.parameters, system.constants, system.equations, system.observables


@every_system
def test_angles_are_states(name: str) -> None:
    system = CATALOGUE[name]
    assert {*system.angles, *system.angles.values()} <= set(system.states)
    assert bool(system.angles) == (name in ("stuart-landau", "kuramoto"))
