"""The loop over steps, for a batch of members: each has its own steps, method and status.

A single trajectory is a batch of one. The loop returns after some steps and is called again, so that Python can check
the stop flag in between. All memory is the caller's. The GIL is released: several threads may each solve their own
range of members.

Numba compiles the loop twice from this text: with `None` for the instants of a schedule and for events, it leaves out
all that is only for these, from a step of a plain solve and from the time that a call takes.
"""

from __future__ import annotations

import math
from collections import namedtuple
from typing import Any

import numpy as np

from odelib.engines.compiled import explicit, implicit
from odelib.engines.compiled.event_location import NO_EVENT, UNRESOLVED, first_crossing
from odelib.engines.compiled.events import POINTS, begin_events, evaluate, evaluate_slopes, events_of
from odelib.engines.compiled.instants import pass_instant
from odelib.engines.compiled.jit import inline_kernel, kernel
from odelib.engines.compiled.sensitivity_jumps import Instants
from odelib.engines.compiled.simd import (
    WIDTH,
    address,
    load,
    load_scalar,
    multiply_add,
    padded,
    store,
    store_scalar,
)
from odelib.engines.compiled.step_control import (
    DONE,
    ENDLESS_EVENTS,
    EVENT_STEP,
    EVENT_TIME,
    GRAZING_RATE,
    IMPLICIT,
    LAST_EVENT,
    LAST_NOT_FINITE,
    LOCATED,
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
    RETAKEN,
    RUNNING,
    SINCE,
    STABILITY_LIMITED,
    STATUS,
    STEP,
    STEP_TOO_SMALL,
    STEPS,
    STOPPED,
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
    start_anew,
    tolerances_follow,
    update_tolerances,
)
from odelib.engines.switching_times import GAP, GRAZING, INSTANT
from odelib.engines.tableaus.registry import METHODS

CONTROLLER = 3 * WIDTH  # numbers of a member's memory that are its `controller`
# by the method's index in METHODS
ORDERS = np.array([tableau.order for tableau in METHODS])
ERROR_ORDERS = np.array([tableau.error_order for tableau in METHODS])
MAIN = np.array([tableau.main for tableau in METHODS])
RETAKES = 5  # of a step, to end it at an event
MAX_STAGES = max(len(tableau.c) for tableau in METHODS)

# Addresses of rows: the solution z and its rate, kept between calls; the others are used within a step only.
Memory = namedtuple("Memory", "z rate trial buffer error spare stages newton")

explicit_step, explicit_dense_outputs, is_stiff = explicit.try_step, explicit.write_dense_outputs, explicit.is_stiff
complete_stages = explicit.complete_stages
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


def tolerances_of(kept: Any, n: int, m: int) -> Any:
    """The absolute tolerances of the states of each member, (B, n), a view of their memory, (B, member_size)."""
    first = CONTROLLER + padded(m) + 2 * (padded(n) + n * padded(m))  # after the solution and its rate
    return kept[:, first : first + n]


def scratch_size(n: int, m: int, work: int, targets: int, events: int) -> int:
    """How many numbers of memory a thread takes. targets: the numbers of a reset's rows."""
    rows = (4 + MAX_STAGES) * (padded(n) + n * padded(m))
    return rows + implicit.newton_size(n) + padded(m) + targets + events * (2 * POINTS + 7) + work


@kernel
def write_outputs_until(time: float, equations: Any, z: int, times: Any, counters: Any, outputs: Any) -> None:
    """Write the solution itself to the outputs up to this time."""
    while counters[WRITTEN] < len(times) and times[counters[WRITTEN]] <= time:
        write_row(equations, z, outputs, counters[WRITTEN])
        counters[WRITTEN] += 1


