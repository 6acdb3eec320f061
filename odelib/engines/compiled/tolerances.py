"""The absolute tolerance of each number of a solution, and how it follows the sizes that this number has had.

With `atol: "auto"` a state may err by AUTO_ATOL·rtol of its largest size so far, so that a solve does not depend on the
units of its states. Sensitivities by an unknown that is 0 are controlled in the same way.
"""

from __future__ import annotations

import math
from collections import namedtuple
from typing import Any

from odelib.engines.compiled.jit import kernel
from odelib.engines.compiled.primitives import call_kernel
from odelib.engines.compiled.simd import (
    WIDTH,
    absolute,
    address,
    choose,
    load,
    load_scalar,
    maximum,
    multiply,
    splat,
    store,
    store_scalar,
)
from odelib.engines.symbolic.borders import ERRORS
from odelib.problem.solver import AUTO_ATOL

EMERGED, FALLEN = 0.01, 0.5  # see `follow_size`
ROUNDING = 1e-12
FED = 1e-6  # of the terms of a sum: far above its error, also with derivatives by finite differences

# rtol: on everything. is_auto: whether the states' absolute tolerances are automatic. follow: whether any follows a
# size; if not, nothing here changes after the start. span: of the solve. Addresses: of the most that the absolute
# tolerance of each state may be, which is what it is if not automatic; of the absolute tolerances, the largest sizes so
# far, and whether each number began at 0 (1 or 0), rows like the solution's; and of |p_j| for each sensitivity column,
# 1 in the padding.
Tolerances = namedtuple("Tolerances", "rtol limits is_auto follow span absolute sizes from_zero magnitudes")


@kernel
def tolerances_follow(is_auto: bool, m: int, magnitudes: int) -> bool:
    """Whether any tolerance follows a size: all if automatic, else those of columns by an unknown that is 0."""
    follow = is_auto
    for j in range(m):
        follow = follow or load_scalar(magnitudes, j) == 0.0
    return follow


@kernel
def initialise_tolerances(equations: Any, tolerances: Any, z: int) -> None:
    """Write the absolute tolerances at the start."""
    e = equations
    for i in range(e.n):
        set_atol(e, tolerances, i, 0.0 if tolerances.is_auto else math.inf)
    for k in range(e.n, e.start):  # padding has no error, and must not be divided by 0
        store_scalar(tolerances.absolute, k, 1.0)
    update_tolerances(e, tolerances, z)


@kernel
def update_tolerances(equations: Any, tolerances: Any, z: int) -> None:
    """Let the absolute tolerances follow the largest sizes so far, at a new point of the solution.

    Of state i: atol_i, the one given or AUTO_ATOL·rtol·max|y_i|. Of ∂y_i/∂p_j: atol_i/|p_j|, that is, s_j·∂y/∂p_j
    counts in the states' units with s_j = |p_j| (CVODES's `pbar`), so that the norm does not depend on the units of p.
    Where p_j is 0, it has no size: see `update_columns`.
    """
    e = equations
    for i in range(e.n):
        size, largest = abs(load_scalar(z, i)), load_scalar(tolerances.sizes, i)
        store_scalar(tolerances.sizes, i, max(size, largest))
        if tolerances.is_auto:
            follow_size(e, tolerances, i, size, largest)
    for j in range(0, e.width, WIDTH):
        update_columns(e, tolerances, z, j)


