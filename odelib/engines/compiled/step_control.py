"""Shared by all methods: a solve's state, the error norm, and the step controller.

Memory is passed by address (see `simd`). A solution takes one row of numbers: n states padded to `start`, then for each
state its m sensitivities padded to `width`. Padding holds zeros.
"""

from __future__ import annotations

import math
from collections import namedtuple
from typing import Any

from odelib.engines.compiled.jit import inline_kernel, kernel
from odelib.engines.compiled.primitives import call_kernel
from odelib.engines.compiled.simd import (
    WIDTH,
    absolute,
    add_square,
    divide,
    load,
    load_scalar,
    max_of_lanes,
    maximum,
    multiply,
    multiply_add,
    splat,
    store,
    store_scalar,
    sum_of_lanes,
    where_zero,
)

# status of a solve: still running, or how it ended
RUNNING, DONE, MAX_STEPS, NOT_FINITE, STEP_TOO_SMALL, TOO_MANY_EVENTS, ENDLESS_EVENTS, SLIDING = range(8)
# indices into `controller`: time, step size, log of the error of the last accepted step, largest factor by which the
# next step may grow, when tolerances are updated next, since when the youngest size has grown, time of the last event
# and its interval from the one before; of an event that has been located, its distance from the step's start, below
# which rate of its condition's function it grazes, and this rate where it crosses 0; and that of the event before
(
    TIME, STEP, LOG_LAST_ERROR, MAX_GROWTH, NEXT_UPDATE, SINCE, EVENT_TIME, INTERVAL, EVENT_STEP, GRAZING_RATE,
    CROSSING_RATE, LAST_CROSSING_RATE,
) = range(12)  # fmt: skip
# indices into `counters`: status, steps tried, outputs written, whether the implicit method is active, methods used
# (bits), whether the last rejected step had an error that is not finite; steps in a row: of the implicit method where
# the system is not stiff, of an explicit one limited by stability, of an explicit one limited by accuracy; and
# entries of the schedule passed; steps accepted by an explicit method; whether an event has stopped the solve; the
# number of the last event, how many have happened, and how many times in a row one at ever shorter intervals; 1 + the
# number of an event at which the next step is to end, and how often that has been tried; steps rejected because
# something was not finite, since the last whole step; events recorded; and how often modes were switched
(
    STATUS, STEPS, WRITTEN, IMPLICIT, USED, LAST_NOT_FINITE, NONSTIFF, STABILITY_LIMITED, ACCURACY_LIMITED, PASSED,
    ACCEPTED, STOPPED, LAST_EVENT, HAPPENED, CROWDED, LOCATED, RETAKEN, WITHOUT_VALUE, RECORDED, SWITCHED,
) = range(20)  # fmt: skip
COUNTERS = 20
# Where an expression loses its value, steps shrink until a state no longer moves by rounding, and time alone goes on.
# So many rejected steps, without a whole one among them of at least this fraction of the solve, are its end.
MAX_WITHOUT_VALUE, WHOLE_STEP = 500, 1e-5
NO_CONVERGENCE = 1e30  # the squared error norm of a step whose stages cannot be solved: the next is much shorter
USED_EXPLICIT, USED_IMPLICIT = 1, 2

# PI controller (Hairer and Wanner, Solving ODEs II, IV.2): h *= SAFETY·e^(0.75·BETA - 1/k)·e_last^BETA, with k the
# order of the error estimate plus 1. With BETA = 0 the step size oscillates wherever stability limits it, and many
# steps are rejected.
SAFETY, MIN_FACTOR, MAX_FACTOR = 0.9, 0.2, 10.0
BETA = 0.04
TINY = 1e-300  # added to the scale of an error: 0/0 would be NaN
MIN_LOG_ERROR = math.log(1e-4)  # a smaller last error counts as this: one very accurate step must not shrink the next

# The problem. rates, rates_with_sensitivities, jacobian: addresses of the generated kernels; q, column_of, work: of
# what they read (see `codegen`); n: states; moving: those before the held ones, which have no error; start, width,
# size: layout of a row; borders: the address, in q, of the states' tolerances at borders (see `symbolic/borders.py`), 0
# if there are none. Numba compiles a tuple only if it is made by `namedtuple`.
Equations = namedtuple(
    "Equations", "rates rates_with_sensitivities jacobian q column_of work n moving start width size borders"
)
# Addresses of a member's outputs: states (T, n) and sensitivities (T, n, m); m; and the record of its events: see
# `events.record_event`.
Outputs = namedtuple("Outputs", "states sensitivities m record")


