"""Which conditions are true, what happens when some become true, and the derivative of the time at which one does."""

from __future__ import annotations

import math
from collections import namedtuple
from typing import Any

from numba import carray  # type: ignore[attr-defined]

from odelib.engines.compiled.event_source import AT_START, MODE, MOST, NO_RESET, RESET_NUMBER, SET, START, STOP
from odelib.engines.compiled.jit import kernel
from odelib.engines.compiled.primitives import call_kernel
from odelib.engines.compiled.simd import int64_pointer, load_scalar, store_scalar
from odelib.engines.compiled.step_control import (
    COUNTERS,
    HAPPENED,
    LAST_EVENT,
    RECORDED,
    RUNNING,
    SLIDING,
    STOPPED,
    SWITCHED,
    TOO_MANY_EVENTS,
    copy,
)
from odelib.engines.switching_times import SLIDES

# Addresses of the kernels: see `event_source.EventSource`, and there the table (E, 4) and the layout of the resets.
# row_size: of an expression with its derivatives. target_size: the numbers of the rows of a reset's targets.
# reset_count: R. is_start: whether what is true at the first time may happen there.
EventKernels = namedtuple(
    "EventKernels", "conditions rates rows resets table layout row_size target_size reset_count is_start"
)
# The same, and addresses of working memory: direction, dτ/dp (width,); buffer, rows of targets (target_size,); samples,
# of values and truths (2E,) each; slopes (5E,).
Events = namedtuple(
    "Events",
    "conditions rates rows resets table layout row_size reset_count is_start direction buffer samples slopes",
)
POINTS = 4  # parts of a step, at whose ends conditions are evaluated
# A member's counters after the first COUNTERS: by event whether its condition is true, how often it has happened, and
# whether it grazed; E each.
NUMBERS_OF_EVENT, GRAZED = 3, 2
# Columns of a record: time and number of an event, then dτ/dp (m,), and the states (n,) before and after its instant.
RECORD_TIME, RECORD_EVENT, RECORD_DIRECTION = range(3)


@kernel
def events_of(kernels: Any, width: int, memory: int) -> Any:
    """The events with their working memory, or None, and the address of what follows that."""
    if kernels is None:
        return None, memory
    k, count = kernels, len(kernels.table)
    buffer = memory + 8 * width
    samples = buffer + 8 * k.target_size
    slopes = samples + 16 * count * (POINTS + 1)
    events = Events(
        k.conditions, k.rates, k.rows, k.resets, k.table, k.layout, k.row_size, k.reset_count, k.is_start, memory,
        buffer, samples, slopes,
    )  # fmt: skip
    return events, slopes + 40 * count


@kernel
def begin_events(equations: Any, events: Any, t: float, near: float, z: int, rates: int, counters: Any) -> None:
    """Remember which conditions are true at the first time; those of events `at_start` are still to become true.

    Modes are not known yet: their events are still to happen in any case.
    """
    if events.is_start:
        evaluate(equations, events, t, z, events.samples)
    else:  # a segment: what is true within rounding has happened before
        evaluate_now(equations, events, t, near, -1, z, rates)
    remember_truths(events, counters, events.samples)
    for k in range(len(events.table)):
        if events.table[k, START] == MODE or (events.is_start and events.table[k, START] == AT_START):
            counters[COUNTERS + k] = 0


@kernel
def evaluate(equations: Any, events: Any, t: float, z: int, out: int) -> None:
    """The conditions' functions (E,), then whether each is true (E,)."""
    e = equations
    call_kernel(events.conditions, t, z, e.q, 0, e.column_of, e.work, out)


@kernel
def evaluate_slopes(equations: Any, events: Any, t: float, z: int, rates: int, out: int) -> None:
    """The rates of the conditions' functions (E,), from those of the states."""
    e = equations
    call_kernel(events.rates, t, z, e.q, 0, e.column_of, rates, out)


