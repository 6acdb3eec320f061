"""What the operators of expressions, and those of their derivatives, mean in torch."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from odelib.engines.steep_functions import (
    arc_cosine,
    arc_hyperbolic_cosine,
    arc_hyperbolic_tangent,
    arc_sine,
    logarithm,
    logarithm2,
    logarithm10,
    power_by_base,
    power_by_exponent,
    root,
)
from odelib.engines.symbolic import borders

FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": operator.pow,
    "neg": operator.neg,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "and": torch.logical_and,
    "or": torch.logical_or,
    "not": torch.logical_not,
    "where": torch.where,
    "abs": torch.abs,
    "min": torch.minimum,
    "max": torch.maximum,
    "exp": torch.exp,
    "log": logarithm,
    "log2": logarithm2,
    "log10": logarithm10,
    "sqrt": root,
    "sin": torch.sin,
    "cos": torch.cos,
    "tan": torch.tan,
    "asin": arc_sine,
    "acos": arc_cosine,
    "atan": torch.atan,
    "sinh": torch.sinh,
    "cosh": torch.cosh,
    "tanh": torch.tanh,
    "asinh": torch.asinh,
    "acosh": arc_hyperbolic_cosine,
    "atanh": arc_hyperbolic_tangent,
    "erf": torch.erf,
    "floor": torch.floor,
    "sign": torch.sign,
    # of the derivatives in `symbolic/graph.py`
    "guarded_product": lambda factor, derivative: torch.where(derivative == 0, 0.0, factor * derivative),
    "power_by_base": power_by_base,
    "power_by_exponent": power_by_exponent,
    "minimum_weight": lambda a, b: (a < b) + 0.5 * (a == b),
    "maximum_weight": lambda a, b: (a > b) + 0.5 * (a == b),
    "not_negative": lambda a, error: _within(borders.NOT_NEGATIVE, a, error),
    "not_negative_if_broken": lambda a, error, b: torch.where(b == b.floor(), a, _within(borders.IF_BROKEN, a, error)),
    "up_to_one": lambda a, error: _within(borders.UP_TO_ONE, a, error),
    "from_one": lambda a, error: _within(borders.FROM_ONE, a, error),
}

# by how much an argument is beyond its border, and where that is
BEYOND: Mapping[str, Callable[[Tensor], Tensor]] = {
    borders.NOT_NEGATIVE: torch.neg,
    borders.IF_BROKEN: torch.neg,
    borders.UP_TO_ONE: lambda a: a.abs() - 1.0,
    borders.FROM_ONE: lambda a: 1.0 - a,
}
BORDER: Mapping[str, Callable[[Tensor], Tensor]] = {
    borders.NOT_NEGATIVE: torch.zeros_like,
    borders.IF_BROKEN: torch.zeros_like,
    borders.UP_TO_ONE: torch.sign,
    borders.FROM_ONE: torch.ones_like,
}


def _within(kind: str, argument: Tensor, error: Tensor) -> Tensor:
    """The argument; the border where it is beyond it by no more than the error, else NaN."""
    beyond = BEYOND[kind](argument)
    return torch.where(beyond <= 0, argument, torch.where(beyond <= error, BORDER[kind](argument), torch.nan))