@inline_kernel
def derivatives(equations: Any, t: float, z: int, out: int) -> None:
    """dy/dt = f(t, y) and dS/dt = J·S + ∂f/∂p."""
    e = equations
    call_kernel(e.rates_with_sensitivities, t, z, e.q, e.width, e.column_of, e.work, out)


@kernel
def mean_square(sums: Any, low: Any, n: int) -> Any:
    """The squared error norm from sums of squares over n states.

    With two estimates as in DOP853 (Hairer, Nørsett and Wanner, II.10): e² = e₅²·e₅²/(e₅² + 0.01·e₃²). Without a
    second one `low` is 0 and e² = e₅².
    """
    tiny = splat(1e-300)  # 0/0 would be NaN
    return multiply(
        multiply(sums, splat(1.0 / n)),
        divide(sums, multiply_add(multiply_add(tiny, 1.0, sums), 0.01, low)),
    )


@inline_kernel
def error_scale(tolerances: Any, k: int, old: int, new: int, old_rate: int, new_rate: int) -> Any:
    """The error allowed in the numbers from k on: see `squared_norm`."""
    before, atol = load(old, k), load(tolerances.absolute, k)
    scale = multiply_add(
        multiply_add(splat(TINY), 1.0, atol), tolerances.rtol, maximum(absolute(before), absolute(load(new, k)))
    )
    if old_rate != 0:
        rising = where_zero(atol, before, load(old_rate, k), absolute(load(new_rate, k)))
        scale = multiply_add(scale, tolerances.rtol * tolerances.span, rising)
    return scale


@kernel
def squared_norm(
    equations: Any, tolerances: Any, error: int, low: int, old: int, new: int, old_rate: int, new_rate: int
) -> Any:
    """The squared error norm: the largest of the states' and of each sensitivity column's.

    Each is the mean over the states of (error/(atol + rtol·max(|old|, |new|)))². The absolute tolerances are those of
    `update_tolerances`. One mean over everything would let many small columns hide a large error. low: the address of a
    second error estimate, or 0. The result is not finite if any entry is not.

    Where tolerances follow sizes, something may be 0, have had no size and not yet move (a product two reactions
    downstream). It grows like t^k: against its own size its error is large however short the step. It may err by rtol
    of what its new rate gives over the whole solve. old_rate, new_rate: addresses of the rates at the step's ends, or
    0 where nothing is allowed for that.
    """
    e = equations
    if not tolerances.follow:
        old_rate = 0
    sums, low_sums = splat(0.0), splat(0.0)
    for k in range(0, e.start, WIDTH):
        scale = error_scale(tolerances, k, old, new, old_rate, new_rate)
        sums = add_square(sums, divide(load(error, k), scale))
        if low != 0:
            low_sums = add_square(low_sums, divide(load(low, k), scale))
    # the lanes hold different states: one sum; below they hold different columns
    worst = everything = mean_square(splat(sum_of_lanes(sums)), splat(sum_of_lanes(low_sums)), e.moving)
    for j in range(0, e.width, WIDTH):
        sums, low_sums = splat(0.0), splat(0.0)
        for k in range(e.start + j, e.size, e.width):
            scale = error_scale(tolerances, k, old, new, old_rate, new_rate)
            sums = add_square(sums, divide(load(error, k), scale))
            if low != 0:
                low_sums = add_square(low_sums, divide(load(low, k), scale))
        column = mean_square(sums, low_sums, e.moving)
        worst, everything = maximum(worst, column), multiply_add(everything, 1.0, column)
    # `maximum` drops a NaN; the sum of all keeps it
    return max_of_lanes(worst) if math.isfinite(sum_of_lanes(everything)) else sum_of_lanes(everything)


