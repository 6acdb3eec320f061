"""What generated kernels call: functions whose slopes at the edges are torch's, and a call by address."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic


@njit(error_model="numpy")
def least(a: float, b: float) -> float:
    """The lesser of two; NaN if either is."""
    return a if a < b or math.isnan(a) else b


@njit(error_model="numpy")
def greatest(a: float, b: float) -> float:
    """The greater of two; NaN if either is."""
    return a if a > b or math.isnan(a) else b


@njit(error_model="numpy")
def floor(a: float) -> float:
    """The next lower whole number, as a real number: Python's own is an integer, which overflows."""
    whole: float = np.floor(a)
    return whole


@njit(error_model="numpy")
def sign(a: float) -> float:
    """-1, 0 or 1."""
    return 1.0 if a > 0.0 else (-1.0 if a < 0.0 else 0.0 * a)


@njit(error_model="numpy")
def less_weight(a: float, b: float) -> float:
    """The slope of min(a, b) by a: a half at a tie."""
    return 1.0 if a < b else (0.5 if a == b else 0.0)


@njit(error_model="numpy")
def guarded(factor: float, slope: float) -> float:
    """factor·slope; 0 where the slope is, even if the factor is infinite or none."""
    return 0.0 if slope == 0.0 else factor * slope


@njit(error_model="numpy")
def power_slope(base: float, exponent: float) -> float:
    """The slope of base**exponent by base; 0 for the exponent 0, also at the base 0."""
    return 0.0 if exponent == 0.0 else exponent * base ** (exponent - 1.0)


@njit(error_model="numpy")
def exponent_slope(base: float, exponent: float, power: float) -> float:
    """The slope of base**exponent by the exponent; 0 at the base 0 for exponents from 0 on."""
    return 0.0 if base == 0.0 and exponent >= 0.0 else power * math.log(base)


def _call_kernel(
    _context: Any, kernel: Any, t: Any, z: Any, q: Any, width: Any, column: Any, work: Any, out: Any
) -> Any:
    """Call a generated kernel, without Python in between.

    The kernel and what it reads and writes are told by their addresses, `t` and `width` by value.
    """
    signature = types.void(kernel, t, z, q, width, column, work, out)

    def codegen(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        double, integer = ir.DoubleType(), ir.IntType(64)
        reals, places = double.as_pointer(), integer.as_pointer()
        kinds = [double, reals, reals, integer, places, reals, reals]
        pointer = builder.inttoptr(arguments[0], ir.FunctionType(ir.VoidType(), kinds).as_pointer())
        given = [
            builder.inttoptr(argument, kind) if kind in (reals, places) else argument
            for argument, kind in zip(arguments[1:], kinds, strict=True)
        ]
        builder.call(pointer, given)
        return context.get_dummy_value()

    return signature, codegen


call_kernel: Any = intrinsic(_call_kernel)
