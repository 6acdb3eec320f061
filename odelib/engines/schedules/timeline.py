"""A protocol → the entries of one member's schedule, at given values of parameters and constants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from odelib.arrays import Booleans, Integers, Reals
from odelib.engines.schedules.changes import ChangePlan, held_entries
from odelib.engines.schedules.doses import DosePlan
from odelib.engines.schedules.entries import Entries, Point, Rows, Window, at_instants
from odelib.engines.schedules.extension import Extension, merged_changes, reset_key
from odelib.engines.schedules.inputs import Given, InputTimeline
from odelib.engines.schedules.schedule import ASSIGN, HOLD, PIECE, PIECE_SIZE
from odelib.engines.schedules.value_pool import ValuePool
from odelib.problem.expressions.parser import Expression, Name
from odelib.problem.protocol import InputValue, Knots, Protocol

MOST_KEPT = 256  # parts of a protocol of numbers: one for each window that it is solved in


@dataclass(frozen=True)
class Part:
    """One member's part of a schedule. See `Schedule`; rows count from this part's own first.

    numbers: the constants at the start, by index, that are not the member's own. jacobian: (R, u), by those parameters
    that the pool uses.
    """

    entries: Entries
    jacobian: Reals
    pieces: Reals
    numbers: Mapping[int, float]
    held: Reals
    held_rows: Integers


class Timeline:
    """What happens in a member with this protocol.

    constants: values of constants at the start that replace the member's own, as in a steady state. `part` may be
    called once the pool has been closed.
    """

    def __init__(
        self, extension: Extension, protocol: Protocol, pool: ValuePool,
        constants: Mapping[str, Expression] | None = None,
    ) -> None:  # fmt: skip
        self._extension, self._pool, self._used = extension, pool, set[int]()
        replaced = constants or {}
        numbers = {reset_key(reset): number for number, reset in enumerate(extension.resets)}
        self.doses = DosePlan.of(protocol.doses, self._add, extension.original.states, extension.rates)
        self.changes = [
            ChangePlan.of(at, changes, extension, numbers, self._add) for at, changes in merged_changes(protocol)
        ]
        self.first_values = {
            name: pool.add(replaced.get(name) or Expression(name, Name(name), frozenset([name])))
            for name in extension.constants
        }
        self._starting = [  # other constants have their values anyway
            (place, self.first_values[name])
            for name, place in extension.constants.items()
            if place.is_state or name in replaced
        ]
        self._used |= {value for _, value in self._starting}
        self.changed = {
            name: [(plan.at, value) for plan in self.changes for place, value in plan.constants if place == own]
            for name, own in extension.constants.items()
        }
        self.inputs = {
            name: InputTimeline(plan, list(self._given(name, protocol))) for name, plan in extension.inputs.items()
        }
        self.is_static = pool.is_number(self._used)
        self._kept: dict[Window, Part] = {}

    @property
    def used_parameters(self) -> tuple[int, ...]:
        """The parameters that the pool's derivatives are by."""
        return self._pool.used

    def _add(self, value: float | Expression) -> int:
        place = self._pool.add(value)
        self._used.add(place)
        return place

    def _given(self, name: str, protocol: Protocol) -> list[Given]:
        found: list[tuple[int | None, InputValue]] = [(None, protocol.inputs[name])]
        for change in protocol.changes:
            if name in change.inputs:
                found.append((self._add(change.at), change.inputs[name]))
        return [Given.of(at, value, self._add, is_number=self._is_number(value)) for at, value in found]

    def _is_number(self, value: InputValue) -> bool:
        values = value.values if isinstance(value, Knots) else (value,)
        return not any(isinstance(each, Expression) and each.names for each in values)

    def part(self, values: Reals, jacobian: Reals | None, window: Window) -> Part:
        """The member's part. values: (N,), jacobian: (N, u) or None, those of the pool. Raises `SolveError`."""
        if not self.is_static:
            return self._part(values, jacobian, window)
        if window not in self._kept:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[window] = self._part(values, None, window)
        return self._kept[window]

    def _part(self, values: Reals, jacobian: Reals | None, window: Window) -> Part:
        rows = Rows(0 if jacobian is None else jacobian.shape[1])
        point, pieces = Point(values, jacobian, window, rows), [np.zeros((0, PIECE_SIZE))]
        found = held_entries(point, None, self._starting, is_early=True)
        for timeline in self.inputs.values():
            found += timeline.entries(point, pieces)
        for change in self.changes:
            found += change.entries(point)
        found += self.doses.entries(point)
        entries = _in_order(Entries.joined(found), rows, window)
        return self._begun(entries, np.concatenate(pieces), rows, window)

    def _begun(self, entries: Entries, pieces: Reals, rows: Rows, window: Window) -> Part:
        """Let the held values at the start have what lies before, and leave out what has happened by then."""
        states = len(self._extension.original.states)
        is_past = entries.times <= window.first
        if window.is_start:
            is_past &= entries.is_early
        numbers: dict[int, float] = {}
        held = np.zeros(self._extension.held_count)
        held_rows = np.full(len(held), -1, dtype=np.int64)
        for place in _last_of_each(entries, np.flatnonzero(is_past)).tolist():
            kind, target = int(entries.kinds[place]), int(entries.targets[place])
            if kind == PIECE:
                numbers |= zip(range(target, target + PIECE_SIZE), pieces[entries.rows[place]].tolist(), strict=True)
            elif kind == HOLD:
                numbers[target] = float(entries.values[place])
            elif kind == ASSIGN and target >= states:
                held[target - states], held_rows[target - states] = entries.values[place], entries.rows[place]
        left = entries.taken(~is_past & (entries.times <= window.last + window.tolerance(window.last)))
        return Part(left, rows.matrix, pieces, numbers, held, held_rows)


