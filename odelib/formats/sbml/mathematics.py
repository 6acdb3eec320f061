"""libsbml's trees of formulas → trees of the problem language."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import libsbml

from odelib.formats.errors import UnsupportedError
from odelib.formats.expression_text import ONE, ZERO, chain
from odelib.problem.expressions.parser import TIME, Name, Node, Number, Operation

TRUE, FALSE = Operation("<", (ZERO, ONE)), Operation("<", (ONE, ZERO))

_UNARY = {
    libsbml.AST_FUNCTION_ABS: "abs", libsbml.AST_FUNCTION_EXP: "exp", libsbml.AST_FUNCTION_LN: "log",
    libsbml.AST_FUNCTION_FLOOR: "floor", libsbml.AST_FUNCTION_SIN: "sin", libsbml.AST_FUNCTION_COS: "cos",
    libsbml.AST_FUNCTION_TAN: "tan", libsbml.AST_FUNCTION_ARCSIN: "asin", libsbml.AST_FUNCTION_ARCCOS: "acos",
    libsbml.AST_FUNCTION_ARCTAN: "atan", libsbml.AST_FUNCTION_SINH: "sinh", libsbml.AST_FUNCTION_COSH: "cosh",
    libsbml.AST_FUNCTION_TANH: "tanh", libsbml.AST_FUNCTION_ARCSINH: "asinh", libsbml.AST_FUNCTION_ARCCOSH: "acosh",
    libsbml.AST_FUNCTION_ARCTANH: "atanh",
}  # fmt: skip
_OF_RECIPROCAL = {  # the inverse of 1/f is f's of the reciprocal
    libsbml.AST_FUNCTION_ARCSEC: "acos", libsbml.AST_FUNCTION_ARCCSC: "asin", libsbml.AST_FUNCTION_ARCSECH: "acosh",
    libsbml.AST_FUNCTION_ARCCSCH: "asinh", libsbml.AST_FUNCTION_ARCCOTH: "atanh",
}  # fmt: skip
_RECIPROCAL = {
    libsbml.AST_FUNCTION_SEC: "cos", libsbml.AST_FUNCTION_CSC: "sin", libsbml.AST_FUNCTION_COT: "tan",
    libsbml.AST_FUNCTION_SECH: "cosh", libsbml.AST_FUNCTION_CSCH: "sinh", libsbml.AST_FUNCTION_COTH: "tanh",
}  # fmt: skip
_COMPARISONS = {
    libsbml.AST_RELATIONAL_LT: "<", libsbml.AST_RELATIONAL_LEQ: "<=", libsbml.AST_RELATIONAL_GT: ">",
    libsbml.AST_RELATIONAL_GEQ: ">=", libsbml.AST_RELATIONAL_EQ: "==", libsbml.AST_RELATIONAL_NEQ: "!=",
}  # fmt: skip
_TRUTHS = frozenset({*_COMPARISONS.values(), "and", "or", "not"})
MAX_FACTORIAL = 170
_Build = Callable[[list[Node]], Node | None]


class Converter:
    """Converts formulas of one model.

    names: what each identifier is called in the request. functions: the model's function definitions; calls are
    replaced by their bodies. rate_of: the derivative of a symbol with respect to time.
    """

    def __init__(self, names: Mapping[str, str], functions: Mapping[str, Any], rate_of: Callable[[str], Node]) -> None:
        self._names, self._functions, self._rate_of = names, functions, rate_of
        self._open: list[str] = []  # functions whose bodies are being converted

    def convert(self, node: Any, place: str, local: Mapping[str, Node] | None = None) -> Node:
        """The tree of a formula; place: where it is, for errors. local: names that the formula's own scope replaces."""
        if node is None:
            raise UnsupportedError(f"{place} has no formula")
        kind = node.getType()
        if kind == libsbml.AST_NAME:
            name = node.getName()
            return (local or {}).get(name) or Name(self._names.get(name, name))
        if kind == libsbml.AST_FUNCTION_RATE_OF:
            name = node.getChild(0).getName()
            return self._rate_of(self._names.get(name, name))
        if (leaf := _leaf(node, kind)) is not None:
            return leaf
        operands = [self.convert(node.getChild(i), place, local) for i in range(node.getNumChildren())]
        return self._operation(node, kind, operands, place)

    def condition(self, node: Any, place: str) -> Node:
        """As `convert`, where a truth value is meant."""
        return _truth(self.convert(node, place))

    def _operation(self, node: Any, kind: int, operands: list[Node], place: str) -> Node:
        if kind == libsbml.AST_FUNCTION_PIECEWISE:
            return _piecewise(operands, place)
        if kind == libsbml.AST_FUNCTION:
            return self._call(node.getName(), operands, place)
        build = _BUILDERS.get(kind)
        converted = build(operands) if build is not None else None
        if converted is None:
            raise UnsupportedError(
                f"{place} uses {node.getName() or libsbml.formulaToL3String(node)}, which a request cannot express"
            )
        return converted

    def _call(self, name: str, operands: list[Node], place: str) -> Node:
        definition = self._functions.get(name)
        if definition is None or definition.getBody() is None:
            raise UnsupportedError(f"{place} calls {name}, which the model does not define")
        if name in self._open:
            raise UnsupportedError(f"function {name} calls itself")
        arguments = [definition.getArgument(i).getName() for i in range(definition.getNumArguments())]
        self._open.append(name)
        body = self.convert(definition.getBody(), f"function {name}", dict(zip(arguments, operands, strict=True)))
        self._open.pop()
        return body


