"""Events of a system: a condition, and states that the event sets or adds to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Any

from odelib.problem.checks.expressions import check_condition, check_expression
from odelib.problem.checks.raw import MistakeReport, as_list, as_number, listed
from odelib.problem.events import EventDefinition
from odelib.problem.expressions.parser import Expression, number_expression
from odelib.problem.limits import Limits
from odelib.problem.pointers import join
from odelib.problem.system import Event


def well_formed_events(raw: Any) -> list[EventDefinition]:
    """Return the well-formed parts of events, up to the first of which not even name and condition can be read."""
    return list(takewhile(bool, map(_well_formed, as_list(raw))))  # type: ignore[arg-type]  # none is None


def _well_formed(raw: Any) -> EventDefinition | None:
    if not isinstance(raw, Mapping):
        return None
    name, when, set_to, added = raw.get("name"), raw.get("when"), raw.get("set", {}), raw.get("add", {})
    if not (isinstance(name, str) and isinstance(when, str) and all(isinstance(m, Mapping) for m in (set_to, added))):
        return None
    return EventDefinition.model_construct(
        name=name,
        when=when,
        set=dict(set_to),
        add=dict(added),
        at_start=raw.get("at_start", False),
        stop=raw.get("stop", False),
        most=raw.get("most", EventDefinition.model_fields["most"].default),
    )


def check_events(
    events: Sequence[EventDefinition],
    states: Iterable[str],
    known: Mapping[str, None],
    limits: Limits,
    report: MistakeReport,
) -> tuple[Event, ...]:
    """Check the events and parse their expressions. Pointers are relative to the definition of the system.

    known: the names that they can use.
    """
    found = []
    has_states = dict.fromkeys(states)
    for i, event in enumerate(events):
        base = f"/events/{i}"
        when = check_condition(event.when, known, f"{base}/when", limits, report)
        set_to, added = (
            _reset(given, has_states, f"{base}/{field}", known, limits, report)
            for field, given in (("set", event.set), ("add", event.add))
        )
        if not (event.set or event.add or event.stop):
            report.add(base, "the event does nothing; give 'set', 'add' or 'stop'")
        if when:
            found.append(Event(event.name, when, set_to, added, event.at_start, event.stop, event.most))
    return tuple(found)


def _reset(
    given: Mapping[str, Any],
    states: Mapping[str, None],
    base: str,
    known: Mapping[str, None],
    limits: Limits,
    report: MistakeReport,
) -> dict[str, Expression]:
    found: dict[str, Expression] = {}
    for name, value in given.items():
        pointer = join(base, name)
        if name not in states:
            report.add(pointer, f"the system has no state {name!r:.80}; it has {listed(states)}")
        expression = (
            check_expression(value, known, pointer, limits, report)
            if isinstance(value, str)
            else None
            if (number := as_number(value)) is None
            else number_expression(number)
        )
        if expression:
            found[name] = expression
    return found
