"""Doses: a state that exists, fields that belong together, and times from the start on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from odelib.problem.checks.occasions import Occasion, Reading, is_before
from odelib.problem.checks.raw import as_list, as_number, as_object
from odelib.problem.pointers import join

_POSITIVE = ("every", "duration", "rate")
_NOT_NEGATIVE = ("lag", "fraction")


def check_doses(given: Any, occasion: Occasion, reading: Reading, *, has_steady_state: bool) -> None:
    """Check the doses that a series or prediction gives itself."""
    base, steady = join(occasion.base, "doses"), 0
    for i, dose in enumerate(as_list(given)):
        if not isinstance(dose, Mapping):
            continue
        pointer = join(base, i)
        _check_quantities(dose, pointer, reading)
        _check_repetition(dose, pointer, reading)
        _check_times(dose, pointer, occasion, reading)
        if dose.get("steady") is True:
            steady += 1
            _check_steady(dose, pointer, occasion, reading, has_steady_state=has_steady_state)
            if steady > 1:
                reading.report.add(join(pointer, "steady"), "another dose is 'steady'; only one can be")


def count_doses(given: Any) -> int:
    """Return the number of single doses in raw doses."""
    total = 0
    for dose in as_list(given):
        at, count = as_object(dose).get("at"), as_number(as_object(dose).get("count"))
        total += len(at) if isinstance(at, list) else int(count or 1)
    return total


def _check_quantities(dose: Mapping[str, Any], pointer: str, reading: Reading) -> None:
    into = dose.get("into")
    if isinstance(into, str):
        reading.report.add_unknown_names([into], reading.declared.states, join(pointer, "into"), "state", at_name=False)
    for name in ("amount", *_POSITIVE, *_NOT_NEGATIVE):
        value = reading.value(dose.get(name), join(pointer, name)) if name in dose else None
        if name in _POSITIVE and isinstance(value, float) and value <= 0:
            reading.report.add(join(pointer, name), f"must be greater than 0, not {value!r}")
        if name in _NOT_NEGATIVE and isinstance(value, float) and value < 0:
            reading.report.add(join(pointer, name), f"must be at least 0, not {value!r}")
    if "duration" in dose and "rate" in dose:
        reading.report.add(join(pointer, "rate"), "give either 'duration' or 'rate', not both")


def _check_repetition(dose: Mapping[str, Any], pointer: str, reading: Reading) -> None:
    if "count" in dose and "every" not in dose:
        reading.report.add(join(pointer, "every"), "'count' needs the interval 'every'")
    elif "every" in dose and "count" not in dose and dose.get("steady") is not True:
        reading.report.add(join(pointer, "count"), "'every' needs 'count', the number of all doses")
    if "every" in dose and isinstance(dose.get("at"), list):
        reading.report.add(join(pointer, "at"), "with 'every', give one time: that of the first dose")


def _check_times(dose: Mapping[str, Any], pointer: str, occasion: Occasion, reading: Reading) -> None:
    given = dose.get("at")
    listed = enumerate(given) if isinstance(given, list) else [(None, given)]
    for i, each in listed:
        where = join(pointer, "at") if i is None else join(pointer, "at", i)
        at = reading.value(each, where)
        if isinstance(at, float):
            occasion.check_time(at, where, "dose", reading.report)


def _check_steady(
    dose: Mapping[str, Any], pointer: str, occasion: Occasion, reading: Reading, *, has_steady_state: bool
) -> None:
    if "every" not in dose:
        reading.report.add(join(pointer, "every"), "a 'steady' dose needs the interval 'every'")
    if has_steady_state:
        reading.report.add(
            join(pointer, "steady"), "a 'steady' dose determines the state at the start, and so does 'steady_state'"
        )
    at, start = as_number(dose.get("at")), occasion.start
    if isinstance(dose.get("at"), str):
        reading.report.add(join(pointer, "at"), "the time of a 'steady' dose must be a number: it is the start")
    elif at is not None and start is not None and is_before(start, at):
        reading.report.add(
            join(pointer, "at"), f"a 'steady' dose must be at the start, which is {start!r}, not at {at!r}"
        )
    every, length = as_number(dose.get("every")), _length(dose)
    if every is not None and length is not None and length >= every:
        reading.report.add(
            join(pointer, "every"), f"the interval must be longer than lag and duration together, which take {length!r}"
        )


def _length(dose: Mapping[str, Any]) -> float | None:
    """How long after `at` a dose ends, as far as it is known: the lag and the duration."""
    lag, duration = as_number(dose.get("lag", 0.0)), as_number(dose.get("duration", 0.0))
    if "rate" in dose:
        amount, rate = as_number(dose.get("amount")), as_number(dose.get("rate"))
        fraction = as_number(dose.get("fraction", 1.0))
        duration = None if amount is None or fraction is None or not rate else fraction * amount / rate
    return None if lag is None or duration is None else lag + duration
