"""Steps of a singly diagonally implicit Runge–Kutta method with an explicit first stage (ESDIRK), for stiff systems.

Each stage is solved by Newton's method with the Jacobian at the step's start; its sensitivities follow from one
linear system with the Jacobian at the stage itself, so that they are exact derivatives of the discrete solution
but for Newton's own error. Called as `explicit.advance`, chunk by chunk.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from odelib.engines.compiled.explicit import (
    BETA,
    CALM,
    DONE,
    GROW,
    LAST_ERROR,
    MAX_STEPS,
    NOT_FINITE,
    RUNNING,
    SAFETY,
    SHRINK,
    STARTED,
    STEP,
    STEP_TOO_SMALL,
    STEPS,
    TIME,
    WRITTEN,
    error_norm,
    first_step,
    kernel,
    write_end,
    write_start,
)
from odelib.engines.compiled.lu import back_substitute, factorise
from odelib.engines.compiled.methods.kvaerno5 import GAMMA
from odelib.engines.compiled.primitives import call_kernel

NOT_STIFF = 6  # beside the codes of `explicit`: an explicit method would do
NEWTON_ITERATIONS = 10
NEWTON_TOLERANCE = 0.01  # of the error allowed in a step
CALM_STEPS = 20
CALM_BOUND = 1.0  # on h·‖J‖, well inside the explicit methods' regions of stability


@kernel
def newton_matrix(
    address: int, t: float, z: Any, q: Any, column: Any, n: int, hg: float, work: Any, matrix: Any, pivots: Any
) -> Any:
    """I - hγ·J, factorised; returns whether that worked, and the largest row sum of |J|."""
    entries = matrix.reshape(-1)
    entries[:] = 0.0
    call_kernel(address, t, z, q, 0, column, work, entries)
    norm = 0.0
    for i in range(n):
        row = 0.0
        for j in range(n):
            row += abs(matrix[i, j])
            matrix[i, j] *= -hg
        norm = max(norm, row)
        matrix[i, i] += 1.0
    return factorise(matrix, pivots), norm


@kernel
def solve_stage(
    rates: int, t: float, hg: float, q: Any, column: Any, n: int, base: Any, trial: Any, rate: Any, matrix: Any,
    pivots: Any, change: Any, old: Any, rtol: float, atol: float, work: Any,
) -> bool:  # fmt: skip
    """Newton's method for Y = base + hγ·f(t, Y), from `trial`, into `trial`."""
    last = 0.0
    eta = 1.0
    for iteration in range(NEWTON_ITERATIONS):
        call_kernel(rates, t, trial, q, 0, column, work, rate)
        for i in range(n):
            change[i, 0] = base[i] + hg * rate[i] - trial[i]
        back_substitute(matrix, pivots, change)
        total = 0.0
        for i in range(n):
            ratio = change[i, 0] / (atol + rtol * max(abs(old[i]), abs(trial[i])))
            total += ratio * ratio
            trial[i] += change[i, 0]
        norm = math.sqrt(total / n)
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
def stage_sensitivities(
    address: int, jacobian: int, t: float, hg: float, q: Any, m: int, column: Any, n: int, base: Any, trial: Any,
    rate: Any, matrix: Any, pivots: Any, work: Any,
) -> bool:  # fmt: skip
    """(I - hγ·J)·S = base + hγ·∂f/∂p at the stage's state, into `trial`."""
    for k in range(n, len(trial)):
        trial[k] = 0.0  # with S = 0 the kernel gives ∂f/∂p alone
    call_kernel(address, t, trial, q, m, column, work, rate)
    worked, _ = newton_matrix(jacobian, t, trial, q, column, n, hg, work, matrix, pivots)
    if not worked:
        return False
    for k in range(n, len(trial)):
        trial[k] = base[k] + hg * rate[k]
    back_substitute(matrix, pivots, trial[n:].reshape(n, m))
    return True