@kernel
def evaluate_now(
    equations: Any, events: Any, t: float, near: float, located: int, z: int, rates: int
) -> None:  # fmt: skip
    """Values and truths into `samples`: what becomes true at this instant, up to rounding, counts as true already.

    That is a condition that becomes true within `near`, and one with the same function as the one `located` here, which
    is true too; −1 if none is. rates: the address of a row, overwritten.
    """
    e, count = equations, len(events.table)
    evaluate(e, events, t, z, events.samples)
    call_kernel(e.rates, t, z, e.q, 0, e.column_of, e.work, rates)
    evaluate_slopes(e, events, t, z, rates, events.slopes)
    for k in range(count):
        value, slope = load_scalar(events.samples, k), load_scalar(events.slopes, k)
        is_same = located >= 0 and (
            value == load_scalar(events.samples, located) and slope == load_scalar(events.slopes, located)
        )
        if is_same or (slope > 0.0 and value <= 0.0 <= value + slope * near):
            store_scalar(events.samples, count + k, 1.0)


@kernel
def remember_truths(events: Any, counters: Any, sample: int) -> None:
    """Write the truths of a sample (2E,) to the member's counters."""
    count = len(events.table)
    for k in range(count):
        counters[COUNTERS + k] = 1 if load_scalar(sample, count + k) > 0.5 else 0


@kernel
def happen(
    equations: Any, events: Any, time: float, near: float, located: int, direction: int, m: int, z: int, snapshot: int,
    rates: int, record: Any, counters: Any,
) -> int:  # fmt: skip
    """Let happen what has become true, again until nothing has: all of a round from the values before it.

    located: the event whose crossing was located here, which counts as having become true; else −1. direction: the
    address of dτ/dp, 0 where it is 0. z has been moved to the instant. snapshot, rates: addresses of rows. record: see
    `record_event`. Returns RUNNING, TOO_MANY_EVENTS or SLIDING.
    """
    count = len(events.table)
    old = events.slopes + 16 * count
    evaluate_now(equations, events, time, near, located, z, rates)
    while mark_what_fires(events, old, counters) > 0:
        copy(z, equations.size, snapshot)
        for k in range(count):
            if load_scalar(old, count + k) > 0.5:
                fire(equations, events, k, time, snapshot, z, direction, m, counters)
                record_event(k, time, direction, m, record, counters)
                if counters[COUNTERS + count + k] > events.table[k, MOST]:
                    return TOO_MANY_EVENTS
        if counters[STOPPED]:
            break
        evaluate_now(equations, events, time, near, -1, z, rates)
        for k in range(count):
            if load_scalar(old, count + k) > 0.5 and events.table[k, START] == MODE:
                if is_again_soon(events, k, SLIDES * near):
                    counters[LAST_EVENT] = k
                    return SLIDING
                store_scalar(events.samples, count + k, 0.0)
            elif load_scalar(old, count + k) > 0.5 and load_scalar(events.samples, k) == load_scalar(old, k):
                # what the resets do not touch stays true, whatever rounding says
                store_scalar(events.samples, count + k, 1.0)
    return RUNNING


@kernel
def is_again_soon(events: Any, k: int, near: float) -> bool:
    """Whether the function of an event that has just happened is to cross 0 again within this time."""
    value, slope = load_scalar(events.samples, k), load_scalar(events.slopes, k)
    return bool(slope > 0.0 and value + slope * near >= 0.0)


@kernel
def record_event(k: int, time: float, direction: int, m: int, record: Any, counters: Any) -> None:
    """Record that an event has happened, as far as there is space; `record_states` completes the row."""
    if counters[RECORDED] < len(record):
        row = record[counters[RECORDED]]
        row[RECORD_TIME], row[RECORD_EVENT] = time, k
        for j in range(m):
            row[RECORD_DIRECTION + j] = load_scalar(direction, j) if direction != 0 else 0.0
        counters[RECORDED] += 1


@kernel
def record_states(first: int, n: int, m: int, before: int, after: int, record: Any, counters: Any) -> None:
    """Add the states before and after their instant to the rows of a record from `first` on."""
    for k in range(first, counters[RECORDED]):
        for i in range(n):
            record[k, RECORD_DIRECTION + m + i] = load_scalar(before, i)
            record[k, RECORD_DIRECTION + m + n + i] = load_scalar(after, i)


@kernel
def mark_what_fires(events: Any, out: int, counters: Any) -> int:
    """Copy the values in `samples`, and which conditions have become true, to `out` (2E,); returns how many have."""
    count, fired = len(events.table), 0
    for k in range(count):
        is_true = load_scalar(events.samples, count + k) > 0.5
        fires = is_true and counters[COUNTERS + k] == 0
        counters[COUNTERS + k] = 1 if is_true else 0
        store_scalar(out, k, load_scalar(events.samples, k))
        store_scalar(out, count + k, 1.0 if fires else 0.0)
        fired += 1 if fires else 0
    return fired


