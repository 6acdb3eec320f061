"""Text → checked tree, by a whitelist over Python's own `ast`. Nothing is ever evaluated as Python.

The tree has four kinds of node, plain and immutable, from which every engine makes its own function.
Numbers stay numbers as written: no constant is folded here, so `9**9**9` costs nothing.
"""

from __future__ import annotations

import ast
import difflib
import keyword
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from odelib.errors import ExpressionError

MAX_CHARACTERS = 10_000
MAX_LEVELS = 100

FUNCTIONS: Mapping[str, tuple[int, int]] = {  # name → fewest and most arguments
    **dict.fromkeys(
        [
            "abs",
            "exp",
            "log",
            "log10",
            "sqrt",
            "sin",
            "cos",
            "tan",
            "asin",
            "acos",
            "atan",
            "sinh",
            "cosh",
            "tanh",
            "erf",
            "floor",
            "sign",
        ],
        (1, 1),
    ),
    "min": (2, 50),
    "max": (2, 50),
    "where": (3, 3),
}
CONSTANTS: Mapping[str, float] = {"pi": math.pi}
TIME = "t"

_BINARY: Mapping[type[ast.operator], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**",
}  # fmt: skip
_COMPARISONS: Mapping[type[ast.cmpop], str] = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
_HINTS: Mapping[type[ast.AST], str] = {
    ast.BitXor: "'^' is not an operator here; write '**' for a power",
    ast.FloorDiv: "'//' is not an operator here; write floor(a/b)",
    ast.Mod: "'%' is not an operator here; write a - b*floor(a/b)",
    ast.IfExp: "write where(condition, a, b) for a choice",
    ast.BoolOp: "'and' and 'or' are not available; nest where(condition, a, b)",
    ast.Not: "'not' is not available; turn the comparison in where(condition, a, b) round",
    ast.Eq: "'==' is not available: two real numbers are hardly ever equal; use <, <=, > or >=",
    ast.NotEq: "'!=' is not available: two real numbers are hardly ever equal; use <, <=, > or >=",
}


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
    tree: Node
    names: frozenset[str]


def parse_expression(text: str, *, max_characters: int = MAX_CHARACTERS, max_levels: int = MAX_LEVELS) -> Expression:
    """Parse `text` against the whitelist.

    The names it uses are returned, not checked: the system knows them. Raises `ExpressionError`.
    """
    if len(text) > max_characters:
        raise ExpressionError(
            f"an expression may have {max_characters} characters, this one has {len(text)}; split it, "
            "for instance with an observable or a further state"
        )
    if not text.strip():
        raise ExpressionError("the expression is empty")
    if "\0" in text or "\n" in text.strip() or "\r" in text.strip():
        raise ExpressionError("an expression stands on one line")
    try:
        # Whole numbers of thousands of digits are refused by Python's parser itself; nothing is evaluated.
        body = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise ExpressionError(_syntax_hint(text, error)) from None
    except (ValueError, RecursionError, MemoryError):
        raise ExpressionError(f"the expression is nested too deeply; {max_levels} levels are allowed") from None
    names: set[str] = set()
    tree = _Converter(text.strip(), max_levels, names).convert(body, 1)
    return Expression(text.strip(), tree, frozenset(names))


