"""A caller's definition: its names, expressions and observables."""

from __future__ import annotations

import keyword
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odelib.errors import ProblemError
from odelib.problem.checks.system import build_system
from odelib.problem.expressions.names import name_error
from odelib.problem.expressions.vocabulary import FUNCTIONS
from odelib.problem.request import parse_problem
from odelib.problem.system import SystemDefinition
from tests.odelib.problem.requests import changed, custom, examples, mistakes

GOOD_NAMES = [
    "y",
    "Y",
    "_",
    "_y",
    "__y",
    "__import__",
    "y2",
    "lambda_",
    "psi",
    "R",
    "e",
    "E",
    "j",
    "inf",
    "nan",
    "T",
    "Pi",
]
SOFT_KEYWORDS = ["match", "case", "type"]
FUNCTION_NAMES = [
    "abs", "min", "max", "exp", "log", "log2", "log10", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh",
    "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "floor", "sign", "where",
]  # fmt: skip


def with_name(kind: str, name: str) -> dict[str, Any]:
    """A request whose definition has one more name, used wherever it can be used."""
    match kind:
        case "states":
            return custom(states=["x", name], equations={"x": f"-a*{name}", name: name})
        case "parameters":
            return custom(parameters=["a", name], equations={"x": f"-a*x + {name}"})
        case "definitions":
            return custom(definitions={name: "2*a"}, equations={"x": f"-a*x + {name}"})
        case "constants":
            return custom(constants={name: 1.0}, equations={"x": f"-a*x + {name}"})
    return custom(observables={name: "2*x"})


@pytest.mark.parametrize("kind", ["states", "parameters", "constants", "definitions", "observables"])
@pytest.mark.parametrize("name", GOOD_NAMES + SOFT_KEYWORDS)
def test_names_are_ascii_identifiers(kind: str, name: str) -> None:
    assert mistakes(with_name(kind, name)) == {}


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        *((word, word + "_") for word in keyword.kwlist),
        *((word, word + "_") for word in FUNCTION_NAMES),
        ("t", "t_"),
        ("pi", "pi_"),
        ("2k", "_2k"),
        ("a b", "a_b"),
        ("a-b", "a_b"),
        ("a.b", "a_b"),
        ("a\n", "a_"),
        ("", "_"),
        ("größe", "gr__e"),
        ("ψ", "_"),
        ("ｘ", "_"),  # a full-width letter, which Python itself reads as x
        ("𝐱", "_"),
        ("ª", "_"),
        ("x²", "x_"),
        ("class!", "class_"),
        ("sin ", "sin_"),
    ],
)
@pytest.mark.parametrize(
    ("kind", "pointer"),
    [("states", "/system/states/1"), ("parameters", "/system/parameters/1"), ("constants", ""), ("observables", "")],
)
def test_invalid_names_and_the_suggested_names(kind: str, pointer: str, name: str, suggestion: str) -> None:
    found = mistakes(with_name(kind, name))
    detail = found[pointer or f"/system/{kind}/{name}"]
    assert f"try {suggestion!r}" in detail
    assert name_error(suggestion) is None


@pytest.mark.parametrize("name", ["a b", "2k", "class", "t"])
def test_an_invalid_name_is_reported_once_in_its_place(name: str) -> None:
    body = custom(states=["x", name], equations={"x": "1", name: "1"})
    assert list(mistakes(body)) == ["/system/states/1"]


@examples(100)
@given(st.text(max_size=8))
def test_the_suggested_name_is_valid(name: str) -> None:
    error = name_error(name)
    if error is None:
        assert name.isascii()
        assert name.isidentifier()
        assert not keyword.iskeyword(name)
        assert name not in {*FUNCTIONS, "t", "pi"}
    else:
        suggestion = error.rpartition("try '")[2].rstrip("'")
        assert name_error(suggestion) is None


def test_the_functions() -> None:
    assert set(FUNCTIONS) == set(FUNCTION_NAMES)