@kernel
def start(
    method: int, equations: Any, tolerances: Any, memory: Any, times: Any, instants: Any, events: Any, before: Any,
    controller: Any, counters: Any, outputs: Any,
) -> int:  # fmt: skip
    """Let happen what happens at the first time, write the outputs there, and choose the first step.

    Returns RUNNING, DONE or why the solve failed.
    """
    t, span = times[0], times[len(times) - 1] - times[0]
    near = INSTANT * max(abs(t), abs(times[len(times) - 1]))
    controller[TIME] = controller[NEXT_UPDATE] = controller[SINCE] = t
    controller[EVENT_TIME] = -math.inf
    status = happen_at_start(equations, memory, instants, events, t, near, times, before, controller, counters, outputs)
    if status != RUNNING:
        return status
    write_outputs_until(t, equations, memory.z, times, counters, outputs)
    if counters[WRITTEN] == len(times):
        return DONE
    derivatives(equations, t, memory.z, memory.rate)
    order = ORDERS[IMPLICIT_METHOD if counters[IMPLICIT] else method]
    step = first_step(equations, tolerances, order, t, span, memory.z, memory.rate, memory.trial, memory.error)
    controller[STEP] = step
    controller[LOG_LAST_ERROR], controller[MAX_GROWTH] = MIN_LOG_ERROR, MAX_FACTOR
    mark_what_begins_at_zero(equations, tolerances, memory.z, memory.rate)
    follow_sizes(equations, tolerances, memory, t, memory.rate, controller)
    for k in range(equations.size):
        if not math.isfinite(load_scalar(memory.rate, k)):
            return NOT_FINITE
    return RUNNING


@kernel
def happen_at_start(
    equations: Any, memory: Any, instants: Any, events: Any, t: float, near: float, times: Any, before: Any,
    controller: Any, counters: Any, outputs: Any,
) -> int:  # fmt: skip
    """Let happen what happens at the first time; what the schedule has before it is over. Returns as `let_happen`."""
    if instants is None:
        return RUNNING
    while counters[PASSED] < len(instants.times) and instants.times[counters[PASSED]] < t - near:
        counters[PASSED] += 1
    if len(events.table) > 0:
        begin_events(equations, events, t, near, memory.z, memory.trial, counters)
    elif not next_instant(instants, counters) <= t + near:
        return RUNNING
    return let_happen(
        equations, memory, instants, events, t, t, counters[LOCATED] - 1, times, before, controller, counters, outputs
    )


@kernel
def advance(  # noqa: C901, PLR0912, PLR0915  calls that take arrays would cost a step a third of its time
    method: int, may_switch: bool, equations: Any, tolerances: Any, memory: Any, max_steps: int,
    steps_per_call: int, times: Any, instants: Any, events: Any, before: Any, controller: Any, counters: Any,
    outputs: Any,
) -> int:  # fmt: skip
    """Take at most `steps_per_call` steps; returns RUNNING, DONE or why the solve failed.

    A step ends just before each instant of the schedule, and the next one begins just after it: a step across would
    lose the method's order, or miss a short input altogether. Where a condition becomes true within a step, the step is
    taken again to end there.

    With `may_switch` the implicit method takes over once stability limits the explicit one's steps, and hands back once
    an explicit method could take its steps (Petzold, SIAM J. Sci. Stat. Comput. 4, 1983).
    """
    end, size = times[len(times) - 1], equations.size
    scale, span = max(abs(times[0]), abs(end)), end - times[0]
    gap, near = GAP * scale, INSTANT * scale
    instant = next_instant(instants, counters)
    copy(memory.rate, size, memory.stages)
    for _ in range(steps_per_call):
        if counters[STEPS] >= max_steps:
            return MAX_STEPS
        counters[STEPS] += 1
        t, h = controller[TIME], controller[STEP]
        target = instant - gap if instant + gap < end else end
        reaches_target = t + 1.01 * h >= target  # rather a slightly longer step than a tiny one after it
        is_last, happens = reaches_target and target == end, reaches_target and instant <= end + near
        h = target - t if reaches_target else h
        reached = end if is_last else (instant + gap if happens else t + h)
        located, switches = located_event(events, counters), False
        if located >= 0:  # the step is taken again, to end at an event
            h = controller[EVENT_STEP]
            is_last, happens, reached = False, True, t + h
        moves = t + h > t  # two instants may follow each other without a step between
        if (not moves and not happens) or counters[WITHOUT_VALUE] > MAX_WITHOUT_VALUE:
            return NOT_FINITE if counters[LAST_NOT_FINITE] else STEP_TOO_SMALL
        active = IMPLICIT_METHOD if counters[IMPLICIT] else method
        if moves:
            norm, norm_of_jacobian = try_step(method, equations, tolerances, memory, t, h, counters)
            if located >= 0:
                if not ends_at_event(method, equations, tolerances, memory, events, t, h, norm, controller, counters):
                    continue
                reached = t + controller[EVENT_STEP]
            elif not accept_step(norm, ERROR_ORDERS[active], h, span, controller, counters):
                continue
            else:
                switches = may_switch and other_method_suits(
                    method, equations, tolerances, memory, norm_of_jacobian, h, counters
                )
                ending = t + h if happens else reached
                found = locate_event(method, equations, tolerances, memory, events, t, h, ending, controller, counters)
                if found == UNRESOLVED:
                    return ENDLESS_EVENTS
                if found != NO_EVENT:
                    continue
            until = (reached if located >= 0 else instant) - near if happens else reached
            if times[counters[WRITTEN]] <= until:
                write_dense_outputs(method, equations, memory, t, h, until, times, counters, outputs)
            copy(memory.trial, size, memory.z)
        controller[TIME] = reached
        if happens:
            status = let_happen(
                equations, memory, instants, events, reached if located >= 0 else instant, reached, located, times,
                before, controller, counters, outputs,
            )  # fmt: skip
            if status != RUNNING:
                return status
            instant = next_instant(instants, counters)
            if tolerances.follow and start_anew(equations, tolerances, memory.z):
                controller[SINCE] = controller[NEXT_UPDATE] = reached
        else:  # first same as last (FSAL)
            copy(memory.stages + 8 * size * (MAIN[active] - 1), size, memory.stages)
        follow_sizes(equations, tolerances, memory, reached, memory.stages, controller)
        if is_last:
            write_final_outputs(equations, memory.z, times, outputs)
            return DONE
        if switches:
            switch_method(controller, counters)
    copy(memory.stages, size, memory.rate)
    return RUNNING


