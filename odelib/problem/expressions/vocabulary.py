"""The words of the expression language."""

from __future__ import annotations

import math
from collections.abc import Mapping

_UNARY = (
    "abs", "exp", "log", "log10", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh",
    "erf", "floor", "sign",
)  # fmt: skip
FUNCTIONS: Mapping[str, tuple[int, int]] = {  # name → minimum and maximum number of arguments
    **dict.fromkeys(_UNARY, (1, 1)),
    "min": (2, 50),
    "max": (2, 50),
    "where": (3, 3),
}
CONSTANTS: Mapping[str, float] = {"pi": math.pi}
TIME = "t"
