"""What happens at an instant: entries of the schedule, then events. Sensitivities jump, and outputs see both sides."""

from __future__ import annotations

from typing import Any

from odelib.engines.compiled.event_source import MODE, START
from odelib.engines.compiled.events import differentiate_time, happen, record_states, reset
from odelib.engines.compiled.jit import kernel
from odelib.engines.compiled.sensitivity_jumps import KIND, ROW, TARGET, TIME_ROW, jump, move
from odelib.engines.compiled.simd import WIDTH, address, load, load_scalar, multiply_add, splat, store, store_scalar
from odelib.engines.compiled.step_control import (
    CROSSING_RATE,
    CROWDED,
    ENDLESS_EVENTS,
    EVENT_TIME,
    GRAZING_RATE,
    HAPPENED,
    INTERVAL,
    LAST_CROSSING_RATE,
    LAST_EVENT,
    PASSED,
    RECORDED,
    RUNNING,
    STEPS,
    STOPPED,
    SWITCHED,
    WRITTEN,
    copy,
    derivatives,
    write_row,
)
from odelib.engines.schedules.schedule import ADD, HOLD, PIECE, PIECE_SIZE, RESET, SWITCH
from odelib.engines.switching_times import GAP, INSTANT

CROWDED_INTERVAL, MAX_CROWDED = 1e-9, 5  # see `count_crowding`


@kernel
def pass_instant(
    equations: Any, memory: Any, instants: Any, events: Any, time: float, after: float, located: int,
    times: Any, before: Any, controller: Any, counters: Any, outputs: Any,
) -> int:  # fmt: skip
    """Let happen what happens at one instant, write the outputs there, and compute the rate just after it.

    located: the event whose crossing was located here; else −1, and the entries at this time apply. z is just before.
    `memory.stages` begins with the rate at `after`. Returns RUNNING or why the solve failed.

    At the very time of a discontinuity that parameters move, the derivatives are one-sided: an earlier one has already
    changed the state, a later one has not yet. Where the state itself does not jump, as where a mode is switched, the
    outputs get the mean, as a central difference does; else each gets the side that it asks for.
    """
    e, z, m, is_first = equations, memory.z, outputs.m, counters[STEPS] == 0
    scale = max(abs(times[0]), abs(times[len(times) - 1]))
    near, first, happened, status = INSTANT * scale, counters[PASSED], counters[HAPPENED], RUNNING
    recent, recorded, switched = counters[LAST_EVENT], counters[RECORDED], counters[SWITCHED]
    last = first if located >= 0 else end_of_group(instants.times, first, time + near)
    has_output = counters[WRITTEN] < len(times) and times[counters[WRITTEN]] <= time + near
    if has_output or is_first or len(outputs.record) > 0:
        copy(z, e.size, memory.buffer)
    if located >= 0:
        direction = move_to_event(e, memory, events, located, time, m, controller, counters)
    else:
        direction = apply_entries(e, memory, instants, events, first, last, GAP * scale, m)
        counters[PASSED] = last
    if len(events.table) > 0:
        status = happen(
            e, events, time, near, located, direction, m, z, memory.spare, memory.trial, outputs.record, counters
        )  # fmt: skip
    if direction != 0 and counters[STOPPED] == 0:
        move(e, after, z, -1.0, direction, m, memory.trial)
    record_states(recorded, e.n, m, memory.buffer, z, outputs.record, counters)
    set_shifts(e, instants, first, last, 0.0)
    is_switch = located < 0 or events.table[located, START] == MODE
    is_smooth = is_switch and counters[HAPPENED] == happened and only_comparisons(instants.entries, first, last)
    is_smooth = is_smooth and not (is_first and counters[SWITCHED] > switched)
    if has_output or is_first:
        mean(e, memory)
        write_outputs_at(e, memory, is_smooth, time + near, is_first, times, before, counters, outputs)
    if is_first and is_smooth:
        copy(memory.trial, e.size, z)
    derivatives(e, after, z, memory.stages)
    if counters[HAPPENED] > happened:
        count_crowding(after, scale, located >= 0 and located == recent, controller, counters)
    return ENDLESS_EVENTS if counters[CROWDED] > MAX_CROWDED else status


@kernel
def count_crowding(time: float, scale: float, is_same: bool, controller: Any, counters: Any) -> None:
    """Count how many times in a row one event happens again at ever shorter intervals, as those of a bouncing ball.

    Far above rounding: below it, the ball would be under the floor. The rate at which it crosses the floor shrinks in
    proportion to the intervals. If it does not, as where a reset takes a state halfway back from a threshold that comes
    closer, the condition is true in the limit and stays so: the solution goes on once rounding has reached that.
    is_same: whether it is the last event again.
    """
    interval, rate = time - controller[EVENT_TIME], controller[CROSSING_RATE]
    ratio, slows = interval / controller[INTERVAL], rate / controller[LAST_CROSSING_RATE]
    shrinks = interval <= CROWDED_INTERVAL * scale and ratio <= 0.999 and not slows * slows > ratio
    counters[CROWDED] = counters[CROWDED] + 1 if is_same and (shrinks or interval <= INSTANT * scale) else 0
    controller[EVENT_TIME], controller[INTERVAL], controller[LAST_CROSSING_RATE] = time, interval, rate


