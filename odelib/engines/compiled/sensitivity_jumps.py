"""The jump of the sensitivities S = ∂y/∂p where something happens at a time τ that depends on parameters.

With the state x⁺ = h(x⁻, p, τ) just after, the rates f⁻ and f⁺ on both sides, and τ(p),

    S⁺ = h_x·S⁻ + h_p + (h_x·f⁻ + h_t − f⁺)·dτ/dp.

In steps: move S to the instant that moves with the parameters, S⁻ + f⁻·dτ/dp; differentiate h there; move back by
f⁺·dτ/dp. Where the state is continuous this is S⁻ − (f⁺ − f⁻)·dτ/dp: see `odelib.engines.discontinuities`, whose shifts
choose the side that f is evaluated on.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from odelib.engines.compiled.jit import kernel
from odelib.engines.compiled.primitives import call_kernel
from odelib.engines.compiled.simd import WIDTH, add_to_lane, load, load_scalar, store, store_scalar

# What happens in a member at times (K,), in order: see `odelib.engines.schedules.schedule`. entries (K, 4): kind,
# target, row of dτ and row of the value's derivative in `jacobian` (R, m), which has the columns of the sensitivities,
# or −1; for a PIECE its row of `pieces`. Targets among constants and shifts are places in q. values (K,). held: how
# many of the states are held.
Instants = namedtuple("Instants", "times entries values jacobian pieces held")
KIND, TARGET, TIME_ROW, ROW = range(4)


@kernel
def move(equations: Any, t: float, z: int, sign: float, direction: int, m: int, rates: int) -> None:
    """S += sign·f·dτ/dp. direction: the address of dτ/dp (m,). rates: that of a row, overwritten with f."""
    e = equations
    call_kernel(e.rates, t, z, e.q, 0, e.column_of, e.work, rates)
    for i in range(e.n):
        rate = sign * load_scalar(rates, i)
        if rate != 0.0:
            row = e.start + i * e.width
            for j in range(m):
                store_scalar(z, row + j, load_scalar(z, row + j) + rate * load_scalar(direction, j))


@kernel
def jump(
    equations: Any, instants: Any, first: int, last: int, side: float, z: int, before: int, after: int
) -> None:  # fmt: skip
    """Add the jumps at the discontinuities from `first` to before `last`, which coincide, to `z`.

    They are switched one after the other. Their jumps may depend on the order, in which they are one-sided
    derivatives: the mean of one order and its reverse counts. before, after: addresses of rows for rates.
    """
    e, m = equations, instants.jacobian.shape[1]
    time, share = instants.times[first], 0.5
    for order in range(2):
        for k in range(first, last):
            store_scalar(e.q, instants.entries[k, TARGET], -side)
        call_kernel(e.rates, time, z, e.q, 0, e.column_of, e.work, before)
        for place in range(last - first):
            k = first + place if order == 0 else last - 1 - place
            store_scalar(e.q, instants.entries[k, TARGET], side)
            call_kernel(e.rates, time, z, e.q, 0, e.column_of, e.work, after)
            row = instants.entries[k, TIME_ROW]
            for i in range(e.n):
                change = share * (load_scalar(after, i) - load_scalar(before, i))
                target = e.start + i * e.width
                for j in range(m if row >= 0 else 0):
                    at = target + j - j % WIDTH
                    store(z, at, add_to_lane(load(z, at), -change * instants.jacobian[row, j], j % WIDTH))
            for i in range(e.n):
                store_scalar(before, i, load_scalar(after, i))
