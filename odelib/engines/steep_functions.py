"""Torch functions whose slope is infinite somewhere: there, an infinite slope times a change of 0 is 0.

sqrt(x) at x = 0 has the slope infinity. If x is 0 for all values of the unknowns, so is sqrt(x), and its derivatives
are 0; torch computes 0·inf = NaN. The same holds backwards, where nothing depends on the root: at a time without a
measurement, or in a branch that `where` does not take.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def power_by_base(base: Tensor, exponent: Tensor) -> Tensor:
    """The derivative of base**exponent by the base; 0 for the exponent 0, even at the base 0."""
    return torch.where(exponent == 0, 0.0, exponent * torch.pow(base, exponent - 1))


def power_by_exponent(base: Tensor, exponent: Tensor, power: Tensor) -> Tensor:
    """The derivative of base**exponent by the exponent; 0 at the base 0 for exponents ≥ 0."""
    return torch.where((base == 0) & (exponent >= 0), 0.0, power * torch.log(base))


def _product(slope: Tensor, change: Tensor) -> Tensor:
    return torch.where(change == 0, 0.0, slope * change)


def _steep(value: Callable[[Tensor], Tensor], slope: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The function of one argument with this value and this slope, which takes argument and value."""

    class Steep(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, argument: Tensor) -> Tensor:
            found = value(argument)
            ctx.save_for_backward(argument, found)
            ctx.save_for_forward(argument, found)
            return found

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            return _product(slope(*ctx.saved_tensors), gradient)

        @staticmethod
        def jvp(ctx: Any, tangent: Tensor) -> Tensor:
            return _product(slope(*ctx.saved_tensors), tangent)

    return Steep.apply


class _Power(torch.autograd.Function):
    """base**exponent, either a tensor or a number; the derivative of 0**n by n is 0, and of x**0 by x as well."""

    @staticmethod
    def forward(ctx: Any, base: Tensor, exponent: Tensor) -> Tensor:
        power = torch.pow(base, exponent)
        ctx.save_for_backward(base, exponent, power)
        ctx.save_for_forward(base, exponent, power)
        return power

    @staticmethod
    def _slopes(ctx: Any) -> tuple[Tensor, Tensor]:
        base, exponent, power = ctx.saved_tensors
        return power_by_base(base, exponent), power_by_exponent(base, exponent, power)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        by_base, by_exponent = _Power._slopes(ctx)
        base, exponent, _ = ctx.saved_tensors
        return (
            _product(by_base, gradient).sum_to_size(base.shape),
            _product(by_exponent, gradient).sum_to_size(exponent.shape),
        )

    @staticmethod
    def jvp(ctx: Any, base: Tensor | None, exponent: Tensor | None) -> Tensor:
        by_base, by_exponent = _Power._slopes(ctx)
        parts = [_product(by, of) for by, of in ((by_base, base), (by_exponent, exponent)) if of is not None]
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]


root = _steep(torch.sqrt, lambda _, value: 0.5 / value)
logarithm = _steep(torch.log, lambda a, _: 1.0 / a)
logarithm2 = _steep(torch.log2, lambda a, _: (1.0 / math.log(2)) / a)
logarithm10 = _steep(torch.log10, lambda a, _: (1.0 / math.log(10)) / a)
arc_sine = _steep(torch.asin, lambda a, _: 1.0 / torch.sqrt(1.0 - a * a))
arc_cosine = _steep(torch.acos, lambda a, _: -1.0 / torch.sqrt(1.0 - a * a))
arc_hyperbolic_cosine = _steep(torch.acosh, lambda a, _: 1.0 / torch.sqrt(a * a - 1.0))
arc_hyperbolic_tangent = _steep(torch.atanh, lambda a, _: 1.0 / (1.0 - a * a))
power = _Power.apply
