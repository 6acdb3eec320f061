"""The way back through an instant: the transpose of what `odelib.engines.compiled.instants` does to sensitivities.

With λ = ∂L/∂x just after, and the jump of `odelib.engines.compiled.sensitivity_jumps`, λ⁻ = h_xᵀ·λ⁺, and the gradient
by parameters gains λ⁺·h_p + λ⁺·(h_x·f⁻ + h_t − f⁺)·dτ/dp. Entries are applied again to the state just before, so that
the rates between them are known, and then gone back through in reverse order. Rates move no λ.

A reset, which reads the state, is left to the loop's own `pass_instant`: what it makes of a unit matrix for
sensitivities is the Jacobian of the whole instant by the state and the parameters. That takes as many numbers as both
have, for each state, and so it is done for instants with resets only.
"""

from __future__ import annotations

import math
from collections import namedtuple
from typing import Any

import numpy as np

from odelib.engines.compiled.adjoint.jit import kernel
from odelib.engines.compiled.adjoint.memory import is_zero, pull_back
from odelib.engines.compiled.adjoint.record import (
    FIRST_ENTRY,
    LAST_AT_INSTANT,
    LAST_ENTRY,
    LAST_OUTPUT,
    first_in_time,
    time_after,
)
from odelib.engines.compiled.batch_loop import CONTROLLER, instants_of
from odelib.engines.compiled.batch_loop import Memory as LoopMemory
from odelib.engines.compiled.events import RECORD_DIRECTION, events_of
from odelib.engines.compiled.instants import assign, have_several_rows, only_comparisons, pass_instant, set_shifts
from odelib.engines.compiled.primitives import call_kernel
from odelib.engines.compiled.sensitivity_jumps import KIND, ROW, TARGET, TIME_ROW
from odelib.engines.compiled.simd import WIDTH, address, load_scalar, splat, store, store_scalar
from odelib.engines.compiled.step_control import COUNTERS, PASSED, STEPS, WRITTEN, Equations, Outputs
from odelib.engines.schedules.schedule import ADD, ASSIGN, HOLD, PIECE, PIECE_SIZE, RESET, SWITCH
from odelib.engines.switching_times import GAP, INSTANT

# Of a member. equations: for its rates; entries: its `sensitivity_jumps.Instants`; before: as in `advance_batch`;
# undo (K, PIECE_SIZE): what the values were that entries have changed; q: its values.
Way = namedtuple("Way", "equations entries before undo q")

ROWS = 6  # of the loop's memory that an instant uses
# Of a member, what `pass_instant` needs, with derivatives by all states and parameters, so many columns.
Jumps = namedtuple("Jumps", "equations memory instants events controller counters columns")


@kernel
def way_back(
    memory: Any, rates: int, instants: Any, before: Any, initial: Any, q: Any, times: Any, rows: Any
) -> Any:  # fmt: skip
    """The `Way` of a member, with its values q as they are at the end of the rows; None in a plain solve.

    initial: its values before anything has happened.
    """
    if instants is None:
        return None
    m, entries, undo = memory, instants.entries, np.zeros((len(instants.times), PIECE_SIZE))
    equations = Equations(rates, rates, m.jacobian, address(q), m.column_of, m.work, m.n, m.n, m.size, 0, m.size, 0)
    for k in range(len(entries)):
        target = entries[k, TARGET]
        for i in range(changed(entries[k, KIND])):
            q[target + i] = initial[target + i]
    last = int(rows[len(rows) - 1, LAST_ENTRY]) if len(rows) > 0 else 0
    for k in range(first_in_time(instants, times), last):
        count, target = changed(entries[k, KIND]), entries[k, TARGET]
        for i in range(count):
            undo[k, i] = q[target + i]
        if count > 0:
            assign(equations, instants, k, 0, 0)
    return Way(equations, instants, before, undo, q)


@kernel
def changed(kind: int) -> int:
    """How many of a member's values an entry of this kind changes."""
    if kind == PIECE:
        return PIECE_SIZE
    return 1 if kind == HOLD else 0