@inline_kernel
def next_instant(instants: Any, counters: Any) -> float:
    """The time of the next entry of the schedule, or infinity."""
    if instants is None:
        return math.inf
    return instants.times[counters[PASSED]] if counters[PASSED] < len(instants.times) else math.inf


@inline_kernel
def located_event(events: Any, counters: Any) -> int:
    """The event at which the next step is to end, or −1."""
    if events is None:
        return -1
    return int(counters[LOCATED] - 1)


@kernel
def let_happen(
    equations: Any, memory: Any, instants: Any, events: Any, time: float, after: float, located: int, times: Any,
    before: Any, controller: Any, counters: Any, outputs: Any,
) -> int:  # fmt: skip
    """`pass_instant`; returns DONE if no output is left, or if an event has stopped the solve."""
    if instants is None:
        return RUNNING
    status = pass_instant(
        equations, memory, instants, events, time, after, located, times, before, controller, counters,
        outputs,
    )  # fmt: skip
    counters[LOCATED] = 0
    if status != RUNNING:
        return status
    if counters[STOPPED]:  # the state stays as it is
        write_outputs_until(math.inf, equations, memory.z, times, counters, outputs)
    return DONE if counters[WRITTEN] == len(times) else RUNNING


@kernel
def locate_event(
    method: int, equations: Any, tolerances: Any, memory: Any, events: Any, t: float, h: float, ending: float,
    controller: Any, counters: Any,
) -> int:  # fmt: skip
    """`first_crossing` in an accepted step; one that is found becomes LOCATED, and the step will be taken again.

    ending: t + h as the caller reaches it.
    """
    if events is None or len(events.table) == 0:
        return NO_EVENT
    last_rate = memory.stages + 8 * equations.size * (MAIN[IMPLICIT_METHOD if counters[IMPLICIT] else method] - 1)
    if not counters[IMPLICIT]:
        complete_stages(method, equations, memory, t, h)
    recent = counters[LAST_EVENT] if controller[EVENT_TIME] == t else NO_EVENT
    interpolant = IMPLICIT_METHOD if counters[IMPLICIT] else method
    event = first_crossing(
        interpolant, equations, memory, events, t, h, ending, last_rate, recent, controller, counters
    )
    if event >= 0:
        if event == recent and not t + controller[EVENT_STEP] > t:
            return UNRESOLVED
        counters[LOCATED], counters[RETAKEN] = event + 1, 0
        controller[GRAZING_RATE] *= GRAZING * math.sqrt(tolerances.rtol)
    return event


