"""Every refusal of the problem language, with its pointer written by hand."""

from __future__ import annotations

from typing import Any

import pytest

from odelib.errors import ProblemError
from odelib.problem.request import parse_problem
from tests.odelib.problem.requests import ABSENT, FULL, LEAST, changed, custom, mistakes

PREY = LEAST["data"]["values"]["prey"]


def refused(changes: dict[str, Any], pointer: str, *, body: dict[str, Any] = LEAST, saying: str = "") -> None:
    """The change is refused, with one mistake, at the pointer."""
    found = mistakes(changed(body, changes))
    assert list(found) == [pointer]
    assert saying in found[pointer]


@pytest.mark.parametrize("body", [None, True, 5, 1.5, "text", [], [LEAST]])
def test_what_is_not_an_object(body: Any) -> None:
    assert mistakes(body) == {"": "must be an object"}


def test_nothing_at_all_lacks_system_and_data() -> None:
    assert mistakes({}) == {
        "/system": "'system' is required",
        "/data": "'data' is required, or 'experiments' for several series",
    }


@pytest.mark.parametrize("pointer", ["/system", "/data", "/data/times", "/data/values"])
def test_a_required_field_left_out(pointer: str) -> None:
    refused({pointer: ABSENT}, pointer, saying="is required")


@pytest.mark.parametrize(
    "pointer", ["/predictions/0/name", "/predictions/0/times", "/system/equations", "/stages/1/kind"]
)
def test_a_required_field_left_out_inside(pointer: str) -> None:
    refused({pointer: ABSENT}, pointer, body=FULL, saying="is required")


def test_states_left_out() -> None:
    assert mistakes(changed(FULL, {"/system/states": ABSENT}))["/system/states"] == "'states' is required"


@pytest.mark.parametrize(
    "pointer",
    ["/parameters/gamma", "/initial_state/prey"],
)
def test_a_guess_left_out_altogether(pointer: str) -> None:
    refused({pointer: ABSENT}, pointer, saying="needs a")


@pytest.mark.parametrize("part", ["parameters", "initial_state"])
def test_all_guesses_left_out(part: str) -> None:
    expected = {f"/{part}/{name}" for name in LEAST[part]}
    assert set(mistakes(changed(LEAST, {f"/{part}": ABSENT}))) == expected
    assert set(mistakes(changed(LEAST, {f"/{part}": {}}))) == expected


# ---------------------------------------------------------------------------------------------- unknown names


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
    refused({pointer: 1.0}, pointer, body=FULL, saying=f"unknown field {name!r}")


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
    refused({pointer: "1" if where == "/system/equations" else 1.0}, pointer, body=FULL, saying=kind)


@pytest.mark.parametrize("where", ["/data/values", "/data/sigma", "/predictions/0/values"])
@pytest.mark.parametrize("name", ["zeta", "a/b", "m~n", "~list", "[key]"])
def test_observables_that_the_system_does_not_have(where: str, name: str) -> None:
    pointer = f"{where}/{name.replace('~', '~0').replace('/', '~1')}"
    length = 2 if "predictions" in where else 4
    refused({pointer: [1.0] * length}, pointer, body=FULL, saying="no observable")


def test_a_state_is_not_observed_where_the_system_names_observables() -> None:
    refused(
        {"/data/values/predator": [1.0] * 4}, "/data/values/predator", body=FULL, saying="observed only through them"
    )


def test_a_wrong_value_under_an_odd_name_keeps_its_place() -> None:
    found = mistakes(changed(LEAST, {"/parameters/~0number": "x", "/data/values/~0list": [1.0, "x", 2.0]}))
    assert set(found) == {"/parameters/~0number", "/data/values/~0list", "/data/values/~0list/1"}


# ------------------------------------------------------------------------------------- numbers, strictly

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
BEYOND_DOUBLE_PRECISION = [float("inf"), float("-inf"), float("nan"), 10**400, -(10**400)]


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
@pytest.mark.parametrize("value", BEYOND_DOUBLE_PRECISION)
def test_numbers_beyond_double_precision(pointer: str, value: float) -> None:
    refused({pointer: value}, pointer, body=FULL, saying="outside the range of double precision")


