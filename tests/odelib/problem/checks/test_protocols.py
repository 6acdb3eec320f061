"""What was done in series and predictions: every mistake in its place."""

from __future__ import annotations

from typing import Any

import pytest

from odelib.problem import protocol
from odelib.problem.expressions.parser import Number
from odelib.problem.limits import Limits
from odelib.problem.request import parse_problem
from odelib.problem.resolved import resolve
from tests.odelib.problem.requests import ABSENT, assert_accepted, assert_refused, changed, mistakes

SYSTEM: dict[str, Any] = {
    "states": ["gut", "blood"],
    "parameters": ["ka", "ke"],
    "constants": {"volume": 2.0, "scale": 1.0},
    "inputs": ["heat"],
    "definitions": {"fast": "2*ka*scale", "flow": "ka*gut*heat"},
    "equations": {"gut": "-flow", "blood": "flow - ke*blood"},
    "observables": {"c": "blood/volume"},
}
KNOTS: dict[str, Any] = {"times": [0.0, 2.0, 5.0], "values": [1.0, "ka", 2]}
DOSE: dict[str, Any] = {"into": "gut", "amount": 5, "at": 1}
REPEATED: dict[str, Any] = DOSE | {"every": 1, "count": 3}
BODY: dict[str, Any] = {
    "system": SYSTEM,
    "data": {
        "times": [0.0, 1.0, 4.0],
        "values": {"c": [1.0, 2.0, 3.0]},
        "inputs": {"heat": KNOTS},
        "doses": [DOSE, REPEATED],
        "changes": [{"at": 2, "set": {"gut": "gut/2"}}, {"at": "2*ka", "constants": {"volume": 3}}],
        "steady_state": {"inputs": {"heat": 1.0}},
    },
    "parameters": {"ka": 1.0, "ke": 0.5},
    "initial_state": {"gut": 0.0, "blood": 0.0},
    "predictions": [{"name": "later", "times": [4.5]}, {"name": "other", "times": [1.0, 4.0], "initial_state": {}}],
}
STEADY = changed(
    BODY,
    {"/data/steady_state": ABSENT, "/data/inputs/heat": 1.0, "/data/doses": [REPEATED | {"at": 0, "steady": True}]},
)


def test_the_body_is_accepted() -> None:
    assert mistakes(BODY) == {}
    assert mistakes(STEADY) == {}


