"""Inputs: every series gives each, their knots increase, and no time lies outside those that are refused there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from odelib.problem.checks.occasions import Occasion, Reading, is_before
from odelib.problem.checks.raw import as_list, as_number, as_object
from odelib.problem.pointers import join


def check_inputs(given: Any, base: str, reading: Reading) -> None:
    """Check inputs by themselves: their names, expressions and knots."""
    inputs, report = as_object(given), reading.report
    report.add_unknown_names(inputs, reading.declared.inputs, base, "input")
    for name, value in inputs.items():
        pointer = join(base, name)
        if isinstance(value, Mapping):
            _check_knots(value, pointer, reading)
        else:
            reading.function_of_time(value, pointer)


def count_knots(inputs: Any) -> int:
    """Return the number of knots in raw inputs."""
    return sum(len(as_list(as_object(value).get("times"))) for value in as_object(inputs).values())


def check_all_given(places: Iterable[tuple[str, Any]], reading: Reading) -> None:
    """Check that each input has a value in one of some places; the first one is where it is missed."""
    given = list(places)
    for name in reading.declared.inputs:
        if not any(name in as_object(inputs) for _, inputs in given):
            reading.report.add(join(given[0][0], name), f"the input {name!r:.80} needs a value")


def check_within(value: Any, pointer: str, begin: float | None, end: float | None, reading: Reading) -> None:
    """Check that an input is known from `begin` to `end`, if it is refused outside its knots."""
    if not isinstance(value, Mapping) or value.get("outside", "refuse") != "refuse":
        return
    knots = as_list(value.get("times"))
    first, last = (as_number(knots[0]), as_number(knots[-1])) if knots else (None, None)
    hint = "; add knots, or choose how it continues with 'outside'"
    if first is not None and begin is not None and is_before(begin, first):
        reading.report.add(pointer, f"the input is needed from {begin!r} on, but its first knot is at {first!r}{hint}")
    elif last is not None and end is not None and is_before(last, end):
        reading.report.add(pointer, f"the input is needed until {end!r}, but its last knot is at {last!r}{hint}")


@dataclass(frozen=True)
class Inheritance:
    """Where a prediction reports what it inherits, and the times of the series, whose own mistakes are not repeated."""

    pointer: str
    start: float | None
    last: float | None

    def begin(self, time: float | None) -> float | None:
        """The time, if it lies before those of the series."""
        return time if time is not None and self.start is not None and time < self.start else None

    def end(self, time: float | None) -> float | None:
        """The time, if it lies after those of the series."""
        return time if time is not None and self.last is not None and time > self.last else None


def check_covers(
    occasion: Occasion,
    inputs: Mapping[str, tuple[str, Any]],
    changes: Any,
    reading: Reading,
    inherits: Inheritance | None = None,
    *,
    own_changes: bool = True,
) -> None:
    """Check the inputs of a series, and those in its changes, against the times in which they are needed.

    inputs: by name the pointer to report at and the value. inherits: for a prediction. own_changes: whether the changes
    are the prediction's own.
    """
    later: dict[str, list[tuple[float, str, Any]]] = {}
    for i, change in enumerate(as_list(changes)):
        at = as_number(as_object(change).get("at"))
        if at is not None and occasion.leaves_out(at):
            continue
        for name, value in as_object(as_object(change).get("inputs")).items():
            pointer = join(occasion.base, "changes", i, "inputs", name)
            if inherits and not own_changes:
                pointer = inherits.pointer
            # an expression is not known before the fit: nothing can be said of what comes before or after it
            later.setdefault(name, []).append((occasion.end, pointer, None) if at is None else (at, pointer, value))
    for name, (pointer, value) in inputs.items():
        steps = sorted(later.get(name, ()), key=lambda step: step[0])
        begins = [(occasion.start, pointer, value), *steps]
        ends = [*(min(at, occasion.end) for at, _, _ in steps), occasion.last]
        for (begin, place, own), end in zip(begins, ends, strict=True):
            if end is None or (begin is not None and begin > end):
                continue
            if inherits and place == inherits.pointer:
                check_within(own, place, inherits.begin(begin), inherits.end(end), reading)
            else:
                check_within(own, place, begin, end, reading)


def _check_knots(knots: Mapping[str, Any], pointer: str, reading: Reading) -> None:
    times, values = knots.get("times"), knots.get("values")
    if isinstance(times, list):
        previous = None
        for i, entry in enumerate(times):
            time = as_number(entry)
            if time is not None and previous is not None and not time > previous:
                reading.report.add(
                    join(pointer, "times", i), f"the times of knots must increase: {time!r} comes after {previous!r}"
                )
                break
            previous = time if time is not None else previous
    if isinstance(values, list):
        for i, value in enumerate(values):
            if isinstance(value, str):
                reading.value(value, join(pointer, "values", i))
        if isinstance(times, list) and len(times) != len(values):
            reading.report.add(
                join(pointer, "values"),
                f"one value is needed for each of {len(times)} times, but there are {len(values)}",
            )
    if isinstance(times, list) and len(times) == 1 and knots.get("outside") == "repeat":
        reading.report.add(join(pointer, "outside"), "'repeat' needs at least two knots, whose distance is the period")
