"""Text → checked tree, by a whitelist over Python's own `ast`. Nothing is ever evaluated as Python.

The tree has four kinds of node, plain and immutable, from which every engine makes its own function.
Numbers stay numbers as written: no constant is folded here, so `9**9**9` costs nothing.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from odelib.errors import ExpressionError
from odelib.problem.expressions.hints import NESTED, TOO_LARGE, check_characters, hint_of, no_function, syntax_hint
from odelib.problem.expressions.vocabulary import CONSTANTS, FUNCTIONS
from odelib.problem.expressions.vocabulary import TIME as TIME  # noqa: PLC0414 (exported again for those who walk a tree)

T = TypeVar("T")
MAX_CHARACTERS = 10_000
MAX_LEVELS = 100
# Python's parser goes one level deeper with every term of a sum; how deep it can go depends on the stack of the
# caller. This stays well below, so that what one process accepts no other refuses.
MAX_TERMS = 2_000

_BINARY: Mapping[type[ast.operator], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**",
}  # fmt: skip
_COMPARISONS: Mapping[type[ast.cmpop], str] = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}


@dataclass(frozen=True)
class Number:
    """A number as written, or `pi`."""

    value: float


@dataclass(frozen=True)
class Name:
    """A state, parameter, constant, observable or `t`."""

    name: str


@dataclass(frozen=True)
class Operation:
    """An operator, function or comparison on other nodes.

    `operator` is one of `+ - * / ** neg`, a comparison, or the name of a function. Sums and products are
    binary and lean to the left, as written.
    """

    operator: str
    operands: tuple[Node, ...]


Node = Number | Name | Operation


@dataclass(frozen=True)
class Expression:
    """A checked expression: its text, its tree, and the names it uses."""

    text: str
    # The text says all: comparing or printing the tree of a long sum would recurse once for every term.
    tree: Node = field(compare=False, repr=False)
    names: frozenset[str] = field(compare=False, repr=False)


def parse_expression(text: str, *, max_characters: int = MAX_CHARACTERS, max_levels: int = MAX_LEVELS) -> Expression:
    """Parse `text` against the whitelist.

    The names it uses are returned, not checked: the system knows them. Raises `ExpressionError`.
    """
    if len(text) > max_characters:
        raise ExpressionError(
            f"an expression may have {max_characters} characters, this one has {len(text)}; split it, "
            "for instance with an observable or a further state"
        )
    text = text.strip()
    check_characters(text)
    names: set[str] = set()
    try:
        tree = _Converter(max_levels, names).convert(ast.parse(text, mode="eval").body, 1)
    except SyntaxError as error:
        raise ExpressionError(syntax_hint(text, error)) from None
    except (RecursionError, MemoryError):
        raise _too_deep(max_levels) from None
    return Expression(text, tree, frozenset(names))


def walk(node: Node) -> Iterator[Node]:
    """Every node of the tree, operands before what uses them, without recursion."""
    stack: list[tuple[Node, bool]] = [(node, False)]
    while stack:
        current, expanded = stack.pop()
        if isinstance(current, Operation) and not expanded:
            stack.append((current, True))
            stack.extend((operand, False) for operand in reversed(current.operands))
        else:
            yield current


def in_pairs(operands: Sequence[T], combine: Callable[[T, T], T]) -> T:
    """All operands combined two at a time, the winners again, as in a tournament.

    So each takes part in few combinations, and what follows one of them through all (a derivative) stays short.
    """
    row = list(operands)
    while len(row) > 1:
        pairs = [combine(a, b) for a, b in zip(row[::2], row[1::2], strict=False)]
        row = pairs + row[2 * len(pairs) :]
    return row[0]


def _too_deep(max_levels: int) -> ExpressionError:
    return ExpressionError(
        f"{NESTED}, or has too many terms in one sum; {max_levels} levels and {MAX_TERMS} terms are allowed: "
        "set groups of terms in parentheses"
    )


class _Converter:
    """Python's syntax tree → ours; refuses everything that is not on the whitelist."""

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
                raise ExpressionError("a comparison may only stand as the first argument of where(condition, a, b)")
        raise ExpressionError(hint_of(node.op if isinstance(node, ast.UnaryOp) else node))

    def _chain(self, node: ast.BinOp, level: int) -> Node:
        # A long sum leans to the left: a + b + c is ((a + b) + c). It is one level, however many terms it has.
        rest: list[ast.BinOp] = []
        family = _family(node.op)
        current: ast.expr = node
        while isinstance(current, ast.BinOp) and family and _family(current.op) == family:
            rest.append(current)
            current = current.left
        if not family:  # a power, or what is refused
            if type(node.op) not in _BINARY:
                raise ExpressionError(hint_of(node.op))
            return Operation("**", (self.convert(node.left, level + 1), self.convert(node.right, level + 1)))
        if len(rest) >= MAX_TERMS:
            raise _too_deep(self.max_levels)
        tree = self.convert(current, level + 1)
        for binary in reversed(rest):
            tree = Operation(_BINARY[type(binary.op)], (tree, self.convert(binary.right, level + 1)))
        return tree

    def _number(self, node: ast.Constant) -> Number:
        if isinstance(node.value, bool) or not isinstance(node.value, int | float):
            what = "imaginary numbers" if isinstance(node.value, complex) else f"{node.value!r}"
            raise ExpressionError(f"{what:.60} cannot stand in an expression; it has real numbers and names")
        try:
            value = float(node.value)
        except OverflowError:
            value = math.inf
        if not math.isfinite(value):
            raise ExpressionError(TOO_LARGE)
        return Number(value)

    def _name(self, node: ast.Name) -> Node:
        if node.id in CONSTANTS:
            return Number(CONSTANTS[node.id])
        if node.id in FUNCTIONS:
            raise ExpressionError(f"{node.id!r} is a function and needs its arguments, as in {node.id}(…)")
        self.names.add(node.id)
        return Name(node.id)

    def _call(self, node: ast.Call, level: int) -> Node:
        if not isinstance(node.func, ast.Name):
            raise ExpressionError("only functions can be called; a product is written with '*', as in 2*(x + 1)")
        if node.func.id not in FUNCTIONS:
            raise ExpressionError(no_function(node.func.id))
        name = node.func.id
        fewest, most = FUNCTIONS[name]
        if node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
            raise ExpressionError(f"{name}() takes plain arguments only, without names or stars")
        if not fewest <= len(node.args) <= most:
            wanted = str(fewest) if fewest == most else f"{fewest} to {most}"
            raise ExpressionError(f"{name}() takes {wanted} argument(s), here are {len(node.args)}")
        if name != "where":
            return Operation(name, tuple(self.convert(argument, level + 1) for argument in node.args))
        condition, *branches = node.args
        return Operation(
            "where", (self._comparison(condition, level + 1), *(self.convert(b, level + 1) for b in branches))
        )

    def _comparison(self, node: ast.expr, level: int) -> Node:
        if not isinstance(node, ast.Compare) or len(node.ops) != 1:
            raise ExpressionError("the first argument of where() must be one comparison, as in where(x > 1, a, b)")
        operator = type(node.ops[0])
        if operator not in _COMPARISONS:
            raise ExpressionError(hint_of(node.ops[0]))
        return Operation(
            _COMPARISONS[operator],
            (self.convert(node.left, level + 1), self.convert(node.comparators[0], level + 1)),
        )


def _family(operator: ast.operator) -> str | None:
    if isinstance(operator, ast.Add | ast.Sub):
        return "sum"
    if isinstance(operator, ast.Mult | ast.Div):
        return "product"
    return None
