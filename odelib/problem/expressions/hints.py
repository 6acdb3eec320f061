"""What is wrong with a text that is no expression, and what to write instead."""

from __future__ import annotations

import ast
import difflib
import keyword
import re
from collections.abc import Mapping

from odelib.errors import ExpressionError
from odelib.problem.expressions.vocabulary import FUNCTIONS

TOO_LARGE = "a number in the expression is beyond double precision"
NESTED = "the expression is nested too deeply"

_HINTS: Mapping[type[ast.AST], str] = {
    ast.BitXor: "'^' is not an operator here; write '**' for a power",
    ast.FloorDiv: "'//' is not an operator here; write floor(a/b)",
    ast.Mod: "'%' is not an operator here; write a - b*floor(a/b)",
    ast.Eq: "'==' is not available: two real numbers are hardly ever equal; use <, <=, > or >=",
    ast.NotEq: "'!=' is not available: two real numbers are hardly ever equal; use <, <=, > or >=",
    ast.BitAnd: "'&' is not available; nest where(condition, a, b)",
    ast.BitOr: "'|' is not available; an absolute value is abs(x), a choice where(condition, a, b)",
    ast.Invert: "'~' is not an operator here; a minus sign is '-'",
    ast.Tuple: "a comma stands only between the arguments of a function",
    ast.Attribute: "a dot stands only inside a number",
}
_OTHER_NAMES: Mapping[str, str] = {  # what people call a function elsewhere
    "ln": "log(x)", "arcsin": "asin(x)", "arccos": "acos(x)", "arctan": "atan(x)", "pow": "x**y",
    "ceil": "-floor(-x)", "heaviside": "where(x > 0, 1, 0)", "sgn": "sign(x)",
}  # fmt: skip
_LOOK_ALIKES: Mapping[str, str] = {
    "·": "*", "×": "*", "⋅": "*", "∗": "*", "−": "-", "–": "-", "÷": "/", "∕": "/", "²": "**2", "³": "**3",
    "≤": "<=", "≥": ">=", "√": "sqrt(x)", "π": "pi",
}  # fmt: skip
_NO_LOGIC = "'and', 'or' and 'not' are not available; nest where(condition, a, b)"
_NO_CHOICE = "'if' is not available; write where(condition, a, b) for a choice"
_NO_TEST = "a comparison is written with <, <=, > or >=, inside where(condition, a, b)"
_WORDS: Mapping[str, str] = {  # reserved words for which there is a better hint than that they are reserved
    "and": _NO_LOGIC, "or": _NO_LOGIC, "not": _NO_LOGIC, "if": _NO_CHOICE, "else": _NO_CHOICE,
    "is": _NO_TEST, "in": _NO_TEST,
}  # fmt: skip
_FOREIGN = re.compile(r"""[^A-Za-z0-9_ \t.,()+\-*/<>=!^%&|~]""")


def check_characters(text: str) -> None:
    """Refuse, with a hint, what would be a syntax error, and what Python would let pass: comments, look-alikes."""
    if not text:
        raise ExpressionError("the expression is empty")
    if "\n" in text or "\r" in text:
        raise ExpressionError("an expression stands on one line")
    if foreign := _FOREIGN.search(text):
        character = foreign[0]
        hint = f"; write {_LOOK_ALIKES[character]!r}" if character in _LOOK_ALIKES else ""
        if not hint and character.isidentifier():
            hint = "; names have only letters a-z, A-Z, digits and _"
        raise ExpressionError(f"{character!r} cannot stand in an expression (character {foreign.start() + 1}){hint}")
    if re.search(r"0(?<![A-Za-z0-9_.]0)[xXoObB]", text):
        raise ExpressionError("numbers are written in decimal digits")
    for word in re.findall(r"[A-Za-z_][A-Za-z0-9_]*", text):
        if keyword.iskeyword(word):
            reserved = f"{word!r} is a reserved word of Python and cannot be a name; try {word + '_'!r}"
            raise ExpressionError(_WORDS.get(word, reserved))


def syntax_hint(text: str, error: SyntaxError) -> str:
    """What Python's parser found wrong with `text`, without what only Python's programmers need to know."""
    reason = str(error.msg)
    if "too many nested" in reason or "too complex" in reason:
        return NESTED
    if "Exceeds the limit" in reason:  # Python reads whole numbers of up to 4,300 digits
        return TOO_LARGE
    if re.search(r"[\w)]\s+[\w(]|(?<![\w.])\d[\d.]*[A-Za-z_(]|\)[\w(]", text):
        reason = f"{reason}; between two things stands an operator, as in 2*x"
    where = f" near character {error.offset}" if error.offset else ""
    return f"not an expression{where}: {reason}"


def hint_of(node: ast.AST) -> str:
    """Why a node of Python's tree is not on the whitelist."""
    kind = type(node)
    return _HINTS.get(kind) or (
        f"{kind.__name__!r} is not part of the language: it has numbers, names, + - * / **, parentheses, "
        f"{', '.join(FUNCTIONS)} and pi"
    )


def no_function(called: str) -> str:
    """That `called` is no function, with the one that may be meant."""
    close = difflib.get_close_matches(called[:60], FUNCTIONS, n=1)
    if called in _OTHER_NAMES:
        hint = f"; write {_OTHER_NAMES[called]}"
    else:
        hint = f"; did you mean {close[0]!r}?" if close else f"; it has {', '.join(FUNCTIONS)}"
    return f"{called!r:.80} is not a function of the language{hint}"
