"""One loop for all explicit methods: steps with their error controlled, outputs interpolated.

The loop returns after a number of steps and can be called again: between two calls Python looks whether somebody
asked to stop. All memory is the caller's; no lock of Python's is held.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from odelib.engines.compiled.primitives import call_kernel

# Where a solve stands, or how it ended.
RUNNING, DONE, MAX_STEPS, NOT_FINITE, STEP_TOO_SMALL, STIFF = range(6)
# places in `clock`: time, step, error of the last accepted step
TIME, STEP, LAST_ERROR = range(3)
# places in `count`: steps tried, outputs written, whether the first derivative is there, and in a row: calm steps
# of the implicit loop, steps limited by stability, steps that were not
STEPS, WRITTEN, STARTED, CALM, LIMITED, FREE = range(6)

SAFETY, SHRINK, GROW = 0.9, 0.2, 10.0
BETA = 0.04  # of the PI controller (Hairer and Wanner, IV.2): h ∝ error^(-(1/k - 0.75·BETA)) · last^BETA
# Stiffness as in DOPRI5 (Hairer and Wanner, IV.2): h·|λ|, estimated from the last two stages, at the border of the
# region of stability in so many steps, with not as many in a row elsewhere between them.
STABILITY_BORDER, LIMITED_STEPS, FREE_STEPS = 3.25, 15, 6
kernel = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})


@kernel
def error_norm(n: int, m: int, error: Any, low: Any, old: Any, new: Any, weight: Any, rtol: float, atol: float) -> Any:
    """The largest of the root mean squares over the states and over each column of sensitivities.

    Column j counts in units of the states: weight[j]·∂y/∂p_j, as CVODES's pbar. With `low` the two estimates are
    combined as in DOP853. NaN if anything is.
    """
    worst = 0.0
    for j in range(-1, m):
        scale = 1.0 if j < 0 else weight[j]
        total = 0.0
        total_low = 0.0
        for i in range(n):
            place = i if j < 0 else n + i * m + j
            tolerance = atol + rtol * max(abs(old[place]), abs(new[place])) * scale
            ratio = error[place] * scale / tolerance
            total += ratio * ratio
            ratio = low[place] * scale / tolerance
            total_low += ratio * ratio
        both = total + 0.01 * total_low
        norm = total / math.sqrt(both * n) if total_low > 0.0 else math.sqrt(total / n)
        if not norm <= worst:
            worst = norm
    return worst


@kernel
def first_step(
    address: int, t: float, span: float, q: Any, m: int, column: Any, n: int, weight: Any, order: int,
    rtol: float, atol: float, z: Any, rate: Any, trial: Any, work: Any,
) -> float:  # fmt: skip
    """A first step size from the solution's first and second derivative (Hairer, Nørsett and Wanner, II.4)."""
    none = np.zeros(len(z))
    d0 = error_norm(n, m, z, none, z, z, weight, rtol, atol)
    d1 = error_norm(n, m, rate, none, z, z, weight, rtol, atol)
    h = 1e-6 if d0 < 1e-5 or d1 < 1e-5 else 0.01 * d0 / d1
    h = min(h, span)
    for i in range(len(z)):
        trial[i] = z[i] + h * rate[i]
    change = np.empty(len(z))
    call_kernel(address, t + h, trial, q, m, column, work, change)
    for i in range(len(z)):
        change[i] -= rate[i]
    d2 = error_norm(n, m, change, none, z, z, weight, rtol, atol) / h
    if not math.isfinite(d2):
        return min(h, span) * 1e-3
    largest = max(d1, d2)
    h1 = max(1e-6, h * 1e-3) if largest <= 1e-15 else (0.01 / largest) ** (1.0 / order)
    return min(100.0 * h, h1, span)


@kernel
def write_outputs(times: Any, t: float, h: float, z: Any, stages: Any, interpolant: Any, written: int, out: Any) -> int:
    """Fill in the outputs up to t + h; returns how many are written then."""
    size, powers = interpolant.shape
    weight = np.empty(size)
    while written < len(times) and times[written] <= t + h:
        theta = (times[written] - t) / h
        for i in range(size):
            value = 0.0
            for d in range(powers - 1, -1, -1):
                value = (value + interpolant[i, d]) * theta
            weight[i] = h * value
        row = out[written]
        for k in range(len(z)):
            row[k] = z[k]
        for i in range(size):
            if weight[i] != 0.0:
                for k in range(len(z)):
                    row[k] += weight[i] * stages[i, k]
        written += 1
    return written


@kernel
def write_start(times: Any, z: Any, out: Any) -> int:
    """Fill in all outputs at the first time; returns how many these are."""
    written = 0
    while written < len(times) and times[written] <= times[0]:
        out[written] = z
        written += 1
    return written


@kernel
def write_end(times: Any, z: Any, out: Any) -> None:
    """Fill in all outputs at the last time: the solution itself, not what the interpolant makes of it."""
    for row in range(len(times) - 1, -1, -1):
        if times[row] < times[len(times) - 1]:
            break
        out[row] = z


