"""Explains why a string is not an expression, and what to write instead."""

from __future__ import annotations

import ast
import difflib
import keyword
import re
from collections.abc import Mapping

from odelib.errors import ExpressionError
from odelib.problem.expressions.vocabulary import FUNCTIONS, LOGIC

OUT_OF_RANGE = "a number in the expression is outside the range of double precision"
NESTED = "the expression is nested too deeply"

_HINTS: Mapping[type[ast.AST], str] = {
    ast.BitXor: "'^' is not an operator; write '**' for powers",
    ast.FloorDiv: "'//' is not an operator; write floor(a/b)",
    ast.Mod: "'%' is not an operator; write a - b*floor(a/b)",
    ast.BitAnd: "'&' is not available; write 'and' between conditions",
    ast.BitOr: "'|' is not available; write abs(x) for absolute values, or 'or' between conditions",
    ast.Invert: "'~' is not an operator; write '-' for a minus sign",
    ast.Tuple: "a comma can be used only between the arguments of a function",
    ast.Attribute: "a dot can be used only inside a number",
}
_OTHER_NAMES: Mapping[str, str] = {  # names of functions in other languages
    "ln": "log(x)", "arcsin": "asin(x)", "arccos": "acos(x)", "arctan": "atan(x)", "pow": "x**y",
    "arcsinh": "asinh(x)", "arccosh": "acosh(x)", "arctanh": "atanh(x)",
    "ceil": "-floor(-x)", "heaviside": "where(x > 0, 1, 0)", "sgn": "sign(x)",
}  # fmt: skip
_LOOK_ALIKES: Mapping[str, str] = {
    "·": "*", "×": "*", "⋅": "*", "∗": "*", "−": "-", "–": "-", "÷": "/", "∕": "/", "²": "**2", "³": "**3",
    "≤": "<=", "≥": ">=", "√": "sqrt(x)", "π": "pi",
}  # fmt: skip
_NO_CHOICE = "'if' is not available; write where(condition, a, b)"
_NO_TEST = "write comparisons with <, <=, >, >=, == or !=, inside where(condition, a, b)"
_WORDS: Mapping[str, str] = {  # reserved words that deserve a better hint than that they are reserved
    "if": _NO_CHOICE, "else": _NO_CHOICE, "is": _NO_TEST, "in": _NO_TEST,
}  # fmt: skip
_FOREIGN = re.compile(r"""[^A-Za-z0-9_ \t.,()+\-*/<>=!^%&|~]""")


def check_characters(text: str) -> None:
    """Raise `ExpressionError` for characters and words that are not part of the language.

    Some would be syntax errors. Python would accept others: comments, line breaks, and letters that it normalises,
    such as a full-width x.
    """
    if not text:
        raise ExpressionError("the expression is empty")
    if "\n" in text or "\r" in text:
        raise ExpressionError("an expression must be on one line")
    if foreign := _FOREIGN.search(text):
        character = foreign[0]
        hint = f"; write {_LOOK_ALIKES[character]!r}" if character in _LOOK_ALIKES else ""
        if not hint and character.isidentifier():
            hint = "; names consist of letters a-z, A-Z, digits and _"
        raise ExpressionError(f"{character!r} is not allowed in an expression (character {foreign.start() + 1}){hint}")
    if re.search(r"0(?<![A-Za-z0-9_.]0)[xXoObB]", text):
        raise ExpressionError("numbers must be written in decimal digits")
    for word in re.findall(r"[A-Za-z_][A-Za-z0-9_]*", text):
        if keyword.iskeyword(word) and word not in LOGIC:
            reserved = f"{word!r} is a reserved word in Python and cannot be a name; try {word + '_'!r}"
            raise ExpressionError(_WORDS.get(word, reserved))


def syntax_hint(text: str, error: SyntaxError) -> str:
    """Return the error of Python's parser, in words that do not need knowledge of Python."""
    reason = str(error.msg)
    if "too many nested" in reason or "too complex" in reason:
        return NESTED
    if "Exceeds the limit" in reason:  # Python reads integers of up to 4,300 digits
        return OUT_OF_RANGE
    if re.search(r"[\w)]\s+[\w(]|(?<![\w.])\d[\d.]*[A-Za-z_(]|\)[\w(]", text):
        reason = f"{reason}; write an operator between factors, as in 2*x"
    where = f" near character {error.offset}" if error.offset else ""
    return f"not a valid expression{where}: {reason}"


def node_hint(node: ast.AST) -> str:
    """Return why a node of Python's syntax tree is not allowed."""
    kind = type(node)
    return _HINTS.get(kind) or (
        f"{kind.__name__!r} is not part of the expression language, which has numbers, names, + - * / **, "
        f"parentheses, {', '.join(FUNCTIONS)} and pi"
    )


def function_hint(name: str) -> str:
    """Return that `name` is not a function, with the function that may be meant."""
    close = difflib.get_close_matches(name[:60], FUNCTIONS, n=1)
    if name in _OTHER_NAMES:
        hint = f"write {_OTHER_NAMES[name]}"
    else:
        hint = f"did you mean {close[0]!r}?" if close else f"the functions are {', '.join(FUNCTIONS)}"
    return f"{name!r:.80} is not a function; {hint}"
