"""Series and predictions as occasions on which something is done: their times, and what can be checked against them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from odelib.problem.checks.expressions import ExpressionReader, Scope
from odelib.problem.checks.raw import MistakeReport, as_list, as_number, as_object
from odelib.problem.checks.system import DeclaredNames
from odelib.problem.expressions.parser import Expression
from odelib.problem.expressions.vocabulary import TIME

SAME_INSTANT = 1e-12  # relative; times that differ by less are one instant
_VALUES = "parameters, constants and definitions made of these alone"


def is_before(time: float, other: float) -> bool:
    """Whether a time lies before another by more than a rounding."""
    return time < other - SAME_INSTANT * max(abs(time), abs(other))


def start_of(fields: Mapping[str, Any]) -> float | None:
    """Return the time at which the initial state of a raw series holds: see `MeasuredSeries.start`.

    None if it cannot be read, or is wrong.
    """
    start, times = as_number(fields.get("start_time")), as_list(fields.get("times"))
    given = [as_number(time) for time in times[:1]]
    if start is not None:
        return None if any(time is not None and time < start for time in given) else start
    for dose in as_list(fields.get("doses")):
        at = as_object(dose).get("at")
        given += [as_number(each) for each in (at if isinstance(at, list) else [at])]
    given += [as_number(as_object(change).get("at")) for change in as_list(fields.get("changes"))]
    known = [time for time in given if time is not None]
    return min(known) if known else None


def last_of(fields: Mapping[str, Any]) -> float | None:
    """Return the last time of a raw series or prediction."""
    times = as_list(fields.get("times"))
    return as_number(times[-1]) if times else None


class Reading:
    """What all checks of inputs, doses, changes and steady states need: the names, a reader and the report."""

    def __init__(self, declared: DeclaredNames, reader: ExpressionReader, report: MistakeReport) -> None:
        self.declared, self.report, self._reader = declared, report, reader
        self._of_values = Scope(declared.of_values, f"this can use only {_VALUES}")
        self._of_inputs = Scope({**declared.of_values, TIME: None}, f"an input can use only t, {_VALUES}")
        self._of_model = Scope(declared.of_model)

    def value(self, given: Any, pointer: str) -> float | Expression | None:
        """A quantity that does not change during a solve."""
        return self._reader.quantity(given, self._of_values, pointer)

    def function_of_time(self, given: Any, pointer: str) -> float | Expression | None:
        """A quantity of an input."""
        return self._reader.quantity(given, self._of_inputs, pointer)

    def uses_time(self, given: Any) -> bool:
        """Whether this is the text of an expression, read before, that uses t."""
        expression = self._reader.expressions.get(given) if isinstance(given, str) else None
        return expression is not None and TIME in expression.names

    def of_model(self, given: Any, pointer: str) -> float | Expression | None:
        """A quantity of the values just before."""
        return self._reader.quantity(given, self._of_model, pointer)


@dataclass(frozen=True)
class Occasion:
    """A series or a prediction.

    base: its pointer. start, last: the first and last time of its solve, None if they cannot be read. fields: those
    that it gives itself. skips_earlier: it has an initial state of its own, so that what lies before does not count.
    """

    base: str
    start: float | None
    last: float | None
    fields: Mapping[str, Any]
    skips_earlier: bool = False

    @property
    def end(self) -> float:
        """The last time, infinite if it is not known."""
        return math.inf if self.last is None else self.last

    def leaves_out(self, time: float) -> bool:
        """Whether something at this time does not count."""
        return self.skips_earlier and self.start is not None and is_before(time, self.start)

    def check_time(self, time: float, pointer: str, what: str, report: MistakeReport) -> None:
        """Check that something does not lie before the start."""
        if self.start is not None and not self.skips_earlier and is_before(time, self.start):
            report.add(pointer, f"the {what} at {time!r} is before the start at {self.start!r}")
