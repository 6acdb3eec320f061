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
