"""When a condition becomes true within a step, on the method's interpolant.

The condition's function is evaluated at a few points of the step. Between two of them it may rise above 0 and fall
again: where its rate changes its sign, the extremum between them is looked for. A crossing that is found is enclosed by
bisection and the secant method. The caller then takes the step again, to end there.
"""

from __future__ import annotations

from typing import Any

from odelib.engines.compiled.events import POINTS, evaluate, evaluate_slopes, remember_truths
from odelib.engines.compiled.jit import kernel
from odelib.engines.compiled.primitives import call_kernel
from odelib.engines.compiled.simd import load_scalar, store_scalar
from odelib.engines.compiled.stage_sums import interpolate
from odelib.engines.compiled.step_control import COUNTERS, EVENT_STEP, GRAZING_RATE

EXTREMUM_ITERATIONS, ROOT_ITERATIONS = 12, 100
NOWHERE, LOST = 2.0, -1.0  # values of θ: no crossing; one that cannot be resolved
NO_EVENT, UNRESOLVED = -1, -2


@kernel
def first_crossing(
    method: int, equations: Any, memory: Any, events: Any, t: float, h: float, end: float, last_rate: int,
    recent: int, controller: Any, counters: Any,
) -> int:  # fmt: skip
    """Look for the first crossing in a step from memory.z at t to memory.trial at t + h; returns the event's number.

    Sets EVENT_STEP to its distance from t, and GRAZING_RATE to the largest rate of its condition's function. NO_EVENT
    if there is none; UNRESOLVED if the condition of the `recent` event, which happened at t, becomes false and true
    again in less than rounding. method: of the interpolant. end: t + h as the caller reaches it. last_rate: the address
    of the rate there. The truths at the step's start are the member's, which get those at its end if nothing happens.
    `memory.spare` and `memory.error` are overwritten.
    """
    count, e = len(events.table), equations
    row = 16 * count  # bytes
    evaluate(e, events, t, memory.z, events.samples)
    evaluate(e, events, end, memory.trial, events.samples + row * POINTS)
    for k in range(1, POINTS):
        sample(method, e, memory, events, t, h, k / POINTS, events.samples + row * k)
    evaluate_slopes(e, events, t, memory.z, memory.stages, events.slopes)
    evaluate_slopes(e, events, end, memory.trial, last_rate, events.slopes + 8 * count)
    first, event, false_at = NOWHERE, NO_EVENT, events.slopes + 32 * count
    for k in range(count):
        is_true = counters[COUNTERS + k] == 1
        low, high, below, above = bracket(method, e, memory, events, t, h, k, is_true, recent == k)
        if low == LOST:
            return UNRESOLVED
        store_scalar(false_at, k, low)
        if low < first:
            theta = enclosed(method, e, memory, events, t, h, k, low, high, below, above)
            if theta < first:
                first, event = theta, k
    if event == NO_EVENT:
        remember_truths(events, counters, events.samples + row * POINTS)
        return event
    for k in range(count):  # what has become false since the step's start may happen again
        if load_scalar(false_at, k) <= first:
            counters[COUNTERS + k] = 0
    controller[EVENT_STEP], controller[GRAZING_RATE] = first * h, 0.0
    for k in range(POINTS):
        change = load_scalar(events.samples + row * (k + 1), event) - load_scalar(events.samples + row * k, event)
        controller[GRAZING_RATE] = max(controller[GRAZING_RATE], abs(change) * POINTS / h)
    return event


@kernel
def sample(
    method: int, equations: Any, memory: Any, events: Any, t: float, h: float, theta: float, out: int
) -> None:  # fmt: skip
    """Evaluate the conditions at t + θ·h; leaves the states there in `memory.spare`."""
    e = equations
    interpolate(method, theta, memory.z, memory.stages, e.size, e.start, h, memory.spare)
    evaluate(e, events, t + theta * h, memory.spare, out)