@kernel
def update_columns(equations: Any, tolerances: Any, z: int, j: int) -> None:
    """The absolute tolerances of sensitivities by unknowns that are 0, in WIDTH columns: as if they were states.

    Linear algebra leaves the rounding errors of the column's large entries, in units of the states, in the small
    ones, which then have no accuracy of their own: ROUNDING is far above that.
    """
    e, magnitudes, largest, any_is_0 = equations, load(tolerances.magnitudes, j), splat(0.0), False
    for lane in range(j, j + WIDTH):
        any_is_0 = any_is_0 | (load_scalar(tolerances.magnitudes, lane) == 0.0)
    if not any_is_0:
        return
    for i in range(e.n):
        k, state = e.start + i * e.width + j, load_scalar(tolerances.sizes, i)
        size = maximum(absolute(load(z, k)), load(tolerances.sizes, k))
        store(tolerances.sizes, k, size)
        if state > 0.0:
            largest = maximum(multiply(size, splat(1.0 / state)), largest)
    for i in range(e.n):
        k, state = e.start + i * e.width + j, load_scalar(tolerances.sizes, i)
        own = multiply(load(tolerances.sizes, k), splat(AUTO_ATOL * tolerances.rtol))
        atol = maximum(own, multiply(largest, splat(ROUNDING * state)))
        store(tolerances.absolute, k, choose(magnitudes, atol, load(tolerances.absolute, k)))


@kernel
def follow_size(equations: Any, tolerances: Any, i: int, size: float, largest: float) -> None:
    """Let the automatic tolerance of state i follow its size, which was at most `largest` before.

    One that began at 0 also has what `allow_inherited_errors` allows until it falls again, by FALLEN, from a size that
    is at least EMERGED of the one that is expected there.
    """
    own, atol = tolerances.rtol * max(size, largest), load_scalar(tolerances.absolute, i)
    began_at_zero = load_scalar(tolerances.from_zero, i) > 0.0
    if began_at_zero and size <= FALLEN * largest and own > EMERGED * atol:
        store_scalar(tolerances.from_zero, i, 0.0)
        set_atol(equations, tolerances, i, AUTO_ATOL * own)
    elif AUTO_ATOL * own > atol:
        set_atol(equations, tolerances, i, AUTO_ATOL * own)


@kernel
def set_atol(equations: Any, tolerances: Any, i: int, atol: float) -> None:
    """Set the absolute tolerance of state i, and those of its sensitivities by unknowns that are not 0."""
    atol = min(atol, load_scalar(tolerances.limits, i))
    store_scalar(tolerances.absolute, i, atol)
    if equations.borders != 0:
        store_scalar(equations.borders, i, ERRORS * atol)
    for j in range(equations.width):
        magnitude = load_scalar(tolerances.magnitudes, j)
        if magnitude > 0.0:
            store_scalar(tolerances.absolute, equations.start + i * equations.width + j, atol / magnitude)


@kernel
def mark_what_begins_at_zero(equations: Any, tolerances: Any, z: int, rate: int) -> None:
    """See `allow_inherited_errors`: states that are 0, and sensitivities that are 0 and do not move either."""
    for k in range(equations.size):
        rests = load_scalar(z, k) == 0.0 and (k < equations.start or load_scalar(rate, k) == 0.0)
        store_scalar(tolerances.from_zero, k, 1.0 if rests else 0.0)


@kernel
def start_anew(equations: Any, tolerances: Any, z: int) -> bool:
    """Whether anything that has always been 0 has jumped, as by a dose: it has its size at once, and feeds others."""
    e, jumped = equations, False
    for column in range(-1, e.width):  # the states, and what has sizes of its own
        if column < 0 or load_scalar(tolerances.magnitudes, column) == 0.0:
            for i in range(e.n):
                k = i if column < 0 else e.start + i * e.width + column
                if load_scalar(tolerances.sizes, k) == 0.0 and load_scalar(z, k) != 0.0:
                    jumped = True
                    store_scalar(tolerances.from_zero, k, 0.0)
    return jumped


