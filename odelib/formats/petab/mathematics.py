"""PEtab's mathematical expressions → trees of the problem language.

See https://petab.readthedocs.io, "Math expressions syntax". Booleans and numbers stand for each other there: true is 1,
and every number but 0 is true.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

from odelib.formats.errors import UnsupportedError
from odelib.formats.expression_text import ONE, ZERO
from odelib.problem.expressions.parser import TIME, Name, Node, Number, Operation

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<operator>\|\||&&|==|!=|<=|>=|\*\*|[-+*/^()<>!,]))"
)
_COMPARISONS = frozenset(["<", "<=", ">", ">=", "==", "!="])
_CONDITIONS = _COMPARISONS | {"and", "or", "not"}
_SAME = {
    "exp": "exp", "log10": "log10", "log2": "log2", "ln": "log", "sqrt": "sqrt", "abs": "abs", "sign": "sign",
    "floor": "floor", "sin": "sin", "cos": "cos", "tan": "tan", "sinh": "sinh", "cosh": "cosh", "tanh": "tanh",
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh",
    "asin": "asin", "acos": "acos", "atan": "atan", "asinh": "asinh", "acosh": "acosh", "atanh": "atanh",
}  # fmt: skip
_RECIPROCAL = {"sec": "cos", "csc": "sin", "cot": "tan", "sech": "cosh", "csch": "sinh", "coth": "tanh"}
_OF_RECIPROCAL = {
    "arccot": "atan", "arcsec": "acos", "arccsc": "asin", "arccoth": "atanh", "arcsech": "acosh", "arccsch": "asinh",
}  # fmt: skip
_Build = Callable[[tuple[Node, ...]], Node]
_ARGUMENTS = {"pow": 2, "min": 2, "max": 2}


def parse_mathematics(text: str) -> Node:
    """Parse a text. Raises `UnsupportedError` if it is not an expression.

    >>> from odelib.formats.expression_text import text_of
    >>> text_of(parse_mathematics("piecewise(k, time >= 5 && a > 1, 2^-x)"))
    'where(t >= 5 and a > 1, k, 2**(-x))'
    """
    parser = _Parser(text)
    tree = _as_number(parser.disjunction())
    parser.expect_end()
    return tree


def _is_condition(node: Node) -> bool:
    return isinstance(node, Operation) and node.operator in _CONDITIONS


def _as_number(node: Node) -> Node:
    return Operation("where", (node, ONE, ZERO)) if _is_condition(node) else node


def _as_condition(node: Node) -> Node:
    return node if _is_condition(node) else Operation("!=", (node, ZERO))


class _Parser:
    """Precedence climbing; each method parses operators that bind as strongly as its name says."""

    def __init__(self, text: str) -> None:
        self._text, self._place = text, 0
        self._tokens = self._split(text)

    def _split(self, text: str) -> list[tuple[str, str]]:
        tokens, place, end = [], 0, len(text.rstrip())
        while place < end:
            match = _TOKEN.match(text, place)
            if match is None:
                raise self._error(f"unexpected {text[place:].strip()[:10]!r}")
            kind = str(match.lastgroup)
            tokens.append((kind, match.group(kind)))
            place = match.end()
        return tokens

    def _error(self, why: str) -> UnsupportedError:
        return UnsupportedError(f"the expression {self._text!r:.200} cannot be read: {why}")

    def _next(self) -> tuple[str, str]:
        return self._tokens[self._place] if self._place < len(self._tokens) else ("end", "the end")

    def _take(self, *operators: str) -> str | None:
        kind, value = self._next()
        if kind != "operator" or value not in operators:
            return None
        self._place += 1
        return value

    def _expect(self, operator: str) -> None:
        if not self._take(operator):
            raise self._error(f"expected {operator!r} instead of {self._next()[1]!r}")

    def expect_end(self) -> None:
        if self._next()[0] != "end":
            raise self._error(f"unexpected {self._next()[1]!r}")

    def disjunction(self) -> Node:
        """`||` and `&&`, which bind equally in PEtab."""
        tree = self._comparison()
        while operator := self._take("||", "&&"):
            pair = _as_condition(tree), _as_condition(self._comparison())
            tree = Operation("or" if operator == "||" else "and", pair)
        return tree

    def _comparison(self) -> Node:
        tree = self._sum()
        while operator := self._take(*_COMPARISONS):
            tree = Operation(operator, (_as_number(tree), _as_number(self._sum())))
        return tree

    def _sum(self) -> Node:
        tree = self._product()
        while operator := self._take("+", "-"):
            tree = Operation(operator, (_as_number(tree), _as_number(self._product())))
        return tree

    def _product(self) -> Node:
        tree = self._sign()
        while operator := self._take("*", "/"):
            tree = Operation(operator, (_as_number(tree), _as_number(self._sign())))
        return tree

    def _sign(self) -> Node:
        if self._take("+"):
            return _as_number(self._sign())
        if self._take("-"):
            operand = _as_number(self._sign())
            return Number(-operand.value) if isinstance(operand, Number) else Operation("neg", (operand,))
        if self._take("!"):
            return Operation("not", (_as_condition(self._sign()),))
        return self._power()

    def _power(self) -> Node:
        base = self._atom()
        if not self._take("^", "**"):
            return base
        exponent = self._sign() if self._next()[1] in ("+", "-", "!") else self._power()
        return Operation("**", (_as_number(base), _as_number(exponent)))

    def _atom(self) -> Node:
        kind, value = self._next()
        self._place += 1
        if kind == "number":
            return Number(float(value))
        if kind == "name":
            return self._call(value) if self._take("(") else self._name(value)
        if value == "(":
            tree = self.disjunction()
            self._expect(")")
            return tree
        raise self._error(f"unexpected {value!r}")

    def _name(self, name: str) -> Node:
        if name in ("true", "false"):
            return Operation("<", (ZERO, ONE) if name == "true" else (ONE, ZERO))
        if name in ("inf", "nan"):
            return Number(math.inf if name == "inf" else math.nan)
        return Name(TIME) if name == "time" else Name(name)

    def _call(self, name: str) -> Node:
        arguments: list[Node] = []
        while not self._take(")"):
            if arguments:
                self._expect(",")
            arguments.append(self.disjunction())
        if name == "piecewise":
            return self._piecewise(arguments)
        numbers = tuple(_as_number(argument) for argument in arguments)
        if name == "log" and len(numbers) == 2:
            base = Operation("log", (numbers[1],))
            return Operation("/", (Operation("log", (numbers[0],)), base))
        if len(numbers) != _ARGUMENTS.get(name, 1):
            raise self._error(f"{name} takes {_ARGUMENTS.get(name, 1)} argument(s), not {len(numbers)}")
        build = _BUILDERS.get(name)
        if build is None:
            raise self._error(f"{name} is not a function of PEtab")
        return build(numbers)

    def _piecewise(self, arguments: list[Node]) -> Node:
        if len(arguments) % 2 == 0:
            raise self._error("piecewise needs a last value for when no condition holds")
        tree = _as_number(arguments[-1])
        for place in range(len(arguments) - 3, -1, -2):
            value, condition = arguments[place], arguments[place + 1]
            tree = Operation("where", (_as_condition(condition), _as_number(value), tree))
        return tree


def _named(function: str) -> _Build:
    return lambda operands: Operation(function, operands)


def _reciprocal(function: str) -> _Build:
    return lambda operands: Operation("/", (ONE, Operation(function, operands)))


def _of_reciprocal(function: str) -> _Build:
    return lambda operands: Operation(function, (Operation("/", (ONE, operands[0])),))


_BUILDERS: Mapping[str, _Build] = {
    "log": _named("log"),
    "pow": _named("**"),
    "min": _named("min"),
    "max": _named("max"),
    **{name: _named(function) for name, function in _SAME.items()},
    **{name: _reciprocal(function) for name, function in _RECIPROCAL.items()},
    **{name: _of_reciprocal(function) for name, function in _OF_RECIPROCAL.items()},
}
