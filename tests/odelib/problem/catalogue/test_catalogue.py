"""The catalogue: the published systems keep their names and equations, and every system is complete."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odelib.problem.catalogue import CATALOGUE
from odelib.problem.checks.system import build_system
from odelib.problem.request import parse_problem
from odelib.problem.system import System
from tests.odelib.problem.expressions.interpreter import evaluate
from tests.odelib.problem.requests import examples
from tests.problems import RIGHT_HAND_SIDES


@dataclass(frozen=True)
class Row:
    """One line of the table that clients know."""

    states: tuple[str, ...]
    parameters: tuple[str, ...]
    constants: Mapping[str, float] = field(default_factory=dict)
    observables: tuple[str, ...] = ()  # the states, if empty
    angles: Mapping[str, str] = field(default_factory=dict)


OSCILLATORS = ("psi", "R"), ("omega0", "gamma", "beta", "K")
PUBLISHED = {
    "lotka-volterra": Row(("prey", "predator"), ("alpha", "beta", "gamma", "delta")),
    "stuart-landau": Row(*OSCILLATORS, angles={"psi": "R"}),
    "lorenz": Row(("x", "y", "z"), ("sigma", "rho", "beta")),
    "kuramoto": Row(*OSCILLATORS, {"order": 2.0}, ("re", "im"), angles={"psi": "R"}),
}
every_system = pytest.mark.parametrize("name", CATALOGUE)
numbers = st.floats(-10, 10).filter(lambda x: abs(x) > 1e-6)


def test_the_published_systems_come_first_and_the_others_follow_by_name() -> None:
    first, others = list(CATALOGUE)[: len(PUBLISHED)], list(CATALOGUE)[len(PUBLISHED) :]
    assert first == list(PUBLISHED)
    assert others == sorted(others)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_names_of_published_systems_and_their_order(name: str) -> None:
    system, row = CATALOGUE[name], PUBLISHED[name]
    assert system.name == name
    assert system.states == row.states
    assert system.parameters == row.parameters
    assert system.constants == row.constants
    assert tuple(system.equations) == row.states
    assert tuple(system.observables) == (row.observables or row.states)
    assert system.angles == row.angles


@every_system
@examples(100)
@given(data=st.data())
def test_equations_at_random_points_are_those_written_by_hand(name: str, data: st.DataObject) -> None:
    system = CATALOGUE[name]
    states = {state: data.draw(numbers, label=state) for state in system.states}
    parameters = {parameter: data.draw(numbers, label=parameter) for parameter in system.parameters}
    found = [evaluate(e, **states, **parameters, **system.constants, t=0.0) for e in system.equations.values()]
    expected = RIGHT_HAND_SIDES[name](0.0, np.array(list(states.values())), *parameters.values())
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-12)


@examples(100)
@given(numbers, numbers)
def test_what_is_observed_of_kuramoto_is_its_order_parameter(psi: float, R: float) -> None:
    found = {n: evaluate(e, psi=psi, R=R) for n, e in CATALOGUE["kuramoto"].observables.items()}
    assert found == pytest.approx({"re": R * math.cos(psi), "im": R * math.sin(psi)}, rel=1e-12)


@examples(100)
@given(st.floats(0.1, 3), numbers, st.floats(-1, 1), st.floats(0.01, 1))
def test_kuramotos_order_is_a_constant_that_a_series_may_override(
    order: float, K: float, beta: float, R: float
) -> None:
    point = {"psi": 0.1, "R": R, "omega0": 1.0, "gamma": 0.2, "beta": beta, "K": K}
    found = {n: evaluate(e, **point, order=order) for n, e in CATALOGUE["kuramoto"].equations.items()}
    assert found["psi"] == pytest.approx(1.0 + K / 2 * math.sin(beta) * (1 + R ** (2 * order)), rel=1e-12)
    assert found["R"] == pytest.approx(-0.2 * R + K / 2 * math.cos(beta) * R * (1 - R ** (2 * order)), rel=1e-12)
    body = {
        "system": "kuramoto",
        "data": {"times": [0.0], "values": {"re": [1.0]}, "constants": {"order": order}},
        "parameters": {"omega0": 1.0, "gamma": 0.2, "beta": beta, "K": K},
        "initial_state": {"psi": 0.1, "R": R},
    }
    assert parse_problem(body).data.constants == {"order": order}


@every_system
def test_the_title_and_the_example_are_complete(name: str) -> None:
    system, example = CATALOGUE[name], CATALOGUE[name].example
    assert system.title
    assert example is not None
    assert tuple(example.parameters) == system.parameters
    assert tuple(example.initial_state) == system.states
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
def test_angles_and_their_radii_are_states(name: str) -> None:
    system = CATALOGUE[name]
    assert {*system.angles, *system.angles.values()} <= set(system.states)


def test_finding_the_files_loads_no_numerics() -> None:
    program = "import sys, odelib.problem.catalogue; print({'numpy', 'scipy', 'torch', 'numba'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
