"""An expression in a request: it can be parsed, and the names it uses exist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from odelib.errors import ExpressionError
from odelib.problem.checks.raw import MistakeReport, as_number
from odelib.problem.expressions.names import unknown_names
from odelib.problem.expressions.parser import Expression, parse_condition, parse_expression
from odelib.problem.limits import Limits

MAX_HINTS = 20  # in one answer; searching thousands of names for the nearest one takes time


@dataclass(frozen=True)
class Scope:
    """The names that an expression can use, and which ones these are in words, where that is not obvious."""

    known: Mapping[str, None]
    words: str = ""


class ExpressionReader:
    """Parses expressions, each text once, and reports what is wrong with them.

    expressions: those that can be parsed, by their text.
    """

    def __init__(self, limits: Limits, report: MistakeReport) -> None:
        self.expressions: dict[str, Expression] = {}
        self._limits, self._report = limits, report

    def read(self, text: str, scope: Scope, pointer: str) -> Expression | None:
        """The expression; None if it cannot be parsed or uses an unknown name."""
        if text in self.expressions:
            names_exist = _check_names(self.expressions[text], scope, pointer, self._report)
            return self.expressions[text] if names_exist else None
        expression = check_expression(text, scope.known, pointer, self._limits, self._report, scope=scope.words)
        if expression:
            self.expressions[text] = expression
        return expression

    def quantity(self, value: Any, scope: Scope, pointer: str) -> float | Expression | None:
        """A number or an expression; None if it is neither, or not valid."""
        return self.read(value, scope, pointer) if isinstance(value, str) else as_number(value)


def check_expression(
    text: str, known: Mapping[str, None], pointer: str, limits: Limits, report: MistakeReport, *, scope: str = ""
) -> Expression | None:
    """Parse `text`; report why it cannot be parsed or which of its names are not `known`, and then return None.

    scope: which names the expression can use, where that is not obvious; it is added to the report.
    """
    return _check(text, Scope(known, scope), pointer, limits, report, is_condition=False)


def check_condition(
    text: str, known: Mapping[str, None], pointer: str, limits: Limits, report: MistakeReport
) -> Expression | None:
    """Parse a condition; otherwise as `check_expression`."""
    return _check(text, Scope(known), pointer, limits, report, is_condition=True)


def _check(
    text: str, scope: Scope, pointer: str, limits: Limits, report: MistakeReport, *, is_condition: bool
) -> Expression | None:
    parse = parse_condition if is_condition else parse_expression
    try:
        expression = parse(text, max_characters=limits.expression_characters, max_levels=limits.expression_levels)
    except ExpressionError as error:
        report.add(pointer, str(error))
        return None
    return expression if _check_names(expression, scope, pointer, report) else None


def _check_names(expression: Expression, scope: Scope, pointer: str, report: MistakeReport) -> bool:
    if expression.names <= scope.known.keys():
        return True
    for sentence in unknown_names(expression, scope.known, hints=len(report.errors) < MAX_HINTS):
        report.add(pointer, f"{sentence} ({scope.words})" if scope.words else sentence)
    return False