@kernel
def allow_inherited_errors(
    equations: Any, tolerances: Any, t: float, elapsed: float, z: int, rate: int, jacobian: Any, sizes: Any, fed: Any
) -> None:
    """Raise the absolute tolerances of what began at 0 by the errors that it inherits from what feeds it.

    The k-th product of a chain of reactions begins like t^k. To follow that to rtol takes some k steps for each
    doubling of t, and is of no use: the errors of a state j, rtol·size_j, make one of rtol·|J_ij|·size_j·τ_i in state
    i, with τ_i = min(time elapsed, 1/|J_ii|), which is its atol too. A chain may also begin with what no state feeds,
    as a constant infusion: see `feed_from_outside`. The same holds for the entries of a sensitivity column by an
    unknown that is 0. rate: at (t, z). jacobian: (n, n), sizes, fed: (n,), all overwritten.
    """
    e, n = equations, equations.n
    jacobian[:] = 0.0
    call_kernel(e.jacobian, t, z, e.q, 0, e.column_of, e.work, address(jacobian))
    if tolerances.is_auto:
        feed_from_outside(z, rate, jacobian, fed)
        inherited_sizes(tolerances, 0, 1, elapsed, jacobian, sizes, fed)
        for i in range(n):
            atol = tolerances.rtol * sizes[i]
            if load_scalar(tolerances.from_zero, i) > 0.0 and atol > load_scalar(tolerances.absolute, i):
                set_atol(e, tolerances, i, atol)
    fed[:] = 0.0
    for j in range(e.width):
        if load_scalar(tolerances.magnitudes, j) == 0.0:
            inherited_sizes(tolerances, e.start + j, e.width, elapsed, jacobian, sizes, fed)
            for i in range(n):
                k = e.start + i * e.width + j
                if load_scalar(tolerances.from_zero, k) > 0.0:  # `update_columns` keeps AUTO_ATOL·rtol of the size
                    store_scalar(tolerances.sizes, k, max(load_scalar(tolerances.sizes, k), sizes[i] / AUTO_ATOL))


@kernel
def feed_from_outside(z: int, rate: int, jacobian: Any, fed: Any) -> None:
    """Write the rate of each state that depends on no state, (n,): f − J·z, where that is more than a rounding error.

    It is exact for linear equations; for others it is of the size of what their nonlinear terms add.
    """
    for i in range(len(fed)):
        left, terms = load_scalar(rate, i), 0.0
        for j in range(len(fed)):
            value = load_scalar(z, j)
            if value != 0.0:  # its derivative may be infinite at 0
                left -= jacobian[i, j] * value
                terms += abs(jacobian[i, j] * value)
        fed[i] = abs(left) if math.isfinite(left) and abs(left) > FED * terms else 0.0


@kernel
def inherited_sizes(
    tolerances: Any, first: int, stride: int, elapsed: float, jacobian: Any, sizes: Any, fed: Any
) -> None:
    """The sizes of what began at 0 in a column of a row, from those of what did not: see `allow_inherited_errors`.

    Each counts once, by the first way found: a circle of states would raise its own tolerances without end. fed: the
    rates that depend on none of them, (n,).
    """
    n = len(sizes)
    left = 0
    for i in range(n):
        k = first + i * stride
        began_at_zero = load_scalar(tolerances.from_zero, k) > 0.0
        sizes[i] = 0.0 if began_at_zero else load_scalar(tolerances.sizes, k)
        if began_at_zero and fed[i] > 0.0:
            sizes[i] = fed[i] / max(1.0 / elapsed, abs(jacobian[i, i]))
        left += 1 if sizes[i] == 0.0 else 0
    found, sweep = 1, 0
    while found > 0 and left > 0:
        found = 0
        for place in range(n):
            i = place if sweep % 2 == 0 else n - 1 - place
            if sizes[i] == 0.0:
                most = 0.0
                for j in range(n):
                    if sizes[j] > 0.0:
                        most = max(most, abs(jacobian[i, j]) * sizes[j])
                if most > 0.0 and math.isfinite(most):
                    sizes[i] = most / max(1.0 / elapsed, abs(jacobian[i, i]))
                    found += 1 if sizes[i] > 0.0 else 0
        left -= found
        sweep += 1
