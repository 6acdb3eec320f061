"""Solves of several members by one compiled loop: each with its own steps, method and status.

A single trajectory is a batch of one. The loop returns after a number of steps and can be called again: between two
calls Python looks whether somebody asked to stop. All memory is the caller's; no lock of Python's is held, and several
threads may each take their own range of members.
"""

from __future__ import annotations

import math
from collections import namedtuple
from typing import Any

import numpy as np

from odelib.engines.compiled import explicit, implicit
from odelib.engines.compiled.simd import WIDTH, address, number, padded
from odelib.engines.compiled.stage_sums import METHODS
from odelib.engines.compiled.step_control import (
    BROKEN,
    CALM,
    DONE,
    GROW,
    GROWTH,
    IMPLICIT,
    JUMPED,
    LAST_ERROR,
    LIMITED,
    MAX_STEPS,
    MIN_ERROR,
    NOT_FINITE,
    RUNNING,
    STATUS,
    STEP,
    STEP_TOO_SMALL,
    STEPS,
    TIME,
    USED,
    USED_EXPLICIT,
    USED_IMPLICIT,
    WRITTEN,
    Equations,
    Outputs,
    Tolerances,
    accepted,
    copy,
    first_step,
    kernel,
    part,
    prepare,
    slopes,
    write_row,
)

MIN_ATOL = 1e-300  # what pads a row has no error, and must not ask for none
GAP = 2.0**-50  # on either side of a jump, in units of the latest time: a few of its roundings
CLOCK = WIDTH  # numbers of a member's memory that are its `clock`
# by the method's place in METHODS
ORDERS = np.array([tableau.order for tableau in METHODS])
ERROR_ORDERS = np.array([tableau.error_order for tableau in METHODS])
MAIN = np.array([tableau.main for tableau in METHODS])
MAX_STAGES = max(len(tableau.c) for tableau in METHODS)

# Addresses of the solution and its rate, which last, and of what is of use within a step alone.
Memory = namedtuple("Memory", "z rate trial before error spare stages newton")

explicit_attempt, explicit_outputs, is_stiff = explicit.attempt, explicit.write_outputs, explicit.is_stiff
implicit_attempt, implicit_outputs, is_calm = implicit.attempt, implicit.write_outputs, implicit.is_calm
IMPLICIT_METHOD, newton_size = implicit.METHOD, implicit.newton_size


def member_size(n: int, m: int) -> int:
    """How many numbers of memory a member needs as long as it is solved."""
    start, width = padded(n), padded(m)
    return CLOCK + width + 2 * (start + n * width)


def scratch_size(n: int, m: int, work: int) -> int:
    """How many numbers of memory a thread needs."""
    return (4 + MAX_STAGES) * (padded(n) + n * padded(m)) + implicit.newton_size(n) + work


@kernel
def write_up_to(time: float, equations: Any, z: int, times: Any, count: Any, outputs: Any) -> None:
    """Write the solution itself to the outputs up to this time."""
    while count[WRITTEN] < len(times) and times[count[WRITTEN]] <= time:
        write_row(equations, z, outputs, count[WRITTEN])
        count[WRITTEN] += 1


@kernel
def start(
    method: int, equations: Any, tolerances: Any, memory: Any, times: Any, clock: Any, count: Any, outputs: Any
) -> int:
    """Write the outputs at the first time, and choose the first step; returns RUNNING, DONE or NOT_FINITE."""
    write_up_to(times[0], equations, memory.z, times, count, outputs)
    if count[WRITTEN] == len(times):
        return DONE
    t, span = times[0], times[len(times) - 1] - times[0]
    slopes(equations, t, memory.z, memory.rate)
    order = ORDERS[IMPLICIT_METHOD if count[IMPLICIT] else method]
    step = first_step(equations, tolerances, order, t, span, memory.z, memory.rate, memory.trial, memory.error)
    clock[TIME], clock[STEP], clock[LAST_ERROR], clock[GROWTH] = t, step, MIN_ERROR, GROW
    for k in range(equations.size):
        if not math.isfinite(number(memory.rate, k)):
            return NOT_FINITE
    return RUNNING


