"""The loop over steps, for a batch of members: each has its own steps, method and status.

A single trajectory is a batch of one. The loop returns after some steps and is called again, so that Python can check
the stop flag in between. All memory is the caller's. The GIL is released: several threads may each solve their own
range of members.
"""

from __future__ import annotations

import math
from collections import namedtuple
from typing import Any

import numpy as np

from odelib.engines.compiled import explicit, implicit
from odelib.engines.compiled.jit import inline_kernel, kernel
from odelib.engines.compiled.sensitivity_jumps import Discontinuities, jump, jump_near
from odelib.engines.compiled.simd import WIDTH, address, load_scalar, padded
from odelib.engines.compiled.step_control import (
    DONE,
    IMPLICIT,
    LAST_NOT_FINITE,
    LOG_LAST_ERROR,
    MAX_FACTOR,
    MAX_GROWTH,
    MAX_STEPS,
    MAX_WITHOUT_VALUE,
    MIN_LOG_ERROR,
    NEXT_UPDATE,
    NONSTIFF,
    NOT_FINITE,
    PASSED,
    RUNNING,
    STABILITY_LIMITED,
    STATUS,
    STEP,
    STEP_TOO_SMALL,
    STEPS,
    TIME,
    USED,
    USED_EXPLICIT,
    USED_IMPLICIT,
    WITHOUT_VALUE,
    WRITTEN,
    Equations,
    Outputs,
    accept_step,
    copy,
    derivatives,
    first_step,
    initialise,
    write_row,
)
from odelib.engines.compiled.tolerances import (
    Tolerances,
    allow_inherited_errors,
    initialise_tolerances,
    mark_what_begins_at_zero,
    tolerances_follow,
    update_tolerances,
)
from odelib.engines.switching_times import GAP
from odelib.engines.tableaus.registry import METHODS

CONTROLLER = 2 * WIDTH  # numbers of a member's memory that are its `controller`
# by the method's index in METHODS
ORDERS = np.array([tableau.order for tableau in METHODS])
ERROR_ORDERS = np.array([tableau.error_order for tableau in METHODS])
MAIN = np.array([tableau.main for tableau in METHODS])
MAX_STAGES = max(len(tableau.c) for tableau in METHODS)

# Addresses of rows: the solution z and its rate, kept between calls; the others are used within a step only.
Memory = namedtuple("Memory", "z rate trial buffer error spare stages newton")

explicit_step, explicit_dense_outputs, is_stiff = explicit.try_step, explicit.write_dense_outputs, explicit.is_stiff
implicit_step, implicit_dense_outputs, is_nonstiff = (
    implicit.try_step,
    implicit.write_dense_outputs,
    implicit.is_nonstiff,
)
IMPLICIT_METHOD, newton_size, newton_views = implicit.METHOD, implicit.newton_size, implicit.newton_views


def member_size(n: int, m: int) -> int:
    """How many numbers of memory a member takes while it is solved."""
    start, width = padded(n), padded(m)
    return CONTROLLER + width + 5 * (start + n * width)


def state_of(kept: Any, n: int, m: int) -> Any:
    """The state (n,) at a member's time, a view of its memory."""
    first = CONTROLLER + padded(m)
    return kept[first : first + n]


def scratch_size(n: int, m: int, work: int) -> int:
    """How many numbers of memory a thread takes."""
    return (4 + MAX_STAGES) * (padded(n) + n * padded(m)) + implicit.newton_size(n) + work


@kernel
def write_outputs_until(time: float, equations: Any, z: int, times: Any, counters: Any, outputs: Any) -> None:
    """Write the solution itself to the outputs up to this time."""
    while counters[WRITTEN] < len(times) and times[counters[WRITTEN]] <= time:
        write_row(equations, z, outputs, counters[WRITTEN])
        counters[WRITTEN] += 1


