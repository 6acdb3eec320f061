"""A step of an explicit method, for all of them: stages, error estimate, outputs within it, signs of stiffness."""

from __future__ import annotations

from typing import Any

import numpy as np

from odelib.engines.compiled.simd import number
from odelib.engines.compiled.stage_sums import ERROR, ERROR_LOW, EXPLICIT, SUMS, combine, interpolate
from odelib.engines.compiled.step_control import FREE, LIMITED, kernel, part, slopes, squared_norm, write_row

# By the method's place in EXPLICIT: stages before those that only the interpolant needs, all stages, and their times
# as parts of the step; whether there is a second error estimate.
MAIN = np.array([tableau.main for tableau in EXPLICIT])
STAGES = np.array([len(tableau.c) for tableau in EXPLICIT])
NODES = np.array([np.pad(tableau.c, (0, STAGES.max() - len(tableau.c))) for tableau in EXPLICIT])
TWO_ESTIMATES = np.array([bool(tableau.error_low.any()) for tableau in EXPLICIT])

# Stiffness as in DOPRI5 (Hairer and Wanner, IV.2): h·|λ|, estimated from the last two stages, at the border of the
# region of stability in so many steps, with not as many in a row elsewhere between them.
STABILITY_BORDER, LIMITED_STEPS, FREE_STEPS = 3.25, 15, 6


@part
def attempt(method: int, equations: Any, tolerances: Any, memory: Any, t: float, h: float) -> Any:
    """The squared error of a step; the solution at its end is `memory.trial`, the rate there the last main stage."""
    size, main = equations.size, MAIN[method]
    for index in range(1, main):
        # the last but one is kept: `count_stiffness` compares the two
        argument = memory.before if index == main - 2 else memory.trial
        combine(method * SUMS + index, memory.z, memory.stages, size, h, argument)
        slopes(equations, t + NODES[method, index] * h, argument, memory.stages + 8 * size * index)
    combine(method * SUMS + ERROR, memory.z, memory.stages, size, h, memory.error)
    low = 0
    if TWO_ESTIMATES[method]:
        low = memory.spare
        combine(method * SUMS + ERROR_LOW, memory.z, memory.stages, size, h, low)
    return squared_norm(equations, tolerances, memory.error, low, memory.z, memory.trial)


@kernel
def write_outputs(
    method: int, equations: Any, memory: Any, t: float, h: float, end: float, times: Any, written: int, outputs: Any
) -> int:
    """Fill in the outputs up to `end` of an accepted step; returns how many are written then."""
    size = equations.size
    for index in range(MAIN[method], STAGES[method]):
        combine(method * SUMS + index, memory.z, memory.stages, size, h, memory.spare)
        slopes(equations, t + NODES[method, index] * h, memory.spare, memory.stages + 8 * size * index)
    while written < len(times) and times[written] <= end:
        interpolate(method, (times[written] - t) / h, memory.z, memory.stages, size, h, memory.spare)
        write_row(equations, memory.spare, outputs, written)
        written += 1
    return written


@part
def is_stiff(method: int, equations: Any, memory: Any, h: float, count: Any) -> bool:
    """Whether stability has limited many steps, of which this was the last; counts them."""
    size, main = equations.size, MAIN[method]
    after, before = memory.stages + 8 * size * (main - 1), memory.stages + 8 * size * (main - 2)
    change, distance = 0.0, 0.0
    for i in range(equations.n):
        change += (number(after, i) - number(before, i)) ** 2
        distance += (number(memory.trial, i) - number(memory.before, i)) ** 2
    if h * h * change > STABILITY_BORDER**2 * distance > 0.0:
        count[LIMITED] += 1
        count[FREE] = 0
    else:
        count[FREE] += 1
        if count[FREE] >= FREE_STEPS:
            count[LIMITED] = 0
    return bool(count[LIMITED] >= LIMITED_STEPS)