@pytest.mark.parametrize("pointer", COUNTS)
@pytest.mark.parametrize("value", [-1, 1.5, 2**53 + 1, 10**400, *BEYOND_DOUBLE_PRECISION])
def test_counts_are_whole_and_not_too_large(pointer: str, value: float) -> None:
    refused({pointer: value}, pointer, body=FULL)


@pytest.mark.parametrize("pointer", [*NUMBERS, *COUNTS])
def test_null_is_a_missing_measurement_and_nothing_else(pointer: str) -> None:
    if pointer in ("/data/values/prey/0", "/predictions/0/values/total/1"):
        other = {"/predictions/0/values/total": [1.0, None]} if "predictions" in pointer else {pointer: None}
        assert mistakes(changed(FULL, other)) == {}
    else:
        refused({pointer: None}, pointer, body=FULL)


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
def test_the_wrong_json_type_at_every_place(pointer: str, value: Any) -> None:
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


# ------------------------------------------------------------------------------------------------ the parts


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
    body = changed(LEAST, {"/seed": 0, "/time_limit_seconds": 1, "/labels": {}, "/stages": [{"kind": "adam"}]})
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
        ("/solver/engine", "abacus"),
        ("/solver/method", "magic"),
        ("/solver/device", "tpu"),
        ("/stages/0/kind", "magic"),
        ("/uncertainty", "perhaps"),
    ],
)
def test_values_out_of_range_in_the_full_request(pointer: str, value: Any) -> None:
    body = changed(FULL, {"/predictions/0/experiment": ABSENT})
    refused({pointer: value}, pointer, body=body)


def test_a_stage_has_only_its_own_fields() -> None:
    refused({"/stages/1/learning_rate": 0.1}, "/stages/1/learning_rate", body=FULL)
    refused({"/stages/0/initial_step_norm": 0.1}, "/stages/0/initial_step_norm", body=FULL)


def test_text_with_half_of_a_surrogate_pair() -> None:
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


@pytest.mark.parametrize("entry", [{}, {"lower": 0.1}, {"upper": 9.0}, {"fixed": True}, {"scale": "log", "lower": 1.0}])
def test_a_guess_may_not_be_left_out_without_two_bounds(entry: dict[str, Any]) -> None:
    for place in ("/parameters/alpha", "/initial_state/prey"):
        refused({place: entry}, f"{place}/guess", saying="unless both bounds are given")


@pytest.mark.parametrize(
    ("entry", "where"),
    [
        ({"guess": 9.0, "lower": 0.1, "upper": 5.0}, "/guess"),
        ({"guess": 0.01, "lower": 0.1, "upper": 5.0}, "/guess"),
        ({"guess": 0.01, "lower": 0.1}, "/guess"),
        ({"guess": 9.0, "upper": 5.0, "fixed": True}, "/guess"),
        ({"guess": 1.0, "lower": 2.0, "upper": 2.0}, "/guess"),
        ({"guess": 1.0, "lower": 2.0, "upper": 1.0}, "/lower"),
        ({"lower": 2.0, "upper": 1.0}, "/lower"),
        ({"guess": 0.0, "scale": "log"}, "/guess"),
        ({"guess": -1.0, "scale": "log"}, "/guess"),
        ({"guess": 1.0, "lower": 0.0, "scale": "log"}, "/lower"),
        ({"lower": 0.0, "upper": 1.0, "scale": "log"}, "/lower"),
    ],
)
def test_bounds_and_log_scales(entry: dict[str, Any], where: str) -> None:
    for place in ("/parameters/alpha", "/initial_state/prey"):
        refused({place: entry}, place + where)
    refused(
        {"/data/initial_state": {"prey": entry}},
        "/data/initial_state/prey" + where,
        body=changed(LEAST, {"/data/initial_state": {}}),
    )


