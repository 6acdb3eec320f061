"""Expressions as the text that SBML's and PEtab's readers take, which differ in the names of a few functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from odelib.formats.errors import UnsupportedError
from odelib.problem.expressions.parser import TIME, Name, Node, Number, Operation, walk

_INFIX = {"+": "+", "-": "-", "*": "*", "/": "/", "**": "^", "and": "&&", "or": "||"}
_COMPARISONS = frozenset(["<", "<=", ">", ">=", "==", "!="])
_FUNCTIONS = {
    "log": "ln", "asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh",
    "atanh": "arctanh", **{name: name for name in ("abs", "exp", "log10", "sqrt", "sin", "cos", "tan", "sinh", "cosh",
    "tanh")},
}  # fmt: skip
_PATTERNS = {
    "neg": "(-{0})",
    "not": "(!{0})",
    "where": "piecewise({1}, {0}, {2})",
    "sign": "piecewise(1, {0} > 0, piecewise(-1, {0} < 0, 0))",
    "log2": "(ln({0}) / ln(2))",
}
RESERVED = frozenset(["time", "avogadro", "inf", "infinity", "nan", "notanumber", "exponentiale", "true", "false"])
"""Names that mean something else there."""


@dataclass(frozen=True)
class Dialect:
    """A format: its name, and what it calls functions that the other lacks."""

    name: str
    functions: Mapping[str, str]


SBML = Dialect("SBML", {"floor": "floor"})
PETAB = Dialect("PEtab", {"log2": "log2", "sign": "sign"})


def infix(tree: Node, dialect: Dialect) -> str:
    """The text of an expression, with parentheses around every operation.

    Raises `UnsupportedError` for a function that the format does not have.
    """
    stack: list[str] = []
    for node in walk(tree):
        if isinstance(node, Number):
            stack.append(f"({node.value!r})" if node.value < 0 else repr(node.value))
        elif isinstance(node, Name):
            stack.append("time" if node.name == TIME else node.name)
        else:
            count = len(node.operands)
            operands = stack[-count:]
            del stack[-count:]
            stack.append(_operation(node, operands, dialect))
    return stack.pop()


def _operation(node: Operation, operands: list[str], dialect: Dialect) -> str:
    symbol = node.operator
    if symbol in _INFIX or symbol in _COMPARISONS:
        return f"({operands[0]} {_INFIX.get(symbol, symbol)} {operands[1]})"
    if symbol in ("min", "max"):
        return _nested(symbol, operands)
    name = dialect.functions.get(symbol) or _FUNCTIONS.get(symbol)
    if name is not None:
        return f"{name}({', '.join(operands)})"
    if symbol in _PATTERNS:
        return _PATTERNS[symbol].format(*operands)
    raise UnsupportedError(f"{dialect.name} has no function {symbol}()")


def _nested(symbol: str, operands: list[str]) -> str:
    """The minimum or maximum of several, of two at a time."""
    text = operands[0]
    for operand in operands[1:]:
        text = f"{symbol}({text}, {operand})"
    return text
