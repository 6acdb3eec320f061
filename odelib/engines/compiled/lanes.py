"""The loop over steps for eight trajectories side by side, each in a lane with its own steps.

It solves what is easy: an explicit method with one error estimate, from states and unknowns that are not 0. When a
lane's trajectory is done, the next one takes its place. One that needs more, because it is stiff, loses its value or
takes too many steps, leaves its lane unsolved, and `batch_loop` solves it from the start and says what it finds.

Steps are controlled as in `batch_loop`, by the same norm, but the logarithm of the error is only exact to 1e-10.
"""

from __future__ import annotations

import math
from collections import namedtuple
from typing import Any

import numpy as np

from odelib.arrays import Reals
from odelib.engines.compiled.explicit import CHECK_EVERY, MAIN, NODES, RESET_AFTER, STABILITY_BOUND, STIFF_AFTER
from odelib.engines.compiled.jit import inline_kernel, kernel
from odelib.engines.compiled.lane_operations import (
    ERROR,
    LANES,
    SUMS,
    add,
    at_least,
    choose,
    combine_lanes,
    divide,
    has_value,
    in_any,
    larger,
    load_lanes,
    multiply,
    multiply_add_lanes,
    quick_exp,
    quick_log,
    same,
    size,
    smaller,
    store_lanes,
    subtract,
)
from odelib.engines.compiled.primitives import call_kernel
from odelib.engines.compiled.simd import address, load_scalar, store_scalar
from odelib.engines.compiled.step_control import (
    BETA,
    DONE,
    MAX_FACTOR,
    MIN_FACTOR,
    MIN_LOG_ERROR,
    SAFETY,
    TINY,
)
from odelib.engines.tableaus.registry import EXPLICIT
from odelib.engines.tableaus.tableau import Tableau
from odelib.problem.solver import AUTO_ATOL

# status of a member: to be solved, or left to `batch_loop`; else DONE
WAITING, LEFT = 0, -1
# rows of `numbers`, a number of each lane: 1 where there is a member; time, next step, the step being tried, 1 if it is
# the last, the end, the time after the step, the time of the next output; steps so far; span, log of the last error, by
# which factor the next step may grow, squared norm of the error, 1 where the step is accepted, the factor of the next
# step; what stiffness is recognised by
(
    ACTIVE, TIME, STEP, TRIED, IS_LAST, END, REACHED, NEXT_OUTPUT, STEPS, SPAN, LAST_LOG, GROWTH, NORM, ACCEPTED,
    FACTOR, DISTANCE, CHANGE, NUMBERS,
) = range(18)  # fmt: skip
# rows of `counts`: member, outputs written, steps in a row limited by stability and by accuracy, 1 if it has just
# begun; and, in the first lane, whether stability has limited a step in any lane
MEMBER, WRITTEN, STABILITY_LIMITED, ACCURACY_LIMITED, FRESH, IS_LIMITED, COUNTS = range(7)
DEGREE = 4  # of an interpolant, at most


def can_run_in_lanes(tableau: Tableau) -> bool:
    """Whether lanes know the error estimate and the interpolant of a method."""
    return not tableau.error_low.any() and tableau.interpolant.shape[1] <= DEGREE


def _interpolants() -> Reals:
    """The interpolants of all methods, (methods, stages, degree); 0 for those that cannot run in lanes."""
    found = np.zeros((len(EXPLICIT), max(tableau.main for tableau in EXPLICIT), DEGREE))
    for coefficients, tableau in zip(found, EXPLICIT, strict=True):
        if can_run_in_lanes(tableau):
            stages, degree = tableau.interpolant.shape
            coefficients[:stages, :degree] = tableau.interpolant
    return found


INTERPOLANTS = _interpolants()
ORDERS, ERROR_ORDERS = np.array([t.order for t in EXPLICIT]), np.array([t.error_order for t in EXPLICIT])

# The problem in lanes. rates: address of the generated kernel; q, column_of, absolute (n), sizes (n), inverse (m),
# limits (n): addresses of rows; values: how many parameters and constants; row: numbers in a row of a solution.
Lanes = namedtuple("Lanes", "rates q column_of absolute sizes inverse limits n m values row rtol is_auto")
# Addresses of rows: the solution, the argument of a stage, scratch, and the stages.
Rows = namedtuple("Rows", "z trial extra stages")


