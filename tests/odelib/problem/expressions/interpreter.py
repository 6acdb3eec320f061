"""A small interpreter of checked trees, written with `math`: an independent meaning of expressions."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from odelib.problem.expressions.parser import Expression, Name, Node, Number, Operation

MEANING: Mapping[str, Callable[..., Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": operator.pow,
    "neg": operator.neg,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "and": lambda *conditions: all(conditions),
    "or": lambda *conditions: any(conditions),
    "not": operator.not_,
    "where": lambda condition, a, b: a if condition else b,
    "abs": abs,
    "min": min,
    "max": max,
    "sign": lambda x: (x > 0) - (x < 0),
    **{
        name: getattr(math, name)
        for name in (
            "exp", "log", "log2", "log10", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh",
            "asinh", "acosh", "atanh", "erf", "floor",
        )
    },
}  # fmt: skip


def evaluate(expression: Expression, **values: float) -> Any:
    """The value of the expression where its names have `values`. Raises what `math` raises."""
    return _value(expression.tree, values)


def _value(node: Node, values: Mapping[str, float]) -> Any:
    match node:
        case Number(value):
            return value
        case Name(name):
            return values[name]
        case Operation(kind, operands):
            return MEANING[kind](*(_value(operand, values) for operand in operands))