@kernel
def undo_values(way: Any, first: int, last: int) -> None:
    """Make the values what they were before the entries from `first` to before `last`."""
    entries = way.entries.entries
    for k in range(last - 1, first - 1, -1):
        for i in range(changed(entries[k, KIND])):
            way.q[entries[k, TARGET] + i] = way.undo[k, i]


@kernel
def go_back_through_instant(memory: Any, member: Any, way: Any, jumps: Any, row: Any, z: Any) -> None:
    """From `state_bar` and `carry` just after an instant to those just before. z (size,): the state before it."""
    if way is None:
        return
    m, own = memory, way.entries
    first, last, times = int(row[FIRST_ENTRY]), int(row[LAST_ENTRY]), member.times
    scale = max(abs(times[0]), abs(times[len(times) - 1]))
    after, is_first = time_after(own, first, times), own.times[first] <= times[0] + INSTANT * scale
    if has_reset(own.entries, first, last):
        go_back_through_reset(m, member, way, jumps, row, z, after, is_first)
        return
    is_smooth, several = only_comparisons(own.entries, first, last), have_several_rows(own.entries, first, last)
    until = (times[0] if is_first else own.times[first]) + INSTANT * scale
    direct = np.zeros(m.n)  # the part that goes to the state before, past the jump
    go_back_through_outputs(m, member, way, row, is_smooth, is_first, until, direct)
    undo_values(way, first, last)
    rates = np.zeros((2 * (last - first) + 1, m.size))
    if not several:
        apply_again(way, first, last, GAP * scale, after, z, rates)
        set_shifts(way.equations, own, first, last, 0.0)
    if not is_zero(m.carry, m.n):
        m.argument[:] = z
        pull_back(m, member, after, m.carry)
        for i in range(m.n):
            m.state_bar[i] += member.gradient[i]
            m.carry[i] = 0.0
    if is_first and is_smooth:  # the sensitivities became the mean of those before and after
        for i in range(m.n):
            m.state_bar[i] *= 0.5
            direct[i] += m.state_bar[i]
    if several:
        go_back_through_jump(m, member, way, first, last, 8.0 * GAP * scale, z, rates)
        set_shifts(way.equations, own, first, last, 0.0)
    else:
        go_back_through_entries(m, member, way, first, last, rates)
    undo_values(way, first, last)
    for i in range(m.n):
        m.state_bar[i] += direct[i]


@kernel
def go_back_through_outputs(
    memory: Any, member: Any, way: Any, row: Any, is_smooth: bool, is_first: bool, until: float, direct: Any
) -> None:  # fmt: skip
    """To the state before or after, or to both: see `instants.write_outputs_at`."""
    m = memory
    for w in range(int(row[LAST_OUTPUT]), int(row[LAST_AT_INSTANT])):
        share = 0.0  # of the state before
        if member.times[w] <= until:
            if is_smooth:
                share = 1.0 if is_first else 0.5
            elif len(way.before) > 0 and way.before[w]:
                share = 1.0
        for i in range(m.n):
            direct[i] += share * member.outputs_bar[w, i]
            m.state_bar[i] += (1.0 - share) * member.outputs_bar[w, i]


@kernel
def compute_rates(equations: Any, t: float, z: Any, rates: Any) -> None:
    """The rates of a row of states, both (size,)."""
    e = equations
    call_kernel(e.rates, t, address(z), e.q, 0, e.column_of, e.work, address(rates))


@kernel
def apply_again(way: Any, first: int, last: int, gap: float, after: float, z: Any, rates: Any) -> None:
    """As `instants.apply_entries`, with the rates by which S moves: two rows before each entry, and one at the end."""
    e, own, side, row = way.equations, way.entries, 8.0 * gap, -1
    set_shifts(e, own, first, last, -side)
    moment = own.times[first] - gap
    for k in range(first, last):
        if own.entries[k, TIME_ROW] != row:
            row = own.entries[k, TIME_ROW]
            compute_rates(e, moment, z, rates[2 * (k - first)])
            rates[2 * (k - first) + 1] = rates[2 * (k - first)]
        moment = own.times[k]
        if own.entries[k, KIND] == SWITCH:
            set_shifts(e, own, k, k + 1, side)
        else:
            assign(e, own, k, address(z), 0)
    compute_rates(e, after, z, rates[len(rates) - 1])


