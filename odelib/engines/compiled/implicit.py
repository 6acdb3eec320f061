"""A step of an ESDIRK method, for stiff systems: singly diagonally implicit Runge–Kutta with an explicit first stage.

Stage i solves Yᵢ = y + h·Σⱼ<ᵢ aᵢⱼ·kⱼ + hγ·f(t + cᵢ·h, Yᵢ) by Newton's method. All stages have the same γ, so that one
factorisation of I - hγ·J serves the step (Hairer and Wanner, Solving ODEs II, IV.8; Kværnø, BIT 44, 2004).

Differentiating the stage gives its sensitivities, one linear system for all columns with the Jacobian at the stage:
(I - hγ·J(Yᵢ))·Sᵢ = S + h·Σⱼ<ᵢ aᵢⱼ·Kⱼ + hγ·∂f/∂p. They are the exact derivatives of the discrete solution but for
Newton's error. To reuse the factorisation of the step's start would be cheaper, but would not give these derivatives.
"""

from __future__ import annotations

import math
from collections import namedtuple
from typing import Any

from numba import carray  # type: ignore[attr-defined]

from odelib.engines.compiled.jit import kernel
from odelib.engines.compiled.lu import back_substitute, factorise
from odelib.engines.compiled.primitives import call_kernel
from odelib.engines.compiled.simd import (
    WIDTH,
    address,
    float64_pointer,
    int64_pointer,
    load,
    load_scalar,
    multiply_add,
    splat,
    store,
    store_scalar,
)
from odelib.engines.compiled.stage_sums import ERROR, SUMS, combine
from odelib.engines.compiled.step_control import (
    NO_CONVERGENCE,
    NONSTIFF,
    TINY,
    derivatives,
    squared_norm,
    write_row,
)
from odelib.engines.tableaus.kvaerno5 import GAMMA, KVAERNO5
from odelib.engines.tableaus.registry import METHODS

METHOD, STAGES = len(METHODS) - 1, len(KVAERNO5.c)
NODES, INTERPOLANT = KVAERNO5.c, KVAERNO5.interpolant
NEWTON_ITERATIONS = 10
NEWTON_TOLERANCE = 0.01  # in units of the step's error tolerance
HUGE = 1e200  # see `newton_matrix`
NONSTIFF_AFTER, NONSTIFF_BOUND = 20, 1.0  # see `is_nonstiff`

# Views of memory. matrix (n, n) and pivots (n,): I - hγ·J at the step's start, factorised; stage_matrix and
# stage_pivots: the same at a stage. change (n, 1): Newton's. columns (n, width): the sensitivities in `memory.trial`.
# weights (n,): the states' tolerances at the step's start.
Newton = namedtuple("Newton", "matrix pivots stage_matrix stage_pivots change columns weights")


@kernel
def newton_size(n: int) -> int:
    """How many numbers `memory.newton` takes."""
    return 2 * n * n + 4 * n


@kernel
def newton_views(equations: Any, memory: Any) -> Any:
    """See `Newton`."""
    n, here = equations.n, memory.newton
    pivots = carray(int64_pointer(here), (2, n))
    matrices = carray(float64_pointer(here + 16 * n), (2, n, n))
    change = carray(float64_pointer(here + 16 * n + 16 * n * n), (n, 1))
    columns = carray(float64_pointer(memory.trial + 8 * equations.start), (n, equations.width))
    weights = carray(float64_pointer(here + 24 * n + 16 * n * n), (n,))
    return Newton(matrices[0], pivots[0], matrices[1], pivots[1], change, columns, weights)


@kernel
def newton_matrix(equations: Any, t: float, z: int, hg: float, matrix: Any, infinite: float) -> None:
    """Write I - hγ·J at (t, z), hg = hγ.

    infinite: replaces the size of entries of J that are infinite, as the derivative of a root at 0. For Newton's
    iterations it is 0: they converge more slowly then, or not at all, which they notice. For the sensitivities at a
    stage it is `HUGE`: their limit for an infinite entry is 0.
    """
    e = equations
    matrix[:] = 0.0
    call_kernel(e.jacobian, t, z, e.q, 0, e.column_of, e.work, address(matrix))
    total = 0.0
    for i in range(e.n):
        for j in range(e.n):
            total += abs(matrix[i, j])
            matrix[i, j] *= -hg
        matrix[i, i] += 1.0
    if not math.isfinite(total):
        for i in range(e.n):
            for j in range(e.n):
                if math.isinf(matrix[i, j]):
                    matrix[i, j] = math.copysign(infinite * hg, matrix[i, j]) + (1.0 if i == j else 0.0)