@kernel
def start(
    method: int, equations: Any, tolerances: Any, memory: Any, times: Any, discontinuities: Any, controller: Any,
    counters: Any, outputs: Any,
) -> int:  # fmt: skip
    """Write the outputs at the first time and choose the first step; returns RUNNING, DONE or NOT_FINITE."""
    write_outputs_until(times[0], equations, memory.z, times, counters, outputs)
    if counters[WRITTEN] == len(times):
        return DONE
    if len(discontinuities.times) > 0:  # a discontinuity at the start has a one-sided derivative: see below
        gap = GAP * max(abs(times[0]), abs(times[len(times) - 1]))
        jump_near(equations, discontinuities, times[0], gap, 0.5, memory.z, memory.trial, memory.error)
    t, span = times[0], times[len(times) - 1] - times[0]
    derivatives(equations, t, memory.z, memory.rate)
    order = ORDERS[IMPLICIT_METHOD if counters[IMPLICIT] else method]
    step = first_step(equations, tolerances, order, t, span, memory.z, memory.rate, memory.trial, memory.error)
    controller[TIME], controller[STEP] = t, step
    controller[LOG_LAST_ERROR], controller[MAX_GROWTH] = MIN_LOG_ERROR, MAX_FACTOR
    mark_what_begins_at_zero(equations, tolerances, memory.z, memory.rate)
    controller[NEXT_UPDATE] = t
    follow_sizes(equations, tolerances, memory, t, t, controller)
    for k in range(equations.size):
        if not math.isfinite(load_scalar(memory.rate, k)):
            return NOT_FINITE
    return RUNNING


@kernel
def advance(
    method: int, may_switch: bool, equations: Any, tolerances: Any, memory: Any, max_steps: int,
    steps_per_call: int, times: Any, discontinuities: Any, controller: Any, counters: Any, outputs: Any,
) -> int:  # fmt: skip
    """Take at most `steps_per_call` steps; returns RUNNING, DONE or why the solve failed.

    A step ends just before each discontinuity, and the next one begins just after it: a step across would lose the
    method's order, or miss a short input altogether.

    With `may_switch` the implicit method takes over once stability limits the explicit one's steps, and hands back once
    an explicit method could take its steps (Petzold, SIAM J. Sci. Stat. Comput. 4, 1983).
    """
    end, size = times[len(times) - 1], equations.size
    gap = GAP * max(abs(times[0]), abs(end))
    copy(memory.rate, size, memory.stages)
    for _ in range(steps_per_call):
        if counters[STEPS] >= max_steps:
            return MAX_STEPS
        counters[STEPS] += 1
        t, h = controller[TIME], controller[STEP]
        discontinuity = next_discontinuity(discontinuities.times, t + gap, counters)
        target = discontinuity - gap if discontinuity + gap < end else end
        reaches_target = t + 1.01 * h >= target  # rather a slightly longer step than a tiny one after it
        is_last, reaches_discontinuity = reaches_target and target == end, reaches_target and target < end
        h = target - t if reaches_target else h
        reached = discontinuity + gap if reaches_discontinuity else (end if is_last else t + h)
        if not t + h > t or counters[WITHOUT_VALUE] > MAX_WITHOUT_VALUE:
            return NOT_FINITE if counters[LAST_NOT_FINITE] else STEP_TOO_SMALL
        norm, norm_of_jacobian = try_step(method, equations, tolerances, memory, t, h, counters)
        error_order = ERROR_ORDERS[IMPLICIT_METHOD if counters[IMPLICIT] else method]
        if not accept_step(norm, error_order, h, end - times[0], controller, counters):
            continue
        last_stage = MAIN[IMPLICIT_METHOD if counters[IMPLICIT] else method] - 1
        switches = may_switch and other_method_suits(
            method, equations, tolerances, memory, norm_of_jacobian, h, counters
        )
        step_end = min(reached, target)
        if times[counters[WRITTEN]] <= step_end:
            write_dense_outputs(method, equations, memory, t, h, step_end, times, counters, outputs)
        controller[TIME] = reached
        copy(memory.trial, size, memory.z)
        follow_sizes(equations, tolerances, memory, reached, times[0], controller)
        if reaches_discontinuity:
            pass_discontinuity(equations, memory, discontinuities, gap, reached, times, counters, outputs)
        else:  # first same as last (FSAL)
            copy(memory.stages + 8 * size * last_stage, size, memory.stages)
        if is_last:
            if len(discontinuities.times) > 0:
                jump_near(equations, discontinuities, end, gap, 0.5, memory.z, memory.trial, memory.error)
            write_final_outputs(equations, memory.z, times, outputs)
            return DONE
        if switches:
            switch_method(controller, counters)
    copy(memory.stages, size, memory.rate)
    return RUNNING


