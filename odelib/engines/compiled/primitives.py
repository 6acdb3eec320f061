"""Functions that generated kernels call, with torch's conventions at kinks, and the call of a kernel by its address."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic


@njit(error_model="numpy")
def minimum(a: float, b: float) -> float:
    """The smaller of two; NaN if either is NaN."""
    return a if a < b or math.isnan(a) else b


@njit(error_model="numpy")
def maximum(a: float, b: float) -> float:
    """The larger of two; NaN if either is NaN."""
    return a if a > b or math.isnan(a) else b


@njit(error_model="numpy")
def floor(a: float) -> float:
    """The floor as a float64: `math.floor` returns an integer, which overflows."""
    whole: float = np.floor(a)
    return whole


@njit(error_model="numpy")
def sign(a: float) -> float:
    """-1, 0 or 1."""
    return 1.0 if a > 0.0 else (-1.0 if a < 0.0 else 0.0 * a)


@njit(error_model="numpy")
def minimum_weight(a: float, b: float) -> float:
    """The derivative of min(a, b) by a: ½ at a tie, as in torch."""
    return 1.0 if a < b else (0.5 if a == b else 0.0)


@njit(error_model="numpy")
def guarded_product(factor: float, derivative: float) -> float:
    """factor·derivative; 0 where the derivative is 0, even if the factor is infinite or NaN."""
    return 0.0 if derivative == 0.0 else factor * derivative


@njit(error_model="numpy")
def power_by_base(base: float, exponent: float) -> float:
    """The derivative of base**exponent by base; 0 for the exponent 0, even at the base 0."""
    return 0.0 if exponent == 0.0 else exponent * base ** (exponent - 1.0)


@njit(error_model="numpy")
def power_by_exponent(base: float, exponent: float, power: float) -> float:
    """The derivative of base**exponent by the exponent; 0 at the base 0 for exponents ≥ 0."""
    return 0.0 if base == 0.0 and exponent >= 0.0 else power * math.log(base)


@njit(error_model="numpy")
def not_negative(argument: float, tolerance: float) -> float:
    """An argument that must not be negative: 0 if it is so by no more than the tolerance, else NaN."""
    return argument if argument >= 0.0 else (0.0 if argument >= -tolerance else math.nan)


@njit(error_model="numpy")
def not_negative_if_broken(argument: float, tolerance: float, exponent: float) -> float:
    """The base of a power, which must not be negative unless the exponent is a whole number."""
    if argument >= 0.0 or exponent == np.floor(exponent):
        return argument
    return 0.0 if argument >= -tolerance else math.nan


@njit(error_model="numpy")
def up_to_one(argument: float, tolerance: float) -> float:
    """An argument between -1 and 1, moved there if it is beyond by no more than the tolerance, else NaN."""
    if abs(argument) <= 1.0:
        return argument
    return math.copysign(1.0, argument) if abs(argument) <= 1.0 + tolerance else math.nan


@njit(error_model="numpy")
def from_one(argument: float, tolerance: float) -> float:
    """An argument of at least 1, moved to 1 if it is below by no more than the tolerance, else NaN."""
    return argument if argument >= 1.0 else (1.0 if argument >= 1.0 - tolerance else math.nan)


@njit(error_model="numpy")
def slope(entry: float, z: Any, row: int, width: int) -> float:
    """An entry ∂f/∂y of the Jacobian, to be multiplied with the sensitivities of y, `width` numbers of z from `row` on.

    If it is infinite, as that of sqrt(y) at 0, and no unknown changes y, it contributes nothing: y is the same for all
    values of the unknowns, and so is what depends on y.
    """
    if abs(entry) < math.inf:
        return entry
    for j in range(width):
        if z[row + j] != 0.0:
            return entry
    return 0.0


def _call_kernel(
    _context: Any, kernel: Any, t: Any, z: Any, q: Any, width: Any, column_of: Any, work: Any, out: Any
) -> Any:
    """Call a generated kernel from compiled code.

    A C call through a pointer, so that one compiled loop serves all systems. The kernel and its arrays are passed by
    address, `t` and `width` by value.
    """
    signature = types.void(kernel, t, z, q, width, column_of, work, out)

    def codegen(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        double, integer = ir.DoubleType(), ir.IntType(64)
        reals, integers = double.as_pointer(), integer.as_pointer()
        kinds = [double, reals, reals, integer, integers, reals, reals]
        pointer = builder.inttoptr(arguments[0], ir.FunctionType(ir.VoidType(), kinds).as_pointer())
        given = [
            builder.inttoptr(argument, kind) if kind in (reals, integers) else argument
            for argument, kind in zip(arguments[1:], kinds, strict=True)
        ]
        builder.call(pointer, given)
        return context.get_dummy_value()

    return signature, codegen


call_kernel: Any = intrinsic(_call_kernel)
