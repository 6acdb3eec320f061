"""Trees → text: reading the text again gives the same tree."""

from __future__ import annotations

import pytest

from odelib.formats.errors import UnsupportedError
from odelib.formats.expression_text import folded, replace_names, text_of
from odelib.problem.expressions.parser import Name, Number, Operation, parse_expression


@pytest.mark.parametrize(
    "text",
    [
        "a - (b - c)",
        "a/(b*c)",
        "(a/b)*c",
        "-(a + b)",
        "-a**2",
        "(-a)**2",
        "a**(b**c)",
        "(a**b)**c",
        "2*(x + 1)",
        "where((a < b or c >= 1) and not a == b, min(a, b), -exp(-x))",
        "a*(-b)",
        "1e-7*x",
    ],
)
def test_text_reads_as_the_same_tree(text: str) -> None:
    tree = parse_expression(text).tree
    assert parse_expression(text_of(tree)).tree == tree


def test_few_parentheses_are_written() -> None:
    assert text_of(parse_expression("((a*b) + (c/d)) - (e)").tree) == "a*b + c/d - e"


def test_numbers_that_cannot_be_written_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="inf"):
        text_of(Number(float("inf")))


def test_names_are_replaced_by_trees() -> None:
    tree = parse_expression("a + b*a").tree
    assert text_of(replace_names(tree, {"a": Operation("-", (Name("x"), Number(1.0)))})) == "x - 1 + b*(x - 1)"


def test_arithmetic_of_numbers_is_folded_but_no_division_by_zero() -> None:
    assert folded(parse_expression("2*3 + 4/2 - 1").tree) == Number(7.0)
    assert text_of(folded(parse_expression("x + 1/0").tree)) == "x + 1/0"