@pytest.mark.parametrize(
    ("text", "saying"),
    [
        ("prey", "'prey'"),
        ("t", "'t'"),
        ("predator + 1", "'predator'"),
        ("total", "'total'"),
        ("nobody + 1", "'nobody'"),
        ("alhpa", "did you mean 'alpha'?"),
        ("alpha +", "not a valid expression"),
        ("", "empty"),
        ("alpha^2", "**"),
        ("alpha > 1", "where"),
    ],
)
def test_initial_states_are_expressions_of_parameters_and_constants_alone(text: str, saying: str) -> None:
    refused({"/initial_state/prey": text}, "/initial_state/prey", body=FULL, saying=saying)
    refused({"/data/initial_state/predator": text}, "/data/initial_state/predator", body=FULL, saying=saying)


@pytest.mark.parametrize("text", ["alpha", "1"])
def test_a_parameter_is_no_expression(text: str) -> None:
    refused({"/parameters/alpha": text}, "/parameters/alpha")


def test_the_first_time_that_decreases() -> None:
    refused({"/data/times": [0.0, 0.2, 0.1]}, "/data/times/2", saying="must not decrease")
    body = changed(LEAST, {"/data/values": {"prey": [1.0] * 6}})
    refused({"/data/times": [0.0, 3.0, 2.0, 1.0, 4.0, 0.0]}, "/data/times/2", body=body)


@pytest.mark.parametrize(("column", "times"), [([1.0], 3), ([1.0] * 4, 3), ([], 3)])
def test_as_many_values_as_times(column: list[float], times: int) -> None:
    refused(
        {"/data/values/prey": column},
        "/data/values/prey",
        saying=f"each time ({times}), but its length is {len(column)}",
    )


def test_as_many_sigmas_as_times() -> None:
    refused(
        {"/data/sigma": {"prey": [0.1, 0.2]}},
        "/data/sigma/prey",
        saying="one sigma for each time (3), but its length is 2",
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"/data/values": {}},
        {"/data/values": {"prey": [None, None, None]}},
        {"/data/values": {"prey": [None, None, None], "predator": [None, None, None]}},
    ],
)
def test_something_must_have_been_measured(changes: dict[str, Any]) -> None:
    refused(changes, "/data/values")


def test_the_start_is_not_after_the_first_time() -> None:
    refused({"/data/start_time": 0.05}, "/data/start_time", saying="0.05")


@pytest.mark.parametrize(
    ("sigma", "pointer"),
    [
        ({"prey": 0}, "/data/sigma/prey"),
        ({"prey": -0.1}, "/data/sigma/prey"),
        ({"prey": [0.1, 0.0, 0.1]}, "/data/sigma/prey/1"),
        ({"prey": [0.1, -0.1, 0.1]}, "/data/sigma/prey/1"),
        ({"prey": [0.1, None, 0.1]}, "/data/sigma/prey/1"),
        ({"prey": []}, "/data/sigma/prey"),
        ({"prey": "estimate"}, "/data/sigma/prey"),
        ({"alpha": 0.1}, "/data/sigma/alpha"),
    ],
)
def test_sigmas_are_above_zero(sigma: dict[str, Any], pointer: str) -> None:
    refused({"/data/sigma": sigma}, pointer)


def test_a_sigma_of_what_was_not_measured() -> None:
    refused({"/data/values": {"prey": PREY}, "/data/sigma": {"predator": 0.1}}, "/data/sigma/predator")