@kernel
def move_to_event(
    equations: Any, memory: Any, events: Any, located: int, time: float, m: int, controller: Any, counters: Any
) -> int:
    """Move z to the instant of an event that has been located; returns the address of dτ/dp, or 0."""
    controller[CROSSING_RATE] = differentiate_time(
        equations, events, located, time, controller[GRAZING_RATE], m, memory.z, memory.trial, counters
    )
    if m == 0:
        return 0
    move(equations, time, memory.z, 1.0, events.direction, m, memory.trial)
    return int(events.direction)


@kernel
def end_of_group(times: Any, first: int, until: float) -> int:
    """The entry after those from `first` on up to this time."""
    last = first
    while last < len(times) and times[last] <= until:
        last += 1
    return last


@kernel
def apply_entries(
    equations: Any, memory: Any, instants: Any, events: Any, first: int, last: int, gap: float, m: int
) -> int:
    """Apply the entries from `first` to before `last`, which coincide; returns the address of the last dτ/dp, or 0.

    z, which was `gap` before them, is left moved to that instant.
    """
    e, z, entries, side = equations, memory.z, instants.entries, 8.0 * gap
    direction, row, has_snapshot = 0, -1, False
    if m > 0 and have_several_rows(entries, first, last):
        jump(e, instants, first, last, side, z, memory.trial, memory.error)
        return 0
    set_shifts(e, instants, first, last, -side)
    moment = instants.times[first] - gap if first < last else 0.0
    for k in range(first, last):
        if m > 0 and entries[k, TIME_ROW] != row:
            if direction != 0:
                move(e, moment, z, -1.0, direction, m, memory.trial)
            row = entries[k, TIME_ROW]
            direction = address(instants.jacobian) + 8 * m * row if row >= 0 else 0
            if direction != 0:
                move(e, moment, z, 1.0, direction, m, memory.trial)
        moment = instants.times[k]
        if entries[k, KIND] == RESET:
            if not has_snapshot:
                copy(z, e.size, memory.spare)
                has_snapshot = True
            reset(e, events, entries[k, TARGET], moment, memory.spare, z, direction, m)
        elif entries[k, KIND] == SWITCH:
            set_shifts(e, instants, k, k + 1, side)
        else:
            assign(e, instants, k, z, m)
    return direction


@kernel
def set_shifts(equations: Any, instants: Any, first: int, last: int, side: float) -> None:
    """Set the shifts of the comparisons among the entries from `first` to before `last`."""
    for k in range(first, last):
        if instants.entries[k, KIND] == SWITCH and instants.entries[k, TARGET] >= 0:
            store_scalar(equations.q, instants.entries[k, TARGET], side)


@kernel
def only_comparisons(entries: Any, first: int, last: int) -> bool:
    """Whether no entry is anything but a comparison."""
    only = True
    for k in range(first, last):
        only = only and entries[k, KIND] == SWITCH
    return only


@kernel
def have_several_rows(entries: Any, first: int, last: int) -> bool:
    """Whether the entries are nothing but comparisons, whose times depend on parameters in different ways."""
    several = False
    for k in range(first, last):
        if entries[k, TARGET] < 0:
            return False
        several = several or entries[k, TIME_ROW] != entries[first, TIME_ROW]
    return several and only_comparisons(entries, first, last)


@kernel
def assign(equations: Any, instants: Any, k: int, z: int, m: int) -> None:
    """Apply an entry that sets or adds a number: to constants, or to a state with the derivatives of the number."""
    e, kind, target, row = equations, instants.entries[k, KIND], instants.entries[k, TARGET], instants.entries[k, ROW]
    if kind == PIECE:
        for i in range(PIECE_SIZE):
            store_scalar(e.q, target + i, instants.pieces[row, i])
    elif kind == HOLD:
        store_scalar(e.q, target, instants.values[k])
    else:
        kept = 1.0 if kind == ADD else 0.0
        store_scalar(z, target, kept * load_scalar(z, target) + instants.values[k])
        first = e.start + target * e.width
        for j in range(m):
            derivative = instants.jacobian[row, j] if row >= 0 else 0.0
            store_scalar(z, first + j, kept * load_scalar(z, first + j) + derivative)


@kernel
def mean(equations: Any, memory: Any) -> None:
    """The mean of the rows before, `memory.buffer`, and after, `memory.z`, into `memory.trial`."""
    for k in range(0, equations.size, WIDTH):
        half = multiply_add(splat(0.0), 0.5, load(memory.z, k))
        store(memory.trial, k, multiply_add(half, 0.5, load(memory.buffer, k)))


@kernel
def write_outputs_at(
    equations: Any, memory: Any, is_smooth: bool, until: float, is_first: bool, times: Any, before: Any,
    counters: Any, outputs: Any,
) -> None:  # fmt: skip
    """Write the outputs up to this time: see `pass_instant`. `memory.trial` is the mean."""
    while counters[WRITTEN] < len(times) and times[counters[WRITTEN]] <= until:
        index, row = counters[WRITTEN], memory.z
        if is_smooth:  # at the start the state is given, whatever parameters move
            row = memory.buffer if is_first else memory.trial
        elif len(before) > 0 and before[index]:
            row = memory.buffer
        write_row(equations, row, outputs, index)
        counters[WRITTEN] += 1
