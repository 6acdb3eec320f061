"""Trees of expressions → text of the problem language, and replacing names in trees."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping

from odelib.formats.errors import UnsupportedError
from odelib.problem.expressions.parser import Name, Node, Number, Operation, walk

ZERO, ONE = Number(0.0), Number(1.0)
_PRECEDENCE: Mapping[str, int] = {
    "or": 1, "and": 2, "not": 3, "<": 4, "<=": 4, ">": 4, ">=": 4, "==": 4, "!=": 4,
    "+": 5, "-": 5, "*": 6, "/": 6, "neg": 7, "**": 8,
}  # fmt: skip
_ATOM = 9
_ARITHMETIC: Mapping[str, Callable[..., float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "neg": operator.neg,
}
_PREFIX = {"neg": "-", "not": "not "}


def text_of(tree: Node) -> str:
    """The text of an expression, with as few parentheses as it needs.

    >>> text_of(Operation("*", (Name("k"), Operation("-", (Name("x"), Number(1.0))))))
    'k*(x - 1)'
    """
    stack: list[tuple[str, int]] = []
    for node in walk(tree):
        if isinstance(node, Number):
            stack.append(_number(node.value))
        elif isinstance(node, Name):
            stack.append((node.name, _ATOM))
        else:
            count = len(node.operands)
            operands = stack[-count:]
            del stack[-count:]
            stack.append(_operation(node.operator, operands))
    return stack.pop()[0]


def _operation(symbol: str, operands: list[tuple[str, int]]) -> tuple[str, int]:
    precedence = _PRECEDENCE.get(symbol)
    if precedence is None:
        return f"{symbol}({', '.join(text for text, _ in operands)})", _ATOM
    if symbol in _PREFIX:
        # Python parses -a*b as (-a)*b, and allows no "a*-b" that reads well: what is negated is an atom or a power
        return _PREFIX[symbol] + _inside(operands[0], precedence), precedence
    if symbol == "**":
        return f"{_inside(operands[0], _ATOM)}**{_inside(operands[1], _ATOM)}", precedence
    spaced = symbol if symbol in "*/" else f" {symbol} "
    right = precedence if symbol in ("or", "and", "+", "*") else precedence + 1
    left = precedence if precedence != 4 else precedence + 1
    return _inside(operands[0], left) + spaced + _inside(operands[1], max(right, left)), precedence


def _inside(operand: tuple[str, int], least: int) -> str:
    text, precedence = operand
    return text if precedence >= least else f"({text})"


def _number(value: float) -> tuple[str, int]:
    if not math.isfinite(value):
        raise UnsupportedError(f"the number {value} cannot stand in an expression")
    text = str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return text, _PRECEDENCE["neg"] if text.startswith("-") else _ATOM


def replace_names(tree: Node, values: Mapping[str, Node]) -> Node:
    """The tree with these trees in place of the names."""
    stack: list[Node] = []
    for node in walk(tree):
        if isinstance(node, Operation):
            count = len(node.operands)
            operands = tuple(stack[-count:])
            del stack[-count:]
            stack.append(node if operands == node.operands else Operation(node.operator, operands))
        elif isinstance(node, Name):
            stack.append(values.get(node.name, node))
        else:
            stack.append(node)
    return stack.pop()


def names_of(tree: Node) -> frozenset[str]:
    """The names in a tree."""
    return frozenset(node.name for node in walk(tree) if isinstance(node, Name))


def folded(tree: Node) -> Node:
    """The tree with its number in place of sums and products of numbers alone."""
    stack: list[Node] = []
    for node in walk(tree):
        if not isinstance(node, Operation):
            stack.append(node)
            continue
        count = len(node.operands)
        operands = stack[-count:]
        del stack[-count:]
        numbers = [operand.value for operand in operands if isinstance(operand, Number)]
        value = _arithmetic(node.operator, numbers) if len(numbers) == count else None
        stack.append(Operation(node.operator, tuple(operands)) if value is None else Number(value))
    return stack.pop()


def _arithmetic(symbol: str, numbers: list[float]) -> float | None:
    calculate = _ARITHMETIC.get(symbol)
    try:
        return None if calculate is None else calculate(*numbers)
    except ArithmeticError:
        return None


def chain(symbol: str, operands: list[Node], neutral: Node) -> Node:
    """Operands joined by a binary operator, from the left; `neutral` if there are none."""
    if not operands:
        return neutral
    tree = operands[0]
    for operand in operands[1:]:
        tree = Operation(symbol, (tree, operand))
    return tree


def total(terms: list[tuple[float | Node, Node]]) -> Node:
    """The sum of coefficient·term, written without factors of 1."""
    tree: Node | None = None
    for coefficient, term in terms:
        if isinstance(coefficient, float) and coefficient < 0:
            product = _product(-coefficient, term)
            tree = Operation("neg", (product,)) if tree is None else Operation("-", (tree, product))
        else:
            product = _product(coefficient, term)
            tree = product if tree is None else Operation("+", (tree, product))
    return ZERO if tree is None else tree


def _product(coefficient: float | Node, term: Node) -> Node:
    if coefficient in (1.0, ONE):
        return term
    return Operation("*", (Number(coefficient) if isinstance(coefficient, float) else coefficient, term))
