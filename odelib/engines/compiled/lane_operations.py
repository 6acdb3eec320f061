"""Eight trajectories side by side: a value of the type `lanes` is one number of each, and one LLVM vector.

Memory holds rows of such values: number k of lane l is at 8·k + l. See `simd` for how memory is passed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import models, register_model

from odelib.engines.compiled.simd import ANY_MEMORY, DOUBLE, FUSED, INDEX, INT32, REAL, at, operation
from odelib.engines.tableaus.registry import METHODS

LANES = 8
_VECTOR, _BITS, _INTEGER = ir.VectorType(DOUBLE, LANES), ir.VectorType(ir.IntType(64), LANES), ir.IntType(64)
ERROR, SUMS = 30, 32  # as in `stage_sums`


class LanesType(types.Type):
    """Numba's type of a number of each lane."""

    def __init__(self) -> None:
        super().__init__(name="lanes")


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, _VECTOR)  # type: ignore[no-untyped-call]


LANES_TYPE = LanesType()


def _splat(builder: Any, number: Any) -> Any:
    empty = ir.Constant(_VECTOR, ir.Undefined)
    first_lane = ir.Constant(ir.VectorType(INT32, LANES), [0] * LANES)
    return builder.shuffle_vector(builder.insert_element(empty, number, INT32(0)), empty, first_lane)


def _constant(value: float) -> Any:
    return ir.Constant(_VECTOR, [value] * LANES)


@operation(LANES_TYPE, ANY_MEMORY, INDEX)
def load_lanes(builder: Any, memory: Any, index: Any) -> Any:
    """Number `index` of each lane."""
    return builder.load(at(builder, memory, builder.mul(index, _INTEGER(LANES)), _VECTOR), align=8)


@operation(types.none, ANY_MEMORY, INDEX, LANES_TYPE)
def store_lanes(builder: Any, memory: Any, index: Any, value: Any) -> Any:
    """Write number `index` of each lane."""
    builder.store(value, at(builder, memory, builder.mul(index, _INTEGER(LANES)), _VECTOR), align=8)


@operation(LANES_TYPE, REAL)
def same(builder: Any, number: Any) -> Any:
    """The same number in every lane."""
    return _splat(builder, number)


@operation(LANES_TYPE, LANES_TYPE, LANES_TYPE)
def add(builder: Any, a: Any, b: Any) -> Any:
    """a + b."""
    return builder.fadd(a, b, flags=FUSED)


@operation(LANES_TYPE, LANES_TYPE, LANES_TYPE)
def subtract(builder: Any, a: Any, b: Any) -> Any:
    """a − b."""
    return builder.fsub(a, b, flags=FUSED)


@operation(LANES_TYPE, LANES_TYPE, LANES_TYPE)
def multiply(builder: Any, a: Any, b: Any) -> Any:
    """a·b."""
    return builder.fmul(a, b, flags=FUSED)


@operation(LANES_TYPE, LANES_TYPE, LANES_TYPE)
def divide(builder: Any, a: Any, b: Any) -> Any:
    """a/b."""
    return builder.fdiv(a, b)


@operation(LANES_TYPE, LANES_TYPE)
def negate(builder: Any, a: Any) -> Any:
    """−a."""
    return builder.fsub(_constant(-0.0), a)


@operation(LANES_TYPE, LANES_TYPE, LANES_TYPE, LANES_TYPE)
def multiply_add_lanes(builder: Any, total: Any, a: Any, b: Any) -> Any:
    """total + a·b."""
    return builder.fadd(total, builder.fmul(a, b, flags=FUSED), flags=FUSED)


@operation(LANES_TYPE, LANES_TYPE, LANES_TYPE)
def larger(builder: Any, a: Any, b: Any) -> Any:
    """The larger of two; b where either is NaN."""
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


@operation(LANES_TYPE, LANES_TYPE, LANES_TYPE)
def smaller(builder: Any, a: Any, b: Any) -> Any:
    """The smaller of two; b where either is NaN."""
    return builder.select(builder.fcmp_ordered("<", a, b), a, b)


