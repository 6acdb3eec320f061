"""The way back through a tape: from the derivatives of a loss by outputs to those by initial state and parameters.

A step computes its stages kᵢ = f(t + cᵢ·h, Yᵢ) from Yᵢ = y + h·Σⱼ aᵢⱼ·kⱼ, the new state, which is the Yᵢ of the last
main stage, and outputs y + h·Σᵢ bᵢ(θ)·kᵢ. Backwards, stage by stage, with a bar for the derivative of the loss by a
quantity: Ȳᵢ gains k̄ᵢ·∂f/∂y, the derivative by p gains k̄ᵢ·∂f/∂p; then ȳ gains Ȳᵢ, and k̄ⱼ gains h·aᵢⱼ·Ȳᵢ. In a stage of
the implicit method f is at Yᵢ = base + hγ·kᵢ: with w = (k̄ᵢ + hγ·Ȳᵢ)·(I − hγ·J)⁻¹, the derivative by the base is
Ȳᵢ + w·J, and that by p gains w·∂f/∂p.

The result is the exact derivative of what the solve computed, its step sizes as constants (Hager, Numerische Mathematik
87, 2000, has the discrete adjoint of Runge–Kutta methods). The first stage is the last one of the step before (first
same as last), so that its derivative is handed back to that step.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from odelib.engines.compiled.adjoint.instants import go_back_through_instant, jumps_of, way_back
from odelib.engines.compiled.adjoint.jit import inline_kernel, kernel
from odelib.engines.compiled.adjoint.memory import Member, Memory, is_zero, pull_back
from odelib.engines.compiled.adjoint.record import (
    FIRST_ENTRY,
    FIRST_OUTPUT,
    HEAD,
    IS_IMPLICIT,
    LAST_ENTRY,
    LAST_OUTPUT,
    STEP_SIZE,
    STEP_TIME,
)
from odelib.engines.compiled.adjoint.transposed import solve_transposed
from odelib.engines.compiled.batch_loop import instants_of, row_of
from odelib.engines.compiled.implicit import HUGE, METHOD, newton_matrix
from odelib.engines.compiled.lu import factorise
from odelib.engines.compiled.simd import address
from odelib.engines.compiled.stage_sums import SUMS, combine
from odelib.engines.compiled.step_control import DONE, STATUS, Equations
from odelib.engines.tableaus.kvaerno5 import GAMMA
from odelib.engines.tableaus.registry import METHODS

MAIN = np.array([tableau.main for tableau in METHODS])
STAGES = np.array([len(tableau.c) for tableau in METHODS])
MOST = int(STAGES.max())
NODES = np.array([np.pad(tableau.c, (0, MOST - len(tableau.c))) for tableau in METHODS])
A = np.array([np.pad(np.tril(t.a, -1), (0, MOST - len(t.c))) for t in METHODS])
DEGREE = max(tableau.interpolant.shape[1] for tableau in METHODS)
INTERPOLANT = np.array(
    [np.pad(t.interpolant, ((0, MOST - len(t.c)), (0, DEGREE - t.interpolant.shape[1]))) for t in METHODS]
)


@inline_kernel
def pass_to_earlier_stages(memory: Any, method: int, stage: int, h: float) -> None:
    """Add the derivative by a stage's base, `product`, to those by what it is a sum of."""
    m = memory
    for i in range(m.n):
        m.total[i] += m.product[i]
    for j in range(stage):
        factor = h * A[method, stage, j]
        if factor != 0.0:
            for i in range(m.n):
                m.bars[j, i] += factor * m.product[i]


@inline_kernel
def begin_step(memory: Any, method: int, count: int) -> None:
    """Only the last main stage is used beyond the step, as the next one's first."""
    m = memory
    m.total[:] = 0.0
    m.bars[:count, :] = 0.0
    for i in range(m.n):
        m.bars[MAIN[method] - 1, i] = m.carry[i]


@inline_kernel
def end_step(memory: Any) -> None:
    """What was found at a step's start belongs to the end of the step before."""
    m = memory
    for i in range(m.n):
        m.state_bar[i], m.carry[i] = m.total[i], m.bars[0, i]


@inline_kernel
def end_output(memory: Any, member: Any, w: int) -> None:
    """Go back through an output at the end of the solve, which is the state itself."""
    for i in range(memory.n):
        memory.state_bar[i] += member.outputs_bar[w, i]


@kernel
def explicit_output(memory: Any, member: Any, method: int, count: int, h: float, theta: float, w: int) -> None:
    """Go back through an output within a step of an explicit method, at t + θ·h."""
    m = memory
    for stage in range(count):
        weight = 0.0
        for d in range(DEGREE - 1, -1, -1):
            weight = (weight + INTERPOLANT[method, stage, d]) * theta
        for i in range(m.n):
            m.bars[stage, i] += h * weight * member.outputs_bar[w, i]
    for i in range(m.n):
        m.total[i] += member.outputs_bar[w, i]