@kernel
def bracket(
    method: int, equations: Any, memory: Any, events: Any, t: float, h: float, number: int, is_true: bool,
    is_recent: bool,
) -> Any:  # fmt: skip
    """Two points between which a condition becomes true for the first time, and its function there.

    NOWHERE, or LOST, in place of the first point: see `first_crossing`.
    """
    count = len(events.table)
    row = 16 * count  # bytes
    for k in range(1, POINTS + 1):
        low, high = (k - 1.0) / POINTS, k / POINTS
        below = load_scalar(events.samples + row * (k - 1), number)
        above = load_scalar(events.samples + row * k, number)
        turns = load_scalar(events.samples + row * k, count + number) > 0.5
        if turns and not is_true:
            return low, high, below, above
        if turns == is_true:
            sign = -1.0 if is_true else 1.0
            before, after = slope(events, number, k - 1, h), slope(events, number, k, h)
            if sign * before > 0.0 and sign * after < 0.0:
                theta, value = flip(method, equations, memory, events, t, h, number, is_true, low, high, before, after)
                if theta >= 0.0:
                    return (theta, high, value, above) if is_true else (low, theta, below, value)
                if is_true and is_recent and k == 1:
                    return LOST, LOST, 0.0, 0.0
        is_true = turns
    return NOWHERE, NOWHERE, 0.0, 0.0


@kernel
def slope(events: Any, number: int, k: int, h: float) -> float:
    """The rate of a condition's function by θ at a point: as known at the ends, else by differences."""
    count = len(events.table)
    if k == 0:
        return float(h * load_scalar(events.slopes, number))
    if k == POINTS:
        return float(h * load_scalar(events.slopes, count + number))
    row = 16 * count
    after, before = events.samples + row * (k + 1), events.samples + row * (k - 1)
    return float(0.5 * POINTS * (load_scalar(after, number) - load_scalar(before, number)))


@kernel
def flip(
    method: int, equations: Any, memory: Any, events: Any, t: float, h: float, number: int, is_true: bool, low: float,
    high: float, slope_low: float, slope_high: float,
) -> Any:  # fmt: skip
    """Where between two points a condition is not as at both of them, and its function there; −1 if nowhere.

    At the extremum between them, or on the way to it: the root of the slope by the secant method, with the other slope
    halved when the same end moves twice (Illinois).
    """
    e, out = equations, events.slopes + 16 * len(events.table)
    side = 0
    for _ in range(EXTREMUM_ITERATIONS):
        theta = low + (high - low) * slope_low / (slope_low - slope_high)
        if not low < theta < high:
            break
        sample(method, e, memory, events, t, h, theta, out)
        value = load_scalar(out, number)
        if (load_scalar(out, len(events.table) + number) > 0.5) != is_true:
            return theta, value
        call_kernel(e.rates, t + theta * h, memory.spare, e.q, 0, e.column_of, e.work, memory.error)
        evaluate_slopes(e, events, t + theta * h, memory.spare, memory.error, out)
        here = h * load_scalar(out, number)
        if not abs(here) * (high - low) >= abs(value):  # it cannot get there; nor where it is NaN
            break
        if here * slope_low > 0.0:
            low, slope_low = theta, here
            slope_high *= 0.5 if side == 1 else 1.0
            side = 1
        else:
            high, slope_high = theta, here
            slope_low *= 0.5 if side == -1 else 1.0
            side = -1
    return -1.0, 0.0


@kernel
def enclosed(
    method: int, equations: Any, memory: Any, events: Any, t: float, h: float, number: int, low: float, high: float,
    below: float, above: float,
) -> float:  # fmt: skip
    """Just after a condition becomes true, between a point where it is false (or was before) and one where it is true.

    The secant method and bisection in turn, until the function is nearly 0 and the time is nearly known. A function
    that jumps never is: its jump is enclosed up to rounding. below, above: the function at the points.
    """
    out, count = events.slopes + 16 * len(events.table), len(events.table)
    whole = above - below
    for iteration in range(ROOT_ITERATIONS):
        is_near = above - below <= 1e-6 * whole and high - low <= 1e-3 * high
        if is_near or not t + high * h > t + low * h:
            break
        theta = 0.5 * (low + high)
        if iteration % 2 == 0 and above > 0.0 > below:
            theta = low - (high - low) * below / (above - below)
        if not low < theta < high:
            break
        sample(method, equations, memory, events, t, h, theta, out)
        if load_scalar(out, count + number) > 0.5:
            high, above = theta, load_scalar(out, number)
        else:
            low, below = theta, load_scalar(out, number)
    return high