@operation(LANES_TYPE, LANES_TYPE, LANES_TYPE, LANES_TYPE)
def choose(builder: Any, chosen: Any, a: Any, b: Any) -> Any:
    """`a` in the lanes where `chosen` is above 0, else b."""
    return builder.select(builder.fcmp_ordered(">", chosen, _constant(0.0)), a, b)


@operation(types.boolean, LANES_TYPE)
def in_any(builder: Any, chosen: Any) -> Any:
    """Whether a number is above 0 in any lane."""
    bits = builder.bitcast(builder.fcmp_ordered(">", chosen, _constant(0.0)), ir.IntType(LANES))
    return builder.icmp_unsigned("!=", bits, ir.IntType(LANES)(0))


@operation(LANES_TYPE, LANES_TYPE)
def has_value(builder: Any, a: Any) -> Any:
    """1 in the lanes where a number is finite, else 0."""
    return builder.select(
        builder.fcmp_ordered("==", builder.fsub(a, a), _constant(0.0)), _constant(1.0), _constant(0.0)
    )


@operation(LANES_TYPE, LANES_TYPE, LANES_TYPE)
def at_least(builder: Any, a: Any, b: Any) -> Any:
    """1 in the lanes where a >= b, else 0."""
    return builder.select(builder.fcmp_ordered(">=", a, b), _constant(1.0), _constant(0.0))


def _intrinsic(builder: Any, name: str, value: Any) -> Any:
    kind = ir.FunctionType(_VECTOR, [_VECTOR])
    function = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        builder.module, kind, f"llvm.{name}.v{LANES}f64"
    )
    return builder.call(function, [value])


@operation(LANES_TYPE, LANES_TYPE)
def size(builder: Any, a: Any) -> Any:
    """|a|."""
    return _intrinsic(builder, "fabs", a)


@operation(LANES_TYPE, LANES_TYPE)
def square_root(builder: Any, a: Any) -> Any:
    """√a."""
    return _intrinsic(builder, "sqrt", a)


def _of_each(name: str) -> Any:
    """A function of C's library, called for each lane."""

    def write(builder: Any, *operands: Any) -> Any:
        kind = ir.FunctionType(DOUBLE, [DOUBLE] * len(operands))
        function = cgutils.get_or_insert_function(builder.module, kind, name)  # type: ignore[no-untyped-call]
        result = ir.Constant(_VECTOR, ir.Undefined)
        for lane in range(LANES):
            found = builder.call(function, [builder.extract_element(each, INT32(lane)) for each in operands])
            result = builder.insert_element(result, found, INT32(lane))
        return result

    return write


def _one_operand(name: str) -> Any:
    each = _of_each(name)

    def write(builder: Any, a: Any) -> Any:
        return each(builder, a)

    write.__name__, write.__doc__ = f"{name}_of_each", f"{name} of each lane."
    return operation(LANES_TYPE, LANES_TYPE)(write)


exp_of_each, log_of_each, log10_of_each, log2_of_each = (_one_operand(name) for name in ("exp", "log", "log10", "log2"))
sin_of_each, cos_of_each, tan_of_each, tanh_of_each = (_one_operand(name) for name in ("sin", "cos", "tan", "tanh"))
sinh_of_each, cosh_of_each, atan_of_each = (_one_operand(name) for name in ("sinh", "cosh", "atan"))


@operation(LANES_TYPE, LANES_TYPE, LANES_TYPE)
def power_of_each(builder: Any, base: Any, exponent: Any) -> Any:
    """base**exponent."""
    return _of_each("pow")(builder, base, exponent)


@operation(LANES_TYPE, LANES_TYPE)
def quick_log(builder: Any, a: Any) -> Any:
    """log(a) of positive normal numbers, to 1e-10: log(m·2^e) = e·log 2 + 2·artanh((m − 1)/(m + 1))."""
    bits = builder.bitcast(a, _BITS)
    # m between √½ and √2: subtract the bits of √½ before the exponent is taken
    offset = builder.sub(bits, ir.Constant(_BITS, [0x3FE6A09E667F3BCD] * LANES))
    exponent = builder.ashr(offset, ir.Constant(_BITS, [52] * LANES))
    mantissa = builder.bitcast(builder.sub(bits, builder.shl(exponent, ir.Constant(_BITS, [52] * LANES))), _VECTOR)
    u = builder.fdiv(builder.fsub(mantissa, _constant(1.0)), builder.fadd(mantissa, _constant(1.0)))
    square = builder.fmul(u, u)
    total = _polynomial(builder, square, [2 / (2 * k + 1) for k in range(6)])
    whole = builder.fmul(builder.sitofp(exponent, _VECTOR), _constant(float(np.log(2.0))))
    return builder.fadd(builder.fmul(u, total), whole)