def _truth(tree: Node) -> Node:
    """A number as a condition: true unless it is 0 (SBML Level 3 Version 2, 3.4.9)."""
    if isinstance(tree, Operation) and tree.operator in _TRUTHS:
        return tree
    if isinstance(tree, Number):
        return FALSE if tree == ZERO else TRUE
    return Operation(">", (Operation("abs", (tree,)), ZERO))  # `!=` cannot stand in the condition of an event


def _piecewise(operands: list[Node], place: str) -> Node:
    if len(operands) % 2 == 0:
        if _truth(operands[-1]) == TRUE:  # the last piece always holds
            operands = operands[:-1]
        else:
            raise UnsupportedError(f"{place} has a piecewise formula without `otherwise`")
    tree = operands[-1]
    for value, condition in reversed(list(zip(operands[0:-1:2], operands[1:-1:2], strict=True))):
        tree = Operation("where", (_truth(condition), value, tree))
    return tree


def _leaf(node: Any, kind: int) -> Node | None:
    """A number, time or truth value."""
    if kind in (libsbml.AST_REAL, libsbml.AST_REAL_E, libsbml.AST_RATIONAL):
        return Number(node.getReal())
    if kind == libsbml.AST_INTEGER:
        return Number(float(node.getInteger()))
    return _LEAVES.get(kind)


def _minimum_or_maximum(operator: str) -> _Build:
    return lambda operands: operands[0] if len(operands) == 1 else Operation(operator, tuple(operands))


def _logarithm(operands: list[Node]) -> Node:
    base, value = operands
    if base == Number(10.0):
        return Operation("log10", (value,))
    return Operation("/", (Operation("log", (value,)), Operation("log", (base,))))


def _root(operands: list[Node]) -> Node:
    degree, value = operands
    if degree == Number(2.0):
        return Operation("sqrt", (value,))
    return Operation("**", (value, Operation("/", (ONE, degree))))


def _ceiling(operands: list[Node]) -> Node:
    return _negative(Operation("floor", (_negative(operands[0]),)))


def _factorial(operands: list[Node]) -> Node | None:
    (number,) = operands
    if isinstance(number, Number) and 0 <= number.value <= MAX_FACTORIAL and number.value.is_integer():
        return Number(float(math.factorial(int(number.value))))
    return None


def _quotient(operands: list[Node]) -> Node:
    """a/b, rounded towards 0."""
    ratio = Operation("/", tuple(operands))
    return Operation("*", (Operation("sign", (ratio,)), Operation("floor", (Operation("abs", (ratio,)),))))