@kernel
def ends_at_event(
    method: int, equations: Any, tolerances: Any, memory: Any, events: Any, t: float, h: float, norm: float,
    controller: Any, counters: Any,
) -> bool:  # fmt: skip
    """Whether a step ends where the located event's condition becomes true, so nearly that `memory.trial` is corrected.

    If not, EVENT_STEP has changed. The interpolant is less accurate than the step: Newton's method corrects the time
    until what is left is linear. A step whose error is too large locates the event anew, from a shorter one.
    """
    if events is None:
        return True
    e, event = equations, counters[LOCATED] - 1
    if not norm <= 1.0:
        counters[LOCATED] = 0
        controller[STEP] = 0.5 * h
        return False
    last_rate = memory.stages + 8 * e.size * (MAIN[IMPLICIT_METHOD if counters[IMPLICIT] else method] - 1)
    evaluate(e, events, t + h, memory.trial, events.samples)
    evaluate_slopes(e, events, t + h, memory.trial, last_rate, events.slopes)
    slope = load_scalar(events.slopes, event)
    change = -load_scalar(events.samples, event) / slope
    if not (slope > 0.0 and abs(change) <= 0.1 * h):  # the function jumps, or hardly crosses 0
        return True
    controller[EVENT_STEP] = h + change
    if abs(change) <= 0.01 * math.sqrt(tolerances.rtol) * h:
        for k in range(0, e.size, WIDTH):
            store(memory.trial, k, multiply_add(load(memory.trial, k), change, load(last_rate, k)))
        return True
    counters[RETAKEN] += 1
    if counters[RETAKEN] <= RETAKES:
        return False
    controller[EVENT_STEP] = h
    return True


@kernel
def follow_sizes(equations: Any, tolerances: Any, memory: Any, t: float, rate: int, controller: Any) -> None:
    """Update the absolute tolerances at a new point; `allow_inherited_errors` when the time elapsed has doubled.

    rate: there.
    """
    if not tolerances.follow:
        return
    update_tolerances(equations, tolerances, memory.z)
    if t >= controller[NEXT_UPDATE]:
        newton = newton_views(equations, memory)
        elapsed = t - controller[SINCE] + controller[STEP]
        allow_inherited_errors(
            equations, tolerances, t, elapsed, memory.z, rate, newton.matrix, newton.weights, newton.change[:, 0]
        )
        controller[NEXT_UPDATE] = t + elapsed


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
def set_sensitivities(equations: Any, given: Any, z: int) -> None:
    """Write initial sensitivities (n, m) to a row; none if there are none."""
    if given is None:
        return
    for i in range(given.shape[0]):
        target = equations.start + i * equations.width
        for j in range(given.shape[1]):
            store_scalar(z, target + j, given[i, j])


@inline_kernel
def held(instants: Any) -> int:
    """How many of the states are held."""
    if instants is None:
        return 0
    return int(instants.held)


@inline_kernel
def instants_of(instants: Any, member: int) -> Any:
    """Those of a member of the batch, or None."""
    if instants is None:
        return None
    place = member % len(instants.times)
    return Instants(
        instants.times[place], instants.entries[place], instants.values[place], instants.jacobian, instants.pieces,
        instants.held,
    )  # fmt: skip


@inline_kernel
def row_of(rows: Any, member: int) -> Any:
    """The row of a member, its own or the one that all share, or None."""
    if rows is None:
        return None
    return rows[member % len(rows)]