@pytest.mark.parametrize(
    ("parts", "pointer"),
    [
        ({"states": ["x", "x"]}, "/system/states/1"),
        ({"parameters": ["a", "a"]}, "/system/parameters/1"),
        ({"parameters": ["a", "x"]}, "/system/parameters/1"),
        ({"constants": {"a": 1.0}}, "/system/constants/a"),
        ({"definitions": {"a": "1"}}, "/system/definitions/a"),
        ({"definitions": {"d": "1"}, "observables": {"d": "x"}}, "/system/observables/d"),
        ({"definitions": {"d": "1"}, "derived": {"d": "1"}}, "/system/derived/d"),
        ({"constants": {"x": 1.0}}, "/system/constants/x"),
        ({"observables": {"a": "x"}}, "/system/observables/a"),
        ({"constants": {"c": 1.0}, "observables": {"c": "x"}}, "/system/observables/c"),
    ],
)
def test_names_are_unique_over_all_lists(parts: dict[str, Any], pointer: str) -> None:
    found = mistakes(custom(**parts))
    assert list(found) == [pointer]
    assert "unique" in found[pointer]


@pytest.mark.parametrize(
    ("text", "accepted"), [("x", True), ("(x)", True), ("2*x", False), ("y", False), ("x + 0", False)]
)
def test_an_observable_has_the_name_of_a_state_only_if_it_is_that_state(text: str, accepted: bool) -> None:
    body = custom(states=["x", "y"], equations={"x": "y", "y": "x"}, observables={"x": text})
    assert list(mistakes(body)) == ([] if accepted else ["/system/observables/x"])


def test_states_are_observed_only_without_observables() -> None:
    assert list(build(states=["x", "y"], equations={"x": "y", "y": "x"}).observables) == ["x", "y"]
    assert list(build(states=["x", "y"], equations={"x": "y", "y": "x"}, observables={"s": "x + y"}).observables) == [
        "s"
    ]


def test_observables_can_use_states_parameters_constants_and_time_but_not_each_other() -> None:
    assert mistakes(custom(constants={"c": 1.0}, observables={"o": "x + a + c + t + pi", "p": "x"})) == {}
    assert list(mistakes(custom(observables={"o": "x", "p": "2*o"}))) == ["/system/observables/p"]


def test_equations_can_use_time_but_not_observables() -> None:
    assert mistakes(custom(equations={"x": "a*t"})) == {}
    assert list(mistakes(custom(equations={"x": "o"}, observables={"o": "x"}))) == ["/system/equations/x"]


def test_definitions_are_used_by_equations_observables_initial_states_and_each_other() -> None:
    body = custom(
        constants={"c": 1.0},
        definitions={"d": "c*e + t*x", "e": "a*g", "g": "c + 1"},
        equations={"x": "-d*e"},
        observables={"o": "d + x"},
    )
    body["initial_state"]["x"] = "e + 1"
    assert mistakes(body) == {}
    assert list(parse_problem(body).resolved_system.definitions) == ["g", "e", "d"]
    body["initial_state"]["x"] = "d"
    assert "definitions made of these" in mistakes(body)["/initial_state/x"]


@pytest.mark.parametrize(
    ("definitions", "found"),
    [
        ({"d": "d"}, {"/system/definitions/d": "the definition uses itself: d → d"}),
        ({"d": "e", "e": "2*d"}, {"/system/definitions/d": "the definition uses itself: d → e → d"}),
        (
            {"d": "d + 1", "e": "1", "f": "e + g", "g": "f"},
            {
                "/system/definitions/d": "the definition uses itself: d → d",
                "/system/definitions/f": "the definition uses itself: f → g → f",
            },
        ),
        ({"d": "e"}, {"/system/definitions/d": "unknown name 'e'; known names: x, a, d, t"}),
    ],
)
def test_definitions_have_no_circle(definitions: dict[str, str], found: dict[str, str]) -> None:
    body = custom(definitions=definitions)
    assert mistakes(body) == found