@kernel
def add_by_time(memory: Any, member: Any, way: Any, row: int, factor: float, rates: Any) -> None:
    """The derivative by parameters of a row of dτ/dp, of which S moves by factor·f."""
    m, total = memory, 0.0
    for i in range(m.n):
        if m.state_bar[i] != 0.0:
            total += m.state_bar[i] * rates[i]
    add_by_parameters(m, member, way, row, factor * total)


@kernel
def add_by_parameters(memory: Any, member: Any, way: Any, row: int, factor: float) -> None:
    """Add a row of derivatives by parameters, so many times; none for −1."""
    if row < 0 or factor == 0.0:
        return
    derivatives = way.entries.jacobian
    for j in range(derivatives.shape[1]):
        member.gradient[memory.size + j] += factor * derivatives[row, j]


@kernel
def go_back_through_entries(memory: Any, member: Any, way: Any, first: int, last: int, rates: Any) -> None:
    """The transpose of `instants.apply_entries`, with the rates that `apply_again` has found."""
    m, entries = memory, way.entries.entries
    add_by_time(m, member, way, entries[last - 1, TIME_ROW], -1.0, rates[len(rates) - 1])
    for k in range(last - 1, first - 1, -1):
        kind, target, before = entries[k, KIND], entries[k, TARGET], entries[k - 1, TIME_ROW] if k > first else -1
        if kind in (ASSIGN, ADD):
            add_by_parameters(m, member, way, entries[k, ROW], m.state_bar[target])
            if kind == ASSIGN:
                m.state_bar[target] = 0.0
        if entries[k, TIME_ROW] != before:
            add_by_time(m, member, way, entries[k, TIME_ROW], 1.0, rates[2 * (k - first) + 1])
            add_by_time(m, member, way, before, -1.0, rates[2 * (k - first)])


@kernel
def go_back_through_jump(
    memory: Any, member: Any, way: Any, first: int, last: int, side: float, z: Any, rates: Any
) -> None:  # fmt: skip
    """The transpose of `sensitivity_jumps.jump`."""
    m, e, own = memory, way.equations, way.entries
    for order in range(2):
        set_shifts(e, own, first, last, -side)
        compute_rates(e, own.times[first], z, rates[0])
        for place in range(last - first):
            k = first + place if order == 0 else last - 1 - place
            set_shifts(e, own, k, k + 1, side)
            compute_rates(e, own.times[first], z, rates[1])
            add_by_time(m, member, way, own.entries[k, TIME_ROW], 0.5, rates[0])
            add_by_time(m, member, way, own.entries[k, TIME_ROW], -0.5, rates[1])
            rates[0] = rates[1]


@kernel
def has_reset(entries: Any, first: int, last: int) -> bool:
    """Whether one of the entries reads the state."""
    found = False
    for k in range(first, last):
        found = found or entries[k, KIND] == RESET
    return found


@kernel
def jumps_of(
    memory: Any, q: Any, b: int, instants: Any, event_kernels: Any, rates: int, column_of: Any, jump_memory: Any
) -> Any:
    """The `Jumps` of a member; None in a plain solve.

    instants: with a column of derivatives for each state and parameter, whose places are in `column_of`. jump_memory:
    ROWS rows with sensitivities by all, and the memory of events; not used where there are no resets.
    """
    if instants is None:
        return None
    m, columns = memory, instants.jacobian.shape[1]
    width = (columns + WIDTH - 1) // WIDTH * WIDTH
    size = m.size + m.n * width
    z, row = address(jump_memory), 8 * size
    events, _ = events_of(event_kernels, width, z + ROWS * row)
    equations = Equations(
        rates, rates, m.jacobian, address(q), address(column_of), m.work, m.n, m.n, m.size, width, size, 0
    )  # fmt: skip
    of_loop = LoopMemory(z, 0, z + row, z + 2 * row, z + 3 * row, z + 4 * row, z + 5 * row, 0)
    controller, counters = np.full(CONTROLLER, -math.inf), np.zeros(COUNTERS, dtype=np.int64)
    return Jumps(equations, of_loop, instants_of(instants, b), events, controller, counters, columns)