@operation(LANES_TYPE, LANES_TYPE)
def quick_exp(builder: Any, a: Any) -> Any:
    """exp(a) for |a| < 700, to 1e-11: 2^k·exp(r) with |r| <= ½·log 2."""
    scaled = builder.fmul(a, _constant(float(1 / np.log(2.0))))
    shift = _constant(6755399441055744.0)  # 1.5·2^52: adding it rounds to a whole number, in the last bits
    shifted = builder.fadd(scaled, shift)
    whole = builder.fsub(shifted, shift)
    rest = builder.fsub(a, builder.fmul(whole, _constant(float(np.log(2.0)))))
    factorials = np.cumprod([1.0, *range(1, 11)])
    value = _polynomial(builder, rest, [float(1 / f) for f in factorials])
    exponent = builder.shl(builder.bitcast(shifted, _BITS), ir.Constant(_BITS, [52] * LANES))
    return builder.bitcast(builder.add(builder.bitcast(value, _BITS), exponent), _VECTOR)


def _polynomial(builder: Any, x: Any, coefficients: list[float]) -> Any:
    value = _constant(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = builder.fadd(builder.fmul(value, x, flags=FUSED), _constant(coefficient), flags=FUSED)
    return value


@operation(types.none, INDEX, INDEX, INDEX, INDEX, ANY_MEMORY, INDEX)
def combine_lanes(builder: Any, which: Any, base: Any, stages: Any, count: Any, steps: Any, out: Any) -> None:
    """As `stage_sums.combine`, with a step of its own in each lane. count: of numbers in a row. steps: (8,)."""
    step = builder.load(at(builder, steps, _INTEGER(0), _VECTOR), align=8)
    end = builder.append_basic_block("end")
    switch = builder.switch(which, end)
    for number, (weights, base_of) in _cases(base).items():
        block = builder.append_basic_block(f"case{number}")
        switch.add_case(_INTEGER(number), block)
        builder.position_at_end(block)
        _sum(builder, weights, base_of, stages, count, step, out)
        builder.branch(end)
    builder.position_at_end(end)


def _cases(base: Any) -> dict[int, tuple[Mapping[int, float], Any]]:
    cases: dict[int, tuple[Mapping[int, float], Any]] = {}
    for method, tableau in enumerate(METHODS[:-1]):
        rows = {i: (row[:i], base) for i, row in enumerate(tableau.a)} | {ERROR: (tableau.error, None)}
        for index, (row, base_of) in rows.items():
            weights = {int(j): float(row[j]) for j in np.flatnonzero(row)}
            cases[method * SUMS + index] = (weights, base_of)
    return cases


def _sum(builder: Any, weights: Mapping[int, float], base: Any, stages: Any, count: Any, step: Any, out: Any) -> None:
    length = builder.mul(count, _INTEGER(LANES))
    starts = [builder.mul(length, _INTEGER(stage)) for stage in weights]
    slices: Callable[..., Any] = cgutils.for_range_slice
    with slices(builder, _INTEGER(0), length, _INTEGER(LANES), _INTEGER) as (k, _):
        total = _constant(0.0)
        for start, weight in zip(starts, weights.values(), strict=True):
            value = builder.load(at(builder, stages, builder.add(start, k), _VECTOR), align=8)
            total = builder.fadd(total, builder.fmul(_constant(weight), value, flags=FUSED), flags=FUSED)
        total = builder.fmul(step, total, flags=FUSED)
        if base is not None:
            total = builder.fadd(builder.load(at(builder, base, k, _VECTOR), align=8), total, flags=FUSED)
        builder.store(total, at(builder, out, k, _VECTOR), align=8)
