"""Entries of one member's schedule while it is put together: in any order, with rows of a Jacobian of its own."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from odelib.arrays import Booleans, Integers, Reals
from odelib.engines.schedules.interpolation import SAME_INSTANT
from odelib.engines.switching_times import GAP
from odelib.errors import SolveError

# the order of entries at one instant
END_OF_INFUSION, RESETS, SETS, ADDITIONS, HELD, BEGIN_OF_INFUSION = range(6)


@dataclass(frozen=True)
class Window:
    """The times between which a member is solved, and what of its schedule is meant: see `SolveSettings`."""

    first: float
    last: float
    is_start: bool = True
    skips_earlier: bool = False

    def tolerance(self, times: Reals | float) -> Reals:
        """The distance from these times within which others are the same instant."""
        rounding = 4 * GAP * max(abs(self.first), abs(self.last))
        return np.maximum(SAME_INSTANT * np.abs(times), rounding)

    def is_before(self, times: Reals) -> Booleans:
        """Whether times lie before the first."""
        found: Booleans = times < self.first - self.tolerance(times)
        return found

    def given(self, times: Reals) -> Booleans:
        """Which of the doses or changes at these times are meant. Raises `SolveError` if one lies before the start."""
        is_before = self.is_before(times)
        if self.is_start and not self.skips_earlier and is_before.any():
            raise SolveError("before_start", float(times[is_before][0]), 0)
        return ~is_before if self.skips_earlier else np.ones(len(times), dtype=bool)


class Rows:
    """A Jacobian that grows. width: the number of its columns."""

    def __init__(self, width: int) -> None:
        self._parts: list[Reals] = [np.zeros((0, width))]
        self._count = 0

    def add(self, derivatives: Reals | None, count: int) -> Integers:
        """The rows (K,) of derivatives (K, width), −1 where they are 0. `count` is K."""
        rows = np.full(count, -1, dtype=np.int64)
        if derivatives is not None:
            moving = np.flatnonzero(derivatives.any(1))
            rows[moving] = self._count + np.arange(len(moving))
            self._count += len(moving)
            self._parts.append(derivatives[moving])
        return rows

    @property
    def matrix(self) -> Reals:
        """All rows so far."""
        return np.concatenate(self._parts)


@dataclass(frozen=True)
class Entries:
    """Some entries: arrays (K,) each, as in `Schedule`. ranks: their place in the order at one instant.

    is_change_of_rate: the values are changes of the total rate of infusions, not yet totals. is_early: one that a solve
    may find before its first time, and then begins with.
    """

    times: Reals
    time_rows: Integers
    ranks: Integers
    kinds: Integers
    targets: Integers
    values: Reals
    rows: Integers
    is_change_of_rate: Booleans
    is_early: Booleans

    @classmethod
    def of(
        cls, times: Reals, time_rows: Integers, rank: int, kind: Integers | int, targets: Integers | int,
        values: Reals | float, rows: Integers, *, is_change_of_rate: bool = False, is_early: bool = False,
    ) -> Entries:  # fmt: skip
        """Entries of one kind; what is one number is the same for all."""
        count = len(times)
        return cls(
            times, time_rows, np.full(count, rank),
            np.broadcast_to(np.asarray(kind, dtype=np.int64), count),
            np.broadcast_to(np.asarray(targets, dtype=np.int64), count),
            np.broadcast_to(np.asarray(values, dtype=np.float64), count), rows,
            np.full(count, is_change_of_rate), np.full(count, is_early),
        )  # fmt: skip

    @classmethod
    def joined(cls, parts: list[Entries]) -> Entries:
        """All entries of some."""
        if len(parts) == 1:
            return parts[0]
        names = [field.name for field in fields(cls)]
        if not parts:
            none = np.zeros(0, dtype=np.int64)
            return cls.of(np.zeros(0), none, 0, 0, none, np.zeros(0), none)
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def taken(self, places: Integers | Booleans) -> Entries:
        """Those at some places."""
        return Entries(*(getattr(self, field.name)[places] for field in fields(self)))

    def __len__(self) -> int:
        return len(self.times)


def at_instants(times: Reals, window: Window) -> Reals:
    """The times (K,), those of one instant exactly equal; those at the first time equal to it."""
    order = np.argsort(times, kind="stable")
    ordered = times[order]
    if len(ordered) == 0:
        return times
    ordered[np.abs(ordered - window.first) <= window.tolerance(ordered)] = window.first
    is_new = np.concatenate([[True], np.diff(ordered) > window.tolerance(ordered[1:])])
    begin = np.maximum.accumulate(np.where(is_new, np.arange(len(ordered)), 0))
    merged = np.empty_like(times)
    merged[order] = ordered[begin]
    return merged


@dataclass(frozen=True)
class Point:
    """The values at which a member's schedule is made.

    values: (N,), jacobian: (N, u) or None, of the pool. rows: where the derivatives of entries go.
    """

    values: Reals
    jacobian: Reals | None
    window: Window
    rows: Rows

    def derivatives(self, places: Integers) -> Reals | None:
        """Of the values at these places in the pool, (K, u)."""
        return None if self.jacobian is None else self.jacobian[places]

    def rows_of(self, places: Integers) -> Integers:
        """The rows (K,) of the derivatives of the values at these places."""
        return self.rows.add(self.derivatives(places), len(places))
