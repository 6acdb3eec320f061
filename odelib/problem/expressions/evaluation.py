"""The value of an expression at a single point, in plain Python: for what is done once, before a fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from odelib.problem.expressions.parser import Expression, Name, Node, Number

_OPERATORS: Mapping[str, Callable[..., float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "**": math.pow,
    "neg": lambda a: -a,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "and": lambda *operands: all(operands),
    "or": lambda *operands: any(operands),
    "not": lambda a: not a,
    "where": lambda condition, a, b: a if condition else b,
    "abs": abs,
    "min": min,
    "max": max,
    "floor": math.floor,
    "sign": lambda a: math.copysign(1.0, a) if a else 0.0,
}


def value_at(expression: Expression, values: Mapping[str, float]) -> float:
    """Return the value of an expression, NaN where it has none. values: of every name that it uses.

    >>> from odelib.problem.expressions.parser import parse_expression
    >>> value_at(parse_expression("where(x > 1, sqrt(x), -x)"), {"x": 4.0})
    2.0
    """
    try:
        return float(_value(expression.tree, values))
    except (ArithmeticError, ValueError):
        return math.nan


def _value(node: Node, values: Mapping[str, float]) -> float:
    if isinstance(node, Number):
        return node.value
    if isinstance(node, Name):
        return values[node.name]
    function = _OPERATORS.get(node.operator) or getattr(math, node.operator)
    result: float = function(*(_value(operand, values) for operand in node.operands))
    return result