def _last_of_each(entries: Entries, places: Integers) -> Integers:
    """The last of the entries at these places for each kind and target."""
    backwards = places[::-1]
    keys = np.stack([entries.kinds[backwards], entries.targets[backwards]])
    _, first = np.unique(keys, axis=1, return_index=True)
    return backwards[first]


def _in_order(entries: Entries, rows: Rows, window: Window) -> Entries:
    """The entries in order, instants merged, equal derivatives of times in one row, and the totals of rates."""
    times = at_instants(entries.times, window)
    time_rows = _shared_rows(entries.time_rows, rows)
    order = np.lexsort((time_rows, entries.ranks, times))
    entries = replace(entries, times=times, time_rows=time_rows).taken(order)
    return _with_totals(entries, rows) if entries.is_change_of_rate.any() else entries


def _shared_rows(time_rows: Integers, rows: Rows) -> Integers:
    """The rows with equal ones replaced by the first of them."""
    used = np.unique(time_rows[time_rows >= 0])
    if len(used) < 2:
        return time_rows
    _, first, inverse = np.unique(rows.matrix[used], axis=0, return_index=True, return_inverse=True)
    shared = time_rows.copy()
    places = np.searchsorted(used, time_rows[time_rows >= 0])
    shared[time_rows >= 0] = used[first][inverse.reshape(-1)[places]]
    return shared


def _with_totals(entries: Entries, rows: Rows) -> Entries:
    """Changes of the rate into a state → its total rate from then on, exactly 0 when no infusion is going on."""
    values, value_rows, matrix = entries.values.copy(), entries.rows.copy(), rows.matrix
    for kind in (ASSIGN, HOLD):
        of_kind: Booleans = entries.is_change_of_rate & (entries.kinds == kind)
        for target in np.unique(entries.targets[of_kind]):
            places = np.flatnonzero(of_kind & (entries.targets == target))
            going_on = np.cumsum(np.where(entries.ranks[places] == 0, -1, 1))
            values[places] = np.where(going_on == 0, 0.0, np.cumsum(entries.values[places]))
            if matrix.shape[1]:
                own = np.where(entries.rows[places, None] < 0, 0.0, matrix[entries.rows[places]])
                totals = np.where(going_on[:, None] == 0, 0.0, np.cumsum(own, axis=0))
                value_rows[places] = rows.add(totals, len(places))
    return replace(entries, values=values, rows=value_rows)
