"""Random and hostile expressions: nothing is evaluated, slow or crashes, and the meaning is Python's."""

from __future__ import annotations

import ast
import builtins
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from odelib.errors import ExpressionError
from odelib.problem.expressions.parser import Expression, Name, Number, Operation, parse_expression, walk
from odelib.problem.expressions.vocabulary import FUNCTIONS
from tests.odelib.problem.expressions.interpreter import MEANING, evaluate
from tests.odelib.problem.requests import examples

OPERATORS = {"+": 2, "-": 2, "*": 2, "/": 2, "**": 2, "neg": 1}
COMPARISONS = dict.fromkeys(("<", "<=", ">", ">=", "==", "!="), 2)
LOGIC = ("and", "or", "not")


def parsed(text: str) -> Expression | None:
    """The expression, or None if it is refused; any other exception fails the test."""
    try:
        with nothing_evaluated():
            return parse_expression(text)
    except ExpressionError as error:
        message = str(error)
    assert message
    assert message.encode("utf-8")
    return None


@contextmanager
def nothing_evaluated() -> Iterator[None]:
    """Evaluating, importing or compiling a caller's text to bytecode fails here."""
    real = builtins.compile

    def compile_to_tree(source: Any, filename: Any, mode: str, flags: int = 0, *rest: Any, **more: Any) -> Any:
        assert flags & ast.PyCF_ONLY_AST, "an expression was compiled to bytecode"
        return real(source, filename, mode, flags, *rest, **more)

    def evaluated(*_: Any, **__: Any) -> None:
        raise AssertionError("an expression was evaluated")

    watched: dict[str, Any] = dict.fromkeys(("eval", "exec", "__import__", "open"), evaluated)
    with patch.multiple(builtins, compile=compile_to_tree, **watched):
        yield


def assert_only_what_is_allowed(expression: Expression) -> None:
    conditions = set()
    for node in walk(expression.tree):
        match node:
            case Number(value):
                assert type(value) is float
                assert math.isfinite(value)
            case Name(name):
                assert type(name) is str
                assert name.isascii()
                assert name.isidentifier()
                assert name in expression.names
                assert name not in FUNCTIONS
            case Operation(operator, operands):
                assert type(operands) is tuple
                if operator in LOGIC:
                    assert len(operands) == 1 if operator == "not" else len(operands) >= 2
                    conditions.update(map(id, operands))
                    continue
                fewest, most = FUNCTIONS.get(operator) or ((OPERATORS | COMPARISONS)[operator],) * 2
                assert fewest <= len(operands) <= most
                if operator == "where":
                    condition = operands[0]
                    assert isinstance(condition, Operation)
                    assert condition.operator in (*COMPARISONS, *LOGIC)
                    conditions.add(id(condition))
    for node in walk(expression.tree):
        if isinstance(node, Operation) and node.operator in (*COMPARISONS, *LOGIC):
            assert id(node) in conditions


# ------------------------------------------------------------------------------------------- random text

WORDS = [
    "x", "y", "t", "pi", "exp", "where", "min", "abs", "erf", "lambda", "if", "else", "and", "or", "not", "is", "in",
    "for", "await", "yield", "None", "True", "__import__", "eval", "os", "__class__", "print", "import", "match",
    "1", "0.5", "1e5", "1e999", "9" * 30, "1j", "0x1f", "1_0", ".", "..", "...", "+", "-", "*", "/", "**", "//", "%",
    "@", "^", "&", "|", "~", "<", "<=", ">", ">=", "==", "!=", "=", ":=", "->", "(", ")", "(", ")", "[", "]", "{",
    "}", ",", ":", ";", "'", '"', "'''", "f'", "b'", "\\", "\n", "\t", " ", "#", "$", "?", "!", "`", "\0", "é", "ｘ",
    "²", "−", "\ud800", "🐇",
]  # fmt: skip


@examples(300)
@given(
    st.lists(st.sampled_from(WORDS), max_size=25).flatmap(
        lambda words: st.sampled_from(["", " "]).map(lambda s: s.join(words))
    )
)
def test_words_in_any_order(text: str) -> None:
    expression = parsed(text)
    if expression:
        assert_only_what_is_allowed(expression)


@examples(200)
@given(st.text(max_size=60))
def test_any_text(text: str) -> None:
    expression = parsed(text)
    if expression:
        assert_only_what_is_allowed(expression)


# ------------------------------------------------------------------------------ Python's own grammar, at random

NAMES = st.sampled_from(["x", "y", "exp", "where", "min", "pi", "__import__", "eval", "open", "os", "self", "t"])
LEAVES: st.SearchStrategy[ast.expr] = st.one_of(
    NAMES.map(lambda name: ast.Name(name, ast.Load())),
    st.one_of(
        st.integers(-(10**20), 10**20),
        st.floats(allow_nan=False),
        st.booleans(),
        st.none(),
        st.text(max_size=5),
        st.binary(max_size=5),
        st.complex_numbers(allow_nan=False),
        st.just(...),
    ).map(ast.Constant),
)