@kernel
def try_step(
    rates: int, address: int, jacobian: int, t: float, h: float, q: Any, n: int, m: int, column: Any, a: Any, c: Any,
    rtol: float, atol: float, z: Any, stages: Any, trial: Any, base: Any, work: Any, matrix: Any, pivots: Any,
    exact: Any, exact_pivots: Any, change: Any,
) -> bool:  # fmt: skip
    """All stages of one step; `trial` is the solution at its end. False where Newton's method fails."""
    size = len(z)
    for index in range(1, len(c)):
        gamma = h * a[index, index]
        for k in range(size):
            base[k] = z[k]
        for j in range(index):
            factor = h * a[index, j]
            if factor != 0.0:
                for k in range(size):
                    base[k] += factor * stages[j, k]
        for i in range(n):  # the last stage's rate is a fair guess of this one's
            trial[i] = base[i] + gamma * stages[index - 1, i]
        time = t + c[index] * h
        if not solve_stage(
            rates, time, gamma, q, column, n, base, trial, stages[index], matrix, pivots, change, z, rtol, atol, work
        ):
            return False
        if m > 0 and not stage_sensitivities(
            address, jacobian, time, gamma, q, m, column, n, base, trial, stages[index], exact, exact_pivots, work
        ):
            return False
        for k in range(size):  # not f itself: that would multiply Newton's error by the stiffness
            stages[index, k] = (trial[k] - base[k]) / gamma
    return True


@kernel
def settle(
    address: int, jacobian: int, t: float, hg: float, q: Any, n: int, m: int, column: Any, row: Any, slope: Any,
    rate: Any, matrix: Any, pivots: Any, work: Any,
) -> None:  # fmt: skip
    """Take the error of fast components out of an interpolated state (m = 0), or out of its sensitivities.

    The interpolant is of order 4, but for fast components only as good as the stages, of order 2. Their rate differs
    from the interpolant's derivative `slope` by J times their error e, so that w = (I - hγJ)⁻¹·hγ·(rate - slope) is
    -e. For slow components w is small but nothing like -e; w - (I - hγJ)⁻¹·w is of higher order for them, and still
    -e for the fast ones: that is added.
    """
    worked, _ = newton_matrix(jacobian, t, row, q, column, n, hg, work, matrix, pivots)
    if not worked:
        return
    call_kernel(address, t, row, q, m, column, work, rate)
    part = slice(0, n) if m == 0 else slice(n, n + n * m)
    right = rate[part].reshape(n, max(m, 1))
    rate[part] = hg * (rate[part] - slope[part])
    back_substitute(matrix, pivots, right)
    row[part] += rate[part]
    back_substitute(matrix, pivots, right)
    row[part] -= rate[part]


@kernel
def write_outputs(
    rates: int, address: int, jacobian: int, times: Any, t: float, h: float, q: Any, n: int, m: int, column: Any,
    z: Any, stages: Any, interpolant: Any, written: int, slope: Any, rate: Any, matrix: Any, pivots: Any, work: Any,
    out: Any,
) -> int:  # fmt: skip
    """Fill in the outputs up to t + h; returns how many are written then."""
    size, powers = interpolant.shape
    while written < len(times) and times[written] <= t + h:
        theta = (times[written] - t) / h
        row = out[written]
        row[:] = z
        slope[:] = 0.0
        for i in range(size):
            weight, change = 0.0, 0.0
            for d in range(powers - 1, -1, -1):
                weight = (weight + interpolant[i, d]) * theta
                change = change * theta + (d + 1) * interpolant[i, d]
            for k in range(len(z)):
                row[k] += h * weight * stages[i, k]
                slope[k] += change * stages[i, k]
        time, gamma = times[written], GAMMA * h
        settle(rates, jacobian, time, gamma, q, n, 0, column, row, slope, rate, matrix, pivots, work)
        if m > 0:  # whose equations hold the state
            settle(address, jacobian, time, gamma, q, n, m, column, row, slope, rate, matrix, pivots, work)
        written += 1
    return written


