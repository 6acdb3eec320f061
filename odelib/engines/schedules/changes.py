"""Changes of states and constants → entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from odelib.arrays import Integers
from odelib.engines.schedules.doses import AddToPool
from odelib.engines.schedules.entries import ADDITIONS, HELD, RESETS, SETS, Entries, Point
from odelib.engines.schedules.extension import Extension, Place, reset_key, reset_of
from odelib.engines.schedules.schedule import ADD, ASSIGN, HOLD, RESET
from odelib.errors import SolveError
from odelib.problem.expressions.parser import Expression
from odelib.problem.protocol import Change


@dataclass(frozen=True)
class ChangePlan:
    """What happens to states and constants in simultaneous changes.

    at: the place of the time in the pool. reset: the number of a reset. set, added, constants: the target, and the
    value's place in the pool.
    """

    at: int
    reset: int | None
    set: Sequence[tuple[int, int]]
    added: Sequence[tuple[int, int]]
    constants: Sequence[tuple[Place, int]]

    @classmethod
    def of(
        cls, at: Expression, changes: Sequence[Change], extension: Extension, numbers: Mapping[object, int],
        add: AddToPool,
    ) -> ChangePlan:  # fmt: skip
        """The plan of simultaneous changes. numbers: of all resets, by their keys."""
        system = extension.original
        reset = reset_of(changes, system, extension.constants)
        within = {*reset.set, *reset.add} if reset is not None else set()
        index = {state: place for place, state in enumerate(system.states) if state not in within}
        return cls(
            at=add(at),
            reset=None if reset is None else numbers[reset_key(reset)],
            set=[(index[s], add(value)) for change in changes for s, value in change.set.items() if s in index],
            added=[(index[s], add(value)) for change in changes for s, value in change.add.items() if s in index],
            constants=[
                (extension.constants[name], add(value))
                for change in changes
                for name, value in change.constants.items()
            ],
        )

    def entries(self, point: Point) -> list[Entries]:
        """What the changes do. Raises `SolveError` if they lie before the start."""
        if not np.isfinite(point.values[self.at]):
            raise SolveError("change", point.window.first, 0)
        if not point.window.given(point.values[[self.at]])[0]:
            return []
        found = []
        if self.reset is not None:
            found.append(self._entries(point, RESETS, RESET, [self.reset], None))
        found.append(self._entries(point, SETS, ASSIGN, [t for t, _ in self.set], [v for _, v in self.set]))
        found.append(self._entries(point, ADDITIONS, ADD, [t for t, _ in self.added], [v for _, v in self.added]))
        found += held_entries(point, self.at, self.constants)
        return found

    def _entries(
        self, point: Point, rank: int, kind: int, targets: Sequence[int], values: Sequence[int] | None
    ) -> Entries:
        places = None if values is None else np.array(values, dtype=np.int64)
        none = np.full(len(targets), -1, dtype=np.int64)
        return Entries.of(
            *at_place(point, self.at, len(targets)), rank, kind, np.array(targets, dtype=np.int64),
            0.0 if places is None else point.values[places], none if places is None else point.rows_of(places),
        )  # fmt: skip


def held_entries(
    point: Point, at: int | None, values: Sequence[tuple[Place, int]], *, is_early: bool = False
) -> list[Entries]:
    """Give held values what the pool has at some places, at a time in the pool, or at the first time."""
    found = []
    for is_state, kind in ((True, ASSIGN), (False, HOLD)):
        chosen = [(place.index, value) for place, value in values if place.is_state == is_state]
        if chosen:
            targets, places = np.array(chosen, dtype=np.int64).T
            time = at_place(point, at, len(chosen))
            found.append(
                Entries.of(*time, HELD, kind, targets, point.values[places], point.rows_of(places), is_early=is_early)
            )
    return found


def at_place(point: Point, at: int | None, count: int) -> tuple[np.ndarray, Integers]:
    """A time in the pool and the row of its derivative, `count` times; the first time for None."""
    if at is None:
        return np.full(count, point.window.first), np.full(count, -1, dtype=np.int64)
    row = point.rows_of(np.array([at])) if count else np.zeros(0, dtype=np.int64)
    return np.full(count, point.values[at]), np.repeat(row, count)
