"""A step of a singly diagonally implicit Runge–Kutta method with an explicit first stage (ESDIRK), for stiff systems.

Each stage is solved by Newton's method with the Jacobian at the step's start; its sensitivities follow from one
linear system with the Jacobian at the stage itself, so that they are exact derivatives of the discrete solution
but for Newton's own error.
"""

from __future__ import annotations

import math
from collections import namedtuple
from typing import Any

from numba import carray  # type: ignore[attr-defined]

from odelib.engines.compiled.lu import back_substitute, factorise
from odelib.engines.compiled.primitives import call_kernel
from odelib.engines.compiled.simd import WIDTH, address, integers, load, number, plus, put, reals, splat, store
from odelib.engines.compiled.stage_sums import ERROR, METHODS, SUMS, combine
from odelib.engines.compiled.step_control import CALM, kernel, slopes, squared_norm, write_row
from odelib.engines.tableaus.kvaerno5 import GAMMA, KVAERNO5

METHOD, STAGES = len(METHODS) - 1, len(KVAERNO5.c)
NODES, INTERPOLANT = KVAERNO5.c, KVAERNO5.interpolant
NEWTON_ITERATIONS = 10
NEWTON_TOLERANCE = 0.01  # of the error allowed in a step
NO_CONVERGENCE = 1e30  # the squared error of a step whose equations could not be solved: a much shorter one is next
CALM_STEPS = 20
CALM_BOUND = 1.0  # on h·‖J‖, well inside the explicit methods' regions of stability

# Views of memory. Matrices (n, n) and their pivots (n,): I - hγ·J at the step's start and at a stage. What Newton's
# method changes (n, 1). The sensitivities in `memory.trial` (n, width).
Newton = namedtuple("Newton", "matrix pivots exact exact_pivots change columns")


@kernel
def newton_size(n: int) -> int:
    """How many numbers `memory.newton` has."""
    return 2 * n * n + 3 * n


@kernel
def newton_of(equations: Any, memory: Any) -> Any:
    """The views."""
    n, here = equations.n, memory.newton
    pivots = carray(integers(here), (2, n))
    matrices = carray(reals(here + 16 * n), (2, n, n))
    change = carray(reals(here + 16 * n + 16 * n * n), (n, 1))
    columns = carray(reals(memory.trial + 8 * equations.start), (n, equations.width))
    return Newton(matrices[0], pivots[0], matrices[1], pivots[1], change, columns)


@kernel
def newton_matrix(equations: Any, t: float, z: int, hg: float, matrix: Any, pivots: Any) -> Any:
    """I - hγ·J, factorised; returns whether that worked, and the largest row sum of |J|."""
    e = equations
    matrix[:] = 0.0
    call_kernel(e.jacobian, t, z, e.q, 0, e.column, e.work, address(matrix))
    norm = 0.0
    for i in range(e.n):
        row = 0.0
        for j in range(e.n):
            row += abs(matrix[i, j])
            matrix[i, j] *= -hg
        norm = max(norm, row)
        matrix[i, i] += 1.0
    return factorise(matrix, pivots), norm


@kernel
def solve_stage(
    equations: Any, tolerances: Any, t: float, hg: float, base: int, trial: int, rate: int, newton: Any, old: int
) -> bool:
    """Newton's method for Y = base + hγ·f(t, Y), from `trial`, into `trial`."""
    e, change = equations, newton.change
    last, eta = 0.0, 1.0
    for iteration in range(NEWTON_ITERATIONS):
        call_kernel(e.rates, t, trial, e.q, 0, e.column, e.work, rate)
        for i in range(e.n):
            change[i, 0] = number(base, i) + hg * number(rate, i) - number(trial, i)
        back_substitute(newton.matrix, newton.pivots, change)
        total = 0.0
        for i in range(e.n):
            at = number(trial, i)
            ratio = change[i, 0] / (tolerances.atol + tolerances.rtol * max(abs(number(old, i)), abs(at)))
            total += ratio * ratio
            put(trial, i, at + change[i, 0])
        norm = math.sqrt(total / e.n)
        if not math.isfinite(norm):
            return False
        if iteration > 0:
            theta = norm / last if last > 0.0 else 0.0
            if theta >= 1.0:
                # a change at the rounding's level does not shrink any more, and need not
                return norm <= NEWTON_TOLERANCE
            eta = theta / (1.0 - theta)
        if eta * norm <= NEWTON_TOLERANCE or norm == 0.0:
            return True
        last = norm
    return False


@kernel
def stage_sensitivities(equations: Any, t: float, hg: float, base: int, trial: int, rate: int, newton: Any) -> bool:
    """(I - hγ·J)·S = base + hγ·∂f/∂p at the stage's state, into `memory.trial`."""
    e = equations
    newton.columns[:] = 0.0  # with S = 0 the kernel gives ∂f/∂p alone
    slopes(e, t, trial, rate)
    worked, _ = newton_matrix(e, t, trial, hg, newton.exact, newton.exact_pivots)
    if not worked:
        return False
    for k in range(e.start, e.size, WIDTH):
        store(trial, k, plus(load(base, k), hg, load(rate, k)))
    back_substitute(newton.exact, newton.exact_pivots, newton.columns)
    return True