def memory_size(n: int, m: int, values: int) -> int:
    """How many numbers of memory a thread takes."""
    row = n * (1 + m)
    stages = max(tableau.main for tableau in EXPLICIT)
    return LANES * (row * (3 + stages) + values + 1 + 3 * n + m + NUMBERS + stages)


@inline_kernel
def rates_at(e: Any, time: Any, z: int, out: int) -> None:
    """dz/dt of all lanes. time: a number of each lane."""
    store_lanes(e.q, e.values, time)
    call_kernel(e.rates, 0.0, z, e.q, e.m, e.column_of, e.q, out)


@kernel
def error_norm(e: Any, rows: Any, numbers: Any) -> None:
    """Write the squared norm of the error in `rows.extra` to NORM: see `step_control.squared_norm`."""
    rtol, inverse_count, tiny = same(e.rtol), same(1.0 / e.n), same(TINY)
    worst = everything = same(0.0)
    for column in range(-1, e.m):
        sums = same(0.0)
        unit = same(1.0) if column < 0 else load_lanes(e.inverse, column)
        for i in range(e.n):
            k = i if column < 0 else e.n + i * e.m + column
            largest = larger(size(load_lanes(rows.z, k)), size(load_lanes(rows.trial, k)))
            scale = multiply_add_lanes(tiny, load_lanes(e.absolute, i), unit)
            ratio = divide(load_lanes(rows.extra, k), multiply_add_lanes(scale, rtol, largest))
            sums = multiply_add_lanes(sums, ratio, ratio)
        mean = multiply(sums, inverse_count)
        worst, everything = larger(worst, mean), add(everything, mean)
    # `larger` drops a NaN; the sum of all keeps it
    store_lanes(address(numbers), NORM, add(worst, multiply(same(0.0), everything)))


@kernel
def lane_norm(e: Any, lane: int, row: int, before: int, after: int) -> float:
    """The squared norm of one lane of a row, with the sizes of two others."""
    worst, everything = 0.0, 0.0
    for column in range(-1, e.m):
        sums = 0.0
        unit = 1.0 if column < 0 else load_scalar(e.inverse, LANES * column + lane)
        for i in range(e.n):
            k = LANES * (i if column < 0 else e.n + i * e.m + column) + lane
            largest = max(abs(load_scalar(before, k)), abs(load_scalar(after, k)))
            scale = TINY + load_scalar(e.absolute, LANES * i + lane) * unit + e.rtol * largest
            sums += (load_scalar(row, k) / scale) ** 2
        worst, everything = max(worst, sums / e.n), everything + sums / e.n
    return worst if math.isfinite(everything) else everything


@kernel
def begin_member(
    e: Any, rows: Any, lane: int, b: int, times: Any, initial_state: Any, values: Any, unknowns: Any, numbers: Any,
    counts: Any,
) -> None:  # fmt: skip
    """Put a member into a lane."""
    own = times[b % len(times)]
    counts[WRITTEN, lane] = counts[STABILITY_LIMITED, lane] = counts[ACCURACY_LIMITED, lane] = 0
    counts[MEMBER, lane], counts[FRESH, lane] = b, 1
    numbers[ACTIVE, lane], numbers[STEPS, lane] = 1.0, 0.0
    numbers[TIME, lane], numbers[END, lane] = own[0], own[len(own) - 1]
    numbers[SPAN, lane] = own[len(own) - 1] - own[0]
    numbers[LAST_LOG, lane], numbers[GROWTH, lane] = MIN_LOG_ERROR, MAX_FACTOR
    for i in range(e.values):
        store_scalar(e.q, LANES * i + lane, values[b, i])
    for k in range(e.row):
        store_scalar(rows.z, LANES * k + lane, initial_state[b, k] if k < e.n else 0.0)
    for j in range(e.m):
        unknown = unknowns[j]
        magnitude = abs(initial_state[b, unknown] if unknown < e.n else values[b, unknown - e.n])
        store_scalar(e.inverse, LANES * j + lane, 1.0 / magnitude)
        if unknown < e.n:
            store_scalar(rows.z, LANES * (e.n + unknown * e.m + j) + lane, 1.0)
    for i in range(e.n):
        k, limit = LANES * i + lane, load_scalar(e.limits, LANES * i)
        store_scalar(e.sizes, k, abs(initial_state[b, i]))
        store_scalar(e.absolute, k, min(AUTO_ATOL * e.rtol * abs(initial_state[b, i]), limit) if e.is_auto else limit)


