"""Solves that fail under schedules, events and jumping comparisons say why, in the caller's own terms."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest

from odelib.engines.base import Engine
from odelib.engines.compiled.engine import CompiledEngine
from odelib.engines.torchdiffeq import TorchdiffeqEngine
from odelib.errors import SolveError
from odelib.problem.protocol import Protocol
from odelib.problem.system import Event
from tests.odelib.engines.protocols import change, dose, event, knots, protocol, solved, steady_state, system

ENGINES = [CompiledEngine, TorchdiffeqEngine]
WRITTEN_BY_US = ("mode", "held", "rate into", " c0", "choice", "knot", "initial ", "shift")


@dataclass(frozen=True)
class Case:
    """A system with the parameter k = 1 and the constant c = 2, where it starts, when it fails, and what is said."""

    equations: Mapping[str, str]
    state: Sequence[float]
    time: float
    said: str
    done: Protocol = Protocol()  # noqa: RUF009
    events: Sequence[Event] = ()


CASES = {
    "beyond a jump": Case(
        {"x": "where(x > 0.5, -k, -k*(0.4 - x)**-1.5)"}, [1.0], 0.5,
        "in the equation of 'x', (0.4 - x)**-1.5 has no finite value for x = 0.5; if the process stops there, write",
    ),
    "a jump in the root": Case(
        {"x": "-k*sqrt(where(x > 0.5, 1, x - 0.6))"}, [1.0], 0.5,
        "sqrt(where(x > 0.5, 1, x - 0.6)) has no finite value for x = 0.5; if the process stops there, write "
        "max(where(x > 0.5, 1, x - 0.6), 0) in place of where(x > 0.5, 1, x - 0.6)",
    ),
    "a sign": Case({"x": "-k - log(sign(x - 0.5))"}, [1.0], 0.5, "log(sign(x - 0.5)) has no finite value"),
    "a whole number": Case({"x": "k + 0/(floor(x) - c)"}, [1.0], 1.0, "0/(floor(x) - c) has no finite value"),
    "a jump within a jump": Case(
        {"x": "-k - log(where(x > where(y > 1, 0.3, 0.5), 1, -1))", "y": "k"}, [1.0, 0.9], 0.7,
        "log(where(x > where(y > 1, 0.3, 0.5), 1, -1)) has no finite value for x = 0.3, y = 1.6; keep",
    ),
    "an event sets a state": Case(
        {"x": "-k", "y": "0*x"}, [1.0, 1.0], 0.5, "the value of the state 'y' is nan there; it is set by the event 'e'",
        events=(event("e", "x < 0.5", {"y": "sqrt(x - c)"}),),
    ),
    "after an event": Case(
        {"x": "-k", "y": "log(x)"}, [1.0, 1.0], 0.5, "in the equation of 'y', log(x) has no finite value for x = -1",
        events=(event("e", "x < 0.5", {"x": "-1"}),),
    ),
    "an input": Case(
        {"x": "0*log(u) - k"}, [1.0], 1.5, "in the equation of 'x', log(u) has no finite value for u = ",
        protocol({"u": knots([0, 2], [3, -1])}),
    ),
    "an input with a parameter": Case(
        {"x": "0*log(u) - k"}, [1.0], 1.5, "in the equation of 'x', log(u) has no finite value for u = ",
        protocol({"u": knots([0, 2], ["3*k", "-k"])}),
    ),
    "an input by an expression": Case(
        {"x": "u - k"}, [1.0], 1.0, "log(1 - t) has no finite value for t = 1", protocol({"u": "log(1 - t)"}),
    ),
    "a changed constant": Case(
        {"x": "-k*sqrt(c)"}, [1.0], 1.0, "sqrt(c) has no finite value for c = -3; if",
        protocol(changes=(change(1, constants={"c": "-3"}),)),
    ),
    "a constant changed by a parameter": Case(
        {"x": "-k*sqrt(c)"}, [1.0], 1.0, "sqrt(c) has no finite value for c = -3; if",
        protocol(changes=(change(1, constants={"c": "-3*k"}),)),
    ),
    "a change to no value": Case(
        {"x": "-k*c"}, [1.0], 1.0, "the value that a change gives to 'c' is nan there",
        protocol(changes=(change(1, constants={"c": "sqrt(-k)"}),)),
    ),
    "a change sets a state": Case(
        {"x": "-k"}, [1.0], 1.0, "the value of the state 'x' is nan there; it is set by a change",
        protocol(changes=(change(1, to_set={"x": "log(x - 3)"}),)),
    ),
    "an infusion": Case(
        {"x": "0*log(c - x)"}, [0.0], 1.5, "in the equation of 'x', log(c - x) has no finite value for c = 2, x = 2",
        protocol(doses=(dose("x", "4*k", 0.5, duration=2),)),
    ),
    "towards a steady state": Case(
        {"x": "-k + 0*log(x)"}, [1.0], 0.0,
        "while the steady state before it was sought, in the equation of 'x', log(x) has no finite value for x = ",
        protocol(steady_state=steady_state()),
    ),
    "where a steady state begins": Case(
        {"x": "-k*log(x)"}, [-1.0], 0.0,
        "while the steady state before it was sought, in the equation of 'x', log(x) has no finite value for x = -1;",
        protocol(steady_state=steady_state()),
    ),
    "growth without limit before the start": Case(
        {"x": "k*x**2"}, [1.0], 0.0, "while the steady state before it was sought, the solution grows without limit",
        protocol(steady_state=steady_state()),
    ),
}  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", CASES)
def test_a_failure_is_explained_in_the_callers_terms(name: str, engine: type[Engine]) -> None:
    case = CASES[name]
    of = system(case.equations, ["k"], {"c": 2.0}, inputs=tuple(case.done.inputs), events=case.events)
    found = solved(engine(of), of, [case.done], [0.0, 4.0], case.state, [1.0], rtol=1e-6)
    error, message = found.failures[0], str(found.failures[0])
    assert error.time == pytest.approx(case.time, abs=1e-3)
    assert case.said in message
    assert not [word for word in WRITTEN_BY_US if word in message]
    assert str(pickle.loads(pickle.dumps(error))) == message


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("friction", "comparison"), [("sign(v)", "sign(v)"), ("where(v > 0, 1, -1)", "v > 0")])
def test_a_solution_that_slides_too_long_names_the_comparison(
    engine: type[Engine], friction: str, comparison: str
) -> None:
    of = system({"x": "v", "v": f"-x - k*{friction}"}, ["k"])
    found = solved(engine(of), of, [protocol()], [0.0, 40.0], [0.5, 0.0], [1.0], rtol=1e-6, max_steps=200)
    assert found.failures[0].code == "sliding"
    assert f"slides along the comparison {comparison!r}" in str(found.failures[0])
    assert "tanh(100*v)" in str(found.failures[0])


def test_a_solve_that_jumps_are_not_to_blame_for_is_not_tried_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    of = system({"x": "where(x > 1, -k, k*x)", "y": "1"}, ["k"], events=(event("e", "y > 0.1", {"y": "0"}, most=3),))
    solver = CompiledEngine(of)
    solver_parts = solver._scheduled._systems
    asked = []
    own = solver_parts.of
    monkeypatch.setattr(solver_parts, "of", lambda *given, **more: asked.append(more) or own(*given, **more))
    found = solved(solver, of, [protocol()], [0.0, 4.0], [1.5, 0.0], [0.1])
    assert isinstance(found.failures[0], SolveError)
    assert found.failures[0].code == "too_many_events"
    assert asked == [{}]


@pytest.mark.parametrize("engine", ENGINES)
def test_an_event_prevents_that_the_solution_leaves_the_domain(engine: type[Engine]) -> None:
    of = system({"x": "-k + 0*log(x)"}, ["k"], events=(event("refill", "x < 0.5", {"x": "1"}),))
    found = solved(engine(of), of, [protocol()], [0.0, 0.7, 1.2], [1.0], [1.0], rtol=1e-4)
    assert not found.failures
    assert found.states[0, :, 0] == pytest.approx([1.0, 0.8, 0.8], abs=1e-3)
