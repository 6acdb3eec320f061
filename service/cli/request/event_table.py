"""The doses of event tables, as NONMEM and its relatives read them.

| column | here |
|---|---|
| ID | the series |
| TIME | time |
| DV | the value of the only observable |
| MDV | 1: the row is not a measurement |
| EVID | 0: a measurement, 1: a dose, 2: neither |
| AMT | amount of a dose |
| CMT | the state, by its name or its number from 1 on; of a measurement it means nothing |
| RATE | above 0: the rate of an infusion |
| ADDL, II | further doses, and the interval between them |
| SS | 1: the doses have been given so for ever |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

AMOUNT, COMPARTMENT, EVENT, INTERVAL, MISSING, MORE, RATE, STEADY, VALUE, IDENTITY = (
    "AMT", "CMT", "EVID", "II", "MDV", "ADDL", "RATE", "SS", "DV", "ID",
)  # fmt: skip
COLUMNS = (AMOUNT, COMPARTMENT, EVENT, INTERVAL, MISSING, MORE, RATE, STEADY)
FIELDS = {"amount": AMOUNT, "into": COMPARTMENT, "rate": RATE, "every": INTERVAL, "count": MORE, "steady": STEADY}
"""The column of each field of a dose."""
MEASURED, DOSE, OTHER = 0, 1, 2
_EVENTS = {3: "a reset", 4: "a reset with a dose"}
_SPECIAL_RATES = "its rate or duration is a parameter; write the dose in FILE.json, with an expression"

Report = Callable[[str, str], None]  # of a column and what is wrong in it


class EventRow:
    """The cells of one row. numbers: by column, None where a cell is empty or there is no such column."""

    def __init__(self, numbers: Mapping[str, float | None], report: Report) -> None:
        self._numbers, self._report = numbers, report

    def _number(self, column: str) -> float:
        return self._numbers.get(column) or 0.0

    @property
    def event(self) -> float:
        """What the row is: a dose, if it does not say, where it has an amount."""
        given = self._numbers.get(EVENT)
        return given if given is not None else float(DOSE if self._number(AMOUNT) else MEASURED)

    @property
    def is_dose(self) -> bool:
        """Whether something is given."""
        return self.event == DOSE

    @property
    def is_measurement(self) -> bool:
        """Whether the row's value counts."""
        return self.event == MEASURED and not self._number(MISSING)

    def dose(self, time: float, into: str) -> dict[str, Any] | None:
        """The dose as in a request; None if the row has none or a mistake, which is reported."""
        event = self.event
        if event not in (MEASURED, DOSE, OTHER):
            self._report(EVENT, f"{event:g} is {_EVENTS.get(int(event), 'no event')}, which cannot be expressed; "
                         "0 is a measurement, 1 a dose, 2 neither")  # fmt: skip
            return None
        if not self.is_dose:
            if self._number(AMOUNT):
                self._report(AMOUNT, f"an amount, but {EVENT} is {event:g}: a dose has {EVENT} 1")
            return None
        if not self._number(AMOUNT):
            self._report(AMOUNT, f"0 or empty, but {EVENT} is 1: a dose needs an amount")
            return None
        dose: dict[str, Any] = {"into": into, "amount": self._number(AMOUNT), "at": time}
        return dose if self._add_rate(dose) and self._add_repetition(dose) else None

    def _add_rate(self, dose: dict[str, Any]) -> bool:
        rate = self._number(RATE)
        if rate < 0:
            self._report(RATE, f"{rate:g}: {_SPECIAL_RATES}")
            return False
        if rate > 0:
            dose["rate"] = rate
        return True

    def _add_repetition(self, dose: dict[str, Any]) -> bool:
        more, interval, steady = (self._number(column) for column in (MORE, INTERVAL, STEADY))
        if steady not in (0, 1):
            self._report(STEADY, f"{steady:g} cannot be expressed; 1 is a steady state of this dose, 0 none")
        elif more < 0 or more != int(more):
            self._report(MORE, f"{more:g} is not a number of further doses")
        elif (more or steady) and interval <= 0:
            self._report(INTERVAL, f"{interval:g}, but doses that repeat need an interval above 0")
        else:
            if more or steady:
                dose |= {"every": interval, "count": int(more) + 1}
            if steady:
                dose["steady"] = True
            return True
        return False


def state_of(text: str, states: Sequence[str]) -> str | None:
    """The state that CMT means: its name, or its number from 1 on; the first if empty. None if there is none."""
    if text in states:
        return text
    if text in ("", "."):
        return states[0] if states else None
    return states[int(text) - 1] if text.isdigit() and 0 < int(text) <= len(states) else None
