"""The expression language: its parts, their meaning, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest

from odelib.errors import ExpressionError
from odelib.problem.expressions.parser import (
    Expression,
    Name,
    Number,
    Operation,
    parse_condition,
    parse_expression,
    walk,
)
from tests.odelib.problem.expressions.interpreter import evaluate


def refusal(text: str) -> str:
    with pytest.raises(ExpressionError) as caught:
        parse_expression(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-x**2", -9.0),
        ("(-x)**2", 9.0),
        ("x**-2", 3.0**-2),
        ("-x**-y", -(3.0**-2.0)),
        ("2**x**y", 2.0**9),
        ("(2**x)**y", 64.0),
        ("x - y - 1", 0.0),
        ("x - (y - 1)", 2.0),
        ("x/y/2", 0.75),
        ("x/(y/2)", 3.0),
        ("x/y*2", 3.0),
        ("x*y/2*3", 9.0),
        ("1 - x*y + 2", -3.0),
        ("x + y*2**2", 11.0),
        ("-x*y", -6.0),
        ("x*-y", -6.0),
        ("--x", 3.0),
        ("-+-x", 3.0),
        ("+x", 3.0),
        ("x - -y", 5.0),
        ("-x - y", -5.0),
        ("x--y", 5.0),
        ("1.5e1*x", 45.0),
        (".5*x", 1.5),
        ("2.*x", 6.0),
        ("1E-1*x", 0.3),
        ("1_000*x", 3000.0),
        ("pi", math.pi),
        ("2*pi*x", 6 * math.pi),
        (" x\t+ y ", 5.0),
        ("min(x, y) - max(x, y, 9)", -7.0),
        ("where(x > y, 1, 2)", 1),
        ("where(x < y, 1, 2)", 2),
        ("where(x >= 3, 1, 2)", 1),
        ("where(x <= 2, 1, 2)", 2),
        ("where(x == 3, 1, 2)", 1),
        ("where(x != 3, 1, 2)", 2),
        ("where(x > y and y > 2, 1, 2)", 2),
        ("where(x > y and y > 1 and x < 4, 1, 2)", 1),
        ("where(x < y or not y > 2 and x > 1, 1, 2)", 1),
        ("where(not (x > y or y > 2), 1, 2)", 2),
        ("where(x - y > 2*y, 1, where(x > 0, 5, 6))", 5),
        ("sign(-x) + sign(0) + sign(y)", 0),
        ("floor(-x/y)", -2),
        ("match + type + case + _", 20.0),
    ],
)
def test_meaning(text: str, value: float) -> None:
    found = evaluate(parse_expression(text), x=3.0, y=2.0, match=1.0, type=3.0, case=7.0, _=9.0)
    assert found == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("-x**2", Operation("neg", (Operation("**", (Name("x"), Number(2.0))),))),
        ("a - b - c", Operation("-", (Operation("-", (Name("a"), Name("b"))), Name("c")))),
        ("pi", Number(math.pi)),
        ("exp(x)", Operation("exp", (Name("x"),))),
        ("where(x < 1, a, b)", Operation("where", (Operation("<", (Name("x"), Number(1.0))), Name("a"), Name("b")))),
        ("9**9**9", Operation("**", (Number(9.0), Operation("**", (Number(9.0), Number(9.0)))))),
    ],
)
def test_trees_are_as_written(text: str, tree: Any) -> None:
    assert parse_expression(text).tree == tree


def test_names_and_text() -> None:
    expression = parse_expression("  k*x + exp(-t)*pi + where(q > 1, r, 2) ")
    assert expression == Expression("k*x + exp(-t)*pi + where(q > 1, r, 2)", expression.tree, expression.names)
    assert expression.names == {"k", "x", "t", "q", "r"}


def test_walk_yields_operands_before_their_operation() -> None:
    expression = parse_expression("a + b*sin(c)")
    assert list(walk(expression.tree)) == [
        Name("a"),
        Name("b"),
        Name("c"),
        Operation("sin", (Name("c"),)),
        Operation("*", (Name("b"), Operation("sin", (Name("c"),)))),
        expression.tree,
    ]


ONE_ARGUMENT = [
    "abs", "exp", "log", "log2", "log10", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh",
    "asinh", "acosh", "atanh", "erf", "floor", "sign",
]  # fmt: skip


@pytest.mark.parametrize("name", ONE_ARGUMENT)
def test_functions_of_one_argument(name: str) -> None:
    at = 1.3 if name == "acosh" else 0.3
    expected = {"abs": at, "sign": 1.0}[name] if name in ("abs", "sign") else getattr(math, name)(at)
    assert evaluate(parse_expression(f"{name}(x)"), x=at) == expected
    for arguments in ("", "x, y", "x=1", "*x", "**x", "x for x in y"):
        assert refusal(f"{name}({arguments})")
    assert "needs arguments" in refusal(name)
    assert "needs arguments" in refusal(f"{name} + 1")


@pytest.mark.parametrize("name", ["min", "max"])
def test_functions_of_several_arguments(name: str) -> None:
    values = [4.0, 2.0, 8.0, 6.0]
    meaning = {"min": min, "max": max}[name]
    for count in (2, 3, 4):
        text = f"{name}({', '.join(map(str, values[:count]))})"
        assert evaluate(parse_expression(text)) == meaning(values[:count])
    assert "argument" in refusal(f"{name}(x)")
    assert "argument" in refusal(f"{name}()")


@pytest.mark.parametrize("text", ["where()", "where(x > 1)", "where(x > 1, 2)", "where(x > 1, 2, 3, 4)"])
def test_where_takes_three_arguments(text: str) -> None:
    assert "where() takes 3 arguments" in refusal(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("x > 1", "first argument of where"),
        ("1 + (x > 1)", "first argument of where"),
        ("where(x > 1, x > 2, 3)", "first argument of where"),
        ("where(sin(x > 1) > 0, 2, 3)", "first argument of where"),
        ("exp(x < 1)", "first argument of where"),
        ("x == 1", "first argument of where"),
        ("where(x, 1, 2)", "must be a condition"),
        ("where(1, 1, 2)", "must be a condition"),
        ("where(not x, 1, 2)", "must be a condition"),
        ("where(x > 1 and y, 1, 2)", "must be a condition"),
        ("where(0 < x < 1, 1, 2)", "0 < x and x < 1"),
        ("where(x is 1, 1, 2)", "<, <=, >, >=, == or !="),
        ("where(x in y, 1, 2)", "<, <=, >, >=, == or !="),
        ("where((x > 1) & (y > 1), 1, 2)", "must be a condition"),
        ("where(" + 120 * "not " + "x > 1, 1, 2)", "nested too deeply"),
    ],
)
def test_comparisons_are_allowed_only_in_where(text: str, hint: str) -> None:
    assert hint in refusal(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("x^2", "'**'"),
        ("x // 2", "floor(a/b)"),
        ("x % 2", "floor(a/b)"),
        ("x @ y", "'@'"),
        ("x & y", "'and'"),
        ("|x|", "not a valid expression"),
        ("x | y", "abs(x)"),
        ("~x", "'~'"),
        ("x << 1", "not part of the expression language"),
        ("x if x > 0 else 0", "where(condition, a, b)"),
        ("x and 1", "first argument of where"),
        ("not x", "first argument of where"),
        ("arcsinh(x)", "write asinh(x)"),
        ("lambda", "'lambda_'"),
        ("-lambda*x", "'lambda_'"),
        ("class", "'class_'"),
        ("lambda: x", "':'"),
        ("await x", "'await_'"),
        ("import os", "'import_'"),
        ("None", "'None_'"),
        ("True*x", "'True_'"),
        ("1j*x", "imaginary"),
        ("...", "not allowed"),
        ("'text'", '"\'"'),
        ('"text"', "'\"'"),
        ("f'{x}'", "not allowed"),
        ("x.y", "inside a number"),
        ("x.__class__", "inside a number"),
        ("(1).real", "inside a number"),
        ("x[0]", "'['"),
        ("[x]", "'['"),
        ("{x}", "'{'"),
        ("{1: x}", "'{'"),
        ("(x, 1)", "a comma"),
        ("x, 1", "a comma"),
        ("()", "a comma"),
        ("(x := 1)", "':'"),
        ("x; y", "';'"),
        ("x # y", "'#'"),
        ("x \\", "'\\\\'"),
        ("x\n+ y", "one line"),
        ("x = 1", "not a valid expression"),
        ("x!", "not a valid expression"),
        ("x +", "not a valid expression"),
        ("(x", "never closed"),
        ("x)", "unmatched"),
        ("2x", "2*x"),
        ("2 x", "2*x"),
        ("x y", "2*x"),
        ("2(x + 1)", "2*(x + 1)"),
        ("(x + 1)(y)", "2*(x + 1)"),
        ("x(1)", "'x' is not a function"),
        ("sec(x)", "the functions are abs, exp, log"),
        ("sinn(x)", "did you mean 'sin'?"),
        ("ln(x)", "write log(x)"),
        ("arctan(x)", "write atan(x)"),
        ("pow(x, 2)", "write x**y"),
        ("__import__('os')", "not allowed"),
        ("__import__(os)", "'__import__' is not a function"),
        ("eval(x)", "'eval' is not a function"),
        ("exp(exp)", "needs arguments"),
        ("exp(x)(y)", "only functions can be called"),
        ("pi(x)", "'pi' is not a function"),
        ("0x10", "decimal"),
        ("0b11 + x", "decimal"),
        ("007", "not a valid expression"),
        ("1e400", "outside the range of double precision"),
        ("-1e400", "outside the range of double precision"),
        ("9" * 400, "outside the range of double precision"),
        ("9" * 9999, "outside the range of double precision"),
        ("", "empty"),
        (" \t ", "empty"),
        ("x²", "'**2'"),
        ("x·y", "'*'"),
        ("x − y", "'-'"),
        ("x ≤ y", "'<='"),
        ("π*x", "'pi'"),
        ("größe", "'ö'"),
        ("ｘ + 1", "'ｘ'"),  # Python reads a full-width x as x: what is written must be what is meant
        ("𝐱", "'𝐱'"),
        ("eｘp(1)", "'ｘ'"),
        ("\0", "'\\x00'"),
        ("x\x0c+ y", "not allowed"),
        ("x\u00a0+ y", "'\\xa0'"),
        ("x + y" * 3000, "10000 characters"),
    ],
)
def test_refusals_have_hints(text: str, hint: str) -> None:
    assert hint in refusal(text)


def test_conditions_by_themselves() -> None:
    condition = parse_condition(" x > 1 and not (y < k or t >= 2) ")
    assert condition.text == "x > 1 and not (y < k or t >= 2)"
    assert condition.names == {"x", "y", "k", "t"}
    assert evaluate(condition, x=2.0, y=3.0, k=1.0, t=0.0)
    assert parse_condition("where(x == 1, 1, 2) > y").names == {"x", "y"}


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("x", "must be a condition"),
        ("not x", "must be a condition"),
        ("where(x > 1, 1, 2)", "must be a condition"),
        ("x == 1", "only inside where"),
        ("x > 1 and not y != 1", "only inside where"),
        ("0 < x < 1", "'and'"),
        ("(x > 1) + 1 > 2", "first argument of where"),
        ("", "empty"),
    ],
)
def test_what_is_no_condition(text: str, hint: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_condition(text)
    assert hint in str(caught.value)


def test_underflow_is_zero() -> None:
    assert evaluate(parse_expression("1e-400")) == 0.0


def test_refusals_of_long_texts_are_short() -> None:
    for text in ("y" * 9000 + "(x)", "'" + "y" * 9000, "9" * 9000, "2" + "y" * 9000):
        assert len(refusal(text)) < 400


def test_the_limit_of_terms_does_not_depend_on_the_stack() -> None:
    """The depth that Python's parser can reach depends on its caller's stack; the accepted expressions must not."""
    longest = "+".join(["x"] * 2000)
    assert in_depth(200, longest) == parse_expression(longest)
    for depth in (0, 200):
        with pytest.raises(ExpressionError, match="2000 terms"):
            in_depth(depth, longest + "+x")
    grouped = f"x+({longest[:-2]})+({longest[:-2]})"
    assert in_depth(0, grouped).names == {"x"}


def in_depth(depth: int, text: str) -> Expression:
    return in_depth(depth - 1, text) if depth else parse_expression(text)
