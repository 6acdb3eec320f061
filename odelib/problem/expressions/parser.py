"""Parses a string into a checked tree, by a whitelist over Python's `ast`. Nothing is ever evaluated as Python.

The tree consists of immutable nodes of three types, from which every engine generates its own functions. Constants
are not folded, so parsing `9**9**9` costs nothing.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from odelib.errors import ExpressionError
from odelib.problem.expressions.hints import (
    NESTED,
    OUT_OF_RANGE,
    check_characters,
    function_hint,
    node_hint,
    syntax_hint,
)
from odelib.problem.expressions.vocabulary import CONSTANTS, FUNCTIONS
from odelib.problem.expressions.vocabulary import TIME as TIME  # noqa: PLC0414 (for modules that walk a tree)

T = TypeVar("T")
MAX_CHARACTERS = 10_000
MAX_LEVELS = 100
# Python's parser recurses once per term of a sum, and how deep it can go depends on the caller's stack. This limit is
# far below, so that all processes accept the same expressions.
MAX_TERMS = 2_000

_BINARY: Mapping[type[ast.operator], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**",
}  # fmt: skip
_EQUALITIES: Mapping[type[ast.cmpop], str] = {ast.Eq: "==", ast.NotEq: "!="}
_COMPARISONS: Mapping[type[ast.cmpop], str] = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", **_EQUALITIES,
}  # fmt: skip
_CONDITION = "a comparison, as in x > 1, or several with 'and', 'or' and 'not'"
_ONLY_IN_CONDITIONS = "allowed only as the first argument of where(condition, a, b)"


@dataclass(frozen=True)
class Number:
    """A number as written, or `pi`."""

    value: float


@dataclass(frozen=True)
class Name:
    """A state, parameter, constant, definition, observable or `t`."""

    name: str


@dataclass(frozen=True)
class Operation:
    """An operator, function or comparison on other nodes.

    operator: one of `+ - * / ** neg`, a comparison, `and or not`, or the name of a function. Sums and products are
    binary and associate to the left, as written; `and` and `or` have two or more operands.
    """

    operator: str
    operands: tuple[Node, ...]


Node = Number | Name | Operation


@dataclass(frozen=True)
class Expression:
    """A checked expression: its text, its tree, and the names it uses."""

    text: str
    # The text determines the rest. Comparing or printing the tree of a long sum would recurse once per term.
    tree: Node = field(compare=False, repr=False)
    names: frozenset[str] = field(compare=False, repr=False)


def parse_expression(text: str, *, max_characters: int = MAX_CHARACTERS, max_levels: int = MAX_LEVELS) -> Expression:
    """Parse `text`. Raises `ExpressionError`, with a hint, for everything that is not on the whitelist.

    The names it uses are collected, but not checked: only the system knows which exist.

    >>> sorted(parse_expression("-k*x + pi").names)
    ['k', 'x']
    """
    return _parse(text, max_characters, max_levels, lambda converter, node: converter.convert(node, 1))


def parse_condition(text: str, *, max_characters: int = MAX_CHARACTERS, max_levels: int = MAX_LEVELS) -> Expression:
    """Parse a condition that becomes true at an instant: comparisons other than `==` and `!=`, `and`, `or`, `not`.

    Raises `ExpressionError` as `parse_expression`.

    >>> parse_condition("x > 1 and not y > 2").tree.operator
    'and'
    """
    return _parse(text, max_characters, max_levels, lambda converter, node: converter.instant(node))


def _parse(
    text: str, max_characters: int, max_levels: int, convert: Callable[[_Converter, ast.expr], Node]
) -> Expression:
    if len(text) > max_characters:
        raise ExpressionError(
            f"at most {max_characters} characters are allowed in an expression, but this one has {len(text)}; "
            "split it into several definitions"
        )
    text = text.strip()
    check_characters(text)
    names: set[str] = set()
    try:
        tree = convert(_Converter(max_levels, names), ast.parse(text, mode="eval").body)
    except SyntaxError as error:
        raise ExpressionError(syntax_hint(text, error)) from None
    except (RecursionError, MemoryError):
        raise _too_deep(max_levels) from None
    return Expression(text, tree, frozenset(names))


def number_expression(value: float) -> Expression:
    """Return the expression that is a number."""
    return Expression(repr(value), Number(value), frozenset())


def walk(node: Node) -> Iterator[Node]:
    """Yield every node of the tree, operands before the operation that uses them, without recursion."""
    stack: list[tuple[Node, bool]] = [(node, False)]
    while stack:
        current, expanded = stack.pop()
        if isinstance(current, Operation) and not expanded:
            stack.append((current, True))
            stack.extend((operand, False) for operand in reversed(current.operands))
        else:
            yield current


def reduce_pairwise(operands: Sequence[T], combine: Callable[[T, T], T]) -> T:
    """Combine operands pairwise, then the results pairwise, and so on, as in a tournament.

    Each of n operands then takes part in log2(n) combinations instead of up to n, which keeps derivatives short.
    """
    row = list(operands)
    while len(row) > 1:
        pairs = [combine(a, b) for a, b in zip(row[::2], row[1::2], strict=False)]
        row = pairs + row[2 * len(pairs) :]
    return row[0]


def _too_deep(max_levels: int) -> ExpressionError:
    return ExpressionError(
        f"{NESTED}, or a sum or product in it is too long; at most {max_levels} levels and {MAX_TERMS} terms are "
        "allowed; group terms in parentheses"
    )


class _Converter:
    """Converts Python's syntax tree into ours; refuses everything that is not on the whitelist."""

    def __init__(self, max_levels: int, names: set[str]) -> None:
        self.max_levels = max_levels
        self.names = names

    def convert(self, node: ast.expr, level: int) -> Node:
        if level > self.max_levels:
            raise _too_deep(self.max_levels)
        match node:
            case ast.Constant():
                return self._number(node)
            case ast.Name():
                return self._name(node)
            case ast.UnaryOp(op=ast.USub()):
                return Operation("neg", (self.convert(node.operand, level + 1),))
            case ast.UnaryOp(op=ast.UAdd()):
                return self.convert(node.operand, level + 1)
            case ast.BinOp():
                return self._chain(node, level)
            case ast.Call():
                return self._call(node, level)
            case ast.Compare():
                raise ExpressionError(f"a comparison is {_ONLY_IN_CONDITIONS}")
            case ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
                raise ExpressionError(f"'and', 'or' and 'not' are {_ONLY_IN_CONDITIONS}")
        raise ExpressionError(node_hint(node.op if isinstance(node, ast.UnaryOp) else node))

    def _chain(self, node: ast.BinOp, level: int) -> Node:
        # A sum associates to the left: a + b + c is ((a + b) + c). However many terms it has, it counts as one level.
        rest: list[ast.BinOp] = []
        family = _family(node.op)
        current: ast.expr = node
        while isinstance(current, ast.BinOp) and family and _family(current.op) == family:
            rest.append(current)
            current = current.left
        if not family:  # a power, or an operator that is not allowed
            if type(node.op) not in _BINARY:
                raise ExpressionError(node_hint(node.op))
            return Operation("**", (self.convert(node.left, level + 1), self.convert(node.right, level + 1)))
        if len(rest) >= MAX_TERMS:
            raise _too_deep(self.max_levels)
        tree = self.convert(current, level + 1)
        for binary in reversed(rest):
            tree = Operation(_BINARY[type(binary.op)], (tree, self.convert(binary.right, level + 1)))
        return tree

    def _number(self, node: ast.Constant) -> Number:
        if isinstance(node.value, bool) or not isinstance(node.value, int | float):
            what = "imaginary numbers are" if isinstance(node.value, complex) else f"{node.value!r:.60} is"
            raise ExpressionError(f"{what} not allowed in an expression; use real numbers and names")
        try:
            value = float(node.value)
        except OverflowError:
            value = math.inf
        if not math.isfinite(value):
            raise ExpressionError(OUT_OF_RANGE)
        return Number(value)

    def _name(self, node: ast.Name) -> Node:
        if node.id in CONSTANTS:
            return Number(CONSTANTS[node.id])
        if node.id in FUNCTIONS:
            raise ExpressionError(f"{node.id!r} is a function and needs arguments, as in {node.id}(…)")
        self.names.add(node.id)
        return Name(node.id)

    def _call(self, node: ast.Call, level: int) -> Node:
        if not isinstance(node.func, ast.Name):
            raise ExpressionError("only functions can be called; write products with '*', as in 2*(x + 1)")
        if node.func.id not in FUNCTIONS:
            raise ExpressionError(function_hint(node.func.id))
        name = node.func.id
        minimum, maximum = FUNCTIONS[name]
        if node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
            raise ExpressionError(f"{name}() takes plain arguments only, without names or '*'")
        if not minimum <= len(node.args) <= maximum:
            wanted = "1 argument" if maximum == 1 else f"{minimum} arguments"
            wanted = wanted if minimum == maximum else f"{minimum} to {maximum} arguments"
            raise ExpressionError(f"{name}() takes {wanted}, not {len(node.args)}")
        if name != "where":
            return Operation(name, tuple(self.convert(argument, level + 1) for argument in node.args))
        condition, *branches = node.args
        wrong = f"the first argument of where() must be a condition: {_CONDITION}"
        return Operation(
            "where", (self._condition(condition, level + 1, wrong), *(self.convert(b, level + 1) for b in branches))
        )

    def instant(self, node: ast.expr) -> Node:
        """A condition by itself, without `==` and `!=`: they hold for no time, or change without becoming true."""
        for part in _parts(node):
            if isinstance(part, ast.Compare) and any(type(operator) in _EQUALITIES for operator in part.ops):
                raise ExpressionError(
                    "'==' and '!=' are allowed only inside where(condition, a, b): a condition that becomes true is "
                    "written with <, <=, > or >="
                )
        return self._condition(node, 1, f"this must be a condition: {_CONDITION}")

    def _condition(self, node: ast.expr, level: int, wrong: str) -> Node:
        if level > self.max_levels:
            raise _too_deep(self.max_levels)
        match node:
            case ast.BoolOp():
                operator = "and" if isinstance(node.op, ast.And) else "or"
                return Operation(operator, tuple(self._condition(value, level + 1, wrong) for value in node.values))
            case ast.UnaryOp(op=ast.Not()):
                return Operation("not", (self._condition(node.operand, level + 1, wrong),))
            case ast.Compare(ops=[comparison]):
                if type(comparison) not in _COMPARISONS:
                    raise ExpressionError(node_hint(comparison))
                sides = (self.convert(node.left, level + 1), self.convert(node.comparators[0], level + 1))
                return Operation(_COMPARISONS[type(comparison)], sides)
            case ast.Compare():
                raise ExpressionError("write a chain of comparisons with 'and', as in 0 < x and x < 1")
        raise ExpressionError(wrong)


def _parts(condition: ast.expr) -> Iterator[ast.expr]:
    """Yield what `and`, `or` and `not` combine in a condition."""
    pending = [condition]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.BoolOp):
            pending.extend(node.values)
        elif isinstance(node, ast.UnaryOp):
            pending.append(node.operand)
        else:
            yield node


def _family(operator: ast.operator) -> str | None:
    if isinstance(operator, ast.Add | ast.Sub):
        return "sum"
    if isinstance(operator, ast.Mult | ast.Div):
        return "product"
    return None
