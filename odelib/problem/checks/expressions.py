"""An expression in a request: it can be parsed, and the names it uses exist."""

from __future__ import annotations

from collections.abc import Mapping

from odelib.errors import ExpressionError
from odelib.problem.checks.raw import MistakeReport
from odelib.problem.expressions.names import unknown_names
from odelib.problem.expressions.parser import Expression, parse_expression
from odelib.problem.limits import Limits

MAX_HINTS = 20  # in one answer; searching thousands of names for the nearest one takes time


def check_expression(
    text: str, known: Mapping[str, None], pointer: str, limits: Limits, report: MistakeReport, *, scope: str = ""
) -> Expression | None:
    """Parse `text`; report why it cannot be parsed or which of its names are not `known`, and then return None.

    scope: which names the expression can use, where that is not obvious; it is added to the report.
    """
    try:
        expression = parse_expression(
            text, max_characters=limits.expression_characters, max_levels=limits.expression_levels
        )
    except ExpressionError as error:
        report.add(pointer, str(error))
        return None
    unknown = unknown_names(expression, known, hints=len(report.errors) < MAX_HINTS)
    for sentence in unknown:
        report.add(pointer, f"{sentence} ({scope})" if scope else sentence)
    return None if unknown else expression