@kernel
def advance(
    method: int, may_switch: bool, equations: Any, tolerances: Any, memory: Any, max_steps: int,
    pause: int, times: Any, jumps: Any, clock: Any, count: Any, outputs: Any,
) -> int:  # fmt: skip
    """Solve on, for at most `pause` steps; returns RUNNING, DONE or why it cannot go on.

    A step ends just before each of the jumps, and the next one begins just behind it.

    With `may_switch` the implicit method takes over where the explicit one's steps are limited by stability, and hands
    back where an explicit one could have taken its steps.
    """
    end, size = times[len(times) - 1], equations.size
    gap = GAP * max(abs(times[0]), abs(end))
    copy(memory.rate, size, memory.stages)
    for _ in range(pause):
        if count[STEPS] >= max_steps:
            return MAX_STEPS
        count[STEPS] += 1
        t, h = clock[TIME], clock[STEP]
        jump = next_jump(jumps, t + gap, count)
        border = jump - gap if jump + gap < end else end
        is_at_border = t + 1.01 * h >= border
        is_last, is_at_jump = is_at_border and border == end, is_at_border and border < end
        h = border - t if is_at_border else h
        reached = jump + gap if is_at_jump else (end if is_last else t + h)
        if not t + h > t:
            return NOT_FINITE if count[BROKEN] else STEP_TOO_SMALL
        norm, norm_of_jacobian = attempt(method, equations, tolerances, memory, t, h, count)
        if not accepted(norm, ERROR_ORDERS[IMPLICIT_METHOD if count[IMPLICIT] else method], h, clock, count):
            continue
        last_stage = MAIN[IMPLICIT_METHOD if count[IMPLICIT] else method] - 1
        changes = may_switch and other_suits(method, equations, memory, norm_of_jacobian, h, count)
        inside = min(reached, border)
        if times[count[WRITTEN]] <= inside:
            write_outputs(method, equations, memory, t, h, inside, times, count, outputs)
        clock[TIME] = reached
        copy(memory.trial, size, memory.z)
        if is_at_jump:
            pass_jump(equations, memory, reached, times, count, outputs)
        else:
            copy(memory.stages + 8 * size * last_stage, size, memory.stages)
        if is_last:
            write_end(equations, memory.z, times, outputs)
            return DONE
        if changes:
            switch(clock, count)
    copy(memory.stages, size, memory.rate)
    return RUNNING


@part
def next_jump(jumps: Any, after: float, count: Any) -> float:
    """The first of the jumps after this time; infinity if there is none."""
    while count[JUMPED] < len(jumps) and jumps[count[JUMPED]] <= after:
        count[JUMPED] += 1
    return jumps[count[JUMPED]] if count[JUMPED] < len(jumps) else math.inf


@part
def attempt(method: int, equations: Any, tolerances: Any, memory: Any, t: float, h: float, count: Any) -> Any:
    """A step of the method at work: its squared error, and ‖J‖ where that is known."""
    if count[IMPLICIT]:
        count[USED] |= USED_IMPLICIT
        return implicit_attempt(equations, tolerances, memory, t, h)
    count[USED] |= USED_EXPLICIT
    return explicit_attempt(method, equations, tolerances, memory, t, h), 0.0


@part
def other_suits(method: int, equations: Any, memory: Any, norm_of_jacobian: float, h: float, count: Any) -> bool:
    """Whether the method that is not at work is the better one by now."""
    if count[IMPLICIT]:
        return is_calm(norm_of_jacobian, h, count)
    return is_stiff(method, equations, memory, h, count)


@kernel
def write_outputs(
    method: int, equations: Any, memory: Any, t: float, h: float, reached: float, times: Any, count: Any,
    outputs: Any,
) -> None:  # fmt: skip
    """Fill in the outputs up to the end of an accepted step."""
    w = count[WRITTEN]
    if count[IMPLICIT]:
        count[WRITTEN] = implicit_outputs(equations, memory, t, h, reached, times, w, outputs)
    else:
        count[WRITTEN] = explicit_outputs(method, equations, memory, t, h, reached, times, w, outputs)


