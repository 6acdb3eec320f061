"""What all loops over steps share: where a solve stands, the error's norm, the first step and the next one.

Memory is told by addresses (see `lanes`). A solve's numbers lie in rows of whole lanes: the state, n numbers padded
to `start`, then for each state its sensitivities, m numbers padded to `width`; with zeros.
"""

from __future__ import annotations

import math
from collections import namedtuple
from typing import Any

from numba import njit

from odelib.engines.compiled.primitives import call_kernel
from odelib.engines.compiled.simd import (
    WIDTH,
    larger,
    largest,
    load,
    number,
    plus,
    plus_square,
    put,
    quotient,
    size_of,
    splat,
    store,
    times,
    total,
)

# Where a solve stands, or how it ended.
RUNNING, DONE, MAX_STEPS, NOT_FINITE, STEP_TOO_SMALL = range(5)
# places in `clock`: time, step, logarithm of the last accepted step's error, how much a step may grow
TIME, STEP, LAST_ERROR, GROWTH = range(4)
# places in `count`: one of the codes above, steps tried, outputs written, whether the implicit method is at work, which
# methods have been (bits), whether the last step rejected had no finite error, and in a row: calm steps of the implicit
# method, steps of an explicit one limited by stability, steps that were not; and discontinuities that lie behind
STATUS, STEPS, WRITTEN, IMPLICIT, USED, BROKEN, CALM, LIMITED, FREE, JUMPED = range(10)
COUNTS = 10
USED_EXPLICIT, USED_IMPLICIT = 1, 2

SAFETY, SHRINK, GROW = 0.9, 0.2, 10.0
BETA = 0.04  # of the PI controller (Hairer and Wanner, IV.2): h ∝ error^(-(1/k - 0.75·BETA)) · last^BETA
MIN_ERROR = math.log(1e-4)  # that the controller takes the last step for

kernel = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
# a call with views of arrays takes longer than what is done in it: what each step calls once becomes a part of the loop
part = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"}, forceinline=True)

# What is solved: addresses of the kernels `rates`, `both` (rates with sensitivities) and `jacobian`, of their
# parameters q, their columns and their working space; the number of states, and the layout of memory. Numba compiles
# tuples made by `namedtuple` alone.
Equations = namedtuple("Equations", "rates both jacobian q column work n start width size")
# How accurately: weights of the sensitivities enter by `floors`, the address of atol/weight for each column.
Tolerances = namedtuple("Tolerances", "rtol atol floors")
# Addresses of a member's outputs: states (T, n) and sensitivities (T, n, m); and m.
Outputs = namedtuple("Outputs", "states sensitivities m")


@part
def slopes(equations: Any, t: float, z: int, out: int) -> None:
    """The derivatives of states and sensitivities."""
    e = equations
    call_kernel(e.both, t, z, e.q, e.width, e.column, e.work, out)


@kernel
def mean_square(sums: Any, low: Any, n: int) -> Any:
    """Of four sums of squares over n numbers; with `low`, those of a second estimate, combined as in DOP853."""
    tiny = splat(1e-300)
    return times(times(sums, splat(1.0 / n)), quotient(sums, plus(plus(tiny, 1.0, sums), 0.01, low)))


@kernel
def squared_norm(equations: Any, tolerances: Any, error: int, low: int, old: int, new: int) -> Any:
    """The largest of the mean squares over the states and over each column of sensitivities, of error/tolerance.

    Column j counts in units of the states: weight[j]·∂y/∂p_j, as CVODES's pbar. low: the address of a second error
    estimate, or 0. Not finite if anything is not.
    """
    e, rtol = equations, tolerances.rtol
    atol = splat(tolerances.atol)
    sums, low_sums = splat(0.0), splat(0.0)
    for k in range(0, e.start, WIDTH):
        scale = plus(atol, rtol, larger(size_of(load(old, k)), size_of(load(new, k))))
        sums = plus_square(sums, quotient(load(error, k), scale))
        if low != 0:
            low_sums = plus_square(low_sums, quotient(load(low, k), scale))
    # the four lanes together are one sum here
    worst = everything = mean_square(splat(total(sums)), splat(total(low_sums)), e.n)
    for j in range(0, e.width, WIDTH):
        floor = load(tolerances.floors, j)
        sums, low_sums = splat(0.0), splat(0.0)
        for k in range(e.start + j, e.size, e.width):
            scale = plus(floor, rtol, larger(size_of(load(old, k)), size_of(load(new, k))))
            sums = plus_square(sums, quotient(load(error, k), scale))
            if low != 0:
                low_sums = plus_square(low_sums, quotient(load(low, k), scale))
        column = mean_square(sums, low_sums, e.n)
        worst, everything = larger(worst, column), plus(everything, 1.0, column)
    return largest(worst) if math.isfinite(total(everything)) else total(everything)