@pytest.mark.parametrize(
    ("changes", "pointer", "detail"),
    [
        # inputs
        ({"/data/inputs/heat": ABSENT}, "/data/inputs/heat", "needs a value"),
        ({"/data/inputs/cold": 1}, "/data/inputs/cold", "no input 'cold'; it has heat"),
        ({"/data/inputs/heat": "sin(t) + gut"}, "/data/inputs/heat", "unknown name 'gut'"),
        ({"/data/inputs/heat": "flow"}, "/data/inputs/heat", "definitions made of these alone"),
        ({"/data/inputs/heat/values/1": "t"}, "/data/inputs/heat/values/1", "unknown name 't'"),
        ({"/data/inputs/heat/values/1": "ka^2"}, "/data/inputs/heat/values/1", "'**'"),
        ({"/data/inputs/heat/values/1": None}, "/data/inputs/heat/values/1", "null"),
        ({"/data/inputs/heat/times/1": 0.0}, "/data/inputs/heat/times/1", "must increase: 0.0 comes after 0.0"),
        ({"/data/inputs/heat/times/1": "1"}, "/data/inputs/heat/times/1", "not a string"),
        ({"/data/inputs/heat/values": [1, 2]}, "/data/inputs/heat/values", "each of 3 times, but there are 2"),
        ({"/data/inputs/heat/interpolation": "spline"}, "/data/inputs/heat/interpolation", "must be 'linear'"),
        ({"/data/inputs/heat/outside": "error"}, "/data/inputs/heat/outside", "must be 'refuse'"),
        ({"/data/inputs/heat": [1, 2]}, "/data/inputs/heat", "a number, an expression in quotes, or an object"),
        ({"/data/inputs/heat": True}, "/data/inputs/heat", "must be a number, not true"),
        ({"/data/inputs/heat/times/0": 0.5}, "/data/inputs/heat", "needed from 0.0 on, but its first knot is at 0.5"),
        ({"/data/times/2": 5.5, "/predictions": []}, "/data/inputs/heat", "until 5.5, but its last knot is at 5.0"),
        ({"/predictions/0/times/0": 7}, "/predictions/0/times", "needed until 7.0"),
        (
            {"/data/inputs/heat": {"times": [0], "values": [1], "outside": "repeat"}},
            "/data/inputs/heat/outside",
            "at least two knots",
        ),
        ({"/data/changes/0": {"at": 2, "inputs": {"heat": {"times": [3, 5], "values": [1, 1]}}}},
         "/data/changes/0/inputs/heat", "needed from 2.0 on"),
        ({"/data/changes/0": {"at": 2, "inputs": {"heat": {"times": [2, 4], "values": [1, 1]}}}},
         "/predictions/0/times", "needed until 4.5"),
        # doses
        ({"/data/doses/0/into": "liver"}, "/data/doses/0/into", "no state 'liver'"),
        ({"/data/doses/0/amount": ABSENT}, "/data/doses/0/amount", "required"),
        ({"/data/doses/0/amount": "ka*gut"}, "/data/doses/0/amount", "unknown name 'gut'"),
        ({"/data/doses/0/amount": "fast*heat"}, "/data/doses/0/amount", "unknown name 'heat'"),
        ({"/data/doses/0/amount": [1]}, "/data/doses/0/amount", "must be a number or an expression in quotes"),
        ({"/data/doses/0/at": {}}, "/data/doses/0/at", "or a list of these"),
        ({"/data/doses/0/at": []}, "/data/doses/0/at", "must not be empty"),
        ({"/data/doses/0/at": [1, None]}, "/data/doses/0/at/1", "null"),
        ({"/data/doses/0/count": 3}, "/data/doses/0/every", "'count' needs the interval 'every'"),
        ({"/data/doses/1/count": ABSENT}, "/data/doses/1/count", "'every' needs 'count'"),
        ({"/data/doses/1/count": 0}, "/data/doses/1/count", "at least 1"),
        ({"/data/doses/1/every": 0}, "/data/doses/1/every", "greater than 0"),
        ({"/data/doses/1/at": [1, 2]}, "/data/doses/1/at", "one time"),
        ({"/data/doses/0/duration": 1, "/data/doses/0/rate": 1}, "/data/doses/0/rate", "either"),
        ({"/data/doses/0/duration": -1}, "/data/doses/0/duration", "greater than 0"),
        ({"/data/doses/0/lag": -1}, "/data/doses/0/lag", "at least 0"),
        ({"/data/doses/0/fraction": -1}, "/data/doses/0/fraction", "at least 0"),
        ({"/data/start_time": 0, "/data/doses/0/at": -2}, "/data/doses/0/at", "before the start"),
        ({"/data/start_time": 0, "/data/doses/0/at": [1, -2]}, "/data/doses/0/at/1", "before the start at 0"),
        ({"/predictions/0/doses": [DOSE | {"at": -1}]}, "/predictions/0/doses/0/at", "before the start"),
        ({"/data/doses/0/steady": 1}, "/data/doses/0/steady", "true or false"),
        ({"/data/doses/0/when": 1}, "/data/doses/0/when", "unknown field"),
        # changes
        ({"/data/changes/0/at": ABSENT}, "/data/changes/0/at", "required"),
        ({"/data/changes/0/at": "blood"}, "/data/changes/0/at", "unknown name 'blood'"),
        ({"/data/changes/0/set": ABSENT}, "/data/changes/0", "changes nothing"),
        ({"/data/changes/0/set": {"liver": 1}}, "/data/changes/0/set/liver", "no state 'liver'"),
        ({"/data/changes/0/set/gut": "gut + c"}, "/data/changes/0/set/gut", "unknown name 'c'"),
        ({"/data/changes/0/add": {"gut": None}}, "/data/changes/0/add/gut", "a number or an expression"),
        ({"/data/changes/0/constants": {"ka": 1}}, "/data/changes/0/constants/ka", "no constant 'ka'"),
        ({"/data/changes/0/inputs": {"heat": "blood"}}, "/data/changes/0/inputs/heat", "unknown name 'blood'"),
        ({"/data/changes/1/at": 2, "/data/changes/1/set": {"gut": 1}}, "/data/changes/1/set/gut", "the same time"),
        (
            {"/data/changes/1/at": 2 * (1 + 1e-13), "/data/changes/1/set": {"gut": 1}},
            "/data/changes/1/set/gut",
            "the same time",
        ),
        (
            {"/data/changes/0/at": "2*ka", "/data/changes/0/constants": {"volume": 1}},
            "/data/changes/1/constants/volume",
            "the same time",
        ),
        # constants
        ({"/data/constants": {"volume": "3*blood"}}, "/data/constants/volume", "unknown name 'blood'"),
        ({"/data/constants": {"volume": "2*volume"}}, "/data/constants/volume", "volume → volume"),
        ({"/data/constants": {"scale": "fast"}}, "/data/constants/scale", "scale → fast → scale"),
        ({"/constants": {"scale": "volume"}, "/data/constants": {"volume": "scale"}}, "/data/constants/volume", "→"),
        ({"/constants": {"zeta": 1}}, "/constants/zeta", "no constant 'zeta'"),
        ({"/inputs": {"zeta": 1}}, "/inputs/zeta", "no input 'zeta'"),
        ({"/system/constants/volume": "2"}, "/system/constants/volume", "must be a number"),
        # steady states
        ({"/data/steady_state": 1}, "/data/steady_state", "true, false, or an object"),
        ({"/data/steady_state": True}, "/data/steady_state/inputs/heat", "varies with time"),
        ({"/data/steady_state/inputs/heat": "t"}, "/data/steady_state/inputs/heat", "varies with time"),
        ({"/data/steady_state/inputs/heat": KNOTS}, "/data/steady_state/inputs/heat", "varies with time"),
        ({"/data/steady_state/set": {"gut": "c"}}, "/data/steady_state/set/gut", "unknown name 'c'"),
        ({"/data/steady_state/constants": {"ka": 1}}, "/data/steady_state/constants/ka", "no constant 'ka'"),
        ({"/system/definitions/flow": "ka*gut*heat + t"}, "/data/steady_state", "use t"),
        ({"/predictions/1/steady_state": True}, "/predictions/1/steady_state", "begins there"),
        ({"/data/observed": "between"}, "/data/observed", "'after' or 'before'"),
    ],
)  # fmt: skip
def test_mistakes(changes: dict[str, Any], pointer: str, detail: str) -> None:
    assert_refused(changes, pointer, body=BODY, detail=detail)


