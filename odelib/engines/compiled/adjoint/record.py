"""Solving on tape: the loop of plain solves, one step at a time, and what each accepted step was made of.

A row of the tape is a step: `HEAD` numbers, the state at its start, and its stages, padded as in a solve. What happens
at its end belongs to it; what happens at the start of the solve, or just after something else, has a step of size 0.
When the tape is full the caller makes it larger, or keeps the state of the solve, from which this part can be recorded
again, and begins another one.
"""

from __future__ import annotations

from typing import Any

from odelib.engines.compiled import explicit, implicit
from odelib.engines.compiled.adjoint.jit import kernel
from odelib.engines.compiled.batch_loop import CONTROLLER, advance_batch, instants_of
from odelib.engines.compiled.simd import WIDTH, address, load, store
from odelib.engines.compiled.step_control import DONE, IMPLICIT, PASSED, RUNNING, STATUS, TIME, WRITTEN
from odelib.engines.switching_times import GAP, INSTANT

# time and size of a step, whether it is one of the implicit method, and how many outputs were written before and after;
# then of what happens at its end: the first entry, the one after the last, and how many outputs were written after it
(
    STEP_TIME, STEP_SIZE, IS_IMPLICIT, FIRST_OUTPUT, LAST_OUTPUT, FIRST_ENTRY, LAST_ENTRY, LAST_AT_INSTANT
) = range(8)  # fmt: skip
HEAD = 8
FINISHED, FULL, FULL_BEFORE, PAUSED = range(4)  # full in the middle of a member, or before one
ALL_STAGES, MAIN_STAGES, STAGES_OF_IMPLICIT = explicit.STAGES, explicit.MAIN, implicit.STAGES
ROWS_BEFORE_STAGES = 4  # of a thread's memory in `advance_batch`


@kernel
def copy_numbers(source: int, size: int, target: int) -> None:
    """Copy `size` numbers, a multiple of WIDTH, from one address to another."""
    for k in range(0, size, WIDTH):
        store(target, k, load(source, k))


@kernel
def first_in_time(instants: Any, times: Any) -> int:
    """The first entry that is not over before the solve."""
    near, first = INSTANT * max(abs(times[0]), abs(times[len(times) - 1])), 0
    while first < len(instants.times) and instants.times[first] < times[0] - near:
        first += 1
    return first


@kernel
def time_before(instants: Any, entry: int, times: Any) -> float:
    """Where the step before an entry ends: see `batch_loop.advance`."""
    instant, end = float(instants.times[entry]), float(times[len(times) - 1])
    gap = GAP * max(abs(times[0]), abs(end))
    return instant - gap if instant + gap < end else end


@kernel
def time_after(instants: Any, entry: int, times: Any) -> float:
    """Where the solve goes on after an entry: see `batch_loop.advance`."""
    instant, end = float(instants.times[entry]), float(times[len(times) - 1])
    scale = max(abs(times[0]), abs(end))
    if instant <= times[0] + INSTANT * scale:
        return float(times[0])
    return instant + GAP * scale if instant + GAP * scale < end else end


@kernel
def record_start(instants: Any, member: int, times: Any, state: Any, counters: Any, row: Any) -> int:
    """Fill a row with what has happened at the start; returns how many rows that takes."""
    if instants is None:
        return 0
    first = first_in_time(instants_of(instants, member), times)
    if counters[PASSED] <= first:
        return 0
    row[:HEAD], row[HEAD : HEAD + len(state)] = 0.0, state
    row[STEP_TIME], row[FIRST_ENTRY], row[LAST_ENTRY] = times[0], first, counters[PASSED]
    row[LAST_AT_INSTANT] = counters[WRITTEN]
    return 1


@kernel
def split_at_instant(instants: Any, member: int, times: Any, counters: Any, row: Any) -> None:
    """Correct a row at whose step's end something has happened: the step's own size, and the outputs within it."""
    if instants is None or row[LAST_ENTRY] == row[FIRST_ENTRY]:
        return
    own, entry, written = instants_of(instants, member), int(row[FIRST_ENTRY]), int(row[FIRST_OUTPUT])
    row[LAST_AT_INSTANT] = len(times) if counters[STATUS] == DONE else row[LAST_OUTPUT]
    size = time_before(own, entry, times) - row[STEP_TIME]
    row[STEP_SIZE] = size if row[STEP_TIME] + size > row[STEP_TIME] else 0.0
    near = INSTANT * max(abs(times[0]), abs(times[len(times) - 1]))
    while written < row[LAST_OUTPUT] and times[written] <= own.times[entry] - near:
        written += 1
    row[LAST_OUTPUT] = written