@kernel
def fire(
    equations: Any, events: Any, k: int, time: float, source: int, z: int, direction: int, m: int, counters: Any
) -> None:  # fmt: skip
    """Let event k happen: count it, and reset `z` from the row `source`."""
    if events.table[k, START] == MODE:
        counters[SWITCHED] += 1
    else:
        counters[LAST_EVENT] = k
        counters[HAPPENED] += 1
    counters[COUNTERS + len(events.table) + k] += 1
    if events.table[k, RESET_NUMBER] != NO_RESET:
        reset(equations, events, events.table[k, RESET_NUMBER], time, source, z, direction, m)
    counters[STOPPED] = max(counters[STOPPED], events.table[k, STOP])


@kernel
def reset(
    equations: Any, events: Any, number: int, time: float, source: int, z: int, direction: int, m: int
) -> None:  # fmt: skip
    """Set states and their sensitivities, or add to them, from those in the row `source`, all moved to the instant."""
    e, size = equations, events.row_size
    first, last = events.layout[number], events.layout[number + 1]
    for k in range((last - first) * size):
        store_scalar(events.buffer, k, 0.0)
    call_kernel(events.resets, time, source, e.q, number, e.column_of, e.work, events.buffer)
    for place in range(last - first):
        at = events.reset_count + 1 + 2 * (first + place)
        state, how = events.layout[at], events.layout[at + 1]
        row = events.buffer + 8 * size * place
        value = load_scalar(row, 0)
        store_scalar(z, state, value if how == SET else load_scalar(z, state) + value)
        target = e.start + state * e.width
        for j in range(m):
            if how == SET:
                store_scalar(z, target + j, 0.0)
            if direction != 0:
                store_scalar(
                    z, target + j, load_scalar(z, target + j) + load_scalar(row, 1) * load_scalar(direction, j)
                )
        add_derivatives(e, size, row, source, z, target, m)


@kernel
def add_derivatives(equations: Any, size: int, row: int, source: int, out: int, first: int, m: int) -> None:
    """out[first + j] += Σ ∂/∂x·S + ∂/∂p, of an expression's row (see `EventSource`), with S of the row `source`."""
    e = equations
    for i in range(e.n):
        factor = load_scalar(row, 2 + i)
        if factor != 0.0:
            for j in range(m):
                s = load_scalar(source, e.start + i * e.width + j)
                store_scalar(out, first + j, load_scalar(out, first + j) + factor * s)
    if m > 0:
        columns = carray(int64_pointer(e.column_of), (size - 2 - e.n,))
        for k in range(size - 2 - e.n):
            if columns[k] >= 0:
                at = first + columns[k]
                store_scalar(out, at, load_scalar(out, at) + load_scalar(row, 2 + e.n + k))


@kernel
def differentiate_time(
    equations: Any, events: Any, number: int, time: float, grazing_rate: float, m: int, z: int, rates: int,
    counters: Any,
) -> float:  # fmt: skip
    """dτ/dp = −(g_x·S + g_p)/(g_x·f + g_t) into `events.direction`, for a condition's function g that crosses 0 here.

    Returns ġ = g_x·f + g_t.

    A crossing that is hardly one, with ġ below `grazing_rate`, grazes: whether it happens is uncertain, and dτ/dp is as
    large as it likes. Where the function jumps it has no derivative, which counts as grazing too. rates: the address of
    a row, overwritten.
    """
    e, size, row = equations, events.row_size, events.buffer
    for j in range(e.width):
        store_scalar(events.direction, j, 0.0)
    for k in range(size):
        store_scalar(row, k, 0.0)
    call_kernel(e.rates, time, z, e.q, 0, e.column_of, e.work, rates)
    call_kernel(events.rows, time, z, e.q, number, e.column_of, e.work, row)
    slope: float = load_scalar(row, 1)
    for i in range(e.n):
        slope += load_scalar(row, 2 + i) * load_scalar(rates, i)
    if not slope > grazing_rate:
        counters[COUNTERS + GRAZED * len(events.table) + number] = 1
    if slope > 0.0 and math.isfinite(slope):
        add_derivatives(e, size, row, z, events.direction, 0, m)
        for j in range(m):
            store_scalar(events.direction, j, -load_scalar(events.direction, j) / slope)
    return slope
