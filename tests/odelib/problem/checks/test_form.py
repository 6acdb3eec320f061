"""Errors of form: JSON types, numbers, missing and unknown fields; each with its pointer, written by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.odelib.problem.requests import ABSENT, FULL, MINIMAL, assert_refused, changed, mistakes


@pytest.mark.parametrize("body", [None, True, 5, 1.5, "text", [], [MINIMAL]])
def test_what_is_not_an_object(body: Any) -> None:
    assert mistakes(body) == {"": "must be an object"}


def test_an_empty_request_lacks_system_and_data() -> None:
    assert mistakes({}) == {
        "/system": "'system' is required",
        "/data": "'data' is required, or 'experiments' for several series",
    }


@pytest.mark.parametrize("pointer", ["/system", "/data", "/data/times", "/data/values"])
def test_a_missing_required_field(pointer: str) -> None:
    assert_refused({pointer: ABSENT}, pointer, detail="is required")


@pytest.mark.parametrize(
    "pointer", ["/predictions/0/name", "/predictions/0/times", "/system/equations", "/stages/1/kind"]
)
def test_a_missing_required_field_of_a_part(pointer: str) -> None:
    assert_refused({pointer: ABSENT}, pointer, body=FULL, detail="is required")


def test_missing_states() -> None:
    assert mistakes(changed(FULL, {"/system/states": ABSENT}))["/system/states"] == "'states' is required"


@pytest.mark.parametrize(
    "where",
    [
        "",
        "/system",
        "/data",
        "/data/initial_state/predator",
        "/parameters/alpha",
        "/stages/0",
        "/stages/1",
        "/solver",
        "/predictions/0",
    ],
)
@pytest.mark.parametrize("name", ["zeta", "Data", "", "a/b", "m~n", "~object", "[key]", "{x}", "0", "größe"])
def test_unknown_fields(where: str, name: str) -> None:
    pointer = f"{where}/{name.replace('~', '~0').replace('/', '~1')}"
    assert_refused({pointer: 1.0}, pointer, body=FULL, detail=f"unknown field {name!r}")


def test_an_invalid_value_with_an_unusual_name_keeps_its_pointer() -> None:
    found = mistakes(changed(MINIMAL, {"/parameters/~0number": "x", "/data/values/~0list": [1.0, "x", 2.0]}))
    assert set(found) == {"/parameters/~0number", "/data/values/~0list", "/data/values/~0list/1"}


NUMBERS = [
    "/data/times/1",
    "/data/values/prey/0",
    "/data/start_time",
    "/data/sigma/prey",
    "/data/sigma/total/2",
    "/data/constants/k",
    "/data/initial_state/predator/guess",
    "/data/initial_state/predator/lower",
    "/data/initial_state/predator/upper",
    "/parameters/delta",
    "/parameters/alpha/guess",
    "/parameters/alpha/lower",
    "/parameters/alpha/upper",
    "/initial_state/predator",
    "/system/constants/k",
    "/stages/0/learning_rate",
    "/stages/1/initial_step_norm",
    "/solver/rtol",
    "/solver/atol",
    "/time_limit_seconds",
    "/predictions/0/times/1",
    "/predictions/0/initial_state/prey",
    "/predictions/0/parameters/alpha",
    "/predictions/0/values/total/1",
]


COUNTS = ["/stages/0/steps", "/stages/1/steps", "/solver/max_steps", "/seed"]


OUT_OF_RANGE = [float("inf"), float("-inf"), float("nan"), 10**400, -(10**400)]


@pytest.mark.parametrize("pointer", NUMBERS + COUNTS)
@pytest.mark.parametrize("value", [True, False, "1", "1.2", "", [1.0], {"value": 1.0}])
def test_only_a_number_is_a_number(pointer: str, value: Any) -> None:
    body = changed(FULL, {pointer: value})
    found = mistakes(body)
    if pointer == "/initial_state/predator" and value == "1":
        assert found == {}  # an expression
    elif pointer == "/data/sigma/prey" and value == [1.0]:
        assert found == {pointer: "the list must have one sigma for each time (4), but its length is 1"}
    else:
        assert [one for one in found if one == pointer or one.startswith(pointer + "/")] == list(found)


@pytest.mark.parametrize("pointer", NUMBERS)
@pytest.mark.parametrize("value", OUT_OF_RANGE)
def test_numbers_outside_the_range_of_double_precision(pointer: str, value: float) -> None:
    assert_refused({pointer: value}, pointer, body=FULL, detail="outside the range of double precision")


@pytest.mark.parametrize("pointer", COUNTS)
@pytest.mark.parametrize("value", [-1, 1.5, 2**53 + 1, 10**400, *OUT_OF_RANGE])
def test_counts_are_whole_and_not_too_large(pointer: str, value: float) -> None:
    assert_refused({pointer: value}, pointer, body=FULL)


@pytest.mark.parametrize("pointer", [*NUMBERS, *COUNTS])
def test_null_is_only_a_missing_measurement(pointer: str) -> None:
    if pointer in ("/data/values/prey/0", "/predictions/0/values/total/1"):
        other = {"/predictions/0/values/total": [1.0, None]} if "predictions" in pointer else {pointer: None}
        assert mistakes(changed(FULL, other)) == {}
    else:
        assert_refused({pointer: None}, pointer, body=FULL)


@pytest.mark.parametrize(
    "pointer",
    [
        "/system", "/data", "/parameters", "/initial_state", "/stages", "/solver", "/predictions", "/uncertainty",
        "/labels", "/labels/who", "/data/name", "/data/times", "/data/values", "/data/values/prey", "/data/sigma",
        "/data/initial_state", "/data/constants", "/data/initial_state/predator", "/parameters/alpha",
        "/parameters/alpha/scale", "/parameters/alpha/fixed", "/initial_state/prey", "/stages/0", "/stages/0/kind",
        "/solver/engine", "/solver/method", "/solver/device", "/predictions/0", "/predictions/0/name",
        "/predictions/0/times", "/predictions/0/experiment", "/predictions/0/initial_state",
        "/predictions/0/parameters", "/predictions/0/values", "/predictions/0/values/total", "/system/states",
        "/system/parameters", "/system/constants", "/system/equations", "/system/observables", "/system/states/0",
        "/system/parameters/0", "/system/equations/prey", "/system/observables/total",
    ],
)  # fmt: skip
@pytest.mark.parametrize("value", [None, False, 5])
def test_the_wrong_json_type_everywhere(pointer: str, value: Any) -> None:
    body = changed(FULL, {pointer: value})
    found = mistakes(body)
    number_or_other = ("/parameters/alpha", "/initial_state/prey", "/data/initial_state/predator")
    if (value == 5 and pointer in number_or_other) or (value is False and pointer.endswith("fixed")):
        assert found == {}
    else:
        assert list(found) == [pointer]


@pytest.mark.parametrize(
    ("pointer", "value", "sentence"),
    [
        ("/parameters/delta", "1.2", "must be a number or an object with a guess or bounds"),
        ("/parameters/delta", True, "must be a number, not true"),
        ("/parameters/alpha/guess", "1.2", "must be a number, not a string"),
        ("/data/times/0", None, "null is allowed only for a missing measurement"),
        (
            "/initial_state/prey",
            [1.0],
            "must be a number, an expression in quotes, or an object with a guess or bounds",
        ),
        ("/data/sigma/prey", "0.1", "must be a number greater than 0 or a list with one such number for each time"),
        ("/system", 5, "must be the name of a catalogue system or a definition"),
        ("/data", [], "must be an object"),
        ("/data/times", {}, "must be a list"),
        ("/data/times", (0.0, 0.1, 0.1, 0.2), "must be a list"),
        ("/labels/who", 1, "must be a string"),
        ("/stages/0/steps", 1.5, "must be a whole number"),
        ("/parameters/alpha/fixed", "yes", "must be true or false"),
        ("/data/times", [], "must not be empty"),
        ("/solver/device", "tpu", "must be 'auto', 'cpu' or 'cuda'"),
        ("/solver/rtol", -1.0, "must be greater than 0"),
    ],
)
def test_sentences_are_plain(pointer: str, value: Any, sentence: str) -> None:
    assert mistakes(changed(FULL, {pointer: value}))[pointer] == sentence


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/system", "no-such-system"),
        ("/system", ""),
        ("/system", "Lotka-Volterra"),
        ("/parameters/alpha", {"guess": 1.0, "scale": "cubic"}),
        ("/labels", ["a"]),
        ("/time_limit_seconds", 0),
        ("/time_limit_seconds", -1.0),
        ("/seed", -1),
        ("/stages", []),
    ],
)
def test_values_out_of_range(pointer: str, value: Any) -> None:
    body = changed(MINIMAL, {"/seed": 0, "/time_limit_seconds": 1, "/labels": {}, "/stages": [{"kind": "adam"}]})
    expected = pointer + "/scale" if pointer == "/parameters/alpha" else pointer
    assert list(mistakes(changed(body, {pointer: value}))) == [expected]


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/data/name", ""),
        ("/data/name", "x" * 201),
        ("/predictions/0/name", ""),
        ("/stages/0/steps", 0),
        ("/stages/1/steps", 0),
        ("/stages/0/learning_rate", 0.0),
        ("/stages/1/initial_step_norm", 0.0),
        ("/solver/max_steps", 0),
        ("/solver/rtol", 0.0),
        ("/solver/atol", -1e-9),
        ("/solver/atol", "automatic"),
        ("/solver/engine", "abacus"),
        ("/solver/method", "magic"),
        ("/solver/device", "tpu"),
        ("/stages/0/kind", "magic"),
        ("/uncertainty", "perhaps"),
    ],
)
def test_values_out_of_range_in_the_full_request(pointer: str, value: Any) -> None:
    body = changed(FULL, {"/predictions/0/experiment": ABSENT})
    assert_refused({pointer: value}, pointer, body=body)


def test_a_stage_has_only_its_own_fields() -> None:
    assert_refused({"/stages/1/learning_rate": 0.1}, "/stages/1/learning_rate", body=FULL)
    assert_refused({"/stages/0/initial_step_norm": 0.1}, "/stages/0/initial_step_norm", body=FULL)


def test_strings_with_half_of_a_surrogate_pair() -> None:
    for pointer in (
        "/labels/who",
        "/data/name",
        "/predictions/0/name",
        "/system/equations/prey",
        "/initial_state/prey",
    ):
        assert "surrogate" in mistakes(changed(FULL, {pointer: "\ud800"}))[pointer]


@pytest.mark.parametrize("part", ["", "/labels", "/data/values", "/parameters", "/system/equations"])
def test_a_name_with_half_of_a_surrogate_pair_gives_errors_that_can_be_sent(part: str) -> None:
    found = mistakes(changed(FULL, {f"{part}/\ud800": [1.0] * 4}))
    assert found
    for pointer, detail in found.items():
        (pointer + detail).encode("utf-8")


@pytest.mark.parametrize("pointer", ["/solver/events", "/data/webhook", "/stages/0/inputs", "/predictions/0/networks"])
def test_a_field_in_the_wrong_place_is_unknown(pointer: str) -> None:
    assert_refused({pointer: 1}, pointer, body=FULL, detail="unknown field")