def unknown_names(expression: Expression, known: Collection[str]) -> list[str]:
    """A sentence for each name that `expression` uses and `known` lacks, with the nearest known one."""
    sentences = []
    for name in sorted(expression.names - set(known)):
        close = difflib.get_close_matches(name, [*known, *FUNCTIONS, *CONSTANTS], n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; known here are {_listed(sorted(known))}"
        sentences.append(f"unknown name {name!r}{hint}")
    return sentences


def name_error(name: str) -> str | None:
    """Why `name` cannot name a state, parameter, constant or observable; None if it can."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        proposal = re.sub(r"[^A-Za-z0-9_]", "_", name.encode("ascii", "replace").decode().replace("?", "_"))
        proposal = f"_{proposal}" if not proposal or proposal[0].isdigit() else proposal
        return f"{name!r} is not a name: letters a-z, A-Z, digits and _, not a digit first; try {proposal!r}"
    if keyword.iskeyword(name) or (keyword.issoftkeyword(name) and name != "_"):
        return f"{name!r} is a reserved word of Python; try {name + '_'!r}"
    if name in FUNCTIONS:
        return f"{name!r} is the name of a function; try {name + '_'!r}"
    if name == TIME:
        return f"{TIME!r} is time; try 't_'"
    if name in CONSTANTS:
        return f"{name!r} is a constant of the language; try {name + '_'!r}"
    if name.startswith("__"):
        return f"{name!r} starts with two underscores; try {name.lstrip('_') or 'x'!r}"
    return None


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


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:12])
    return shown + (", …" if len(names) > 12 else "") if names else "no names"


def _syntax_hint(text: str, error: SyntaxError) -> str:
    words = [word for word in re.findall(r"[A-Za-z_]\w*", text) if keyword.iskeyword(word)]
    if words and words[0] not in ("and", "or", "not", "if", "else", "None", "True", "False"):
        return f"{words[0]!r} is a reserved word of Python and cannot be a name; try {words[0] + '_'!r}"
    if "too many nested" in str(error.msg) or "too complex" in str(error.msg):
        return "the expression is nested too deeply"
    where = f" near character {error.offset}" if error.offset else ""
    return f"not an expression{where}: {error.msg}"


class _Converter:
    """Python's syntax tree → ours; refuses everything that is not on the whitelist."""

    def __init__(self, text: str, max_levels: int, names: set[str]) -> None:
        self.text = text
        self.max_levels = max_levels
        self.names = names

    def convert(self, node: ast.expr, level: int) -> Node:
        if level > self.max_levels:
            raise ExpressionError(f"the expression is nested too deeply; {self.max_levels} levels are allowed")
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
        raise self._refused(node)

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
                raise self._refused(node.op)
            return Operation("**", (self.convert(node.left, level + 1), self.convert(node.right, level + 1)))
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
            raise ExpressionError("a number in the expression is beyond double precision")
        return Number(value)

    def _name(self, node: ast.Name) -> Node:
        if node.id in CONSTANTS:
            return Number(CONSTANTS[node.id])
        if node.id in FUNCTIONS:
            raise ExpressionError(f"{node.id!r} is a function and needs its arguments, as in {node.id}(…)")
        if not node.id.isascii() or ast.get_source_segment(self.text, node) != node.id:
            # Python reads some letters as others (NFKC): what is written must be what is meant.
            raise ExpressionError(f"{node.id!r} is not a name: only the letters a-z, A-Z, digits and _ are")
        self.names.add(node.id)
        return Name(node.id)

    def _call(self, node: ast.Call, level: int) -> Node:
        if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS:
            called = (
                node.func.id
                if isinstance(node.func, ast.Name)
                else (ast.get_source_segment(self.text, node.func) or "…")[:40]
            )
            close = difflib.get_close_matches(called, FUNCTIONS, n=1)
            raise ExpressionError(
                f"{called!r} is not a function of the language"
                + (f"; did you mean {close[0]!r}?" if close else f"; it has {', '.join(FUNCTIONS)}")
            )
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
            raise self._refused(node.ops[0])
        return Operation(
            _COMPARISONS[operator],
            (self.convert(node.left, level + 1), self.convert(node.comparators[0], level + 1)),
        )

    def _refused(self, node: ast.AST) -> ExpressionError:
        kind = type(node.op) if isinstance(node, ast.BoolOp | ast.UnaryOp) else type(node)
        hint = _HINTS.get(type(node)) or _HINTS.get(kind)
        return ExpressionError(
            hint
            or f"{kind.__name__!r} is not part of the language: it has numbers, names, + - * / **, "
            f"parentheses, {', '.join(FUNCTIONS)} and pi"
        )


def _family(operator: ast.operator) -> str | None:
    if isinstance(operator, ast.Add | ast.Sub):
        return "sum"
    if isinstance(operator, ast.Mult | ast.Div):
        return "product"
    return None