@kernel
def first_steps(e: Any, rows: Any, order: int, numbers: Any, counts: Any) -> None:
    """The first steps of the lanes that have just begun: see `step_control.first_step`."""
    table, scratch = address(numbers), rows.stages + 8 * LANES * e.row
    rates_at(e, load_lanes(table, TIME), rows.z, rows.extra)
    for lane in range(LANES):
        numbers[TRIED, lane] = 0.0
        if counts[FRESH, lane] == 0:
            continue
        for k in range(lane, LANES * e.row, LANES):
            rate, value = load_scalar(rows.extra, k), load_scalar(rows.z, k)
            store_scalar(rows.stages, k, rate)
            store_scalar(rows.trial, k, 0.0 if value == 0.0 else rate)
        d0 = math.sqrt(lane_norm(e, lane, rows.z, rows.z, rows.z))
        d1, span = math.sqrt(lane_norm(e, lane, rows.trial, rows.z, rows.z)), numbers[SPAN, lane]
        relative_rate = d1 / d0 if d0 >= 1e-5 and d1 * span >= 1e-5 else 0.0
        numbers[TRIED, lane] = min(0.01 / relative_rate if relative_rate > 0.0 else 1e-6 * span, span)
        numbers[FACTOR, lane] = relative_rate
    step = load_lanes(table, TRIED)
    for k in range(e.row):
        store_lanes(rows.trial, k, multiply_add_lanes(load_lanes(rows.z, k), step, load_lanes(rows.stages, k)))
    rates_at(e, add(load_lanes(table, TIME), step), rows.trial, scratch)
    for lane in range(LANES):
        if counts[FRESH, lane] == 0:
            continue
        h, span, relative_rate = numbers[TRIED, lane], numbers[SPAN, lane], numbers[FACTOR, lane]
        for k in range(lane, LANES * e.row, LANES):
            moves = load_scalar(rows.trial, k) != 0.0 or load_scalar(rows.z, k) != 0.0
            change = load_scalar(scratch, k) - load_scalar(rows.stages, k)
            store_scalar(scratch, k, change if moves else 0.0)
        d1 = math.sqrt(lane_norm(e, lane, rows.stages, rows.z, rows.trial))
        d2 = math.sqrt(lane_norm(e, lane, scratch, rows.z, rows.trial)) / h
        inverse_scale = max(relative_rate, d2 / d1 if d1 > 0.0 else 0.0)
        if not math.isfinite(d2):
            numbers[STEP, lane] = h * 1e-3
        elif inverse_scale * span <= 1e-15:
            numbers[STEP, lane] = min(100.0 * h, span)
        else:
            h1 = (0.01 * inverse_scale / d1) ** (1.0 / order) / inverse_scale if d1 > 0.0 else span
            numbers[STEP, lane] = min(100.0 * h, h1, span)


@kernel
def leave(lane: int, status: int, numbers: Any, counts: Any, statuses: Any) -> None:
    """Free a lane, whose member has this status."""
    statuses[counts[MEMBER, lane]] = status
    counts[MEMBER, lane], numbers[ACTIVE, lane], numbers[TRIED, lane] = -1, 0.0, 0.0


@kernel
def choose_steps(max_steps: int, numbers: Any, counts: Any, statuses: Any) -> None:
    """The step that each lane tries, 0 in those without a member; those that cannot go on leave."""
    table, one = address(numbers), same(1.0)
    active, t, h, end = (load_lanes(table, ACTIVE), load_lanes(table, TIME), load_lanes(table, STEP),
                         load_lanes(table, END))  # fmt: skip
    is_last = at_least(multiply_add_lanes(t, same(1.01), h), end)
    h = choose(active, choose(is_last, subtract(end, t), h), same(0.0))
    after = add(t, h)
    steps = add(load_lanes(table, STEPS), active)
    store_lanes(table, TRIED, h)
    store_lanes(table, IS_LAST, is_last)
    store_lanes(table, REACHED, choose(is_last, end, after))
    store_lanes(table, STEPS, steps)
    stuck = larger(at_least(t, after), subtract(one, has_value(after)))
    if in_any(multiply(active, larger(stuck, at_least(steps, same(max_steps + 1.0))))):
        for lane in range(LANES):
            after_step = numbers[TIME, lane] + numbers[TRIED, lane]
            if numbers[ACTIVE, lane] > 0.0 and not (
                after_step > numbers[TIME, lane] and numbers[STEPS, lane] <= max_steps
            ):
                leave(lane, LEFT, numbers, counts, statuses)


