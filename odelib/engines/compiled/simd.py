"""SIMD for Numba: values of four float64, and the loads, stores and arithmetic of the loops over states.

LLVM vectorises a loop of unknown length only behind run-time checks, which cost more than a loop over some ten numbers.
So arrays are padded to a multiple of `WIDTH`, and a value of this type is one LLVM vector. Memory is passed by address
(`address`, or the pointer that a C function receives) and indexed in float64; nothing checks bounds, and an address
does not keep its array alive: the caller must.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

WIDTH = 4
DOUBLE, INT32 = ir.DoubleType(), ir.IntType(32)
LLVM_VECTOR = ir.VectorType(DOUBLE, WIDTH)
FUSED = ("contract",)  # a product and a sum may become one fused multiply-add


def padded(count: int) -> int:
    """`count`, rounded up to a multiple of `WIDTH`."""
    return -(-count // WIDTH) * WIDTH


class Vector4Type(types.Type):
    """Numba's type of a vector of four float64."""

    def __init__(self) -> None:
        super().__init__(name="vector4")


@register_model(Vector4Type)
class _Vector4Model(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, LLVM_VECTOR)  # type: ignore[no-untyped-call]


VECTOR4, REAL, INDEX = Vector4Type(), types.float64, types.int64
_FLOAT64_POINTER, _INT64_POINTER = (types.CPointer(kind) for kind in (REAL, INDEX))  # type: ignore[no-untyped-call]
ANY_MEMORY = None  # an argument that may be an address (int64), a pointer or an array


def operation(result: Any, *arguments: Any) -> Callable[[Callable[..., Any]], Any]:
    """Turn a function that writes LLVM code into one that Numba can call, with these types of result and arguments."""

    def decorate(write: Callable[..., Any]) -> Any:
        def typed(_context: Any, *given: Any) -> Any:
            signature_types = result(*(g if a is ANY_MEMORY else a for a, g in zip(arguments, given, strict=True)))

            def codegen(context: Any, builder: Any, sig: Any, values: Any) -> Any:
                ready = [_data(context, builder, *pair) for pair in zip(sig.args, values, strict=True)]
                written = write(builder, *ready)
                return context.get_dummy_value() if result is types.none else written

            return signature_types, codegen

        typed.__name__, typed.__doc__ = write.__name__, write.__doc__
        typed.__signature__ = signature(write)  # type: ignore[attr-defined]  # Numba asks how many arguments there are
        return intrinsic(typed)

    return decorate


def _data(context: Any, builder: Any, numba_type: Any, value: Any) -> Any:
    if isinstance(numba_type, types.Array):
        return context.make_array(numba_type)(context, builder, value).data
    return value


def at(builder: Any, memory: Any, index: Any, kind: Any = LLVM_VECTOR) -> Any:
    """LLVM's pointer to the value of this type that begins at the number with this index."""
    if isinstance(memory.type, ir.IntType):
        memory = builder.inttoptr(memory, DOUBLE.as_pointer())
    return builder.bitcast(builder.gep(memory, [index]), kind.as_pointer())


def broadcast(builder: Any, number: Any) -> Any:
    """An LLVM vector with this value in every lane."""
    empty = ir.Constant(LLVM_VECTOR, ir.Undefined)
    first_lane = ir.Constant(ir.VectorType(INT32, WIDTH), [0] * WIDTH)
    return builder.shuffle_vector(builder.insert_element(empty, number, INT32(0)), empty, first_lane)


@operation(types.int64, ANY_MEMORY)
def address(builder: Any, memory: Any) -> Any:
    """The address of an array of float64 or int64."""
    return builder.ptrtoint(memory, ir.IntType(64))


@operation(_FLOAT64_POINTER, INDEX)
def float64_pointer(builder: Any, address: Any) -> Any:
    """An address as a pointer to float64, for `numba.carray`."""
    return builder.inttoptr(address, DOUBLE.as_pointer())


@operation(_INT64_POINTER, INDEX)
def int64_pointer(builder: Any, address: Any) -> Any:
    """An address as a pointer to int64, for `numba.carray`."""
    return builder.inttoptr(address, ir.IntType(64).as_pointer())


@operation(REAL, ANY_MEMORY, INDEX)
def load_scalar(builder: Any, memory: Any, index: Any) -> Any:
    """The number at this index."""
    return builder.load(at(builder, memory, index, DOUBLE))


@operation(types.none, ANY_MEMORY, INDEX, REAL)
def store_scalar(builder: Any, memory: Any, index: Any, value: Any) -> Any:
    """Write a number at this index."""
    builder.store(value, at(builder, memory, index, DOUBLE))