@kernel
def advance_batch(
    first: int, last: int, begin: bool, method: int, may_switch: bool, rates: int, rates_with_sensitivities: int,
    jacobian: int, n: int, m: int, rtol: float, limits: Any, is_auto: bool, borders: int, max_steps: int,
    steps_per_call: int, times: Any, before: Any, instants: Any, initial_sensitivities: Any, event_kernels: Any,
    record: Any, initial_state: Any, values: Any, unknowns: Any, column_of: Any, kept: Any, counters: Any, scratch: Any,
    states: Any, sensitivities: Any,
) -> Any:  # fmt: skip
    """Take `steps_per_call` steps of each running member from `first` to before `last`.

    Returns how many are still running, how many have failed, and the methods used (bits).
    limits, (n,), is_auto: see `tolerances.Tolerances`. borders: the place in `values` of the states' tolerances at
    borders, 0 if there are none.
    begin: start the members first. rates, rates_with_sensitivities, jacobian: addresses of the generated kernels.
    times: (B, T), or (1, T), shared. before: (B, T), (1, T) or (1, 0), which outputs have the state before what happens
    at their instant. instants: as `sensitivity_jumps.Instants` says, with a first axis of B, or of 1 if shared, but for
    `jacobian` and `pieces`. initial_sensitivities: (B, n, m); (1, 0, 0) if each initial value is an unknown itself or
    depends on none. event_kernels: `events.EventKernels`. record: (B, R, 2 + m + 2n), see `events.record_event`; R is 0
    where events are not recorded. These five are all None in a plain solve, where nothing happens and nothing is to be
    said of initial sensitivities. initial_state: (B, n). values: (B, p + constants +
    shifts), overwritten where entries change it. unknowns, column_of: see `step_control.initialise` and `codegen`.
    kept: (B, member_size), counters: (B, COUNTERS + NUMBERS_OF_EVENT·E), scratch: (scratch_size,), all zero at first.
    states: (B, T, n), sensitivities: (B, T, n, m).
    """
    start_of, width = (n + WIDTH - 1) // WIDTH * WIDTH, (m + WIDTH - 1) // WIDTH * WIDTH
    size = start_of + n * width
    row = 8 * size  # bytes
    trial = address(scratch)
    stages = trial + 4 * row
    newton = stages + MAX_STAGES * row
    event_memory = newton + 8 * newton_size(n)
    events, work = events_of(event_kernels, width, event_memory)
    running, failed, used = 0, 0, 0
    for b in range(first, last):
        if counters[b, STATUS] == RUNNING:
            own, controller, own_times = address(kept[b]), kept[b, :CONTROLLER], times[b % len(times)]
            magnitudes = own + 8 * CONTROLLER
            z = magnitudes + 8 * width
            memory = Memory(z, z + row, trial, trial + row, trial + 2 * row, trial + 3 * row, stages, newton)
            q = address(values[b])
            equations = Equations(
                rates, rates_with_sensitivities, jacobian, q, address(column_of), work, n, n - held(instants), start_of,
                width, size, q + 8 * borders if borders > 0 else 0,
            )  # fmt: skip
            if begin:
                initialise(equations, m, initial_state[b], values[b], unknowns, z, magnitudes)
            follow, span = tolerances_follow(is_auto, m, magnitudes), own_times[len(own_times) - 1] - own_times[0]
            tolerances = Tolerances(
                rtol, address(limits), is_auto, follow, span, z + 2 * row, z + 3 * row, z + 4 * row, magnitudes
            )  # fmt: skip
            outputs = Outputs(address(states[b]), address(sensitivities[b]), m, row_of(record, b))
            own_instants, own_before = instants_of(instants, b), row_of(before, b)
            if begin:
                set_sensitivities(equations, row_of(initial_sensitivities, b), z)
                initialise_tolerances(equations, tolerances, z)
                counters[b, STATUS] = start(
                    method, equations, tolerances, memory, own_times, own_instants, events, own_before, controller,
                    counters[b], outputs,
                )  # fmt: skip
        if counters[b, STATUS] == RUNNING:
            counters[b, STATUS] = advance(
                method, may_switch, equations, tolerances, memory, max_steps, steps_per_call, own_times,
                own_instants, events, own_before, controller, counters[b], outputs,
            )  # fmt: skip
        running += 1 if counters[b, STATUS] == RUNNING else 0
        failed += 1 if counters[b, STATUS] > DONE else 0
        used |= counters[b, USED]
    return running, failed, used
