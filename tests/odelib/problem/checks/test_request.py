"""All mistakes of a request at once, in a fixed order, and none that follows from another."""

from __future__ import annotations

from typing import Any

import pytest

from odelib.errors import ProblemError
from odelib.problem.request import parse_problem
from tests.odelib.problem.requests import (
    ABSENT,
    FULL,
    MINIMAL,
    SEVERAL,
    assert_accepted,
    assert_refused,
    changed,
    custom,
    mistakes,
)


@pytest.mark.parametrize(
    ("where", "kind"),
    [
        ("/parameters", "parameter"),
        ("/initial_state", "state"),
        ("/data/initial_state", "state"),
        ("/data/constants", "constant"),
        ("/predictions/0/parameters", "parameter"),
        ("/predictions/0/initial_state", "state"),
        ("/system/equations", "state"),
    ],
)
@pytest.mark.parametrize("name", ["zeta", "", "a/b", "m~n", "~object", "~number", "[key]", "{x}"])
def test_names_that_the_system_does_not_have(where: str, kind: str, name: str) -> None:
    pointer = f"{where}/{name.replace('~', '~0').replace('/', '~1')}"
    assert_refused({pointer: "1" if where == "/system/equations" else 1.0}, pointer, body=FULL, detail=kind)


def test_all_mistakes_at_once() -> None:
    body = changed(
        FULL,
        {
            "/zeta": 1,
            "/a~1b": 1,
            "/system/zeta": 1,
            "/system/equations/prey": "alpha*",
            "/system/equations/predator": "nobody",
            "/system/observables/total": "prey^2",
            "/parameters/delta": ABSENT,
            "/parameters/epsilon": 1.0,
            "/parameters/alpha/guess": 9.0,
            "/parameters/beta/fixed": 1,
            "/initial_state/prey": "nobody",
            "/data/initial_state/predator/scale": "cubic",
            "/data/times/3": 0.0,
            "/data/values/prey/0": "1",
            "/data/values/prey/2": True,
            "/data/values/total": [1.0],
            "/data/sigma/prey": 0,
            "/data/start_time": 1.0,
            "/data/constants/zeta": 1.0,
            "/stages/0/steps": 0,
            "/stages/1/kind": "magic",
            "/solver/device": "tpu",
            "/predictions/0/times/1": 0.0,
            "/predictions/0/experiment": "other",
            "/predictions/0/values/total/0": "x",
            "/noise": {"total": {"distribution": "normal", "zeta": 1}},
            "/hold_out": {},
            "/uncertainty": "some",
            "/labels/who": 1,
        },
    )
    assert set(mistakes(body)) == {
        "/zeta",
        "/a~1b",
        "/system/zeta",
        "/system/equations/prey",
        "/system/equations/predator",
        "/system/observables/total",
        "/parameters/delta",
        "/parameters/epsilon",
        "/parameters/alpha/guess",
        "/parameters/beta/fixed",
        "/initial_state/prey",
        "/data/initial_state/predator/scale",
        "/data/times/3",
        "/data/values/prey/0",
        "/data/values/prey/2",
        "/data/values/total",
        "/data/sigma/prey",
        "/data/start_time",
        "/data/constants/zeta",
        "/stages/0/steps",
        "/stages/1/kind",
        "/solver/device",
        "/predictions/0/times/1",
        "/predictions/0/experiment",
        "/predictions/0/values/total/0",
        "/noise/prey",
        "/noise/total/zeta",
        "/hold_out",
        "/uncertainty",
        "/labels/who",
    }


def test_every_unknown_name_of_an_expression() -> None:
    found = mistakes(custom(equations={"x": "b + c*x"}))
    assert found["/system/equations/x"].splitlines() == [
        "unknown name 'b'; known names: x, a, t",
        "unknown name 'c'; known names: x, a, t",
    ]


def error_pointers(body: dict[str, Any]) -> list[str]:
    with pytest.raises(ProblemError) as caught:
        parse_problem(body)
    return [error.pointer for error in caught.value.errors]


def test_a_mistake_that_follows_from_another_is_not_reported() -> None:
    assert len(error_pointers(changed(MINIMAL, {"/data/times": "x"}))) == 1
    assert len(error_pointers(changed(MINIMAL, {"/parameters/alpha": "x"}))) == 1
    assert len(error_pointers(changed(FULL, {"/system/equations/prey": 5}))) == 1


def test_the_order_of_mistakes_does_not_vary() -> None:
    body = custom(equations={"x": "x"} | {f"y{i}": "1" for i in range(20)})
    assert list(mistakes(body)) == [f"/system/equations/y{i}" for i in range(20)]


def test_the_message_of_the_exception_has_all_mistakes() -> None:
    with pytest.raises(ProblemError) as caught:
        parse_problem(changed(MINIMAL, {"/zeta": 1, "/parameters/gamma": ABSENT}))
    assert str(caught.value).splitlines() == [
        "/zeta: unknown field 'zeta'",
        "/parameters/gamma: the parameter 'gamma' needs a guess",
    ]


def test_a_request_with_all_fields_is_accepted() -> None:
    assert_accepted({}, body=SEVERAL)