@pytest.mark.parametrize(
    ("prediction", "pointer"),
    [
        ({"times": []}, "/times"),
        ({"times": [-0.1, 1.0]}, "/times/0"),
        ({"times": [1.0, 0.5]}, "/times/1"),
        ({"times": [1.0, 0.5], "initial_state": {}}, "/times/1"),
        ({"times": [1.0], "experiment": "other"}, "/experiment"),
        ({"times": [1.0], "experiment": ""}, "/experiment"),
        ({"times": [1.0], "values": {"prey": [1.0, 2.0]}}, "/values/prey"),
        ({"times": [1.0], "values": {"zeta": [1.0]}}, "/values/zeta"),
        ({"times": [1.0], "values": {"prey": [None]}}, "/values"),
        ({"times": [1.0], "values": {}}, "/values"),
        ({"times": [1.0], "initial_state": {"prey": "alpha"}}, "/initial_state/prey"),
        ({"times": [1.0], "initial_state": {"zeta": 1.0}}, "/initial_state/zeta"),
        ({"times": [1.0], "parameters": {"zeta": 1.0}}, "/parameters/zeta"),
        ({"times": [1.0], "parameters": {"alpha": {"guess": 1.0}}}, "/parameters/alpha"),
    ],
)
def test_predictions(prediction: dict[str, Any], pointer: str) -> None:
    good = {"name": "good", "times": [1.0]}
    refused({"/predictions": [good, {"name": "bad"} | prediction]}, f"/predictions/1{pointer}", body=LEAST)


def test_both_data_and_experiments() -> None:
    found = mistakes(LEAST | {"experiments": [LEAST["data"] | {"name": "a"}]})
    assert list(found) == ["/experiments"]


# ---------------------------------------------------------------------------------- what is not yet built


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/webhook", "http://127.0.0.1:9/"),
        ("/system/inputs", {}),
        ("/system/networks", {}),
        ("/system/events", []),
    ],
)
def test_what_is_not_yet_built_is_refused_by_its_name(pointer: str, value: Any) -> None:
    name = pointer.rpartition("/")[2]
    refused({pointer: value}, pointer, body=FULL, saying=f"{name!r} is not available in this version")


@pytest.mark.parametrize("pointer", ["/solver/events", "/data/webhook", "/stages/0/inputs", "/predictions/0/networks"])
def test_a_later_name_in_a_wrong_place_is_just_unknown(pointer: str) -> None:
    refused({pointer: 1}, pointer, body=FULL, saying="unknown field")


# ------------------------------------------------------------------------------------------- all at once


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


def test_each_place_is_told_once_where_one_mistake_is_the_reason_of_another() -> None:
    assert len(error_pointers(changed(LEAST, {"/data/times": "x"}))) == 1
    assert len(error_pointers(changed(LEAST, {"/parameters/alpha": "x"}))) == 1
    assert len(error_pointers(changed(FULL, {"/system/equations/prey": 5}))) == 1
    assert len(error_pointers(LEAST | {"experiments": []})) == 1


def test_the_order_of_mistakes_does_not_vary() -> None:
    body = custom(equations={"x": "x"} | {f"y{i}": "1" for i in range(20)})
    assert list(mistakes(body)) == [f"/system/equations/y{i}" for i in range(20)]


def test_the_exception_says_all() -> None:
    with pytest.raises(ProblemError) as caught:
        parse_problem(changed(LEAST, {"/zeta": 1, "/parameters/gamma": ABSENT}))
    assert str(caught.value).splitlines() == [
        "/zeta: unknown field 'zeta'",
        "/parameters/gamma: the parameter 'gamma' needs a guess",
    ]


def error_pointers(body: dict[str, Any]) -> list[str]:
    with pytest.raises(ProblemError) as caught:
        parse_problem(body)
    return [error.pointer for error in caught.value.errors]


@pytest.mark.parametrize(
    ("solver", "pointer", "saying"),
    [
        ({"engine": "compiled", "method": "dopri8"}, "/solver/method", "one of dopri5, tsit5, dop853, kvaerno5"),
        ({"engine": "torchdiffeq", "method": "kvaerno5"}, "/solver/method", "one of dopri5, dopri8"),
        ({"engine": "compiled", "device": "cuda"}, "/solver/device", "requires the engine 'torchdiffeq'"),
        ({"method": "tsit5", "device": "cuda"}, "/solver/device", "requires the engine 'torchdiffeq'"),
    ],
)
def test_a_combination_of_the_solver_that_does_not_exist(solver: dict[str, str], pointer: str, saying: str) -> None:
    refused({"/solver": solver}, pointer, saying=saying)