@kernel
def control_steps(error_order: int, numbers: Any, counts: Any, statuses: Any) -> None:
    """Accept or reject the steps, and choose the next sizes: see `step_control.accept_step`."""
    table, one = address(numbers), same(1.0)
    exponent = 1.0 / (error_order + 1.0) - 0.75 * BETA
    found, active = load_lanes(table, NORM), load_lanes(table, ACTIVE)
    if in_any(multiply(active, subtract(one, has_value(found)))):
        for lane in range(LANES):
            if numbers[ACTIVE, lane] > 0.0 and not math.isfinite(numbers[NORM, lane]):
                leave(lane, LEFT, numbers, counts, statuses)
        active = load_lanes(table, ACTIVE)
    accepted = multiply(active, at_least(one, found))
    log = multiply(same(0.5), quick_log(smaller(larger(found, same(1e-60)), same(1e60))))
    last, growth = load_lanes(table, LAST_LOG), load_lanes(table, GROWTH)
    remembered = choose(accepted, multiply(same(BETA), last), same(0.0))
    factor = multiply(same(SAFETY), quick_exp(subtract(remembered, multiply(same(exponent), log))))
    factor = larger(factor, same(MIN_FACTOR))
    factor = choose(accepted, smaller(growth, factor), factor)
    store_lanes(table, STEP, choose(active, multiply(load_lanes(table, TRIED), factor), load_lanes(table, STEP)))
    store_lanes(table, GROWTH, choose(accepted, same(MAX_FACTOR), one))
    store_lanes(table, LAST_LOG, choose(accepted, larger(log, same(MIN_LOG_ERROR)), last))
    store_lanes(table, ACCEPTED, accepted)


@kernel
def compare_stages(e: Any, rows: Any, method: int, numbers: Any) -> None:
    """Write the squared norms of `explicit.is_stiff` to DISTANCE and CHANGE."""
    main, table, row = MAIN[method], address(numbers), 8 * LANES * e.row
    kept, before, after = load_lanes(table, NORM), rows.stages + row * (main - 2), rows.stages + row * (main - 1)
    combine_lanes(method * SUMS + main - 2, rows.z, rows.stages, e.row, table + 8 * LANES * TRIED, rows.extra)
    for k in range(e.row):
        store_lanes(rows.extra, k, subtract(load_lanes(rows.trial, k), load_lanes(rows.extra, k)))
    error_norm(e, rows, numbers)
    store_lanes(table, DISTANCE, load_lanes(table, NORM))
    for k in range(e.row):
        store_lanes(rows.extra, k, subtract(load_lanes(after, k), load_lanes(before, k)))
    error_norm(e, rows, numbers)
    store_lanes(table, CHANGE, load_lanes(table, NORM))
    store_lanes(table, NORM, kept)


@kernel
def leave_if_stiff(numbers: Any, counts: Any, statuses: Any) -> None:
    """Count in which accepted steps stability is the limit, and let those leave in which it has been for long.

    All lanes are looked at in the same rounds, not each after as many steps of its own: see `explicit.is_stiff`.
    """
    counts[IS_LIMITED, 0] = 0
    for lane in range(LANES):
        if numbers[ACCEPTED, lane] == 0.0:
            continue
        h, distance = numbers[TRIED, lane], numbers[DISTANCE, lane]
        if h * h * numbers[CHANGE, lane] > STABILITY_BOUND**2 * distance > 0.0:
            counts[STABILITY_LIMITED, lane] += 1
            counts[ACCURACY_LIMITED, lane] = 0
        else:
            counts[ACCURACY_LIMITED, lane] += 1
            if counts[ACCURACY_LIMITED, lane] >= RESET_AFTER:
                counts[STABILITY_LIMITED, lane] = 0
        counts[IS_LIMITED, 0] += counts[STABILITY_LIMITED, lane]
        if counts[STABILITY_LIMITED, lane] >= STIFF_AFTER:
            numbers[ACCEPTED, lane] = 0.0
            leave(lane, LEFT, numbers, counts, statuses)