@kernel
def attempt(equations: Any, tolerances: Any, memory: Any, t: float, h: float) -> Any:
    """The squared error of a step, and ‖J‖; the solution at its end is `memory.trial`."""
    e, size, newton = equations, equations.size, newton_of(equations, memory)
    hg = h * GAMMA
    worked, norm = newton_matrix(e, t, memory.z, hg, newton.matrix, newton.pivots)
    if not worked:
        return NO_CONVERGENCE, norm
    for index in range(1, STAGES):
        base, time = memory.before, t + NODES[index] * h
        rate, last = memory.stages + 8 * size * index, memory.stages + 8 * size * (index - 1)
        combine(METHOD * SUMS + index, memory.z, memory.stages, size, h, base)
        for k in range(0, e.start, WIDTH):  # the last stage's rate is a fair guess of this one's
            store(memory.trial, k, plus(load(base, k), hg, load(last, k)))
        if not solve_stage(e, tolerances, time, hg, base, memory.trial, rate, newton, memory.z):
            return NO_CONVERGENCE, norm
        if e.width > 0 and not stage_sensitivities(e, time, hg, base, memory.trial, rate, newton):
            return NO_CONVERGENCE, norm
        for k in range(0, size, WIDTH):  # not f itself: that would multiply Newton's error by the stiffness
            change = plus(load(memory.trial, k), -1.0, load(base, k))
            store(rate, k, plus(splat(0.0), 1.0 / hg, change))
    combine(METHOD * SUMS + ERROR, memory.z, memory.stages, size, h, memory.error)
    return squared_norm(e, tolerances, memory.error, 0, memory.z, memory.trial), norm


@kernel
def settle(
    equations: Any, t: float, hg: float, row: int, slope: int, rate: int, first: int, last: int, right: Any, newton: Any
) -> None:
    """Take the error of fast components out of an interpolated state, or out of its sensitivities.

    first, last: which numbers of the row; right: the same numbers of `rate`, as (n, ·).
    The interpolant is of order 4, but for fast components only as good as the stages, of order 2. Their rate differs
    from the interpolant's derivative `slope` by J times their error e, so that w = (I - hγJ)⁻¹·hγ·(rate - slope) is
    -e. For slow components w is small but nothing like -e; w - (I - hγJ)⁻¹·w is of higher order for them, and still
    -e for the fast ones: that is added.
    """
    worked, _ = newton_matrix(equations, t, row, hg, newton.exact, newton.exact_pivots)
    if not worked:
        return
    slopes(equations, t, row, rate)
    for k in range(first, last):
        put(rate, k, hg * (number(rate, k) - number(slope, k)))
    for sign in (1.0, -1.0):
        back_substitute(newton.exact, newton.exact_pivots, right)
        for k in range(first, last):
            put(row, k, number(row, k) + sign * number(rate, k))


@kernel
def interpolate(equations: Any, memory: Any, h: float, theta: float, row: int, slope: int) -> None:
    """The solution when the part θ of a step is over, and its derivative."""
    for k in range(0, equations.size, WIDTH):
        store(row, k, load(memory.z, k))
        store(slope, k, splat(0.0))
    for i in range(STAGES):
        weight, change = 0.0, 0.0
        for d in range(INTERPOLANT.shape[1] - 1, -1, -1):
            weight = (weight + INTERPOLANT[i, d]) * theta
            change = change * theta + (d + 1) * INTERPOLANT[i, d]
        stage = memory.stages + 8 * equations.size * i
        for k in range(0, equations.size, WIDTH):
            store(row, k, plus(load(row, k), h * weight, load(stage, k)))
            store(slope, k, plus(load(slope, k), change, load(stage, k)))


@kernel
def write_outputs(
    equations: Any, memory: Any, t: float, h: float, end: float, times: Any, written: int, outputs: Any
) -> int:
    """Fill in the outputs up to `end` of an accepted step; returns how many are written then."""
    e, row, slope = equations, memory.spare, memory.before
    newton = newton_of(equations, memory)
    of_states = carray(reals(memory.error), (e.n, 1))
    of_sensitivities = carray(reals(memory.error + 8 * e.start), (e.n, e.width))
    while written < len(times) and times[written] <= end:
        time, hg = times[written], GAMMA * h
        interpolate(e, memory, h, (time - t) / h, row, slope)
        settle(e, time, hg, row, slope, memory.error, 0, e.n, of_states, newton)
        if e.width > 0:  # whose equations hold the state
            settle(e, time, hg, row, slope, memory.error, e.start, e.size, of_sensitivities, newton)
        write_row(e, row, outputs, written)
        written += 1
    return written


@kernel
def is_calm(norm_of_jacobian: float, h: float, count: Any) -> bool:
    """Whether an explicit method could have taken many steps in a row, of which this was the last; counts them."""
    count[CALM] = count[CALM] + 1 if h * norm_of_jacobian < CALM_BOUND else 0
    return bool(count[CALM] >= CALM_STEPS)
