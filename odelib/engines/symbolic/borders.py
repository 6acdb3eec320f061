"""Where roots, logarithms and broken powers end, and arguments that a solver's error carries just beyond.

A tank that runs empty, h' = -k*sqrt(h), has a solution for all times: h reaches 0 and stays there. A solver does not
meet the 0: its stages, and what it returns, lie beyond it by its error, where sqrt(h) has no value. So an argument that
is beyond the border of a function's domain by no more than the solver's error counts as at the border, and one that is
farther out has no value. To first order, the solver's error in an argument a(y) is Σ |∂a/∂y|·(atol + rtol·|y|).

At the border the value is the function's own: 0 for a root or a broken power, -∞ for a logarithm, so that a right-hand
side has a value there only if the mathematics gives it one. No derivative passes through an argument that is moved.
"""

from __future__ import annotations

from collections.abc import Mapping

# Operators: of the argument and its tolerance, the last one of the exponent besides.
NOT_NEGATIVE, UP_TO_ONE, FROM_ONE, IF_BROKEN = OPERATORS = (
    "not_negative",
    "up_to_one",
    "from_one",
    "not_negative_if_broken",
)
RTOL = "border rtol"  # no name of a caller's has a space
ERRORS = 10.0  # how many times the error allowed in a step an argument may be beyond its border
_BORDERS = {
    **dict.fromkeys(("sqrt", "log", "log2", "log10"), NOT_NEGATIVE),
    **dict.fromkeys(("asin", "acos", "atanh"), UP_TO_ONE),
    "acosh": FROM_ONE,
}


def atol_of(state: str) -> str:
    """The name of the absolute tolerance of a state."""
    return f"border atol {state}"


def tolerances(rtol: float, atol: Mapping[str, float]) -> dict[str, float]:
    """The values of the names that tolerances have, from the solver's tolerances. atol: by state."""
    return {RTOL: ERRORS * rtol, **{atol_of(state): ERRORS * value for state, value in atol.items()}}


def border_of(operator: str, exponent: float | str | None) -> str | None:
    """The operator that moves an operation's first operand to its border, if it has one.

    exponent: of a power, if it is a number.
    """
    if operator != "**":
        return _BORDERS.get(operator)
    if not isinstance(exponent, float):
        return IF_BROKEN
    return None if exponent.is_integer() else NOT_NEGATIVE