@kernel
def write_output(
    e: Any, lane: int, values: int, b: int, w: int, own: Any, numbers: Any, counts: Any, states: Any,
    sensitivities: Any,
) -> None:  # fmt: skip
    """Write a row of this lane to output w of its member, and note when the next output is."""
    for i in range(e.n):
        states[b, w, i] = load_scalar(values, LANES * i + lane)
        for j in range(e.m):
            sensitivities[b, w, i, j] = load_scalar(values, LANES * (e.n + i * e.m + j) + lane)
    counts[WRITTEN, lane] = w + 1
    numbers[NEXT_OUTPUT, lane] = own[w + 1] if w + 1 < len(own) else math.inf


@kernel
def interpolate(e: Any, rows: Any, method: int, theta: Any, h: Any, weights: int) -> None:
    """Write the interpolant of all lanes, each at its own θ, to `rows.extra`. weights: address of numbers of lanes."""
    main, row = MAIN[method], 8 * LANES * e.row
    for j in range(main):
        weight = same(0.0)
        for d in range(DEGREE - 1, -1, -1):
            weight = multiply(add(weight, same(INTERPOLANTS[method, j, d])), theta)
        store_lanes(weights, j, multiply(weight, h))
    for k in range(e.row):
        value = load_lanes(rows.z, k)
        for j in range(main):
            value = multiply_add_lanes(value, load_lanes(weights, j), load_lanes(rows.stages + row * j, k))
        store_lanes(rows.extra, k, value)


@kernel
def write_outputs(
    e: Any, rows: Any, method: int, times: Any, numbers: Any, counts: Any, statuses: Any, steps: Any, weights: int,
    states: Any, sensitivities: Any,
) -> None:  # fmt: skip
    """Write the outputs within accepted steps; at the last time, the solution itself, and the member leaves."""
    table = address(numbers)
    t, h, reached = load_lanes(table, TIME), load_lanes(table, TRIED), load_lanes(table, REACHED)
    accepted = load_lanes(table, ACCEPTED)
    while in_any(multiply(accepted, at_least(reached, load_lanes(table, NEXT_OUTPUT)))):
        theta = divide(subtract(smaller(load_lanes(table, NEXT_OUTPUT), reached), t), h)
        interpolate(e, rows, method, theta, h, weights)
        for lane in range(LANES):
            time = numbers[NEXT_OUTPUT, lane]
            if numbers[ACCEPTED, lane] > 0.0 and time <= numbers[REACHED, lane]:
                b = counts[MEMBER, lane]
                own = times[b % len(times)]
                row = rows.extra if time < numbers[END, lane] else rows.trial
                write_output(e, lane, row, b, counts[WRITTEN, lane], own, numbers, counts, states, sensitivities)
    for lane in range(LANES):
        if numbers[ACCEPTED, lane] > 0.0 and numbers[IS_LAST, lane] > 0.0:
            steps[counts[MEMBER, lane]] = int(numbers[STEPS, lane])
            leave(lane, DONE, numbers, counts, statuses)


@kernel
def keep_accepted(e: Any, rows: Any, last_rate: int, numbers: Any) -> None:
    """Move the lanes whose steps are accepted to their ends, and let their tolerances follow."""
    accepted, automatic = load_lanes(address(numbers), ACCEPTED), same(AUTO_ATOL * e.rtol)
    table = address(numbers)
    store_lanes(table, TIME, choose(accepted, load_lanes(table, REACHED), load_lanes(table, TIME)))
    for k in range(e.row):
        store_lanes(rows.z, k, choose(accepted, load_lanes(rows.trial, k), load_lanes(rows.z, k)))
        store_lanes(rows.stages, k, choose(accepted, load_lanes(last_rate, k), load_lanes(rows.stages, k)))
    if e.is_auto:
        for i in range(e.n):
            largest = larger(load_lanes(e.sizes, i), size(load_lanes(rows.z, i)))
            store_lanes(e.sizes, i, largest)
            atol = smaller(multiply(automatic, largest), load_lanes(e.limits, i))
            store_lanes(e.absolute, i, larger(load_lanes(e.absolute, i), atol))


