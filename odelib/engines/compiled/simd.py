"""Four numbers at once, for Numba: what the loops over states and sensitivities are made of.

LLVM vectorises a loop of unknown length only behind checks that cost more than some ten numbers do. So arrays are
padded to whole lanes, and a value of four lanes is one LLVM vector. Memory is told by its address (`address`, or what
a C function is given as a pointer) and the place of a float64 in it; nothing checks the bounds, and an address does
not keep an array alive: whoever calls a loop must.
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
DOUBLE, INDEX = ir.DoubleType(), ir.IntType(32)
VECTOR = ir.VectorType(DOUBLE, WIDTH)
FUSED = ("contract",)  # a product and a sum may become one instruction


def padded(count: int) -> int:
    """`count`, rounded up to whole lanes."""
    return -(-count // WIDTH) * WIDTH


class LanesType(types.Type):
    """Numba's type of four numbers."""

    def __init__(self) -> None:
        super().__init__(name="lanes")


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, VECTOR)  # type: ignore[no-untyped-call]


LANES, REAL, PLACE = LanesType(), types.float64, types.int64
_REALS, _PLACES = (types.CPointer(kind) for kind in (REAL, PLACE))  # type: ignore[no-untyped-call]
MEMORY = None  # an address (int64), a pointer or an array: whatever is given


def operation(result: Any, *arguments: Any) -> Callable[[Callable[..., Any]], Any]:
    """What writes LLVM code from a builder and values, as a function that Numba can call."""

    def decorate(write: Callable[..., Any]) -> Any:
        def typed(_context: Any, *given: Any) -> Any:
            kinds = result(*(g if a is MEMORY else a for a, g in zip(arguments, given, strict=True)))

            def codegen(context: Any, builder: Any, sig: Any, values: Any) -> Any:
                ready = [_data(context, builder, *pair) for pair in zip(sig.args, values, strict=True)]
                written = write(builder, *ready)
                return context.get_dummy_value() if result is types.none else written

            return kinds, codegen

        typed.__name__, typed.__doc__ = write.__name__, write.__doc__
        typed.__signature__ = signature(write)  # type: ignore[attr-defined]  # Numba asks how many arguments there are
        return intrinsic(typed)

    return decorate


def _data(context: Any, builder: Any, numba_type: Any, value: Any) -> Any:
    if isinstance(numba_type, types.Array):
        return context.make_array(numba_type)(context, builder, value).data
    return value


def at(builder: Any, memory: Any, place: Any, kind: Any = VECTOR) -> Any:
    """LLVM's pointer to the number at `place`, or to what begins there."""
    if isinstance(memory.type, ir.IntType):
        memory = builder.inttoptr(memory, DOUBLE.as_pointer())
    return builder.bitcast(builder.gep(memory, [place]), kind.as_pointer())


def broadcast(builder: Any, number: Any) -> Any:
    """A value of LLVM, four times."""
    empty = ir.Constant(VECTOR, ir.Undefined)
    places = ir.Constant(ir.VectorType(INDEX, WIDTH), [0] * WIDTH)
    return builder.shuffle_vector(builder.insert_element(empty, number, INDEX(0)), empty, places)


@operation(types.int64, MEMORY)
def address(builder: Any, memory: Any) -> Any:
    """Where an array of float64 or int64 begins."""
    return builder.ptrtoint(memory, ir.IntType(64))


@operation(_REALS, PLACE)
def reals(builder: Any, address: Any) -> Any:
    """An address as what `numba.carray` takes, of float64."""
    return builder.inttoptr(address, DOUBLE.as_pointer())


@operation(_PLACES, PLACE)
def integers(builder: Any, address: Any) -> Any:
    """An address as what `numba.carray` takes, of int64."""
    return builder.inttoptr(address, ir.IntType(64).as_pointer())


@operation(REAL, MEMORY, PLACE)
def number(builder: Any, memory: Any, place: Any) -> Any:
    """The number at `place`."""
    return builder.load(at(builder, memory, place, DOUBLE))


@operation(types.none, MEMORY, PLACE, REAL)
def put(builder: Any, memory: Any, place: Any, value: Any) -> Any:
    """Write a number to `place`."""
    builder.store(value, at(builder, memory, place, DOUBLE))


@operation(LANES, MEMORY, PLACE)
def load(builder: Any, memory: Any, place: Any) -> Any:
    """The four numbers from `place` on."""
    return builder.load(at(builder, memory, place), align=8)


@operation(types.none, MEMORY, PLACE, LANES)
def store(builder: Any, memory: Any, place: Any, value: Any) -> Any:
    """Write four numbers from `place` on."""
    builder.store(value, at(builder, memory, place), align=8)


@operation(LANES, REAL)
def splat(builder: Any, number: Any) -> Any:
    """The same number four times."""
    return broadcast(builder, number)


@operation(LANES, LANES, REAL, LANES)
def plus(builder: Any, total: Any, factor: Any, value: Any) -> Any:
    """total + factor·value."""
    return builder.fadd(total, builder.fmul(broadcast(builder, factor), value, flags=FUSED), flags=FUSED)


@operation(LANES, LANES, LANES)
def plus_square(builder: Any, total: Any, value: Any) -> Any:
    """total + value²."""
    return builder.fadd(total, builder.fmul(value, value, flags=FUSED), flags=FUSED)


@operation(LANES, LANES, REAL, PLACE)
def plus_at(builder: Any, total: Any, number: Any, lane: Any) -> Any:
    """`total` with `number` added in one lane; in none where there is no such lane."""
    kind = ir.VectorType(ir.IntType(64), WIDTH)
    empty, places = ir.Constant(kind, ir.Undefined), ir.Constant(ir.VectorType(INDEX, WIDTH), [0] * WIDTH)
    asked = builder.shuffle_vector(builder.insert_element(empty, lane, INDEX(0)), empty, places)
    here = builder.icmp_signed("==", asked, ir.Constant(kind, list(range(WIDTH))))
    return builder.fadd(total, builder.select(here, broadcast(builder, number), ir.Constant(VECTOR, [0.0] * WIDTH)))


@operation(LANES, LANES, LANES)
def times(builder: Any, a: Any, b: Any) -> Any:
    """a·b, lane by lane."""
    return builder.fmul(a, b)


@operation(LANES, LANES, LANES)
def quotient(builder: Any, a: Any, b: Any) -> Any:
    """a/b, lane by lane."""
    return builder.fdiv(a, b)


@operation(LANES, LANES, LANES)
def larger(builder: Any, a: Any, b: Any) -> Any:
    """The larger of two, lane by lane; b where one is none."""
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


@operation(LANES, LANES)
def size_of(builder: Any, value: Any) -> Any:
    """The absolute value, lane by lane."""
    kind = ir.FunctionType(VECTOR, [VECTOR])
    absolute = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        builder.module, kind, f"llvm.fabs.v{WIDTH}f64"
    )
    return builder.call(absolute, [value])


@operation(REAL, LANES)
def total(builder: Any, value: Any) -> Any:
    """The sum of the four."""
    first, second, third, fourth = (builder.extract_element(value, INDEX(i)) for i in range(WIDTH))
    return builder.fadd(builder.fadd(first, second), builder.fadd(third, fourth))


@operation(REAL, LANES)
def largest(builder: Any, value: Any) -> Any:
    """The largest of the four, if all are numbers."""
    found, *rest = (builder.extract_element(value, INDEX(i)) for i in range(WIDTH))
    for other in rest:
        found = builder.select(builder.fcmp_ordered(">", found, other), found, other)
    return found