def grow(inner: st.SearchStrategy[ast.expr]) -> st.SearchStrategy[ast.expr]:
    few = st.lists(inner, max_size=3)
    some = st.lists(inner, min_size=2, max_size=3)
    load = ast.Load()
    generators = st.builds(
        lambda name, of, tests: [ast.comprehension(ast.Name(name, ast.Store()), of, tests, 0)],
        st.just("i"),
        inner,
        few,
    )
    parameters = ast.arguments([], [ast.arg("i")], None, [], [], None, [])
    return st.one_of(
        st.builds(ast.BinOp, inner, st.sampled_from([op() for op in ast.operator.__subclasses__()]), inner),
        st.builds(ast.UnaryOp, st.sampled_from([op() for op in ast.unaryop.__subclasses__()]), inner),
        st.builds(ast.BoolOp, st.sampled_from([ast.And(), ast.Or()]), some),
        st.builds(
            lambda left, pairs: ast.Compare(left, [op for op, _ in pairs], [right for _, right in pairs]),
            inner,
            st.lists(
                st.tuples(st.sampled_from([op() for op in ast.cmpop.__subclasses__()]), inner), min_size=1, max_size=2
            ),
        ),
        st.builds(
            ast.Call,
            st.one_of(NAMES.map(lambda name: ast.Name(name, load)), inner),
            few,
            st.lists(st.builds(ast.keyword, st.sampled_from(["key", None]), inner), max_size=1),
        ),
        st.builds(lambda value: ast.Call(ast.Name("exp", load), [ast.Starred(value, load)], []), inner),
        st.builds(lambda value, name: ast.Attribute(value, name, load), inner, st.sampled_from(["real", "__class__"])),
        st.builds(lambda value, index: ast.Subscript(value, index, load), inner, inner),
        st.builds(lambda value: ast.Subscript(value, ast.Slice(value, value), load), inner),
        st.builds(ast.IfExp, inner, inner, inner),
        st.builds(lambda body: ast.Lambda(parameters, body), inner),
        st.builds(lambda value: ast.NamedExpr(ast.Name("z", ast.Store()), value), inner),
        st.builds(lambda elements: ast.Tuple(elements, load), few),
        st.builds(lambda elements: ast.List(elements, load), few),
        st.builds(ast.Set, some),
        st.builds(lambda keys: ast.Dict(keys, keys), few),
        st.builds(ast.ListComp, inner, generators),
        st.builds(ast.SetComp, inner, generators),
        st.builds(ast.DictComp, inner, inner, generators),
        st.builds(ast.GeneratorExp, inner, generators),
        st.builds(ast.Await, inner),
        st.builds(lambda value: ast.JoinedStr([ast.FormattedValue(value, -1, None)]), inner),
    )


def unparsed(tree: ast.expr) -> str:
    try:
        return ast.unparse(tree)
    except ValueError:  # a text that no f-string can hold
        assume(False)
        raise


@examples(300)
@given(st.recursive(LEAVES, grow, max_leaves=12).map(unparsed))
def test_pythons_grammar(text: str) -> None:
    expression = parsed(text)
    if expression:
        assert_only_what_is_allowed(expression)


# ---------------------------------------------------------------- the meaning is Python's, by its own evaluation


