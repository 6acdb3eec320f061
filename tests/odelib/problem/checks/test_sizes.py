"""Each limit, one step on either side."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from odelib.problem.limits import Limits
from tests.odelib.problem.requests import MINIMAL, changed, custom, mistakes


def states(count: int) -> dict[str, Any]:
    names = [f"s{i}" for i in range(count)]
    return custom(states=names, parameters=[], equations=dict.fromkeys(names, "1"))


def parameters(count: int) -> dict[str, Any]:
    return custom(parameters=[f"p{i}" for i in range(count)], equations={"x": "1"})


def predictions(*lengths: int) -> list[dict[str, Any]]:
    return [{"name": f"p{n}", "times": [float(i) for i in range(length)]} for n, length in enumerate(lengths)]


LEVELS = [
    lambda n: "-" * (n - 1) + "x",
    lambda n: "abs(" * (n - 1) + "x" + ")" * (n - 1),
    lambda n: "x**" * (n - 1) + "x",
    lambda n: "(" * (n - 1) + "x" + "**x)" * (n - 1),
    lambda n: "x*(1+" * ((n - 1) // 2) + "x" + ")" * ((n - 1) // 2) + ("" if n % 2 else "**2"),
]


@pytest.mark.parametrize(
    ("limits", "within", "beyond", "pointer"),
    [
        (Limits(observations=5), MINIMAL, changed(MINIMAL, {"/data/values/predator/1": 1.0}), "/data/values"),
        (Limits(states=3), states(3), states(4), "/system/states"),
        (Limits(names=3), parameters(3), parameters(4), "/system/parameters"),
        (Limits(unknowns=4), parameters(3), parameters(4), "/system"),
        (
            Limits(names=2),
            custom(constants={"b": 1.0, "c": 1.0}),
            custom(constants={"b": 1.0, "c": 1.0, "d": 1.0}),
            "/system/constants",
        ),
        (
            Limits(names=2),
            custom(observables={"b": "x", "c": "x"}),
            custom(observables={"b": "x", "c": "x", "d": "x"}),
            "/system/observables",
        ),
        (
            Limits(expression_characters=10),
            custom(equations={"x": "x + 123456"}),
            custom(equations={"x": "x + 1234567"}),
            "/system/equations/x",
        ),
        (
            Limits(expression_characters=10),
            changed(MINIMAL, {"/initial_state/prey": "1234567890"}),
            changed(MINIMAL, {"/initial_state/prey": "12345678901"}),
            "/initial_state/prey",
        ),
        (
            Limits(expression_levels=3),
            changed(MINIMAL, {"/initial_state/prey": "--alpha"}),
            changed(MINIMAL, {"/initial_state/prey": "---alpha"}),
            "/initial_state/prey",
        ),
        (
            Limits(definition_characters=10),
            custom(equations={"x": "a*x"}, observables={"b": "x**2"}, derived={"c": "a+2"}),
            custom(equations={"x": "a*x"}, observables={"b": "x**2"}, derived={"c": "a+20"}),
            "/system/derived",
        ),
        (
            Limits(definition_characters=10),
            changed(custom(equations={"x": "a*x"}), {"/initial_state/x": "a+1*1*1"}),
            changed(custom(equations={"x": "a*x"}), {"/initial_state/x": "a+1*1*10"}),
            "/initial_state",
        ),
        (
            Limits(definition_characters=10),
            changed(MINIMAL, {"/data/initial_state": {"prey": "alpha*1.00"}}),
            changed(MINIMAL, {"/data/initial_state": {"prey": "alpha*1.000"}}),
            "/data/initial_state",
        ),
        (
            Limits(stages=2),
            changed(MINIMAL, {"/stages": [{"kind": "adam"}] * 2}),
            changed(MINIMAL, {"/stages": [{"kind": "adam"}] * 3}),
            "/stages",
        ),
        (
            Limits(predicted_values=10),  # times two observables
            MINIMAL | {"predictions": predictions(3, 2)},
            MINIMAL | {"predictions": predictions(3, 3)},
            "/predictions",
        ),
        (
            Limits(predictions=2),
            MINIMAL | {"predictions": predictions(1, 1)},
            MINIMAL | {"predictions": predictions(1, 1, 1)},
            "/predictions",
        ),
        (
            Limits(labels=1),
            MINIMAL | {"labels": {"a": "b"}},
            MINIMAL | {"labels": {"a": "b", "c": "d"}},
            "/labels",
        ),
        (
            Limits(fields=16),
            MINIMAL | {"labels": {"a": "b"}},
            MINIMAL | {"labels": {"a": "b", "c": "d"}},
            "",
        ),
    ],
)
def test_a_limit_is_the_maximum_that_is_allowed(
    limits: Limits, within: dict[str, Any], beyond: dict[str, Any], pointer: str
) -> None:
    assert mistakes(within, limits) == {}
    assert list(mistakes(beyond, limits)) == [pointer]


@pytest.mark.parametrize("form", LEVELS)
@pytest.mark.parametrize("most", [3, 4, 99, 100])
def test_levels_of_an_expression(form: Any, most: int) -> None:
    limits = Limits(expression_levels=most)
    assert mistakes(custom(equations={"x": form(most)}), limits) == {}
    assert list(mistakes(custom(equations={"x": form(most + 1)}), limits)) == ["/system/equations/x"]


def test_a_long_sum_is_not_deep() -> None:
    limits = Limits(expression_levels=3)
    assert mistakes(custom(equations={"x": " + ".join(["a*x"] * 1000)}), limits) == {}


def test_too_much_text_is_refused_before_it_is_read() -> None:
    """The text is not an expression, but none of its 10 million characters is parsed."""
    states = [f"s{i}" for i in range(1000)]
    body = custom(states=states, parameters=[], equations=dict.fromkeys(states, "(" * 10_000))

    assert list(mistakes(body)) == ["/system/equations"]


def test_the_default_limits() -> None:
    limits = {field.name: getattr(Limits(), field.name) for field in fields(Limits)}
    assert (
        limits
        | {
            "observations": 200_000,
            "states": 1_000,
            "unknowns": 2_000,
            "expression_characters": 10_000,
            "expression_levels": 100,
            "definition_characters": 500_000,
            "stages": 20,
            "predicted_values": 500_000,
        }
        == limits
    )


def test_the_largest_series() -> None:
    column: list[float | None] = [1.0] * 200_000
    data = {"times": [float(i) for i in range(200_000)], "values": {"prey": column}}
    assert mistakes(MINIMAL | {"data": data}) == {}
    assert list(mistakes(MINIMAL | {"data": data | {"values": {"prey": column, "predator": [1.0] * 200_000}}})) == [
        "/data/values"
    ]


def test_the_largest_system() -> None:
    names = [f"s{i}" for i in range(1000)]
    rates = [f"p{i}" for i in range(1000)]
    equations = {name: f"{rate}*{name} - s0" for name, rate in zip(names, rates, strict=True)}
    assert mistakes(custom(states=names, parameters=rates, equations=equations)) == {}


MANY = 100_000


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (changed(MINIMAL, {"/data/times": ["x"] * MANY}), "/data/times/99"),
        (changed(MINIMAL, {"/data/values/prey": [True] * MANY}), "/data/values/prey/99"),
        (MINIMAL | {f"x{i}": 1 for i in range(MANY)}, "/x99"),
        (MINIMAL | {"parameters": {f"x{i}": "1" for i in range(MANY)}}, "/parameters/x99"),
        (MINIMAL | {"parameters": {f"x{i}": {"zeta": 1} for i in range(50_000)}}, "/parameters/x99/zeta"),
        (MINIMAL | {"predictions": [{}] * 10_000}, "/predictions/99/name"),
        (MINIMAL | {"predictions": [{}] * MANY}, "/predictions"),
        (MINIMAL | {"stages": [{}] * MANY}, "/stages"),
        (custom(states=["x"] * MANY), "/system/states"),
        (custom() | {"system": {"states": [1] * MANY, "equations": {}}}, "/system/states"),
        (
            custom(parameters=[f"a{i}" for i in range(1500)], equations={f"x{i}": "b + c" for i in range(5000)}),
            "/system/equations/x",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_hundred_thousand_mistakes_are_reported_soon_and_briefly(body: dict[str, Any], pointer: str) -> None:
    found = mistakes(body)
    assert pointer in found
    assert len(found) <= 1001