@kernel
def follow_sizes(equations: Any, tolerances: Any, memory: Any, t: float, start: float, controller: Any) -> None:
    """Update the absolute tolerances at a new point; `allow_inherited_errors` when the time elapsed has doubled."""
    if not tolerances.follow:
        return
    update_tolerances(equations, tolerances, memory.z)
    if t >= controller[NEXT_UPDATE]:
        newton = newton_views(equations, memory)
        elapsed = t - start + controller[STEP]
        allow_inherited_errors(equations, tolerances, t, elapsed, memory.z, newton.matrix, newton.weights)
        controller[NEXT_UPDATE] = t + elapsed


@inline_kernel
def next_discontinuity(discontinuities: Any, after: float, counters: Any) -> float:
    """The first discontinuity after this time; infinity if there is none."""
    while counters[PASSED] < len(discontinuities) and discontinuities[counters[PASSED]] <= after:
        counters[PASSED] += 1
    return discontinuities[counters[PASSED]] if counters[PASSED] < len(discontinuities) else math.inf


@inline_kernel
def try_step(method: int, equations: Any, tolerances: Any, memory: Any, t: float, h: float, counters: Any) -> Any:
    """Compute a step by the active method; returns its squared error norm, and ‖J‖∞ where that is known, else 0."""
    if counters[IMPLICIT]:
        counters[USED] |= USED_IMPLICIT
        return implicit_step(equations, tolerances, memory, t, h)
    counters[USED] |= USED_EXPLICIT
    return explicit_step(method, equations, tolerances, memory, t, h), 0.0


@inline_kernel
def other_method_suits(
    method: int, equations: Any, tolerances: Any, memory: Any, norm_of_jacobian: float, h: float, counters: Any
) -> bool:
    """Stiffness detection in both directions: whether the method that is not active is now the better one."""
    if counters[IMPLICIT]:
        return is_nonstiff(norm_of_jacobian, h, counters)
    return is_stiff(method, equations, tolerances, memory, h, counters)


@kernel
def write_dense_outputs(
    method: int, equations: Any, memory: Any, t: float, h: float, step_end: float, times: Any, counters: Any,
    outputs: Any,
) -> None:  # fmt: skip
    """Write the outputs within an accepted step."""
    w = counters[WRITTEN]
    if counters[IMPLICIT]:
        counters[WRITTEN] = implicit_dense_outputs(equations, memory, t, h, step_end, times, w, outputs)
    else:
        counters[WRITTEN] = explicit_dense_outputs(method, equations, memory, t, h, step_end, times, w, outputs)


@kernel
def pass_discontinuity(
    equations: Any, memory: Any, discontinuities: Any, gap: float, after: float, times: Any, counters: Any,
    outputs: Any,
) -> None:  # fmt: skip
    """Let the sensitivities jump, write the outputs at the discontinuity, and compute the rate just after it.

    At the very time of a discontinuity that parameters move, the derivatives are one-sided: an earlier one has already
    changed the state, a later one has not yet. The outputs there get the mean, as a central difference does.
    """
    first = last = counters[PASSED]
    while last < len(discontinuities.times) and discontinuities.times[last] <= after + gap:
        last += 1
    if times[min(counters[WRITTEN], len(times) - 1)] <= after:
        jump(equations, discontinuities, first, last, gap, 0.5, memory.z, memory.trial, memory.error)
        write_outputs_until(after, equations, memory.z, times, counters, outputs)
        jump(equations, discontinuities, first, last, gap, 0.5, memory.z, memory.trial, memory.error)
    else:
        jump(equations, discontinuities, first, last, gap, 1.0, memory.z, memory.trial, memory.error)
    derivatives(equations, after, memory.z, memory.stages)