@kernel
def explicit_step(memory: Any, member: Any, method: int, row: Any) -> None:
    """Go back through a step of an explicit method."""
    m, t, h = memory, row[STEP_TIME], row[STEP_SIZE]
    first, last = int(row[FIRST_OUTPUT]), int(row[LAST_OUTPUT])
    state, end = address(row) + 8 * HEAD, member.times[len(member.times) - 1]
    main, count = MAIN[method], STAGES[method] if last > first else MAIN[method]
    begin_step(m, method, count)
    for w in range(first, last):
        if member.times[w] >= end:
            end_output(m, member, w)
        else:
            explicit_output(m, member, method, count, h, (member.times[w] - t) / h, w)
    for stage in range(count - 1, 0, -1):
        is_end = stage == main - 1
        moves = not is_zero(m.bars[stage], m.n)
        if moves:
            combine(method * SUMS + stage, state, state + 8 * m.size, m.size, h, address(m.argument))
            pull_back(m, member, t + NODES[method, stage] * h, m.bars[stage])
        for i in range(m.n):
            m.product[i] = (member.gradient[i] if moves else 0.0) + (m.state_bar[i] if is_end else 0.0)
        if moves or is_end:
            pass_to_earlier_stages(m, method, stage, h)
    end_step(m)


@inline_kernel
def factorise_at_argument(memory: Any, member: Any, t: float, hg: float) -> bool:
    """Factorise I − hγ·J at the `argument`; False if it is singular."""
    m = memory
    equations = Equations(
        0, 0, m.jacobian, member.q, m.column_of, m.work, m.n, m.n, m.size, 0, m.size, 0
    )  # fmt: skip
    newton_matrix(equations, t, address(m.argument), hg, m.matrix, HUGE)
    for i in range(m.n):
        m.weights[i] = member.atol[i] + member.rtol * abs(m.argument[i])
    return factorise(m.matrix, m.pivots, m.weights)


@inline_kernel
def correct_output(memory: Any, hg: float) -> None:
    """The transpose of the correction, w − w·M⁻¹ with w = hγ·bar·M⁻¹, of the `product`; to `right`."""
    m = memory
    for i in range(m.n):
        m.right[i] = m.product[i]
    solve_transposed(m.matrix, m.pivots, m.right)
    for i in range(m.n):
        m.product[i] = m.right[i]
    solve_transposed(m.matrix, m.pivots, m.right)
    for i in range(m.n):
        m.right[i] = hg * (m.product[i] - m.right[i])


@kernel
def implicit_output(memory: Any, member: Any, t: float, h: float, w: int) -> None:
    """Go back through an output within a step of the implicit method, and through its correction.

    See `odelib.engines.compiled.implicit.correct_dense_output`. As in the sensitivities there, the matrix of the
    correction counts as a constant.
    """
    m, time, hg = memory, member.times[w], GAMMA * h
    theta = (time - t) / h
    for i in range(m.n):
        m.argument[i], m.product[i], m.right[i] = member.states[w, i], member.outputs_bar[w, i], 0.0
    if factorise_at_argument(m, member, time, hg):
        correct_output(m, hg)
        pull_back(m, member, time, m.right)
        for i in range(m.n):
            m.product[i] = member.outputs_bar[w, i] + member.gradient[i]
    for stage in range(STAGES[METHOD]):
        weight, change = 0.0, 0.0
        for d in range(DEGREE - 1, -1, -1):
            weight = (weight + INTERPOLANT[METHOD, stage, d]) * theta
            change = change * theta + (d + 1) * INTERPOLANT[METHOD, stage, d]
        for i in range(m.n):
            m.bars[stage, i] += h * weight * m.product[i] - change * m.right[i]
    for i in range(m.n):
        m.total[i] += m.product[i]


@kernel
def implicit_step(memory: Any, member: Any, row: Any) -> None:
    """Go back through a step of the implicit method."""
    m, t, h = memory, row[STEP_TIME], row[STEP_SIZE]
    hg, end = GAMMA * h, member.times[len(member.times) - 1]
    state, count = address(row) + 8 * HEAD, STAGES[METHOD]
    begin_step(m, METHOD, count)
    for w in range(int(row[FIRST_OUTPUT]), int(row[LAST_OUTPUT])):
        if member.times[w] >= end:
            end_output(m, member, w)
        else:
            implicit_output(m, member, t, h, w)
    for stage in range(count - 1, 0, -1):
        is_end, time = stage == count - 1, t + NODES[METHOD, stage] * h
        for i in range(m.n):
            m.product[i] = m.state_bar[i] if is_end else 0.0
            m.right[i] = m.bars[stage, i] + hg * m.product[i]
        if is_zero(m.right, m.n):
            continue
        combine(METHOD * SUMS + stage, state, state + 8 * m.size, m.size, h, address(m.argument))
        for i in range(m.n):
            m.argument[i] += hg * row[HEAD + m.size * (1 + stage) + i]
        if factorise_at_argument(m, member, time, hg):
            solve_transposed(m.matrix, m.pivots, m.right)
        else:
            m.right[:] = np.nan  # the caller takes forward sensitivities
        pull_back(m, member, time, m.right)
        for i in range(m.n):
            m.product[i] += member.gradient[i]
        pass_to_earlier_stages(m, METHOD, stage, h)
    end_step(m)


