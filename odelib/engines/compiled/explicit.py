"""A step of an explicit method: its stages, error estimate, dense output and stiffness detection."""

from __future__ import annotations

from typing import Any

import numpy as np

from odelib.engines.compiled.jit import inline_kernel, kernel
from odelib.engines.compiled.simd import WIDTH, load, multiply_add, store
from odelib.engines.compiled.stage_sums import ERROR, ERROR_LOW, SUMS, combine, interpolate
from odelib.engines.compiled.step_control import (
    ACCEPTED,
    ACCURACY_LIMITED,
    STABILITY_LIMITED,
    derivatives,
    squared_norm,
    write_row,
)
from odelib.engines.tableaus.registry import EXPLICIT

# By the method's index: the number of main stages, before those that only the interpolant needs; of all stages; the
# nodes cᵢ; whether there is a second error estimate.
MAIN = np.array([tableau.main for tableau in EXPLICIT])
STAGES = np.array([len(tableau.c) for tableau in EXPLICIT])
NODES = np.array([np.pad(tableau.c, (0, STAGES.max() - len(tableau.c))) for tableau in EXPLICIT])
TWO_ESTIMATES = np.array([bool(tableau.error_low.any()) for tableau in EXPLICIT])

# Stiffness detection as in DOPRI5: see `is_stiff`.
STABILITY_BOUND, STIFF_AFTER, RESET_AFTER, CHECK_EVERY = 3.25, 15, 6, 10


@inline_kernel
def try_step(method: int, equations: Any, tolerances: Any, memory: Any, t: float, h: float) -> Any:
    """Compute a step; returns its squared error norm.

    kᵢ = f(t + cᵢ·h, y + h·Σⱼ aᵢⱼ·kⱼ), with k₀ the last step's last main stage (first same as last, FSAL). The new
    solution is the argument of the last main stage, `memory.trial`.
    """
    size, main = equations.size, MAIN[method]
    for index in range(1, main):
        # `is_stiff` compares the arguments of the last two main stages: the first of them needs memory of its own
        argument = memory.buffer if index == main - 2 else memory.trial
        combine(method * SUMS + index, memory.z, memory.stages, size, h, argument)
        derivatives(equations, t + NODES[method, index] * h, argument, memory.stages + 8 * size * index)
    combine(method * SUMS + ERROR, memory.z, memory.stages, size, h, memory.error)
    low = 0
    if TWO_ESTIMATES[method]:
        low = memory.spare
        combine(method * SUMS + ERROR_LOW, memory.z, memory.stages, size, h, low)
    new_rate = memory.stages + 8 * size * (main - 1)
    return squared_norm(equations, tolerances, memory.error, low, memory.z, memory.trial, memory.stages, new_rate)


@kernel
def complete_stages(method: int, equations: Any, memory: Any, t: float, h: float) -> None:
    """Compute the stages that only the interpolant needs."""
    size = equations.size
    for index in range(MAIN[method], STAGES[method]):
        combine(method * SUMS + index, memory.z, memory.stages, size, h, memory.spare)
        derivatives(equations, t + NODES[method, index] * h, memory.spare, memory.stages + 8 * size * index)


@kernel
def write_dense_outputs(
    method: int, equations: Any, memory: Any, t: float, h: float, end: float, times: Any, written: int, outputs: Any
) -> int:
    """Write the outputs of an accepted step up to the time `end`; returns how many are written in all.

    `complete_stages` is called here, in steps with an output.
    """
    size = equations.size
    complete_stages(method, equations, memory, t, h)
    while written < len(times) and times[written] <= end:
        interpolate(method, (times[written] - t) / h, memory.z, memory.stages, size, size, h, memory.spare)
        write_row(equations, memory.spare, outputs, written)
        written += 1
    return written


@inline_kernel
def is_stiff(method: int, equations: Any, tolerances: Any, memory: Any, h: float, counters: Any) -> bool:
    """Whether stability has limited many steps, of which this is the last; counts them.

    As in DOPRI5 (Hairer and Wanner, Solving ODEs II, IV.2): the last two main stages, both at t + h, estimate
    the dominant eigenvalue by |λ| ≈ ‖k_s - k_(s-1)‖/‖Y_s - Y_(s-1)‖. A step with h·|λ| beyond the boundary of the
    stability region was limited by stability. After STIFF_AFTER such steps the system counts as stiff; RESET_AFTER
    others in a row reset the count. Every CHECK_EVERY-th accepted step is checked, and every step once one was limited.

    The norm is the error's, sensitivities included. They have the states' Jacobian, but where the states are at rest
    in the stiff directions only the sensitivities move there, and only they limit the step. Overwrites `memory.error`
    and `memory.spare`.
    """
    counters[ACCEPTED] += 1
    if counters[STABILITY_LIMITED] == 0 and counters[ACCEPTED] % CHECK_EVERY != 0:
        return False
    size, main = equations.size, MAIN[method]
    after, before = memory.stages + 8 * size * (main - 1), memory.stages + 8 * size * (main - 2)
    for k in range(0, size, WIDTH):
        store(memory.error, k, multiply_add(load(memory.trial, k), -1.0, load(memory.buffer, k)))
        store(memory.spare, k, multiply_add(load(after, k), -1.0, load(before, k)))
    distance = squared_norm(equations, tolerances, memory.error, 0, memory.z, memory.trial, memory.stages, after)
    change = squared_norm(equations, tolerances, memory.spare, 0, memory.z, memory.trial, memory.stages, after)
    if h * h * change > STABILITY_BOUND**2 * distance > 0.0:
        counters[STABILITY_LIMITED] += 1
        counters[ACCURACY_LIMITED] = 0
    else:
        counters[ACCURACY_LIMITED] += 1
        if counters[ACCURACY_LIMITED] >= RESET_AFTER:
            counters[STABILITY_LIMITED] = 0
    return bool(counters[STABILITY_LIMITED] >= STIFF_AFTER)