@pytest.mark.parametrize(
    ("changes", "pointer", "detail"),
    [
        ({"/data/doses/0/every": ABSENT, "/data/doses/0/count": ABSENT}, "/data/doses/0/every", "needs the interval"),
        ({"/data/doses/0/at": 1}, "/data/doses/0/at", "must be at the start, which is 0.0, not at 1.0"),
        ({"/data/doses/0/at": "ka"}, "/data/doses/0/at", "must be a number"),
        ({"/data/doses/0/lag": 0.5, "/data/doses/0/duration": 0.5}, "/data/doses/0/every", "which take 1.0"),
        ({"/data/doses/0/rate": 5, "/data/doses/0/fraction": 2}, "/data/doses/0/every", "which take 2.0"),
        ({"/data/steady_state": {"inputs": {"heat": 1}}}, "/data/doses/0/steady", "and so does 'steady_state'"),
        ({"/data/inputs/heat": KNOTS}, "/data/doses/0/steady", "the input 'heat' varies with time"),
        ({"/data/inputs/heat": "1 + t"}, "/data/doses/0/steady", "the input 'heat' varies with time"),
        ({"/system/definitions/flow": "ka*gut*heat + t"}, "/data/doses/0/steady", "the equations use t"),
        (
            {"/data/doses": [REPEATED | {"at": 0, "steady": True}] * 2},
            "/data/doses/1/steady",
            "another dose is 'steady'",
        ),
    ],
)
def test_mistakes_of_steady_doses(changes: dict[str, Any], pointer: str, detail: str) -> None:
    assert_refused(changes, pointer, body=STEADY, detail=detail)


@pytest.mark.parametrize(
    "changes",
    [
        {"/data/inputs": ABSENT, "/inputs": {"heat": "1 + fast*t"}},
        {"/data/inputs/heat": 1.5, "/data/steady_state": True},
        {"/data/inputs/heat/outside": "hold", "/predictions/0/times/0": 100},
        {"/data/doses/0": DOSE | {"at": [1, "ka"], "rate": "2*ka", "lag": "0.1", "fraction": "ke"}},
        {"/data/changes/1/at": 2, "/data/changes/1/add": {"gut": 1}},  # what is set and what is added
        {"/data/doses/0/at": 2},  # a dose and a change at one time
        {"/predictions/0/inputs": {"heat": 3}, "/predictions/0/times/0": 100},
        {"/predictions/0/doses": [], "/predictions/0/changes": [], "/predictions/0/steady_state": False},
        {"/predictions/1/doses": [DOSE | {"at": -3}]},  # before its own start: it does not count
        {"/data/constants": {"volume": "scale*ka", "scale": "1 + ke"}},
        {"/data/observed": "before"},
        {"/data/steady_state/set": {"gut": "gut + blood*heat"}},
    ],
)
def test_what_is_accepted(changes: dict[str, Any]) -> None:
    assert_accepted(changes, body=BODY)


