"""Changes: states, constants and inputs that exist, and one new value of each at a time."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

from odelib.problem.checks.inputs import check_inputs
from odelib.problem.checks.occasions import Occasion, Reading, is_before
from odelib.problem.checks.raw import as_list, as_object
from odelib.problem.expressions.parser import Expression
from odelib.problem.pointers import join


class _Replacement(NamedTuple):
    """A new value: its time or the text of that, the number of its change, and its pointer."""

    at: float | str
    number: int
    pointer: str


def check_changes(given: Any, occasion: Occasion, reading: Reading) -> None:
    """Check the changes that a series or prediction gives itself."""
    base = join(occasion.base, "changes")
    replaced: dict[tuple[str, str], list[_Replacement]] = {}
    for i, change in enumerate(as_list(given)):
        if not isinstance(change, Mapping):
            continue
        pointer = join(base, i)
        at = reading.value(change.get("at"), join(pointer, "at"))
        if isinstance(at, float):
            occasion.check_time(at, join(pointer, "at"), "change", reading.report)
        check_reset(change, pointer, reading)
        check_constants(change.get("constants"), join(pointer, "constants"), reading)
        check_inputs(change.get("inputs"), join(pointer, "inputs"), reading)
        if not any(change.get(field) for field in ("set", "add", "constants", "inputs")):
            reading.report.add(pointer, "the change changes nothing; give 'set', 'add', 'constants' or 'inputs'")
        if at is not None:
            for field in ("set", "constants", "inputs"):
                for name in as_object(change.get(field)):
                    time = at.text if isinstance(at, Expression) else at
                    replaced.setdefault((field, name), []).append(_Replacement(time, i, join(pointer, field, name)))
    _check_conflicts(replaced, reading)


def check_reset(fields: Mapping[str, Any], pointer: str, reading: Reading) -> None:
    """Check `set` and `add`, new values of states."""
    for field in ("set", "add"):
        given = as_object(fields.get(field))
        reading.report.add_unknown_names(given, reading.declared.states, join(pointer, field), "state")
        for name, value in given.items():
            reading.of_model(value, join(pointer, field, name))


def check_constants(given: Any, base: str, reading: Reading) -> None:
    """Check constants, each a number or an expression."""
    constants = as_object(given)
    reading.report.add_unknown_names(constants, reading.declared.constants, base, "constant")
    for name, value in constants.items():
        reading.value(value, join(base, name))


def _check_conflicts(replaced: Mapping[tuple[str, str], list[_Replacement]], reading: Reading) -> None:
    """Check that nothing is replaced twice at one time."""
    for (_, name), found in replaced.items():
        by_text: dict[str, int] = {}
        by_time = sorted((each.at, each.number, each.pointer) for each in found if isinstance(each.at, float))
        twice = [
            max(one, other, key=lambda each: each[1])[2]
            for one, other in pairwise(by_time)
            if not is_before(one[0], other[0])
        ]
        for each in found:
            if isinstance(each.at, str):
                twice += [each.pointer] if each.at in by_text else []
                by_text.setdefault(each.at, each.number)
        for pointer in twice:
            reading.report.add(pointer, f"another change replaces {name!r:.80} at the same time")