@kernel
def write_final_outputs(equations: Any, z: int, times: Any, outputs: Any) -> None:
    """Write the outputs at the last time: the solution itself, free of the interpolant's rounding."""
    row = len(times) - 1
    while row >= 0 and times[row] >= times[len(times) - 1]:
        write_row(equations, z, outputs, row)
        row -= 1


@kernel
def switch_method(controller: Any, counters: Any) -> None:
    """Hand over to the other method, with half the step; both take the same rate as their first stage."""
    counters[IMPLICIT] = 1 - counters[IMPLICIT]
    counters[NONSTIFF] = counters[STABILITY_LIMITED] = 0
    controller[STEP] *= 0.5
    controller[LOG_LAST_ERROR] = MIN_LOG_ERROR


@kernel
def advance_batch(
    first: int, last: int, begin: bool, method: int, may_switch: bool, rates: int, rates_with_sensitivities: int,
    jacobian: int, n: int, m: int, rtol: float, limits: Any, is_auto: bool, borders: int,
    max_steps: int, steps_per_call: int, times: Any, discontinuity_times: Any, shifts: Any, time_jacobian: Any,
    initial_state: Any, values: Any, unknowns: Any, column_of: Any, kept: Any, counters: Any, scratch: Any, states: Any,
    sensitivities: Any,
) -> Any:  # fmt: skip
    """Take `steps_per_call` steps of each running member from `first` to before `last`.

    Returns how many are still running, how many have failed, and the methods used (bits).
    limits, (n,), is_auto: see `tolerances.Tolerances`. borders: the place in `values` of the states' tolerances at
    borders, 0 if there are none.
    begin: start the members first. rates, rates_with_sensitivities, jacobian: addresses of the generated kernels.
    times: (B, T), or (1, T), shared. discontinuity_times, shifts: (B, K), or (1, K), shared; time_jacobian: the same
    with a third axis of m or 0; see `sensitivity_jumps.Discontinuities`. initial_state: (B, n). values: (B, p +
    constants + shifts). unknowns, column_of: see `step_control.initialise` and `codegen`. kept: (B, member_size),
    counters: (B, COUNTERS), scratch: (scratch_size,), all zero at first. states: (B, T, n), sensitivities: (B, T, n,
    m).
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
        if counters[b, STATUS] == RUNNING:
            own, controller, own_times = address(kept[b]), kept[b, :CONTROLLER], times[b % len(times)]
            magnitudes = own + 8 * CONTROLLER
            z = magnitudes + 8 * width
            memory = Memory(z, z + row, trial, trial + row, trial + 2 * row, trial + 3 * row, stages, newton)
            q = address(values[b])
            equations = Equations(
                rates, rates_with_sensitivities, jacobian, q, address(column_of), work, n, start_of, width, size,
                q + 8 * borders if borders > 0 else 0,
            )  # fmt: skip
            if begin:
                initialise(equations, m, initial_state[b], values[b], unknowns, z, magnitudes)
            follow, span = tolerances_follow(is_auto, m, magnitudes), own_times[len(own_times) - 1] - own_times[0]
            tolerances = Tolerances(
                rtol, address(limits), is_auto, follow, span, z + 2 * row, z + 3 * row, z + 4 * row, magnitudes
            )  # fmt: skip
            outputs = Outputs(address(states[b]), address(sensitivities[b]), m)
            place = b % len(discontinuity_times)
            discontinuities = Discontinuities(discontinuity_times[place], shifts[place], time_jacobian[place])
            if begin:
                initialise_tolerances(equations, tolerances, z)
                counters[b, STATUS] = start(
                    method, equations, tolerances, memory, own_times, discontinuities, controller, counters[b],
                    outputs,
                )  # fmt: skip
        if counters[b, STATUS] == RUNNING:
            counters[b, STATUS] = advance(
                method, may_switch, equations, tolerances, memory, max_steps, steps_per_call, own_times,
                discontinuities, controller, counters[b], outputs,
            )  # fmt: skip
        running += 1 if counters[b, STATUS] == RUNNING else 0
        failed += 1 if counters[b, STATUS] > DONE else 0
        used |= counters[b, USED]
    return running, failed, used