@kernel
def stage(
    address: int, index: int, t: float, h: float, q: Any, m: int, column: Any, a: Any, c: Any, z: Any, stages: Any,
    trial: Any, work: Any,
) -> None:  # fmt: skip
    """The derivative at one stage, from those before it."""
    for k in range(len(z)):
        trial[k] = z[k]
    for j in range(index):
        factor = h * a[index, j]
        if factor != 0.0:
            for k in range(len(z)):
                trial[k] += factor * stages[j, k]
    call_kernel(address, t + c[index] * h, trial, q, m, column, work, stages[index])


@kernel
def count_stiffness(h: float, n: int, before: Any, after: Any, rate_before: Any, rate_after: Any, count: Any) -> None:
    """Count the steps that stability limits, from two states at the step's end and their rates."""
    change = 0.0
    distance = 0.0
    for i in range(n):
        change += (rate_after[i] - rate_before[i]) ** 2
        distance += (after[i] - before[i]) ** 2
    if distance > 0.0 and h * math.sqrt(change / distance) > STABILITY_BORDER:
        count[LIMITED] += 1
        count[FREE] = 0
    else:
        count[FREE] += 1
        if count[FREE] >= FREE_STEPS:
            count[LIMITED] = 0


@kernel
def advance(
    address: int, times: Any, q: Any, n: int, m: int, column: Any, weight: Any, order: int, error_order: int,
    main: int, a: Any, c: Any, error_weights: Any, low_weights: Any, interpolant: Any, rtol: float, atol: float,
    max_steps: int, pause: int, may_switch: bool, z: Any, stages: Any, trial: Any, work: Any, clock: Any, count: Any,
    out: Any,
) -> int:  # fmt: skip
    """Solve on, for at most `pause` steps.

    z: the state and sensitivities at clock[TIME], changed in place. stages: (s, len(z)). out: (T, len(z)).
    Returns RUNNING, DONE or why it cannot go on; STIFF, if it may switch, where stability limits the steps.
    """
    before = np.empty(n)
    end = times[len(times) - 1]
    error, low = np.zeros(len(z)), np.zeros(len(z))
    two = np.any(low_weights != 0.0)
    if count[STARTED] == 0:
        count[WRITTEN] = write_start(times, z, out)
    if count[STARTED] == 0 and count[WRITTEN] < len(times):
        call_kernel(address, clock[TIME], z, q, m, column, work, stages[0])
        clock[STEP] = first_step(
            address, clock[TIME], end - clock[TIME], q, m, column, n, weight, order, rtol, atol, z, stages[0],
            trial, work,
        )  # fmt: skip
        clock[LAST_ERROR] = 1e-4
        count[STARTED] = 1
        if not np.all(np.isfinite(stages[0])):
            return NOT_FINITE
    exponent = 1.0 / (error_order + 1.0) - 0.75 * BETA
    grow = GROW
    for _ in range(pause):
        if count[WRITTEN] >= len(times):
            return DONE
        if count[STEPS] >= max_steps:
            return MAX_STEPS
        count[STEPS] += 1
        t, h = clock[TIME], clock[STEP]
        last = t + 1.01 * h >= end
        if last:
            h = end - t
        if not t + h > t:
            finite = np.all(np.isfinite(stages[:main]))
            return STEP_TOO_SMALL if finite else NOT_FINITE
        for index in range(1, main):
            if index == main - 1:
                before[:] = trial[:n]
            stage(address, index, t, h, q, m, column, a, c, z, stages, trial, work)
        for k in range(len(z)):
            total = 0.0
            for i in range(main):
                total += error_weights[i] * stages[i, k]
            error[k] = h * total
        if two:
            for k in range(len(z)):
                total = 0.0
                for i in range(main):
                    total += low_weights[i] * stages[i, k]
                low[k] = h * total
        norm = error_norm(n, m, error, low, z, trial, weight, rtol, atol)
        if not norm <= 1.0:
            grow = 1.0
            clock[STEP] = h * (SHRINK if not math.isfinite(norm) else max(SHRINK, SAFETY * norm**-exponent))
            continue
        factor = GROW
        if norm > 0.0:
            factor = min(grow, max(SHRINK, SAFETY * norm**-exponent * clock[LAST_ERROR] ** BETA))
        grow = GROW
        clock[LAST_ERROR] = max(norm, 1e-4)
        if count[WRITTEN] < len(times) and times[count[WRITTEN]] <= t + h:
            reached = trial.copy()
            for index in range(main, len(c)):
                stage(address, index, t, h, q, m, column, a, c, z, stages, trial, work)
            for k in range(len(z)):
                trial[k] = reached[k]
            count[WRITTEN] = write_outputs(times, t, h, z, stages, interpolant, count[WRITTEN], out)
        if last:
            write_end(times, trial, out)
            count[WRITTEN] = len(times)
        if may_switch:
            count_stiffness(h, n, before, trial, stages[main - 2], stages[main - 1], count)
        z[:] = trial
        stages[0] = stages[main - 1]
        clock[TIME] = end if last else t + h
        clock[STEP] = h * factor
        if count[LIMITED] >= LIMITED_STEPS and not last:
            count[LIMITED] = 0
            return STIFF
    return DONE if count[WRITTEN] >= len(times) else RUNNING