@kernel
def norm_of_jacobian(equations: Any, tolerances: Any, z: int, hg: float, matrix: Any, weights: Any) -> float:
    """‖J‖∞ from I - hγ·J, with each state in units of its tolerance at `z`, which is written to `weights` (n,).

    In the states' own units it would depend on these.
    """
    e = equations
    for i in range(e.n):
        weights[i] = load_scalar(tolerances.absolute, i) + tolerances.rtol * abs(load_scalar(z, i))
    norm = 0.0
    for i in range(e.n):
        row = 0.0
        for j in range(e.n):
            row += abs(matrix[i, j] - (1.0 if i == j else 0.0)) * weights[j]
        norm = max(norm, row / weights[i]) if weights[i] > 0.0 else norm
    return norm / hg


@kernel
def solve_stage(
    equations: Any, tolerances: Any, t: float, hg: float, base: int, trial: int, rate: int, newton: Any, old: int
) -> bool:
    """Solve Y = base + hγ·f(t, Y) by simplified Newton iterations from `trial`, into `trial`; returns whether it did.

    (I - hγ·J)·ΔY = base + hγ·f(Y) - Y, with the Jacobian at the step's start. Stopping criterion (Hairer and Wanner,
    Solving ODEs II, IV.8): convergence is linear with the rate θ = ‖ΔY‖/‖ΔY_last‖, so that the error left is
    θ/(1 - θ)·‖ΔY‖ =: η·‖ΔY‖, which must be well below the error tolerance of the step. θ ≥ 1 is divergence.
    """
    e, change = equations, newton.change
    last, eta = 0.0, 1.0
    for iteration in range(NEWTON_ITERATIONS):
        call_kernel(e.rates, t, trial, e.q, 0, e.column_of, e.work, rate)
        for i in range(e.n):
            change[i, 0] = load_scalar(base, i) + hg * load_scalar(rate, i) - load_scalar(trial, i)
        back_substitute(newton.matrix, newton.pivots, change)
        total = 0.0
        for i in range(e.n):
            value = load_scalar(trial, i)
            size = max(abs(load_scalar(old, i)), abs(value))
            ratio = change[i, 0] / (TINY + load_scalar(tolerances.absolute, i) + tolerances.rtol * size)
            total += ratio * ratio
            store_scalar(trial, i, value + change[i, 0])
        norm = math.sqrt(total / e.moving)
        if not math.isfinite(norm):
            return False
        if iteration > 0:
            theta = norm / last if last > 0.0 else 0.0
            if theta >= 1.0:
                # changes at the level of rounding no longer shrink, and need not
                return norm <= NEWTON_TOLERANCE
            eta = theta / (1.0 - theta)
        if eta * norm <= NEWTON_TOLERANCE or norm == 0.0:
            return True
        last = norm
    return False


@kernel
def stage_sensitivities(equations: Any, t: float, hg: float, base: int, trial: int, rate: int, newton: Any) -> bool:
    """Solve (I - hγ·J)·S = base + hγ·∂f/∂p at the stage's state, into `memory.trial`; returns whether it did."""
    e = equations
    newton.columns[:] = 0.0  # J·S + ∂f/∂p with S = 0 is ∂f/∂p
    derivatives(e, t, trial, rate)
    newton_matrix(e, t, trial, hg, newton.stage_matrix, HUGE)
    if not factorise(newton.stage_matrix, newton.stage_pivots, newton.weights):
        return False
    for k in range(e.start, e.size, WIDTH):
        store(trial, k, multiply_add(load(base, k), hg, load(rate, k)))
    back_substitute(newton.stage_matrix, newton.stage_pivots, newton.columns)
    return True


@kernel
def try_step(equations: Any, tolerances: Any, memory: Any, t: float, h: float) -> Any:
    """Compute a step; returns its squared error norm and ‖J‖∞. The new solution is `memory.trial`.

    Stage-value predictor: Newton's method starts at Yᵢ = y + h·Σⱼ<ᵢ aᵢⱼ·kⱼ + hγ·kᵢ₋₁, the last stage's rate in place
    of the stage's own.
    """
    e, size, newton = equations, equations.size, newton_views(equations, memory)
    hg = h * GAMMA
    newton_matrix(e, t, memory.z, hg, newton.matrix, 0.0)
    norm = norm_of_jacobian(e, tolerances, memory.z, hg, newton.matrix, newton.weights)
    if not factorise(newton.matrix, newton.pivots, newton.weights):
        return NO_CONVERGENCE, norm
    for index in range(1, STAGES):
        base, time = memory.buffer, t + NODES[index] * h
        rate, last = memory.stages + 8 * size * index, memory.stages + 8 * size * (index - 1)
        combine(METHOD * SUMS + index, memory.z, memory.stages, size, h, base)
        for k in range(0, e.start, WIDTH):
            store(memory.trial, k, multiply_add(load(base, k), hg, load(last, k)))
        if not solve_stage(e, tolerances, time, hg, base, memory.trial, rate, newton, memory.z):
            return NO_CONVERGENCE, norm
        if e.width > 0 and not stage_sensitivities(e, time, hg, base, memory.trial, rate, newton):
            return NO_CONVERGENCE, norm
        # kᵢ = (Yᵢ - base)/(hγ), not f(Yᵢ): that would multiply Newton's error by the stiffness
        for k in range(0, size, WIDTH):
            change = multiply_add(load(memory.trial, k), -1.0, load(base, k))
            store(rate, k, multiply_add(splat(0.0), 1.0 / hg, change))
    combine(METHOD * SUMS + ERROR, memory.z, memory.stages, size, h, memory.error)
    new_rate = memory.stages + 8 * size * (STAGES - 1)
    squared = squared_norm(e, tolerances, memory.error, 0, memory.z, memory.trial, memory.stages, new_rate)
    return squared, norm


