"""What may be a name, and which names an expression may use; each refusal proposes a way out."""

from __future__ import annotations

import difflib
import itertools
import keyword
import re
from collections.abc import Mapping

from odelib.problem.expressions.parser import Expression
from odelib.problem.expressions.vocabulary import CONSTANTS, FUNCTIONS, TIME

_MOST_TOLD = 20  # unknown names of one expression that get a sentence each
FEW_ERRORS = 20  # in a request; beyond them nobody needs a hint with each
_MOST_COMPARED = 500  # names among which the nearest one is looked for


def unknown_names(expression: Expression, known: Mapping[str, object], *, hints: bool = True) -> list[str]:
    """A sentence for each name that `expression` uses and `known` lacks, with `hints` the nearest known one.

    Looking for the nearest one takes a while among thousands of names, or in thousands of expressions: then
    the caller does without.
    """
    unknown = sorted(name for name in expression.names if name not in known)
    sentences = [f"unknown name {name!r:.80}" + _name_hint(name, known, hints) for name in unknown[:_MOST_TOLD]]
    if rest := unknown[_MOST_TOLD:]:
        sentences.append(f"{len(rest)} further unknown names, from {rest[0]!r:.80} on")
    return sentences


def name_error(name: str) -> str | None:
    """Why `name` cannot name a state, parameter, constant or observable; None if it can."""
    shown = f"{name!r:.80}"
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        return f"{shown} is not a name: letters a-z, A-Z, digits and _, not a digit first; try {_proposal(name)!r}"
    if keyword.iskeyword(name):
        return f"{shown} is a reserved word of Python; try {name + '_'!r}"
    if name in FUNCTIONS:
        return f"{shown} is the name of a function; try {name + '_'!r}"
    if name == TIME:
        return f"{shown} is time; try {name + '_'!r}"
    if name in CONSTANTS:
        return f"{shown} is a constant of the language; try {name + '_'!r}"
    return None


def _proposal(name: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name[:60])
    plain = f"_{plain}" if not plain or plain[0].isdigit() else plain
    return f"{plain}_" if name_error(plain) else plain


def _name_hint(name: str, known: Mapping[str, object], hints: bool) -> str:
    if hints and len(known) <= _MOST_COMPARED:
        close = difflib.get_close_matches(name[:60], [*known, *FUNCTIONS, *CONSTANTS], n=1)
        if close:
            return f"; did you mean {close[0]!r}?"
    shown = ", ".join(itertools.islice(known, 12))
    return f"; known here are {shown}{', …' if len(known) > 12 else ''}" if shown else "; no names are known here"
