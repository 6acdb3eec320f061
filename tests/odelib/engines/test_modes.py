"""Rates that jump where states pass a level: the instant is located, and sensitivities jump there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from odelib.engines.base import Engine, Sensitivities
from odelib.engines.compiled.engine import CompiledEngine
from odelib.engines.schedules.modes import jumping_comparisons
from odelib.engines.torchdiffeq import TorchdiffeqEngine
from odelib.problem.expressions.text import text_of
from odelib.problem.protocol import Protocol
from odelib.problem.system import System
from tests.odelib.engines.protocols import Array, change, dose, knots, protocol, solved, steady_state, system

TIMES = [0.0, 0.31, 1.07, 1.93, 3.1]
ENGINES = [CompiledEngine, TorchdiffeqEngine]


@dataclass(frozen=True)
class Case:
    """A system, where it starts, and what is done in it."""

    equations: Mapping[str, str]
    state: Sequence[float]
    parameters: Mapping[str, float]
    done: Protocol = Protocol()  # noqa: RUF009
    definitions: Mapping[str, str] | None = None

    def solver(self, kind: type[Engine]) -> Engine:
        return kind(self.system)

    @property
    def system(self) -> System:
        inputs = tuple(self.done.inputs)
        return system(self.equations, list(self.parameters), inputs=inputs, definitions=self.definitions)


RELAY = {"x": "where(x > level, -k*x, -2*k*x + 0.1)"}
CASES = {
    "where": Case(RELAY, [1.0], {"k": 0.7, "level": 0.45}),
    "sign": Case({"x": "v", "v": "-x - m*sign(v)"}, [2.0, 0.1], {"m": 0.15}),
    "floor": Case({"x": "k", "y": "floor(x*x)*k - y"}, [0.3, 0.1], {"k": 0.85}),
    "and, or, not": Case(
        {"x": "v", "v": "-where((x > a and not v > b) or x < b, k, 2*k)*x"}, [1.0, 0.0], {"k": 1.3, "a": 0.2, "b": -0.4}
    ),
    "definition": Case(
        {"x": "-k*x*rapid"}, [1.0], {"k": 0.6, "a": 0.55},
        definitions={"rapid": "where(distance > 0, 2, 1)", "distance": "x - a"},
    ),
    "with time": Case({"x": "where(x < a*t, -k, 1 - x)"}, [0.9], {"k": 0.5, "a": 0.6}),
    "input": Case(
        {"x": "where(u > a, k, 0) - 0.3*x"}, [0.2], {"k": 0.9, "a": 0.7},
        protocol({"u": knots([0, 1, 2, 3.2], [0.1, "k", 0.3, 1.4])}),
    ),
    "dose over the level": Case(
        RELAY, [0.6], {"k": 0.7, "level": 0.45}, protocol(doses=(dose("x", 1.0, 1.5, lag="level"),))
    ),
    "change": Case(
        RELAY, [0.6], {"k": 0.7, "level": 0.45}, protocol(changes=(change("1 + level", to_set={"x": "x*0.2 + k"}),))
    ),
    "steady state": Case(
        {"x": "where(x > level, u - k*x, u - 2*k*x)"}, [0.1], {"k": 0.7, "level": 0.75},
        protocol({"u": knots([0, 3.2], [0.35, 2.5])}, steady_state=steady_state(inputs={"u": 0.35})),
    ),
}  # fmt: skip


def derivatives(found: Sensitivities) -> Array:
    return np.concatenate([found.by_initial_state[0], found.by_parameters[0]], axis=-1)


def differences(case: Case, solver: Engine, point: Array) -> Array:
    """Central differences of the states by initial values and parameters, (T, n, n + p)."""
    columns = []
    for place in range(len(point)):
        step, states = 1e-5 * np.eye(len(point))[place], []
        for moved in (point + step, point - step):
            n = len(case.state)
            found = solved(solver, case.system, [case.done], TIMES, moved[:n], moved[n:], rtol=1e-11, method="auto")
            states.append(found.states[0])
        columns.append((states[0] - states[1]) / 2e-5)
    return np.stack(columns, axis=-1)


@pytest.fixture(scope="module", params=list(CASES))
def reference(request: pytest.FixtureRequest) -> tuple[Case, Array, Array]:
    """A case, its states, and differences by a compiled solver."""
    case: Case = CASES[request.param]
    solver, point = case.solver(CompiledEngine), np.array([*case.state, *case.parameters.values()])
    found = solved(
        solver, case.system, [case.done], TIMES, case.state, point[len(case.state) :], rtol=1e-11, method="auto"
    )
    assert not found.failures
    assert not solver.unlocated_jumps
    return case, found.states[0], differences(case, solver, point)


@pytest.mark.parametrize("engine", ENGINES)
def test_derivatives_have_the_change_of_the_instant(engine: type[Engine], reference: tuple[Case, Array, Array]) -> None:
    case, states, expected = reference
    solver = case.solver(engine)
    found = solved(solver, case.system, [case.done], TIMES, case.state, list(case.parameters.values()))
    assert not found.failures
    assert not solver.unlocated_jumps
    np.testing.assert_allclose(found.states[0], states, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(derivatives(found), expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


def test_a_rate_that_is_continuous_needs_no_instant() -> None:
    of = system(
        {
            "h": "-k*where(h > 0, sqrt(h), 0)",
            "v": "sign(v)*v**2 - max(v, k)",
            "w": "where(w > k, where(h > 100, 1, 0), 0) + where(w < k + 1, w - 1, k)",
            "z": "where(t > k, 1, 0) + where(k > 1, 1, 0) + floor(z)",
        },
        ["k"],
    )
    found = [text_of(node) for node in jumping_comparisons(of, of.states)]
    assert found == ["w > k", "h > 100", "floor(z)"]


def test_segments_know_the_outcome_where_they_begin() -> None:
    case = CASES["where"]
    solver, values = case.solver(CompiledEngine), list(case.parameters.values())
    whole = solved(solver, case.system, [case.done], TIMES, case.state, values)
    for first in (1, 3):
        part = solved(solver, case.system, [case.done], TIMES[first:], whole.states[0, first], values, is_start=False)
        np.testing.assert_allclose(part.states[0], whole.states[0, first:], rtol=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_solution_that_slides_is_solved_with_short_steps_and_told(engine: type[Engine]) -> None:
    of = system({"x": "where(x > a, -k, k)"}, ["a", "k"])
    solver = engine(of)
    found = solved(solver, of, [protocol()], [0.0, 0.5, 1.0], [0.0], [0.7, 1.0], rtol=3e-2)
    assert found.states[0, :, 0] == pytest.approx([0.0, 0.5, 0.7], abs=0.05)
    assert solver.unlocated_jumps == {"x > a"}
