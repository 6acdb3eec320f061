"""Solves of several members by one compiled loop: each with its own steps, method and status.

A single trajectory is a batch of one. Several threads may each take their own range of members.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from odelib.engines.compiled import explicit, implicit
from odelib.engines.compiled.explicit import LAST_ERROR, RUNNING, STEP, STIFF, kernel
from odelib.engines.compiled.implicit import NOT_STIFF

# places in `count` after those of `explicit`: whether the implicit method is at work, and which have been (bits)
IMPLICIT, USED = 6, 7
COUNTS = 8
USED_EXPLICIT, USED_IMPLICIT = 1, 2

explicit_advance, implicit_advance = explicit.advance, implicit.advance


@kernel
def advance_members(
    first: int, last: int, rates: int, address: int, jacobian: int, times: Any, values: Any, n: int, m: int,
    column: Any, weight: Any, order: int, error_order: int, main: int, a: Any, c: Any, error: Any, low: Any,
    interpolant: Any, stiff_a: Any, stiff_c: Any, stiff_error: Any, stiff_interpolant: Any, may_switch: bool,
    rtol: float, atol: float, max_steps: int, pause: int, work_size: int, z: Any, stages: Any, clock: Any,
    count: Any, status: Any, out: Any,
) -> None:  # fmt: skip
    """Carry on with the members from `first` to before `last` that are still running, `pause` steps each.

    Arrays have the member first: values (B, p + constants), weight (B, m), z (B, n + n·m), stages
    (B, most stages, n + n·m), clock, count, status (B,), out (B, T, n + n·m). times: (B, T), or (1, T), shared.
    """
    trial, work = np.empty(z.shape[1]), np.empty(work_size)
    for b in range(first, last):
        if status[b] != RUNNING:
            continue
        own_times = times[b % len(times)]
        while True:
            if count[b, IMPLICIT]:
                count[b, USED] |= USED_IMPLICIT
                code = implicit_advance(
                    rates, address, jacobian, own_times, values[b], n, m, column, weight[b], 4, stiff_a, stiff_c,
                    stiff_error, stiff_interpolant, rtol, atol, max_steps, pause, may_switch, z[b],
                    stages[b, : len(stiff_c)], trial, work, clock[b], count[b], out[b],
                )  # fmt: skip
            else:
                count[b, USED] |= USED_EXPLICIT
                code = explicit_advance(
                    address, own_times, values[b], n, m, column, weight[b], order, error_order, main, a, c, error, low,
                    interpolant, rtol, atol, max_steps, pause, may_switch, z[b], stages[b], trial, work, clock[b],
                    count[b], out[b],
                )  # fmt: skip
            if code not in (STIFF, NOT_STIFF):
                status[b] = code
                break
            # the other method goes on with a cautious step, from the rate that both have as their first stage
            count[b, IMPLICIT] = 1 if code == STIFF else 0
            clock[b, STEP] *= 0.5
            clock[b, LAST_ERROR] = 1e-4