@operation(VECTOR4, ANY_MEMORY, INDEX)
def load(builder: Any, memory: Any, index: Any) -> Any:
    """The four numbers from this index on."""
    return builder.load(at(builder, memory, index), align=8)


@operation(types.none, ANY_MEMORY, INDEX, VECTOR4)
def store(builder: Any, memory: Any, index: Any, value: Any) -> Any:
    """Write four numbers from this index on."""
    builder.store(value, at(builder, memory, index), align=8)


@operation(VECTOR4, REAL)
def splat(builder: Any, number: Any) -> Any:
    """The same number in every lane."""
    return broadcast(builder, number)


@operation(VECTOR4, VECTOR4, REAL, VECTOR4)
def multiply_add(builder: Any, total: Any, factor: Any, value: Any) -> Any:
    """total + factor·value."""
    return builder.fadd(total, builder.fmul(broadcast(builder, factor), value, flags=FUSED), flags=FUSED)


@operation(VECTOR4, VECTOR4, VECTOR4)
def add_square(builder: Any, total: Any, value: Any) -> Any:
    """total + value²."""
    return builder.fadd(total, builder.fmul(value, value, flags=FUSED), flags=FUSED)


@operation(VECTOR4, VECTOR4, REAL, INDEX)
def add_to_lane(builder: Any, total: Any, number: Any, lane: Any) -> Any:
    """`total` with `number` added in one lane; unchanged if there is no such lane."""
    kind = ir.VectorType(ir.IntType(64), WIDTH)
    empty, first_lane = ir.Constant(kind, ir.Undefined), ir.Constant(ir.VectorType(INT32, WIDTH), [0] * WIDTH)
    asked = builder.shuffle_vector(builder.insert_element(empty, lane, INT32(0)), empty, first_lane)
    here = builder.icmp_signed("==", asked, ir.Constant(kind, list(range(WIDTH))))
    return builder.fadd(
        total, builder.select(here, broadcast(builder, number), ir.Constant(LLVM_VECTOR, [0.0] * WIDTH))
    )


@operation(VECTOR4, VECTOR4, VECTOR4)
def multiply(builder: Any, a: Any, b: Any) -> Any:
    """a·b, lane by lane."""
    return builder.fmul(a, b)


@operation(VECTOR4, VECTOR4, VECTOR4)
def divide(builder: Any, a: Any, b: Any) -> Any:
    """a/b, lane by lane."""
    return builder.fdiv(a, b)


@operation(VECTOR4, VECTOR4, VECTOR4)
def maximum(builder: Any, a: Any, b: Any) -> Any:
    """The larger of two, lane by lane; b where either is NaN."""
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


@operation(VECTOR4, VECTOR4)
def absolute(builder: Any, value: Any) -> Any:
    """The absolute value, lane by lane."""
    kind = ir.FunctionType(LLVM_VECTOR, [LLVM_VECTOR])
    fabs = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        builder.module, kind, f"llvm.fabs.v{WIDTH}f64"
    )
    return builder.call(fabs, [value])


@operation(REAL, VECTOR4)
def sum_of_lanes(builder: Any, value: Any) -> Any:
    """The sum over the lanes."""
    first, second, third, fourth = (builder.extract_element(value, INT32(i)) for i in range(WIDTH))
    return builder.fadd(builder.fadd(first, second), builder.fadd(third, fourth))


@operation(REAL, VECTOR4)
def max_of_lanes(builder: Any, value: Any) -> Any:
    """The largest lane, if none is NaN."""
    found, *rest = (builder.extract_element(value, INT32(i)) for i in range(WIDTH))
    for other in rest:
        found = builder.select(builder.fcmp_ordered(">", found, other), found, other)
    return found


@operation(VECTOR4, VECTOR4, VECTOR4, VECTOR4)
def choose(builder: Any, a: Any, value: Any, other: Any) -> Any:
    """`value` in the lanes where a is 0, elsewhere `other`."""
    here = builder.fcmp_ordered("==", a, ir.Constant(LLVM_VECTOR, [0.0] * WIDTH))
    return builder.select(here, value, other)


@operation(VECTOR4, VECTOR4, VECTOR4, VECTOR4, VECTOR4)
def where_zero(builder: Any, a: Any, b: Any, c: Any, value: Any) -> Any:
    """`value` in the lanes where a, b and c are all 0; elsewhere 0."""
    zero = ir.Constant(LLVM_VECTOR, [0.0] * WIDTH)
    here = builder.fcmp_ordered("==", a, zero)
    for other in (b, c):
        here = builder.and_(here, builder.fcmp_ordered("==", other, zero))
    return builder.select(here, value, zero)
