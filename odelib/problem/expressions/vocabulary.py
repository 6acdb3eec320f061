"""The words of the expression language."""

from __future__ import annotations

import math
from collections.abc import Mapping

_UNARY = (
    "abs", "exp", "log", "log2", "log10", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh",
    "asinh", "acosh", "atanh", "erf", "floor", "sign",
)  # fmt: skip
FUNCTIONS: Mapping[str, tuple[int, int]] = {  # name → minimum and maximum number of arguments
    **dict.fromkeys(_UNARY, (1, 1)),
    "min": (2, 50),
    "max": (2, 50),
    "where": (3, 3),
}
LOGIC = ("and", "or", "not")  # between conditions
CONSTANTS: Mapping[str, float] = {"pi": math.pi}
TIME = "t"