def test_no_definition_can_use_an_observable_and_no_derived_quantity_a_definition() -> None:
    assert list(mistakes(custom(definitions={"d": "o"}, observables={"o": "x"}))) == ["/system/definitions/d"]
    assert list(mistakes(custom(definitions={"d": "a"}, derived={"q": "2*d"}))) == ["/system/derived/q"]


def test_equations_are_in_the_order_of_the_states() -> None:
    system = build(states=["x", "y"], equations={"y": "x", "x": "y"})
    assert {name: expression.text for name, expression in system.equations.items()} == {"x": "y", "y": "x"}
    assert list(system.equations) == ["x", "y"]


@pytest.mark.parametrize(
    ("equations", "found"),
    [
        ({}, {"/system/equations/x": "the state 'x' has no equation"}),
        ({"x": "1", "y": "1"}, {"/system/equations/y": "'y' has an equation but is not in 'states'"}),
        ({"x": "1", "a": "1"}, {"/system/equations/a": "'a' has an equation but is not in 'states'"}),
        ({"x": "-a*y"}, {"/system/equations/x": "unknown name 'y'; known names: x, a, t"}),
        ({"x": "-A*x"}, {"/system/equations/x": "unknown name 'A'; known names: x, a, t"}),
    ],
)
def test_states_and_only_states_have_equations(equations: dict[str, str], found: dict[str, str]) -> None:
    assert mistakes(custom(equations=equations)) == found


def test_a_misspelt_name_is_corrected() -> None:
    body = custom(parameters=["alpha"], equations={"x": "-alhpa*x"})
    assert mistakes(body) == {"/system/equations/x": "unknown name 'alhpa'; did you mean 'alpha'?"}
    body = custom(parameters=["alpha"], equations={"x": "-alpha*cosh"})
    assert "'cosh' is a function and needs arguments" in mistakes(body)["/system/equations/x"]


def test_reserved_words_and_powers_get_hints() -> None:
    body = custom(parameters=["lambda"], equations={"x": "-lambda*x"})
    found = mistakes(body)
    assert set(found) == {"/system/parameters/0", "/system/equations/x"}
    assert all("try 'lambda_'" in detail for detail in found.values())
    assert "'**'" in mistakes(custom(equations={"x": "-a*x^2"}))["/system/equations/x"]


def test_a_system_needs_a_state() -> None:
    assert list(mistakes(custom() | {"system": {"states": [], "equations": {}}})) == ["/system/states"]


def test_a_system_needs_no_parameter() -> None:
    assert mistakes(custom(parameters=[], equations={"x": "-x"})) == {}


def test_mistakes_of_form_in_a_definition_hide_no_other_mistakes() -> None:
    body = custom(equations={"x": "x^2"}, bogus=1)
    body["parameters"] = {}
    body["data"]["values"]["zeta"] = [1.0, 1.0]
    assert set(mistakes(body)) == {"/system/bogus", "/system/equations/x", "/parameters/a", "/data/values/zeta"}


def test_uses_of_names_are_not_checked_if_the_names_cannot_be_read() -> None:
    assert set(mistakes(changed(custom(), {"/system/states": "x"}))) == {"/system/states"}
    assert set(mistakes(changed(custom(), {"/system/states": ["x", 1]}))) == {"/system/states/1"}


def test_build_system_reports_all_mistakes_relative_to_the_definition() -> None:
    with pytest.raises(ProblemError) as caught:
        build(states=["x", "t"], equations={"x": "x^2"})
    assert [error.pointer for error in caught.value.errors] == ["/states/1", "/equations/x", "/equations/t"]


def test_a_long_sum_can_be_compared_and_printed() -> None:
    body = custom(equations={"x": " + ".join(["x"] * 2000)})
    assert parse_problem(body) == parse_problem(body)
    assert repr(parse_problem(body).resolved_system).startswith("System(")


def build(**parts: Any) -> Any:
    return build_system(SystemDefinition(**parts))