def _remainder(operands: list[Node]) -> Node:
    return Operation("-", (operands[0], Operation("*", (operands[1], _quotient(operands)))))


def _comparison(operator: str) -> _Build:
    return lambda operands: chain("and", [Operation(operator, pair) for pair in pairwise(operands)], TRUE)


def _negative(operand: Node) -> Node:
    return Operation("neg", (operand,))


def _exclusive(operands: list[Node]) -> Node:
    tree: Node = _truth(operands[0]) if operands else FALSE
    for operand in map(_truth, operands[1:]):
        neither = Operation("not", (Operation("and", (tree, operand)),))
        tree = Operation("and", (Operation("or", (tree, operand)), neither))
    return tree


def _named(operator: str) -> _Build:
    return lambda operands: Operation(operator, tuple(operands))


def _joined(operator: str, neutral: Node) -> _Build:
    return lambda operands: chain(operator, operands, neutral)


def _logical(operator: str, neutral: Node) -> _Build:
    return lambda operands: chain(operator, [_truth(operand) for operand in operands], neutral)


def _implies(operands: list[Node]) -> Node:
    premise, conclusion = map(_truth, operands)
    return Operation("or", (Operation("not", (premise,)), conclusion))


def _reciprocal(function: str) -> _Build:
    return lambda operands: Operation("/", (ONE, Operation(function, tuple(operands))))


def _of_reciprocal(function: str) -> _Build:
    return lambda operands: Operation(function, (Operation("/", (ONE, operands[0])),))


_LEAVES: Mapping[int, Node] = {
    libsbml.AST_NAME_TIME: Name(TIME),
    libsbml.AST_NAME_AVOGADRO: Number(6.02214179e23),  # as SBML defines it
    libsbml.AST_CONSTANT_PI: Number(math.pi),
    libsbml.AST_CONSTANT_E: Number(math.e),
    libsbml.AST_CONSTANT_TRUE: TRUE,
    libsbml.AST_CONSTANT_FALSE: FALSE,
}
_BUILDERS: Mapping[int, _Build] = {
    libsbml.AST_PLUS: _joined("+", ZERO),
    libsbml.AST_TIMES: _joined("*", ONE),
    libsbml.AST_LOGICAL_AND: _logical("and", TRUE),
    libsbml.AST_LOGICAL_OR: _logical("or", FALSE),
    libsbml.AST_LOGICAL_NOT: lambda operands: Operation("not", (_truth(operands[0]),)),
    libsbml.AST_LOGICAL_XOR: _exclusive,
    libsbml.AST_LOGICAL_IMPLIES: _implies,
    libsbml.AST_MINUS: lambda operands: Operation("neg" if len(operands) == 1 else "-", tuple(operands)),
    libsbml.AST_DIVIDE: _named("/"),
    libsbml.AST_POWER: _named("**"),
    libsbml.AST_FUNCTION_POWER: _named("**"),
    libsbml.AST_FUNCTION_ARCCOT: _of_reciprocal("atan"),
    libsbml.AST_FUNCTION_MIN: _minimum_or_maximum("min"),
    libsbml.AST_FUNCTION_MAX: _minimum_or_maximum("max"),
    libsbml.AST_FUNCTION_LOG: _logarithm,
    libsbml.AST_FUNCTION_ROOT: _root,
    libsbml.AST_FUNCTION_CEILING: _ceiling,
    libsbml.AST_FUNCTION_FACTORIAL: _factorial,
    libsbml.AST_FUNCTION_QUOTIENT: _quotient,
    libsbml.AST_FUNCTION_REM: _remainder,
    **{kind: _named(function) for kind, function in _UNARY.items()},
    **{kind: _reciprocal(function) for kind, function in _RECIPROCAL.items()},
    **{kind: _of_reciprocal(function) for kind, function in _OF_RECIPROCAL.items()},
    **{kind: _comparison(operator) for kind, operator in _COMPARISONS.items()},
}