def arithmetic(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    spaces = st.sampled_from(["", " "])
    binary = st.builds(
        lambda a, op, b, space: f"{a}{space}{op}{space}{b}",
        inner,
        st.sampled_from(["+", "-", "*", "/", "**"]),
        inner,
        spaces,
    )
    comparison = st.builds(lambda a, op, b: f"{a} {op} {b}", inner, st.sampled_from([*COMPARISONS]), inner)
    condition = st.one_of(
        comparison,
        st.builds(lambda a, op, b: f"{a} {op} not {b}", comparison, st.sampled_from(["and", "or"]), comparison),
    )
    return st.one_of(
        binary,
        binary,
        st.builds(lambda sign, a: sign + a, st.sampled_from(["-", "+", "- ", "-+-"]), inner),
        inner.map(lambda a: f"({a})"),
        st.builds(
            lambda name, a: f"{name}({a})", st.sampled_from(["abs", "sin", "exp", "sqrt", "floor", "erf"]), inner
        ),
        st.builds(lambda name, a, b: f"{name}({a}, {b})", st.sampled_from(["min", "max"]), inner, inner),
        st.builds(lambda test, a, b: f"where({test}, {a}, {b})", condition, inner, inner),
    )


ARITHMETIC = st.recursive(
    st.one_of(st.sampled_from(["x", "y", "pi", "2", "3.5", "1e-1", ".25"]), st.integers(0, 9).map(str)),
    arithmetic,
    max_leaves=15,
)
MEANING_IN_PYTHON = {name: MEANING[name] for name in FUNCTIONS} | {"pi": math.pi, "__builtins__": {}}


def outcome(compute: Callable[[], Any]) -> Any:
    """The value, or the reason why there is none; complex powers and overflows are such."""
    try:
        value = compute()
    except (ArithmeticError, ValueError, TypeError) as error:
        return type(error)
    return repr(value) if isinstance(value, complex) or math.isnan(value) else value


@examples(300)
@given(ARITHMETIC, st.sampled_from([0.5, -1.5, 2.0, 3.0]), st.sampled_from([0.25, -0.5, 1.0]))
def test_precedence_and_associativity_are_pythons(text: str, x: float, y: float) -> None:
    # Python's whole numbers are exact and grow without bound; here all numbers are doubles, so Python gets doubles.
    floats = ast.unparse(Doubles().visit(ast.parse(text, mode="eval")))
    expression = parse_expression(text)
    assert_only_what_is_allowed(expression)
    expected = outcome(lambda: eval(floats, MEANING_IN_PYTHON | {"x": x, "y": y}))
    assert outcome(lambda: evaluate(expression, x=x, y=y)) == expected


class Doubles(ast.NodeTransformer):
    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        assert isinstance(node.value, int | float)
        return ast.Constant(float(node.value))


# --------------------------------------------------------------------------------- long, deep and adversarial

HOSTILE = [
    "(", ")", "()", "-", "+", "**", "*", "x**", "x*", "x+", "x-", "-x", "+x", "1e", "9", "0.", ".", "x(", "exp(",
    "exp(x", "abs(-", "min(x,", "max(1,1,", "where(", "where(x>", "where(x>1,", "x if x else ", "not ", "~", "lambda:",
    "x<", "x and ", "x,", "[", "{", "[[", "{x:", "'", '"', "f'{", "\\", "#", "x.", "x[", "0x", "0xf", "1_", "_", "é",
    "ｘ", "²", "🐇", "\ud800", "\0", "\n", "\t", " ", "x ", "9**", "1/0*", "=", ":=", "!", "%", "^", "a1+", "1if ",
    "x or ", "await ", "yield ", "*x,", "**x,", "x:=", "(x,", "-(", "(-", "sin(cos(", "((x)+", "x*(y+", "2*(",
]  # fmt: skip


@pytest.mark.timeout(120)
@pytest.mark.parametrize("piece", HOSTILE)
@pytest.mark.parametrize("end", ["", "x", "x)", "1)"])
def test_ten_thousand_characters_of_one_piece(piece: str, end: str) -> None:
    for count in (100, 199, 1000, 10_000):
        text = (piece * count)[: 10_000 - len(end)] + end
        expression = parsed(text)
        if expression:
            assert_only_what_is_allowed(expression)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        ("(", ")"),
        ("-(", ")"),
        ("exp(", ")"),
        ("x*(1+", ")"),
        ("min(x,", ")"),
        ("where(x>1,x,", ")"),
        ("(", "**x)"),
        ("2**(", ")"),
    ],
)
@pytest.mark.parametrize("depth", [90, 101, 150, 250, 700, 900, 1500, 5000])
def test_deep_nesting_is_accepted_or_refused_and_never_crashes(opening: str, closing: str, depth: int) -> None:
    text = opening * depth + "x" + closing * depth
    expression = parsed(text)
    levels = {"(": 1, "x*(1+": 2}.get(opening, 1) * depth
    if len(text) > 10_000 or (levels > 100 and (opening, closing) != ("(", ")")):
        assert expression is None
    if expression:
        assert_only_what_is_allowed(expression)


@pytest.mark.parametrize("text", ["-" * 900 + "x", "exp(" * 190 + "x" + ")" * 190, "x**" * 900 + "x", "-" * 9999 + "x"])
def test_too_high_a_limit_of_levels_does_not_crash(text: str) -> None:
    try:
        parse_expression(text, max_levels=1_000_000)
    except ExpressionError as error:
        message = str(error)
    else:
        message = "nested too deeply"
    assert "nested too deeply" in message


@pytest.mark.timeout(120)
def test_deep_input_in_a_small_thread_never_crashes_the_interpreter() -> None:
    texts = [piece * (10_000 // len(piece)) for piece in ("(", "-", "x**", "exp(", "x+", "x*(")]
    found: list[Any] = []
    size = threading.stack_size(1 << 20)
    try:
        thread = threading.Thread(target=lambda: found.extend(parsed(text) for text in texts))
        thread.start()
        thread.join()
    finally:
        threading.stack_size(size)
    assert found == [None] * len(texts)


@pytest.mark.timeout(120)
def test_constants_are_not_folded() -> None:
    expression = parse_expression("9**9**9**9**9*x + 9**-9**9 + 2**(10**300) + 1/0")
    assert expression.names == {"x"}
    assert sum(isinstance(node, Number) for node in walk(expression.tree)) == 13


@pytest.mark.timeout(120)
def test_many_long_expressions_are_parsed_quickly() -> None:
    text = "+".join(["(a*x+b*y)*sin(c*x)-exp(-k*y)"] * 320)
    assert 9000 < len(text) <= 10_000
    for _ in range(20):
        assert parse_expression(text).names == {"a", "b", "c", "k", "x", "y"}
