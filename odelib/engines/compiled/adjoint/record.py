"""Solving on tape: the loop of plain solves, one step at a time, and what each accepted step was made of.

A row of the tape is a step: `HEAD` numbers, the state at its start, and its stages, padded as in a solve. When the tape
is full the caller makes it larger, or keeps the state of the solve, from which this part can be recorded again, and
begins another one.
"""

from __future__ import annotations

from typing import Any

from odelib.engines.compiled import explicit, implicit
from odelib.engines.compiled.adjoint.jit import kernel
from odelib.engines.compiled.batch_loop import CONTROLLER, advance_batch
from odelib.engines.compiled.simd import WIDTH, address, load, store
from odelib.engines.compiled.step_control import IMPLICIT, RUNNING, STATUS, TIME, WRITTEN

# time and size of a step, whether it is one of the implicit method, and how many outputs were written before and after
STEP_TIME, STEP_SIZE, IS_IMPLICIT, FIRST_OUTPUT, LAST_OUTPUT = range(5)
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
def record(
    first: int, last: int, resumes: bool, starts_implicit: bool, steps: int, method: int, may_switch: bool, rates: int,
    jacobian: int, n: int, rtol: float, limits: Any, is_auto: bool, borders: int, max_steps: int, times: Any,
    initial_state: Any, values: Any, unknowns: Any, column_of: Any, kept: Any, counters: Any, scratch: Any,
    states: Any, sensitivities: Any, tape: Any, used: int, begins: Any, ends: Any,
) -> Any:  # fmt: skip
    """Solve the members from `first` to before `last`, one after the other, from row `used` of the tape on.

    Returns the member that is next, how many rows are used, and FINISHED, FULL_BEFORE, or FULL or, after so many steps,
    PAUSED; after these two the next call `resumes` that member. begins, ends (B,): the rows of each member. Else as in
    `advance_batch`.
    """
    size = (n + WIDTH - 1) // WIDTH * WIDTH
    stages = address(scratch) + 8 * size * ROWS_BEFORE_STAGES
    for b in range(first, last):
        if not (resumes and b == first):
            if used == len(tape):
                return b, used, FULL_BEFORE
            kept[b, :], counters[b, :] = 0.0, 0
            counters[b, IMPLICIT] = 1 if starts_implicit else 0
            begins[b] = used
            advance_batch(
                b, b + 1, True, method, may_switch, rates, rates, jacobian, n, 0, rtol, limits, is_auto, borders,
                max_steps, 0, times, None, None, None, None, None, initial_state, values, unknowns, column_of, kept,
                counters, scratch, states, sensitivities,
            )  # fmt: skip
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
            copy_numbers(z, 2 * size, here)  # the state, then its rate, which is the first stage
            advance_batch(
                b, b + 1, False, method, may_switch, rates, rates, jacobian, n, 0, rtol, limits, is_auto, borders,
                max_steps, 1, times, None, None, None, None, None, initial_state, values, unknowns, column_of, kept,
                counters, scratch, states, sensitivities,
            )  # fmt: skip
            if kept[b, TIME] > row[STEP_TIME]:
                row[STEP_SIZE], row[LAST_OUTPUT] = kept[b, TIME] - row[STEP_TIME], counters[b, WRITTEN]
                count = STAGES_OF_IMPLICIT if row[IS_IMPLICIT] else MAIN_STAGES[method]
                if row[LAST_OUTPUT] > row[FIRST_OUTPUT] and not row[IS_IMPLICIT]:
                    count = ALL_STAGES[method]
                copy_numbers(stages + 8 * size, size * (count - 1), here + 16 * size)
                used += 1
        ends[b] = used
    return last, used, FINISHED
