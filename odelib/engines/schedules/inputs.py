"""Inputs → entries: which expression or polynomial the equations see from when on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from odelib.arrays import Integers, Reals
from odelib.engines.schedules.changes import at_place
from odelib.engines.schedules.doses import AddToPool
from odelib.engines.schedules.entries import HELD, Entries, Point
from odelib.engines.schedules.extension import InputPlan
from odelib.engines.schedules.interpolation import Pieces, pieces_between, values_at
from odelib.engines.schedules.schedule import ASSIGN, HOLD, PIECE
from odelib.problem.expressions.parser import Expression
from odelib.problem.protocol import InputValue, Knots


@dataclass
class Given:
    """A value of an input from a time on.

    at: the place of the time in the pool; None for the start. places: of the knots' values in the pool, or of the
    number, if it has no knots.
    """

    at: int | None
    value: InputValue
    places: Integers
    is_number: bool
    _kept: Pieces | None = field(default=None, repr=False)

    @classmethod
    def of(cls, at: int | None, value: InputValue, add: AddToPool, *, is_number: bool) -> Given:
        """Add its numbers to the pool. is_number: whether all values are numbers."""
        values = value.values if isinstance(value, Knots) else () if value.names else (value,)
        return cls(at, value, np.array([add(each) for each in values], dtype=np.int64), is_number)

    @property
    def expression(self) -> Expression | None:
        """The expression, if it is one with names."""
        return self.value if isinstance(self.value, Expression) and self.value.names else None

    def pieces(self, point: Point) -> Pieces:
        """The polynomials of knots, or of a number."""
        if self._kept is not None:
            return self._kept
        if not isinstance(self.value, Knots):
            coefficients = np.zeros((1, 4, 1))
            coefficients[0, 0, 0] = point.values[self.places[0]]
            return Pieces(np.array([-np.inf]), np.zeros(1), coefficients)
        values = self.columns(point)
        pieces = pieces_between(self.value, values, point.window.first, point.window.last)
        if self.is_number and self.value.outside != "repeat":
            self._kept = pieces
        return pieces

    def columns(self, point: Point) -> Reals:
        """The knots' values and their derivatives, (K, 1 + u)."""
        values = point.values[self.places][:, None]
        by_used = None if self.is_number else point.derivatives(self.places)
        return values if by_used is None else np.concatenate([values, by_used], axis=1)

    def at_times(self, point: Point, times: Reals) -> Reals:
        """The input and its derivatives at times, (T, 1 + u) or (T, 1); not of an expression with names."""
        if isinstance(self.value, Knots):
            return values_at(self.value, self.columns(point), times)
        return np.broadcast_to(point.values[self.places][:, None], (len(times), 1))


@dataclass(frozen=True)
class InputTimeline:
    """All values that one input is given in a protocol, the one at the start first."""

    plan: InputPlan
    given: Sequence[Given]

    def entries(self, point: Point, pieces: list[Reals]) -> list[Entries]:
        """What the equations see. pieces: takes rows (P, 5) of `Schedule.pieces`."""
        found = []
        for given, begin, end in self.spans(point):
            is_early = given.at is None
            if self.plan.choice is not None:
                expression = given.expression
                number = 0 if expression is None else self.plan.expressions[expression.text]
                none = np.full(1, -1, dtype=np.int64)
                found.append(
                    Entries.of(
                        *at_place(point, given.at, 1), HELD, HOLD, self.plan.choice, float(number), none,
                        is_early=is_early,
                    )
                )  # fmt: skip
            if given.expression is None:
                found += self._polynomials(point, given, begin, end, pieces, is_early=is_early)
        return found

    def spans(self, point: Point) -> list[tuple[Given, float, float]]:
        """Each value with the time from which and to which it is given, in order of time."""
        window = point.window
        begins = [window.first if given.at is None else float(point.values[given.at]) for given in self.given]
        kept = [
            i
            for i, given in enumerate(self.given)
            if given.at is None or (math.isfinite(begins[i]) and window.given(np.array([begins[i]]))[0])
        ]
        kept.sort(key=lambda i: (self.given[i].at is not None, begins[i]))
        ends = [*(begins[i] for i in kept[1:]), math.inf]
        return [(self.given[i], begins[i], end) for i, end in zip(kept, ends, strict=True)]

    def _polynomials(
        self, point: Point, given: Given, begin: float, end: float, pieces: list[Reals], *, is_early: bool
    ) -> list[Entries]:
        """The polynomial at the beginning, and the others where they begin."""
        found = given.pieces(point)
        tolerance = float(point.window.tolerance(max(abs(begin), abs(point.window.last))))
        # a middle start folds what was before, so that only the last piece before it is needed
        lowest = max(begin, point.window.first)
        first = max(int(np.searchsorted(found.starts, lowest + tolerance, side="right")) - 1, 0)
        until = min(end - float(point.window.tolerance(end)) if end < math.inf else end, point.window.last + tolerance)
        last = int(np.searchsorted(found.starts, until))
        which = np.arange(first, max(last, first + 1))
        times = found.starts[which].copy()
        rows = np.full(len(which), -1, dtype=np.int64)
        own_time, own_row = at_place(point, given.at, 1)
        times[0], rows[0] = own_time[0], own_row[0]
        taken = Pieces(times, found.origins[which], found.coefficients[which])
        return self._of_pieces(point, taken, rows, pieces, is_early=is_early)

    def _of_pieces(
        self, point: Point, taken: Pieces, rows: Integers, pieces: list[Reals], *, is_early: bool
    ) -> list[Entries]:
        plan, c, count = self.plan, taken.coefficients, len(taken.starts)
        none = np.full(count, -1, dtype=np.int64)
        if plan.is_numeric:
            table = np.concatenate([taken.origins[:, None], c[:, :, 0]], axis=1)
            offset = sum(len(part) for part in pieces)
            pieces.append(table)
            numbers = offset + np.arange(count)
            return [Entries.of(taken.starts, rows, HELD, PIECE, plan.knot, 0.0, numbers, is_early=is_early)]
        found = [Entries.of(taken.starts, rows, HELD, HOLD, plan.knot, taken.origins, none, is_early=is_early)]
        for power, place in enumerate(plan.coefficients):
            by_used = c[:, power, 1:] if c.shape[2] > 1 else None
            value_rows = point.rows.add(by_used, count)
            found.append(
                Entries.of(
                    taken.starts, rows, HELD, ASSIGN, place.index, c[:, power, 0], value_rows, is_early=is_early
                )
            )  # fmt: skip
        return found