@kernel
def begin_lanes(
    e: Any, rows: Any, first: int, last: int, order: int, times: Any, initial_state: Any, values: Any, unknowns: Any,
    numbers: Any, counts: Any, statuses: Any, states: Any, sensitivities: Any,
) -> int:  # fmt: skip
    """Put waiting members from `first` on into lanes that are free; returns the next one that waits."""
    began = False
    for lane in range(LANES):
        while counts[MEMBER, lane] < 0 and first < last:
            if statuses[first] == WAITING:
                begin_member(e, rows, lane, first, times, initial_state, values, unknowns, numbers, counts)
                began = True
            first += 1
    if not began:
        return first
    first_steps(e, rows, order, numbers, counts)
    for lane in range(LANES):
        if counts[FRESH, lane] == 0:
            continue
        counts[FRESH, lane] = 0
        b = counts[MEMBER, lane]
        own = times[b % len(times)]
        numbers[NEXT_OUTPUT, lane] = own[0]
        while numbers[NEXT_OUTPUT, lane] <= own[0]:
            write_output(e, lane, rows.z, b, counts[WRITTEN, lane], own, numbers, counts, states, sensitivities)
        if counts[WRITTEN, lane] == len(own):
            leave(lane, DONE, numbers, counts, statuses)
    return first


@kernel
def advance_lanes(
    first: int, last: int, rounds: int, method: int, may_switch: bool, rates: int, n: int, m: int, rtol: float,
    limits: Any, is_auto: bool, max_steps: int, times: Any, initial_state: Any, values: Any, unknowns: Any,
    column_of: Any, memory: Any, counts: Any, statuses: Any, steps: Any, states: Any, sensitivities: Any,
) -> int:  # fmt: skip
    """Solve members from `first` to before `last`, for so many rounds of steps; returns the next that waits.

    statuses, (B,): WAITING, DONE or LEFT. counts: (COUNTS, 8), -1 in its first row at first, memory: (memory_size,);
    both are kept between calls. steps: (B,). See `batch_loop.advance_batch` for the others.
    """
    row, width = n * (1 + m), values.shape[1]
    here, lane_row = address(memory), 8 * LANES
    z, stages = here, here + 3 * lane_row * row
    q = stages + MAIN.max() * lane_row * row
    absolute = q + lane_row * (width + 1)
    inverse = absolute + 3 * n * lane_row
    table = inverse + m * lane_row
    place = (table - here) // 8
    numbers = memory[place : place + NUMBERS * LANES].reshape(NUMBERS, LANES)
    limit = absolute + 2 * n * lane_row
    for i in range(n):
        store_lanes(limit, i, same(limits[i]))
    e = Lanes(
        rates, q, address(column_of), absolute, absolute + n * lane_row, inverse, limit, n, m, width, row, rtol, is_auto
    )
    rows = Rows(z, z + lane_row * row, z + 2 * lane_row * row, stages)
    last_rate, weights = stages + (MAIN[method] - 1) * lane_row * row, table + lane_row * NUMBERS
    for number in range(rounds):
        if first < last and in_any(subtract(same(1.0), load_lanes(table, ACTIVE))):
            first = begin_lanes(
                e, rows, first, last, ORDERS[method], times, initial_state, values, unknowns, numbers, counts, statuses,
                states, sensitivities,
            )  # fmt: skip
        choose_steps(max_steps, numbers, counts, statuses)
        if not in_any(load_lanes(table, ACTIVE)):
            if first >= last:
                return first
            continue
        t, h = load_lanes(table, TIME), load_lanes(table, TRIED)
        for index in range(1, MAIN[method]):
            combine_lanes(method * SUMS + index, z, stages, row, table + lane_row * TRIED, rows.trial)
            time = multiply_add_lanes(t, same(NODES[method, index]), h)
            rates_at(e, time, rows.trial, stages + lane_row * row * index)
        combine_lanes(method * SUMS + ERROR, z, stages, row, table + lane_row * TRIED, rows.extra)
        error_norm(e, rows, numbers)
        control_steps(ERROR_ORDERS[method], numbers, counts, statuses)
        if may_switch and (number % CHECK_EVERY == 0 or counts[IS_LIMITED, 0] > 0):
            compare_stages(e, rows, method, numbers)
            leave_if_stiff(numbers, counts, statuses)
        due = at_least(load_lanes(table, REACHED), load_lanes(table, NEXT_OUTPUT))
        if in_any(multiply(load_lanes(table, ACCEPTED), due)):  # the last time of all is an output
            write_outputs(
                e, rows, method, times, numbers, counts, statuses, steps, weights, states, sensitivities
            )  # fmt: skip
        keep_accepted(e, rows, last_rate, numbers)
    return first