@kernel
def record(
    first: int, last: int, resumes: bool, starts_implicit: bool, steps: int, method: int, may_switch: bool, rates: int,
    jacobian: int, n: int, rtol: float, limits: Any, is_auto: bool, borders: int, max_steps: int, times: Any,
    before: Any, instants: Any, initial_sensitivities: Any, event_kernels: Any, told: Any, initial_state: Any,
    initial_values: Any, values: Any, unknowns: Any, column_of: Any, kept: Any, counters: Any, scratch: Any,
    states: Any, sensitivities: Any, tape: Any, used: int, begins: Any, ends: Any,
) -> Any:  # fmt: skip
    """Solve the members from `first` to before `last`, one after the other, from row `used` of the tape on.

    Returns the member that is next, how many rows are used, and FINISHED, FULL_BEFORE, or FULL or, after so many steps,
    PAUSED; after these two the next call `resumes` that member. begins, ends (B,): the rows of each member.
    initial_values: what `values` begin as. Else as in `advance_batch`.
    """
    size = (n + WIDTH - 1) // WIDTH * WIDTH
    stages = address(scratch) + 8 * size * ROWS_BEFORE_STAGES
    for b in range(first, last):
        if not (resumes and b == first):
            if used == len(tape):
                return b, used, FULL_BEFORE
            kept[b, :], counters[b, :], values[b, :] = 0.0, 0, initial_values[b]
            counters[b, IMPLICIT] = 1 if starts_implicit else 0
            begins[b] = used
            advance_batch(
                b, b + 1, True, method, may_switch, rates, rates, jacobian, n, 0, rtol, limits, is_auto, borders,
                max_steps, 0, times, before, instants, initial_sensitivities, event_kernels, told,
                initial_state, values, unknowns, column_of, kept,
                counters, scratch, states, sensitivities,
            )  # fmt: skip
            used += record_start(instants, b, times[b % len(times)], initial_state[b], counters[b], tape[used])
        z = address(kept[b]) + 8 * CONTROLLER
        while counters[b, STATUS] == RUNNING:
            ends[b] = used
            if used == len(tape):
                return b, used, FULL
            if steps == 0:
                return b, used, PAUSED
            steps -= 1
            row = tape[used]
            here = address(row) + 8 * HEAD
            row[STEP_TIME], row[IS_IMPLICIT], row[FIRST_OUTPUT] = (
                kept[b, TIME], counters[b, IMPLICIT], counters[b, WRITTEN]
            )  # fmt: skip
            row[FIRST_ENTRY] = counters[b, PASSED]
            copy_numbers(z, 2 * size, here)  # the state, then its rate, which is the first stage
            advance_batch(
                b, b + 1, False, method, may_switch, rates, rates, jacobian, n, 0, rtol, limits, is_auto, borders,
                max_steps, 1, times, before, instants, initial_sensitivities, event_kernels, told,
                initial_state, values, unknowns, column_of, kept,
                counters, scratch, states, sensitivities,
            )  # fmt: skip
            row[LAST_ENTRY] = counters[b, PASSED]
            if kept[b, TIME] > row[STEP_TIME] or row[LAST_ENTRY] > row[FIRST_ENTRY]:
                row[STEP_SIZE], row[LAST_OUTPUT] = kept[b, TIME] - row[STEP_TIME], counters[b, WRITTEN]
                split_at_instant(instants, b, times[b % len(times)], counters[b], row)
                count = STAGES_OF_IMPLICIT if row[IS_IMPLICIT] else MAIN_STAGES[method]
                if row[LAST_OUTPUT] > row[FIRST_OUTPUT] and not row[IS_IMPLICIT]:
                    count = ALL_STAGES[method]
                copy_numbers(stages + 8 * size, size * (count - 1), here + 16 * size)
                used += 1
        ends[b] = used
    return last, used, FINISHED