@kernel
def end_of_step(memory: Any, method: int, row: Any, z: Any) -> None:
    """The state at a step's end (size,), which is the argument of its last main stage."""
    m, state = memory, address(row) + 8 * HEAD
    active = METHOD if row[IS_IMPLICIT] else method
    last, hg = MAIN[active] - 1, GAMMA * row[STEP_SIZE]
    if row[STEP_SIZE] == 0.0:
        z[:] = row[HEAD : HEAD + m.size]
        return
    combine(active * SUMS + last, state, state + 8 * m.size, m.size, row[STEP_SIZE], address(z))
    if row[IS_IMPLICIT]:
        for i in range(m.n):
            z[i] += hg * row[HEAD + m.size * (1 + last) + i]


@kernel
def begin_member(memory: Any, member: Any, rows: Any, by_state: Any) -> None:
    """Go back through the first rate and the outputs at the start."""
    m, written = memory, len(member.times)
    if len(rows) > 0:
        written = int(rows[0, FIRST_OUTPUT])
        for i in range(m.n):
            m.argument[i] = rows[0, HEAD + i]
    moves = len(rows) > 0 and not is_zero(m.carry, m.n)  # not so after what happens at the start
    if moves:
        pull_back(m, member, member.times[0], m.carry)
    for i in range(m.n):
        by_state[i] = m.state_bar[i] + (member.gradient[i] if moves else 0.0)
        for w in range(written):
            by_state[i] += member.outputs_bar[w, i]


@kernel
def sweep(
    first: int, last: int, from_start: bool, to_end: bool, method: int, back: int, rates: int, jacobian: int, n: int,
    rtol: float, times: Any, before: Any, instants: Any, initial_values: Any, values: Any, column_of: Any, atol: Any,
    counters: Any, tape: Any, begins: Any, ends: Any, states: Any, outputs_bar: Any, kept_bars: Any, work: Any,
    by_state: Any, gradients: Any, instants_by_all: Any, event_kernels: Any, column_of_all: Any, jump_memory: Any,
) -> None:  # fmt: skip
    """Go back through the part of the members from `first` to before `last` that is on the tape.

    from_start: whether the first member is there from its start. to_end: whether the last one is there to its end.
    kept_bars (2, size): `state_bar` and `carry` of a member of which only a part is there; work: of the kernels. Adds
    to by_state, (B, n), and gradients, (B, size + p). A member that failed adds nothing. method: the explicit one.
    before, instants: as in `advance_batch`, with derivatives by all p parameters. initial_values: before anything
    happens; values: after the solve, overwritten where entries change them. instants_by_all, event_kernels,
    column_of_all, jump_memory: for `instants.jumps_of`.
    """
    size = kept_bars.shape[1]
    m = Memory(
        back, jacobian, address(column_of), address(work), n, size, kept_bars[0], kept_bars[1], np.zeros(size),
        np.zeros((MOST, size)), np.zeros(size), np.zeros(size), np.zeros(n), np.zeros(n), np.zeros((n, n)),
        np.zeros(n, dtype=np.int64),
    )  # fmt: skip
    for b in range(last - 1, first - 1, -1):
        if counters[b, STATUS] > DONE:
            continue
        if b < last - 1 or to_end:
            kept_bars[:] = 0.0
        q, own_times, rows = values[b], times[b % len(times)], tape[begins[b] : ends[b]]
        member = Member(address(q), own_times, states[b], outputs_bar[b], gradients[b], atol[b], rtol)
        way = way_back(m, rates, instants_of(instants, b), row_of(before, b), initial_values[b], q, own_times, rows)
        jumps = jumps_of(m, q, b, instants_by_all, event_kernels, rates, column_of_all, jump_memory)
        for place in range(len(rows) - 1, -1, -1):
            row = rows[place]
            if row[LAST_ENTRY] > row[FIRST_ENTRY]:
                end_of_step(m, method, row, m.argument)
                go_back_through_instant(m, member, way, jumps, row, m.argument.copy())
            if row[STEP_SIZE] == 0.0:
                continue
            if row[IS_IMPLICIT]:
                implicit_step(m, member, row)
            else:
                explicit_step(m, member, method, row)
        if b > first or from_start:
            begin_member(m, member, rows, by_state[b])