@pytest.mark.parametrize(
    ("event", "pointer", "detail"),
    [
        ({"when": "blood > volume and not heat < t"}, None, ""),
        ({"stop": True, "set": {}}, None, ""),
        ({"set": {}}, "/system/events/0", "does nothing"),
        ({"when": "blood"}, "/system/events/0/when", "must be a condition"),
        ({"when": "blood == 1"}, "/system/events/0/when", "only inside where"),
        ({"when": "liver > 1"}, "/system/events/0/when", "unknown name 'liver'"),
        ({"when": "c > 1"}, "/system/events/0/when", "unknown name 'c'"),
        ({"set": {"liver": 1}}, "/system/events/0/set/liver", "no state 'liver'"),
        ({"add": {"gut": "c"}}, "/system/events/0/add/gut", "unknown name 'c'"),
        ({"add": {"gut": True}}, "/system/events/0/add/gut", "not true"),
        ({"name": "ka"}, "/system/events/0/name", "already in 'parameters'"),
        ({"name": "a b"}, "/system/events/0/name", "'a_b'"),
        ({"most": 0}, "/system/events/0/most", "at least 1"),
        ({"then": 1}, "/system/events/0/then", "unknown field"),
    ],
)
def test_events(event: dict[str, Any], pointer: str | None, detail: str) -> None:
    given = {"name": "full", "when": "blood > 5", "set": {"gut": 0}} | event
    found = mistakes(changed(BODY, {"/system/events": [given]}))
    assert list(found) == ([] if pointer is None else [pointer])
    assert detail in found.get(pointer or "", "")


def test_all_mistakes_at_once() -> None:
    body = changed(
        BODY,
        {
            "/data/doses/0/into": "liver",
            "/data/doses/1/count": ABSENT,
            "/data/changes/0/set/gut": None,
            "/data/inputs/heat/times/2": 1.0,
            "/system/events": [{"name": "full", "when": "blood"}],
            "/zeta": 1,
        },
    )
    assert set(mistakes(body)) == {
        "/data/doses/0/into", "/data/doses/1/count", "/data/changes/0/set/gut", "/data/inputs/heat/times/2",
        "/data/inputs/heat", "/system/events/0/when", "/system/events/0", "/predictions/0/times", "/zeta",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("limits", "pointer"),
    [
        (Limits(knots=2), "/data/inputs"),
        (Limits(doses=3), "/data/doses"),
        (Limits(doses=5), "/data/changes"),
        (Limits(definition_characters=69), "/data/changes"),
    ],
)
def test_limits(limits: Limits, pointer: str) -> None:
    assert list(mistakes(BODY, limits)) == [pointer]


def test_each_experiment_needs_each_input() -> None:
    one = {name: value for name, value in BODY["data"].items() if name not in ("inputs", "steady_state")}
    body = changed(BODY, {"/data": ABSENT, "/predictions": []})
    body["experiments"] = [one | {"name": "a", "inputs": {"heat": 1}}, one | {"name": "b"}]
    assert list(mistakes(body)) == ["/experiments/1/inputs/heat"]
    assert mistakes(body | {"inputs": {"heat": 1}}) == {}
    later = {"name": "later", "times": [9.0], "initial_state": {"gut": 1, "blood": 1}}
    found = mistakes(body | {"inputs": {"heat": 1}, "predictions": [later]})
    assert "depends on the experiment" in found["/predictions/0/experiment"]
    own = later | {"inputs": {}, "doses": [], "changes": []}
    assert mistakes(body | {"inputs": {"heat": 1}, "predictions": [own]}) == {}


def test_the_start_is_the_earliest_of_the_first_time_and_all_numbers() -> None:
    body = changed(BODY, {"/data/doses/0/at": [3, -1.5, "ka"], "/data/changes/0/at": -2, "/data/inputs/heat": 1})
    assert parse_problem(body).series[0].start == -2
    assert parse_problem(changed(BODY, {"/data/start_time": -3, "/data/inputs/heat": 1})).series[0].start == -3
    assert parse_problem(BODY).series[0].start == 0


def test_protocols_of_series_and_predictions() -> None:
    body = changed(BODY, {"/data/observed": "before", "/predictions/0/doses": [], "/predictions/0/inputs": {}})
    body |= {"inputs": {"heat": 7}, "constants": {"scale": "2*ka"}}
    problem = resolve(parse_problem(body))
    series, later, other = problem.protocols
    heat = series.inputs["heat"]
    assert isinstance(heat, protocol.Knots)
    assert heat.times == (0.0, 2.0, 5.0)
    assert [value if isinstance(value, float) else value.text for value in heat.values] == [1.0, "ka", 2.0]
    assert [dose.count for dose in series.doses] == [1, 3]
    assert series.steady_state is not None
    assert series.observed == "before"
    assert (later.doses, later.changes) == ((), series.changes)
    assert later.inputs["heat"] == protocol.Expression("7.0", Number(7.0), frozenset())
    assert later.steady_state == series.steady_state
    assert other.steady_state is None
    assert other.doses == series.doses
    assert problem.solved_system.parameters == ("ka", "ke", "scale")
    assert dict(problem.solved_system.constants) == {"volume": 2.0}