@kernel
def correct_dense_output(
    equations: Any, t: float, hg: float, row: int, derivative: int, rate: int, first: int, last: int, right: Any,
    newton: Any,
) -> None:  # fmt: skip
    """Remove the error of stiff components from an interpolated state, or from its sensitivities.

    first, last: which numbers of the row; right: the same numbers of `rate`, as (n, ·).
    The interpolant has order 4, but stiff components are only as good as the stages, of order 2. Their rate f differs
    from the interpolant's `derivative` by J times their error e, so that w = (I - hγ·J)⁻¹·hγ·(f - derivative) is -e for
    them. For the other components w is small but nothing like -e. So w - (I - hγ·J)⁻¹·w is added: still -e for stiff
    components, and of higher order for the others.
    """
    newton_matrix(equations, t, row, hg, newton.stage_matrix, HUGE)
    if not factorise(newton.stage_matrix, newton.stage_pivots, newton.weights):
        return
    derivatives(equations, t, row, rate)
    for k in range(first, last):
        store_scalar(rate, k, hg * (load_scalar(rate, k) - load_scalar(derivative, k)))
    for sign in (1.0, -1.0):
        back_substitute(newton.stage_matrix, newton.stage_pivots, right)
        for k in range(first, last):
            store_scalar(row, k, load_scalar(row, k) + sign * load_scalar(rate, k))


@kernel
def interpolate(equations: Any, memory: Any, h: float, theta: float, row: int, derivative: int) -> None:
    """The interpolant at t + θ·h, and its derivative by time."""
    for k in range(0, equations.size, WIDTH):
        store(row, k, load(memory.z, k))
        store(derivative, k, splat(0.0))
    for i in range(STAGES):
        weight, change = 0.0, 0.0
        for d in range(INTERPOLANT.shape[1] - 1, -1, -1):
            weight = (weight + INTERPOLANT[i, d]) * theta
            change = change * theta + (d + 1) * INTERPOLANT[i, d]
        stage = memory.stages + 8 * equations.size * i
        for k in range(0, equations.size, WIDTH):
            store(row, k, multiply_add(load(row, k), h * weight, load(stage, k)))
            store(derivative, k, multiply_add(load(derivative, k), change, load(stage, k)))


@kernel
def write_dense_outputs(
    equations: Any, memory: Any, t: float, h: float, end: float, times: Any, written: int, outputs: Any
) -> int:
    """Write the outputs of an accepted step up to the time `end`; returns how many are written in all."""
    e, row, derivative = equations, memory.spare, memory.buffer
    newton = newton_views(equations, memory)
    of_states = carray(float64_pointer(memory.error), (e.n, 1))
    of_sensitivities = carray(float64_pointer(memory.error + 8 * e.start), (e.n, e.width))
    while written < len(times) and times[written] <= end:
        time, hg = times[written], GAMMA * h
        interpolate(e, memory, h, (time - t) / h, row, derivative)
        correct_dense_output(e, time, hg, row, derivative, memory.error, 0, e.n, of_states, newton)
        if e.width > 0:  # after the states, which their equations contain
            correct_dense_output(e, time, hg, row, derivative, memory.error, e.start, e.size, of_sensitivities, newton)
        write_row(e, row, outputs, written)
        written += 1
    return written


@kernel
def is_nonstiff(norm_of_jacobian: float, h: float, counters: Any) -> bool:
    """Whether an explicit method could have taken many steps in a row, of which this is the last; counts them.

    h·‖J‖∞ bounds h·|λ| for every eigenvalue; NONSTIFF_BOUND is well inside the explicit methods' stability regions, so
    that the methods do not switch to and fro.
    """
    counters[NONSTIFF] = counters[NONSTIFF] + 1 if h * norm_of_jacobian < NONSTIFF_BOUND else 0
    return bool(counters[NONSTIFF] >= NONSTIFF_AFTER)
