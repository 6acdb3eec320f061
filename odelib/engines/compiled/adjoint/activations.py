"""The hyperbolic tangent of four numbers at once: libm's would take longer than the layers of a network."""

from __future__ import annotations

import math
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from odelib.engines.compiled.simd import FUSED, LLVM_VECTOR, VECTOR4, WIDTH, operation

_INTEGERS = ir.VectorType(ir.IntType(64), WIDTH)
LARGEST = 20.0  # beyond it tanh is 1
ROUND = 1.5 * 2.0**52  # added to a small number, rounds it; the whole number is in the lowest bits
LOG2_HIGH = 0.693147180369123816490  # ln 2 with its last bits 0, so that its small multiples are exact
LOG2_LOW = 1.90821492927058770002e-10
EXPONENT_BIAS, MANTISSA = 1023, 52
TERMS = 13  # of the series of e^r − 1 for |r| ≤ ln(2)/2: the next is below the rounding error


def _constant(value: float) -> Any:
    return ir.Constant(LLVM_VECTOR, [value] * WIDTH)


def _whole(value: int) -> Any:
    return ir.Constant(_INTEGERS, [value] * WIDTH)


@operation(VECTOR4, VECTOR4)
def tanh(builder: Any, x: Any) -> Any:
    """tanh(x) lane by lane, to a few units in the last place.

    With e = exp(−2|x|) − 1 it is −e/(2 + e), exact where x is small. exp(y) = 2^k·exp(r) with r = y − k·ln 2, and
    exp(r) − 1 by its series (W. Cody and W. Waite, Software Manual for the Elementary Functions, 1980).
    """

    def add(a: Any, b: Any) -> Any:
        return builder.fadd(a, b, flags=FUSED)

    def times(a: Any, b: Any) -> Any:
        return builder.fmul(a, b, flags=FUSED)

    kind = ir.FunctionType(LLVM_VECTOR, [LLVM_VECTOR])
    fabs = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        builder.module, kind, f"llvm.fabs.v{WIDTH}f64"
    )
    size = builder.call(fabs, [x])
    size = builder.select(builder.fcmp_ordered(">", size, _constant(LARGEST)), _constant(LARGEST), size)  # keeps NaN
    y = times(size, _constant(-2.0))
    shifted = add(times(y, _constant(1 / math.log(2))), _constant(ROUND))
    k = builder.fsub(shifted, _constant(ROUND))
    r = add(add(y, times(k, _constant(-LOG2_HIGH))), times(k, _constant(-LOG2_LOW)))
    series = _constant(1 / math.factorial(TERMS))
    for term in range(TERMS - 1, 1, -1):
        series = add(times(series, r), _constant(1 / math.factorial(term)))
    small = add(times(times(r, r), series), r)  # exp(r) − 1
    bits = builder.add(builder.bitcast(shifted, _INTEGERS), _whole(EXPONENT_BIAS))
    power = builder.bitcast(builder.shl(bits, _whole(MANTISSA)), LLVM_VECTOR)  # 2^k
    e = add(times(power, small), builder.fsub(power, _constant(1.0)))
    result = builder.fdiv(builder.fneg(e), add(_constant(2.0), e))
    sign = builder.and_(builder.bitcast(x, _INTEGERS), _whole(-(2**63)))
    return builder.bitcast(builder.or_(builder.bitcast(result, _INTEGERS), sign), LLVM_VECTOR)