@kernel
def pass_jump(equations: Any, memory: Any, behind: float, times: Any, count: Any, outputs: Any) -> None:
    """Write the outputs at the jump itself, and have the next step begin with the rate behind it."""
    write_up_to(behind, equations, memory.z, times, count, outputs)
    slopes(equations, behind, memory.z, memory.stages)


@kernel
def write_end(equations: Any, z: int, times: Any, outputs: Any) -> None:
    """Write the outputs at the last time: the solution itself, not what the interpolant makes of it."""
    row = len(times) - 1
    while row >= 0 and times[row] >= times[len(times) - 1]:
        write_row(equations, z, outputs, row)
        row -= 1


@kernel
def switch(clock: Any, count: Any) -> None:
    """The other method goes on with a cautious step, from the rate that both have as their first stage."""
    count[IMPLICIT] = 1 - count[IMPLICIT]
    count[CALM] = count[LIMITED] = 0
    clock[STEP] *= 0.5
    clock[LAST_ERROR] = MIN_ERROR


@kernel
def advance_members(
    first: int, last: int, begin: bool, method: int, may_switch: bool, rates: int, both: int, jacobian: int, n: int,
    m: int, rtol: float, atol: float, max_steps: int, pause: int, times: Any, jumps: Any, initial_state: Any,
    values: Any, columns: Any, column: Any, kept: Any, count: Any, scratch: Any, states: Any, sensitivities: Any,
) -> Any:  # fmt: skip
    """Carry on with the members from `first` to before `last` that are still running, `pause` steps each.

    Returns how many of them still run then, how many have failed, and the methods used (bits).
    begin: whether they are to be started first. times: (B, T), or (1, T), shared. jumps: (B, K), or (1, K), in order;
    see `odelib.engines.discontinuities`. initial_state: (B, n). values: (B, p + constants). columns, column: see
    `step_control.prepare` and `codegen`. kept: (B, member_size), count: (B, COUNTS), scratch: (scratch_size,), all zero
    at the start. states: (B, T, n), sensitivities: (B, T, n, m).
    """
    start_of, width = (n + WIDTH - 1) // WIDTH * WIDTH, (m + WIDTH - 1) // WIDTH * WIDTH
    size = start_of + n * width
    row = 8 * size  # bytes
    trial = address(scratch)
    stages = trial + 4 * row
    newton = stages + MAX_STAGES * row
    work = newton + 8 * newton_size(n)
    running, failed, used = 0, 0, 0
    for b in range(first, last):
        if count[b, STATUS] == RUNNING:
            own, clock, own_times = address(kept[b]), kept[b, :CLOCK], times[b % len(times)]
            floors, z = own + 8 * CLOCK, own + 8 * (CLOCK + width)
            memory = Memory(z, z + row, trial, trial + row, trial + 2 * row, trial + 3 * row, stages, newton)
            q = address(values[b])
            equations = Equations(rates, both, jacobian, q, address(column), work, n, start_of, width, size)
            tolerances = Tolerances(rtol, max(atol, MIN_ATOL), floors)
            outputs = Outputs(address(states[b]), address(sensitivities[b]), m)
            if begin:
                prepare(equations, m, initial_state[b], values[b], columns, tolerances.atol, z, floors)
                count[b, STATUS] = start(method, equations, tolerances, memory, own_times, clock, count[b], outputs)
        if count[b, STATUS] == RUNNING:
            count[b, STATUS] = advance(
                method, may_switch, equations, tolerances, memory, max_steps, pause, own_times,
                jumps[b % len(jumps)], clock, count[b], outputs,
            )  # fmt: skip
        running += 1 if count[b, STATUS] == RUNNING else 0
        failed += 1 if count[b, STATUS] > DONE else 0
        used |= count[b, USED]
    return running, failed, used
