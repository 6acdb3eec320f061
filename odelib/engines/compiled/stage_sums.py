"""The sums h·Σ aᵢⱼ·kⱼ of all methods, with the tableaus' coefficients as constants in the machine code.

A loop over a tableau's row would load each coefficient and multiply by zeros. Here every sum is one pass over memory
that reads only the stages with a nonzero coefficient. A switch over the methods' indices in `METHODS` selects the sum,
so that one compiled loop serves all methods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from odelib.arrays import Reals
from odelib.engines.compiled.simd import DOUBLE, FUSED, INDEX, LLVM_VECTOR, REAL, WIDTH, at, broadcast, operation
from odelib.engines.tableaus.registry import METHODS

# Sum i of a method has the number method·SUMS + i: the argument of stage i for i < ERROR, then the error estimates.
ERROR, ERROR_LOW, SUMS = 30, 31, 32
_INTEGER = ir.IntType(64)


@operation(types.none, INDEX, INDEX, INDEX, INDEX, REAL, INDEX)
def combine(builder: Any, which: Any, base: Any, stages: Any, size: Any, h: Any, out: Any) -> None:
    """out = base + h·Σ aᵢⱼ·kⱼ for the argument of a stage; out = h·Σ eⱼ·kⱼ for an error estimate.

    which: the number of the sum. base, stages, out: addresses of rows of `size` numbers, one after the other for
    `stages`.
    """

    def sum_of(row: Reals, base: Any) -> Callable[[], None]:
        weights = {int(i): DOUBLE(float(row[i])) for i in np.flatnonzero(row)}
        return lambda: _sum(builder, weights, base, stages, size, size, h, out)

    cases: dict[int, Callable[[], None]] = {}
    for method, tableau in enumerate(METHODS):
        first = method * SUMS
        cases |= {first + i: sum_of(row[:i], base) for i, row in enumerate(tableau.a)}
        cases |= {first + ERROR: sum_of(tableau.error, None), first + ERROR_LOW: sum_of(tableau.error_low, None)}
    _switch(builder, which, cases)


@operation(types.none, INDEX, REAL, INDEX, INDEX, INDEX, INDEX, REAL, INDEX)
def interpolate(
    builder: Any, method: Any, theta: Any, base: Any, stages: Any, size: Any, count: Any, h: Any, out: Any
) -> None:
    """Dense output: out = base + h·Σ bⱼ(θ)·kⱼ, the solution at t + θ·h; the first `count` numbers of each row."""

    def sum_of(interpolant: Reals) -> Callable[[], None]:
        def write() -> None:
            weights = {i: _polynomial(builder, row, theta) for i, row in enumerate(interpolant) if row.any()}
            _sum(builder, weights, base, stages, size, count, h, out)

        return write

    _switch(builder, method, {index: sum_of(tableau.interpolant) for index, tableau in enumerate(METHODS)})


def _polynomial(builder: Any, coefficients: Reals, theta: Any) -> Any:
    """Σ coefficients[d]·θ^(d+1), by Horner's scheme."""
    value = DOUBLE(float(coefficients[-1]))
    for coefficient in reversed(coefficients[:-1]):
        value = builder.fadd(builder.fmul(value, theta, flags=FUSED), DOUBLE(float(coefficient)), flags=FUSED)
    return builder.fmul(value, theta)


def _switch(builder: Any, which: Any, cases: Mapping[int, Callable[[], None]]) -> None:
    """Run the code that the case of this number writes."""
    end = builder.append_basic_block("end")
    switch = builder.switch(which, end)
    for number, write in cases.items():
        block = builder.append_basic_block(f"case{number}")
        switch.add_case(_INTEGER(number), block)
        builder.position_at_end(block)
        write()
        builder.branch(end)
    builder.position_at_end(end)


def _sum(
    builder: Any, weights: Mapping[int, Any], base: Any, stages: Any, size: Any, count: Any, h: Any, out: Any
) -> None:
    step = broadcast(builder, h)
    starts = [builder.mul(size, _INTEGER(stage)) for stage in weights]
    factors = [broadcast(builder, weight) for weight in weights.values()]
    with cgutils.for_range_slice(builder, _INTEGER(0), count, _INTEGER(WIDTH), _INTEGER) as (k, _):
        total = ir.Constant(LLVM_VECTOR, [0.0] * WIDTH)
        for start, factor in zip(starts, factors, strict=True):
            value = builder.load(at(builder, stages, builder.add(start, k)), align=8)
            total = builder.fadd(total, builder.fmul(factor, value, flags=FUSED), flags=FUSED)
        total = builder.fmul(step, total, flags=FUSED)
        if base is not None:
            total = builder.fadd(builder.load(at(builder, base, k), align=8), total, flags=FUSED)
        builder.store(total, at(builder, out, k), align=8)
