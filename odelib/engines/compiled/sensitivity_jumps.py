"""The jump of the sensitivities at a discontinuity whose time depends on parameters.

S⁺ = S⁻ − (f⁺ − f⁻)·dτ/dp: see `odelib.engines.discontinuities`, whose shifts choose the side that f is evaluated on.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from odelib.engines.compiled.jit import kernel
from odelib.engines.compiled.primitives import call_kernel
from odelib.engines.compiled.simd import WIDTH, add_to_lane, load, load_scalar, store, store_scalar

# A member's discontinuities: times (K,), in order; shifts (K,), places in q; jacobian (K, m), dτ by the columns.
Discontinuities = namedtuple("Discontinuities", "times shifts jacobian")


@kernel
def jump(
    equations: Any, discontinuities: Any, first: int, last: int, gap: float, weight: float, z: int, before: int,
    after: int,
) -> None:  # fmt: skip
    """Add `weight` of the jumps at the discontinuities from `first` to before `last`, which coincide, to `z`.

    Several are switched one after the other. Their jumps may depend on the order, in which they are one-sided
    derivatives: the mean of one order and its reverse counts. before, after: addresses of rows for rates.
    """
    e, d = equations, discontinuities
    if d.jacobian.shape[1] == 0:
        return
    # coinciding ones lie within 2·gap, and differ from their mean by roundings
    time, side = d.times[first], 8.0 * gap
    for order in range(1 if last - first == 1 else 2):
        for k in range(first, last):
            store_scalar(e.q, d.shifts[k], -side)
        call_kernel(e.rates, time, z, e.q, 0, e.column_of, e.work, before)
        for place in range(last - first):
            k = first + place if order == 0 else last - 1 - place
            store_scalar(e.q, d.shifts[k], side)
            call_kernel(e.rates, time, z, e.q, 0, e.column_of, e.work, after)
            share = weight if last - first == 1 else 0.5 * weight
            for i in range(e.n):
                change = share * (load_scalar(after, i) - load_scalar(before, i))
                row = e.start + i * e.width
                for j in range(d.jacobian.shape[1]):
                    at = row + j - j % WIDTH
                    store(z, at, add_to_lane(load(z, at), -change * d.jacobian[k, j], j % WIDTH))
            for i in range(e.n):
                store_scalar(before, i, load_scalar(after, i))
    for k in range(first, last):
        store_scalar(e.q, d.shifts[k], 0.0)


@kernel
def jump_near(
    equations: Any, discontinuities: Any, time: float, gap: float, weight: float, z: int, before: int, after: int
) -> None:
    """Add `weight` of the jumps at the discontinuities that coincide with this time."""
    first = 0
    while first < len(discontinuities.times) and discontinuities.times[first] < time - gap:
        first += 1
    last = first
    while last < len(discontinuities.times) and discontinuities.times[last] <= time + gap:
        last += 1
    if last > first:
        jump(equations, discontinuities, first, last, gap, weight, z, before, after)