@kernel
def first_step(
    equations: Any, tolerances: Any, order: int, t: float, span: float, z: int, rate: int, trial: int, change: int
) -> float:
    """The size of the first step, after Hairer, Nørsett and Wanner, II.4, but without their units.

    Their h₁ = (0.01/max(‖y'‖, ‖y''‖))^(1/order) adds derivatives of different orders as if time had no unit. Here an
    explicit Euler step of size h₀ = 0.01·‖y‖/‖y'‖ gives ‖y''‖, and with it the time scale τ of the solution,
    1/τ = max(‖y'‖/‖y‖, ‖y''‖/‖y'‖). Its derivative of that order is about ‖y'‖·τ/τ^order, of which a step makes 0.01:
    h₁ = τ·(0.01/(‖y'‖·τ))^(1/order), at most 100·h₀. What is 0 has no relative rate: ‖y'‖/‖y‖ leaves it out.
    """
    size = equations.size
    for k in range(size):
        store_scalar(change, k, 0.0 if load_scalar(z, k) == 0.0 else load_scalar(rate, k))
    d0 = math.sqrt(squared_norm(equations, tolerances, z, 0, z, z, 0, 0))
    d1 = math.sqrt(squared_norm(equations, tolerances, change, 0, z, z, 0, 0))
    relative_rate = d1 / d0 if d0 >= 1e-5 and d1 * span >= 1e-5 else 0.0
    h = min(0.01 / relative_rate if relative_rate > 0.0 else 1e-6 * span, span)
    for k in range(0, size, WIDTH):
        store(trial, k, multiply_add(load(z, k), h, load(rate, k)))
        store(change, k, splat(0.0))  # the padding, which the equations do not write
    derivatives(equations, t + h, trial, change)
    for k in range(size):
        moves = load_scalar(trial, k) != 0.0 or load_scalar(z, k) != 0.0
        store_scalar(change, k, load_scalar(change, k) - load_scalar(rate, k) if moves else 0.0)
    d1 = math.sqrt(squared_norm(equations, tolerances, rate, 0, z, trial, 0, 0))
    d2 = math.sqrt(squared_norm(equations, tolerances, change, 0, z, trial, 0, 0)) / h
    if not math.isfinite(d2):
        return h * 1e-3
    inverse_scale = max(relative_rate, d2 / d1 if d1 > 0.0 else 0.0)
    if inverse_scale * span <= 1e-15:
        return min(100.0 * h, span)
    h1 = (0.01 * inverse_scale / d1) ** (1.0 / order) / inverse_scale if d1 > 0.0 else span
    return min(100.0 * h, h1, span)


@inline_kernel
def accept_step(norm: float, error_order: int, h: float, span: float, controller: Any, counters: Any) -> bool:
    """Whether a step with this squared error norm is accepted; sets the size of the next one.

    After a rejection the last error says nothing about the next step: the factor is the elementary one, e^(-exponent),
    and the step after it must not grow.
    """
    log = 0.5 * math.log(max(norm, 1e-60))
    exponent = 1.0 / (error_order + 1.0) - 0.75 * BETA
    if not norm <= 1.0:  # nor where it is NaN
        finite = math.isfinite(norm)
        counters[LAST_NOT_FINITE] = 0 if finite else 1
        counters[WITHOUT_VALUE] += 0 if norm < NO_CONVERGENCE else 1
        controller[MAX_GROWTH] = 1.0
        controller[STEP] = h * (max(MIN_FACTOR, SAFETY * math.exp(-exponent * log)) if finite else MIN_FACTOR)
        return False
    factor = SAFETY * math.exp(BETA * controller[LOG_LAST_ERROR] - exponent * log)
    controller[STEP] = h * min(controller[MAX_GROWTH], max(MIN_FACTOR, factor))
    controller[MAX_GROWTH] = MAX_FACTOR
    if h > WHOLE_STEP * span:
        counters[WITHOUT_VALUE] = 0
    controller[LOG_LAST_ERROR] = max(log, MIN_LOG_ERROR)
    return True


@inline_kernel
def copy(source: int, size: int, target: int) -> None:
    """Copy `size` numbers, a multiple of WIDTH."""
    for k in range(0, size, WIDTH):
        store(target, k, load(source, k))


@kernel
def write_row(equations: Any, row: int, outputs: Any, index: int) -> None:
    """Write a row to the outputs at this index, without its padding."""
    n, m = equations.n, outputs.m
    states, sensitivities = outputs.states + 8 * index * n, outputs.sensitivities + 8 * index * n * m
    for i in range(n):
        store_scalar(states, i, load_scalar(row, i))
    whole = m - m % WIDTH
    for i in range(n):
        source, target = equations.start + i * equations.width, i * m
        for j in range(0, whole, WIDTH):
            store(sensitivities, target + j, load(row, source + j))
        for j in range(whole, m):
            store_scalar(sensitivities, target + j, load_scalar(row, source + j))


@kernel
def initialise(equations: Any, m: int, initial_state: Any, values: Any, unknowns: Any, z: int, magnitudes: int) -> None:
    """Write the initial row and the size of each column's unknown, 1 in the padding.

    unknowns (m,): what each column differentiates by, the index of a state or n + that of a parameter. The sensitivity
    of state i by the initial value of state i starts at 1, all others at 0.
    """
    e, n = equations, equations.n
    for k in range(e.size):
        store_scalar(z, k, initial_state[k] if k < n else 0.0)
    for j in range(m, e.width):
        store_scalar(magnitudes, j, 1.0)
    for j in range(m):
        unknown = unknowns[j]
        store_scalar(magnitudes, j, abs(initial_state[unknown] if unknown < n else values[unknown - n]))
        if unknown < n:
            store_scalar(z, e.start + unknown * e.width + j, 1.0)
