"""Any JSON is either a valid problem or refused with pointers into it, without other exceptions."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from odelib.errors import ProblemError
from odelib.problem.limits import Limits
from odelib.problem.pointers import join, split
from odelib.problem.request import parse_problem, request_of
from tests.odelib.problem.requests import ABSENT, FULL, MINIMAL, changed, custom, examples

FIELDS = [
    "system", "data", "parameters", "initial_state", "stages", "solver", "predictions", "uncertainty", "seed",
    "time_limit_seconds", "labels", "name", "times", "values", "start_time", "sigma", "constants", "states",
    "equations", "observables", "guess", "lower", "upper", "scale", "fixed", "kind", "steps", "learning_rate",
    "initial_step_norm", "engine", "method", "device", "rtol", "atol", "max_steps", "experiment", "noise",
    "experiments", "penalty", "prior", "derived", "prey", "predator", "total", "alpha", "beta", "gamma", "delta", "k",
    "x", "a", "t", "pi", "lambda", "", "~", "/", "~0", "~1", "~object", "~number", "~text", "~list", "~meaning",
    "[key]", "0", "-1", "{x}", "%s", "größe", "\0", "🐇",
]  # fmt: skip
TEXTS = [
    "lotka-volterra", "lorenz", "kuramoto", "adam", "lbfgsb", "least_squares", "log", "linear", "auto", "cpu",
    "compiled", "none", "profile", "data", "prey", "x", "-a*x", "alpha + k", "x^2", "(", "exp(", "1e400", "9" * 400,
    "-" * 200 + "x", "__import__('os')", "lambda", "1.2", "true", "null", "NaN", "", " ", "{detail}", "%s", "\\",
]  # fmt: skip
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([10**400, -(10**400), 2**53, 2**63, 2**64]),
    st.floats(),
    st.sampled_from([0.0, -0.0, 0.1, 1.0, 2.0, 5e-324, 1.7e308]),
    st.sampled_from(TEXTS),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4)),
    max_leaves=8,
)
BODIES = [MINIMAL, FULL, custom(), custom(constants={"c": 1.0}, observables={"o": "c*x"})]


def places(value: Any, pointer: str = "") -> list[str]:
    """The pointers of all values in the body."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = []
    for key, entry in entries:
        here = join(pointer, key)
        found += [here, *places(entry, here)]
    return found


def leads_into(body: Any, pointer: str) -> bool:
    """Whether the pointer leads to a value in the body, or to a field that one of its objects could have."""
    if isinstance(body, dict):
        body = {"parameters": {}, "initial_state": {}} | body  # their values if they are omitted
    *way, last = split(pointer) or [""]
    for part in way:
        if isinstance(body, list):
            if not (part.isdecimal() and int(part) < len(body)):
                return False
            body = body[int(part)]
        elif isinstance(body, dict) and part in body:
            body = body[part]
        else:
            return False
    if isinstance(body, list):
        return last.isdecimal() and int(last) < len(body)
    return isinstance(body, dict)


def assert_answered(body: Any, limits: Limits | None = None) -> None:
    try:
        problem = parse_problem(body, limits)
    except ProblemError as error:
        mistakes = error.errors
    else:
        echo = request_of(problem)
        assert request_of(parse_problem(json.loads(json.dumps(echo, allow_nan=False)))) == echo
        return
    assert mistakes
    for mistake in mistakes:
        assert mistake.pointer == "" or leads_into(body, mistake.pointer), mistake
        assert mistake.detail
        assert (mistake.pointer + mistake.detail).encode("utf-8")
        assert len(mistake.detail) < 1_500


@examples(300)
@given(JSON)
def test_any_json(body: Any) -> None:
    assert_answered(body)


@examples(300)
@given(st.dictionaries(st.sampled_from(FIELDS[:11]), JSON))
def test_any_json_under_the_fields_of_a_request(body: dict[str, Any]) -> None:
    assert_answered(body)


@examples(300)
@given(st.data())
def test_valid_requests_with_other_values_in_some_places(data: st.DataObject) -> None:
    body = data.draw(st.sampled_from(BODIES))
    for _ in range(data.draw(st.integers(1, 4))):
        known = places(body)
        assume(known)
        pointer = data.draw(st.sampled_from(known))
        kind = data.draw(st.sampled_from(["replace", "take out", "add"]))
        if kind == "add":
            pointer = join(pointer.rpartition("/")[0], data.draw(st.sampled_from(FIELDS)))
        try:
            body = changed(body, {pointer: ABSENT if kind == "take out" else data.draw(JSON)})
        except (KeyError, IndexError, ValueError):  # nothing can be added to a value that is not an object
            assume(False)
    assert_answered(body)


@examples(200)
@given(st.data())
def test_valid_requests_under_small_limits(data: st.DataObject) -> None:
    small = {name: data.draw(st.integers(0, 30), label=name) for name in vars(Limits())}
    assert_answered(data.draw(st.sampled_from(BODIES)), Limits(**small))


@examples(300)
@given(st.text(), st.sampled_from(["", "/parameters", "/data/values", "/data/sigma", "/labels", "/system/constants"]))
def test_any_text_as_a_name(name: str, where: str) -> None:
    body = changed(FULL, {join(where, name): "x"})
    try:
        parse_problem(body)
    except ProblemError as error:
        for mistake in error.errors:
            assert (mistake.pointer + mistake.detail).encode("utf-8")
            assert not name.isprintable() or leads_into(body, mistake.pointer)