@kernel
def first_step(
    equations: Any, tolerances: Any, order: int, t: float, span: float, z: int, rate: int, trial: int, change: int
) -> float:
    """A first step size from the solution's first and second derivative (Hairer, Nørsett and Wanner, II.4)."""
    size = equations.size
    d0 = math.sqrt(squared_norm(equations, tolerances, z, 0, z, z))
    d1 = math.sqrt(squared_norm(equations, tolerances, rate, 0, z, z))
    h = min(1e-6 if d0 < 1e-5 or d1 < 1e-5 else 0.01 * d0 / d1, span)
    for k in range(0, size, WIDTH):
        store(trial, k, plus(load(z, k), h, load(rate, k)))
        store(change, k, splat(0.0))  # where the equations write nothing
    slopes(equations, t + h, trial, change)
    for k in range(0, size, WIDTH):
        store(change, k, plus(load(change, k), -1.0, load(rate, k)))
    d2 = math.sqrt(squared_norm(equations, tolerances, change, 0, z, z)) / h
    if not math.isfinite(d2):
        return h * 1e-3
    steepest = max(d1, d2)
    h1 = max(1e-6, h * 1e-3) if steepest <= 1e-15 else (0.01 / steepest) ** (1.0 / order)
    return min(100.0 * h, h1, span)


@part
def accepted(norm: float, error_order: int, h: float, clock: Any, count: Any) -> bool:
    """Whether a step with this squared error stands; sets the size of the next one."""
    log = 0.5 * math.log(max(norm, 1e-60))
    exponent = 1.0 / (error_order + 1.0) - 0.75 * BETA
    if not norm <= 1.0:
        finite = math.isfinite(norm)
        count[BROKEN] = 0 if finite else 1
        clock[GROWTH] = 1.0
        clock[STEP] = h * (max(SHRINK, SAFETY * math.exp(-exponent * log)) if finite else SHRINK)
        return False
    factor = SAFETY * math.exp(BETA * clock[LAST_ERROR] - exponent * log)
    clock[STEP] = h * min(clock[GROWTH], max(SHRINK, factor))
    clock[GROWTH] = GROW
    clock[LAST_ERROR] = max(log, MIN_ERROR)
    return True


@part
def copy(source: int, size: int, target: int) -> None:
    """Copy `size` numbers, whole lanes."""
    for k in range(0, size, WIDTH):
        store(target, k, load(source, k))


@kernel
def write_row(equations: Any, row: int, outputs: Any, place: int) -> None:
    """An output without what pads it."""
    n, m = equations.n, outputs.m
    states, sensitivities = outputs.states + 8 * place * n, outputs.sensitivities + 8 * place * n * m
    for i in range(n):
        put(states, i, number(row, i))
    whole = m - m % WIDTH
    for i in range(n):
        source, target = equations.start + i * equations.width, i * m
        for j in range(0, whole, WIDTH):
            store(sensitivities, target + j, load(row, source + j))
        for j in range(whole, m):
            put(sensitivities, target + j, number(row, source + j))


@kernel
def prepare(
    equations: Any, m: int, initial_state: Any, values: Any, columns: Any, atol: float, z: int, floors: int
) -> None:
    """The solution at its start, and the tolerances' floors.

    columns (m,): of what the sensitivities are, the number of a state, or n + that of a parameter. A sensitivity counts
    in units of its unknown's size, one where that is 0.
    """
    n, start, width = equations.n, equations.start, equations.width
    for k in range(equations.size):
        put(z, k, initial_state[k] if k < n else 0.0)
    for j in range(width):
        put(floors, j, 1.0)
    for j in range(m):
        unknown = columns[j]
        weight = abs(initial_state[unknown] if unknown < n else values[unknown - n])
        put(floors, j, atol / weight if weight > 0.0 else atol)
        if unknown < n:
            put(z, start + unknown * width + j, 1.0)
