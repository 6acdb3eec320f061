"""Doses → entries: an amount at once, or the rate of an infusion that begins and ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from odelib.arrays import Booleans, Integers, Reals
from odelib.engines.schedules.entries import ADDITIONS, BEGIN_OF_INFUSION, END_OF_INFUSION, Entries, Point
from odelib.engines.schedules.extension import Place
from odelib.engines.schedules.schedule import ADD, ASSIGN, HOLD
from odelib.errors import SolveError
from odelib.problem.expressions.parser import Expression
from odelib.problem.protocol import Dose

AddToPool = Callable[[float | Expression], int]


@dataclass(frozen=True)
class DosePlan:
    """Every single dose of a protocol, in arrays (D,): places in the pool, but for those named otherwise.

    The dose is given at `at` + `number`·`every` + `lag`. extent: the place of its duration or rate, of 0 for one given
    at once. into: the state's index; total: for an infusion the index of the state or constant that holds its total
    rate, and is_held_state: which of the two.
    """

    at: Integers
    number: Integers
    every: Integers
    lag: Integers
    amount: Integers
    fraction: Integers
    extent: Integers
    is_infusion: Booleans
    by_rate: Booleans
    into: Integers
    total: Integers
    is_held_state: Booleans

    @classmethod
    def of(
        cls, doses: Sequence[Dose], add: AddToPool, states: Sequence[str], rates: Mapping[str, Place]
    ) -> DosePlan:  # fmt: skip
        """The plan of some doses."""
        found: list[tuple[int, ...]] = []
        for dose in doses:
            infused = dose.duration is not None or dose.rate is not None
            rate = rates[dose.into] if infused else Place(False, 0)
            shared = (
                add(dose.every or 0.0), add(dose.lag or 0.0), add(dose.amount),
                add(1.0 if dose.fraction is None else dose.fraction), add(dose.rate or dose.duration or 0.0),
                infused, dose.rate is not None, states.index(dose.into), rate.index, rate.is_state,
            )  # fmt: skip
            for time in dose.at:
                place = add(time)
                found += [(place, number, *shared) for number in range(dose.count)]
        columns = np.array(found, dtype=np.int64).reshape(len(found), 12).T
        at, number, every, lag, amount, fraction, extent, is_infusion, by_rate, into, total, is_state = columns
        return cls(
            at, number, every, lag, amount, fraction, extent, is_infusion > 0, by_rate > 0, into, total, is_state > 0
        )

    def entries(self, point: Point) -> list[Entries]:
        """What the doses do. Raises `SolveError` for one that cannot be given."""
        if len(self.at) == 0:
            return []
        times, by_times = self._times(point)
        amounts, by_amounts = _product(point, self.amount, self.fraction)
        is_wrong = ~np.isfinite(times) | ~np.isfinite(amounts)
        is_wrong |= (self.number > 0) & ~(point.values[self.every] > 0)
        if is_wrong.any():
            raise SolveError("dose", point.window.first, 0)
        is_given = point.window.given(times)
        bolus, infusion = np.flatnonzero(is_given & ~self.is_infusion), np.flatnonzero(is_given & self.is_infusion)
        rows = point.rows
        found = [
            Entries.of(
                times[bolus], rows.add(_taken(by_times, bolus), len(bolus)), ADDITIONS, ADD, self.into[bolus],
                amounts[bolus], rows.add(_taken(by_amounts, bolus), len(bolus)),
            )
        ]  # fmt: skip
        if len(infusion):
            found += self._infused(point, infusion, times, by_times, amounts, by_amounts)
        return found

    def _times(self, point: Point) -> tuple[Reals, Reals | None]:
        values, number = point.values, self.number
        times: Reals = values[self.at] + number * values[self.every] + values[self.lag]
        if point.jacobian is None:
            return times, None
        j = point.jacobian
        return times, j[self.at] + number[:, None] * j[self.every] + j[self.lag]

    def _infused(
        self, point: Point, which: Integers, times: Reals, by_times: Reals | None, amounts: Reals,
        by_amounts: Reals | None,
    ) -> list[Entries]:  # fmt: skip
        """The beginnings and ends of infusions, as changes of the total rate into their state."""
        extents, by_extents = point.values[self.extent[which]], point.derivatives(self.extent[which])
        amounts, by_amounts = amounts[which], _taken(by_amounts, which)
        begins, by_begins = times[which], _taken(by_times, which)
        with np.errstate(all="ignore"):
            others = amounts / extents  # the rate if the duration is given, the duration if the rate is
        by_rate = self.by_rate[which]
        rates, durations = np.where(by_rate, extents, others), np.where(by_rate, others, extents)
        if not (np.isfinite(rates) & (durations > 0) | (amounts == 0)).all():
            raise SolveError("dose", point.window.first, 0)
        rates = np.where(amounts == 0, 0.0, rates)
        durations = np.where(amounts == 0, 0.0, durations)
        by_rates = by_ends = None
        if by_begins is not None and by_extents is not None and by_amounts is not None:
            with np.errstate(all="ignore"):
                by_others = (by_amounts - others[:, None] * by_extents) / extents[:, None]
            by_others = np.where(np.isfinite(by_others), by_others, 0.0)
            by_rates = np.where(by_rate[:, None], by_extents, by_others)
            by_ends = by_begins + np.where(by_rate[:, None], by_others, by_extents)
        return self._rate_changes(point, which, (begins, begins + durations), (by_begins, by_ends), rates, by_rates)

    def _rate_changes(
        self, point: Point, which: Integers, times: tuple[Reals, Reals],
        by_times: tuple[Reals | None, Reals | None], rates: Reals, by_rates: Reals | None,
    ) -> list[Entries]:  # fmt: skip
        found = []
        is_state, rows, count = self.is_held_state[which], point.rows, len(which)
        kinds = np.where(is_state, ASSIGN, HOLD)
        for rank, sign, when, by_when in (
            (BEGIN_OF_INFUSION, 1.0, times[0], by_times[0]),
            (END_OF_INFUSION, -1.0, times[1], by_times[1]),
        ):
            value_rows = rows.add(None if by_rates is None else sign * by_rates, count)
            found.append(
                Entries.of(
                    when, rows.add(by_when, count), rank, kinds, self.total[which], sign * rates, value_rows,
                    is_change_of_rate=True,
                )
            )  # fmt: skip
        return found


def _product(point: Point, a: Integers, b: Integers) -> tuple[Reals, Reals | None]:
    """The products of values at two places, and their derivatives."""
    x, y = point.values[a], point.values[b]
    if point.jacobian is None:
        return x * y, None
    return x * y, point.jacobian[a] * y[:, None] + point.jacobian[b] * x[:, None]


def _taken(rows: Reals | None, places: Integers) -> Reals | None:
    return None if rows is None else rows[places]