@kernel
def go_back_through_reset(
    memory: Any, member: Any, way: Any, jumps: Any, row: Any, z: Any, after: float, is_first: bool
) -> None:  # fmt: skip
    """As `go_back_through_instant`, with the Jacobian of the instant."""
    m, j, e, own = memory, jumps, jumps.equations, jumps.memory.z
    first, last = int(row[FIRST_ENTRY]), int(row[LAST_ENTRY])
    written, until = int(row[LAST_OUTPUT]), int(row[LAST_AT_INSTANT])
    undo_values(way, first, last)
    write_unit_sensitivities(e, z, own)
    j.counters[:] = 0
    j.counters[PASSED], j.counters[WRITTEN], j.counters[STEPS] = first, written, 0 if is_first else 1
    # one more than needed: an empty array has no address
    states, derivatives = np.zeros((until - written + 1, m.n)), np.zeros((until - written + 1, m.n, j.columns))
    outputs = Outputs(
        address(states) - 8 * written * m.n, address(derivatives) - 8 * written * m.n * j.columns, j.columns,
        np.zeros((0, RECORD_DIRECTION)),
    )  # fmt: skip
    time = member.times[0] if is_first else way.entries.times[first]
    pass_instant(
        e, j.memory, j.instants, j.events, time, after, -1, member.times, way.before, j.controller, j.counters, outputs
    )
    if not is_zero(m.carry, m.n):
        for i in range(m.n):
            m.argument[i] = load_scalar(own, i)
        pull_back(m, member, after, m.carry)
        for i in range(m.n):
            m.state_bar[i] += member.gradient[i]
    m.total[:] = 0.0
    reset_outputs(m, member, written, j.counters[WRITTEN], until, derivatives)
    for i in range(m.n):
        add_product(m, member, m.state_bar[i], own + 8 * (e.start + i * e.width), j.columns)
    for i in range(m.n):
        m.state_bar[i], m.carry[i] = m.total[i], 0.0
    undo_values(way, first, last)


@kernel
def write_unit_sensitivities(equations: Any, state: Any, z: int) -> None:
    """Write a state to z, with its derivatives by itself."""
    e = equations
    for k in range(0, e.size, WIDTH):
        store(z, k, splat(0.0))
    for i in range(e.n):
        store_scalar(z, i, state[i])
        store_scalar(z, e.start + i * e.width + i, 1.0)


@kernel
def reset_outputs(memory: Any, member: Any, first: int, written: int, last: int, derivatives: Any) -> None:
    """Go back through the outputs of an instant, those from `first` to before `last`.

    derivatives: of those to before `written`. The others, at an end of the solve that is as near, are the state after.
    """
    m = memory
    for w in range(first, written):
        for i in range(m.n):
            bar = member.outputs_bar[w, i]
            add_product(m, member, bar, address(derivatives[w - first, i]), derivatives.shape[2])
    for w in range(written, last):
        for i in range(m.n):
            m.state_bar[i] += member.outputs_bar[w, i]


@kernel
def add_product(memory: Any, member: Any, bar: float, derivatives: int, columns: int) -> None:
    """Add bar times the derivatives of a number by all states and parameters."""
    m = memory
    if bar == 0.0:
        return
    for c in range(m.n):
        m.total[c] += bar * load_scalar(derivatives, c)
    for c in range(m.n, columns):
        member.gradient[m.size + c - m.n] += bar * load_scalar(derivatives, c)