@kernel
def advance(
    rates: int, address: int, jacobian: int, times: Any, q: Any, n: int, m: int, column: Any, weight: Any,
    error_order: int, a: Any, c: Any, error_weights: Any, interpolant: Any, rtol: float, atol: float, max_steps: int,
    pause: int, may_switch: bool, z: Any, stages: Any, trial: Any, work: Any, clock: Any, count: Any, out: Any,
) -> int:  # fmt: skip
    """Solve on, for at most `pause` steps; see `explicit.advance`.

    Returns NOT_STIFF, if it may, after some steps in a row that an explicit method could have taken.
    """
    end = times[len(times) - 1]
    size = len(z)
    error, none, base = np.empty(size), np.zeros(size), np.empty(size)
    matrix, exact = np.empty((n, n)), np.empty((n, n))
    pivots, exact_pivots = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    change = np.empty((n, 1))
    if count[STARTED] == 0:
        count[WRITTEN] = write_start(times, z, out)
    if count[STARTED] == 0 and count[WRITTEN] < len(times):
        call_kernel(address, clock[TIME], z, q, m, column, work, stages[0])
        if not np.all(np.isfinite(stages[0])):
            return NOT_FINITE
        clock[STEP] = first_step(
            address, clock[TIME], end - clock[TIME], q, m, column, n, weight, 5, rtol, atol, z, stages[0], trial, work
        )
        clock[LAST_ERROR] = 1e-4
        count[STARTED] = 1
    exponent = 1.0 / (error_order + 1.0) - 0.75 * BETA
    grow = GROW
    for _ in range(pause):
        if count[WRITTEN] >= len(times):
            return DONE
        if count[STEPS] >= max_steps:
            return MAX_STEPS
        count[STEPS] += 1
        t, h = clock[TIME], clock[STEP]
        last = t + 1.01 * h >= end
        if last:
            h = end - t
        if not t + h > t:
            return STEP_TOO_SMALL if np.all(np.isfinite(stages)) else NOT_FINITE
        worked, norm_of_jacobian = newton_matrix(jacobian, t, z, q, column, n, h * a[1, 1], work, matrix, pivots)
        if not worked or not try_step(
            rates, address, jacobian, t, h, q, n, m, column, a, c, rtol, atol, z, stages, trial, base, work, matrix,
            pivots, exact, exact_pivots, change,
        ):  # fmt: skip
            clock[STEP] = 0.25 * h
            grow = 1.0
            continue
        for k in range(size):
            total = 0.0
            for i in range(len(c)):
                total += error_weights[i] * stages[i, k]
            error[k] = h * total
        norm = error_norm(n, m, error, none, z, trial, weight, rtol, atol)
        if not norm <= 1.0:
            grow = 1.0
            clock[STEP] = h * (SHRINK if not math.isfinite(norm) else max(SHRINK, SAFETY * norm**-exponent))
            continue
        factor = GROW
        if norm > 0.0:
            factor = min(grow, max(SHRINK, SAFETY * norm**-exponent * clock[LAST_ERROR] ** BETA))
        grow = GROW
        clock[LAST_ERROR] = max(norm, 1e-4)
        if count[WRITTEN] < len(times) and times[count[WRITTEN]] <= t + h:
            count[WRITTEN] = write_outputs(
                rates, address, jacobian, times, t, h, q, n, m, column, z, stages, interpolant, count[WRITTEN], base,
                error, matrix, pivots, work, out,
            )  # fmt: skip
        if last:
            write_end(times, trial, out)
            count[WRITTEN] = len(times)
        z[:] = trial
        stages[0] = stages[len(c) - 1]
        clock[TIME] = end if last else t + h
        clock[STEP] = h * factor
        count[CALM] = count[CALM] + 1 if h * norm_of_jacobian < CALM_BOUND else 0
        if may_switch and count[CALM] >= CALM_STEPS and not last:
            count[CALM] = 0
            return NOT_STIFF
    return DONE if count[WRITTEN] >= len(times) else RUNNING
