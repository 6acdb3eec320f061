"""Which names are valid, and which ones an expression can use. Every refusal suggests a correction."""

from __future__ import annotations

import difflib
import itertools
import keyword
import re
from collections.abc import Mapping

from odelib.problem.expressions.parser import Expression
from odelib.problem.expressions.vocabulary import CONSTANTS, FUNCTIONS, TIME

MAX_REPORTED = 20  # unknown names of one expression that get a sentence each
MAX_COMPARED = 500  # known names among which the nearest one is searched
MAX_SHOWN = 12  # known names in one sentence


def unknown_names(expression: Expression, known: Mapping[str, object], *, hints: bool = True) -> list[str]:
    """Return a sentence for each name that `expression` uses and that is not `known`.

    hints: whether to search for the nearest known name. That takes time in thousands of expressions.
    """
    unknown = sorted(name for name in expression.names if name not in known)
    sentences = [f"unknown name {name!r:.80}" + _hint(name, known, hints) for name in unknown[:MAX_REPORTED]]
    if rest := unknown[MAX_REPORTED:]:
        sentences.append(f"{len(rest)} more unknown names, starting with {rest[0]!r:.80}")
    return sentences


def name_error(name: str) -> str | None:
    """Return why `name` cannot name a state, parameter, constant or observable, or None if it can.

    >>> name_error("lambda")
    "'lambda' is a reserved word in Python; try 'lambda_'"
    """
    shown = f"{name!r:.80}"
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        return (
            f"{shown} is not a valid name; use only letters a-z, A-Z, digits and _, and no digit at the start; "
            f"try {_suggestion(name)!r}"
        )
    if keyword.iskeyword(name):
        return f"{shown} is a reserved word in Python; try {name + '_'!r}"
    if name in FUNCTIONS:
        return f"{shown} is the name of a function; try {name + '_'!r}"
    if name == TIME:
        return f"{shown} denotes time; try {name + '_'!r}"
    if name in CONSTANTS:
        return f"{shown} is a built-in constant; try {name + '_'!r}"
    return None


def _suggestion(name: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name[:60])
    plain = f"_{plain}" if not plain or plain[0].isdigit() else plain
    return f"{plain}_" if name_error(plain) else plain


def _hint(name: str, known: Mapping[str, object], hints: bool) -> str:
    if hints and len(known) <= MAX_COMPARED:
        close = difflib.get_close_matches(name[:60], [*known, *FUNCTIONS, *CONSTANTS], n=1)
        if close:
            return f"; did you mean {close[0]!r}?"
    shown = ", ".join(itertools.islice(known, MAX_SHOWN)) or "none"
    return f"; known names: {shown}{', …' if len(known) > MAX_SHOWN else ''}"
