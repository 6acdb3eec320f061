"""What is so large that it is refused before it is read: its mistakes alone would fill the memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from odelib.errors import FieldError
from odelib.problem.limits import Limits


def too_large(raw: Mapping[str, Any], limits: Limits) -> list[FieldError]:
    """The parts of a request that are beyond any limit; the checks refuse what is closer to them.

    Lists of numbers are not among them: the models stop reading those at the first mistake.
    """
    system = raw.get("system")
    lists: list[tuple[str, Any, int]] = [
        ("/stages", raw.get("stages"), limits.stages),
        ("/predictions", raw.get("predictions"), limits.predictions),
    ]
    if isinstance(system, Mapping):
        lists.append(("/system/states", system.get("states"), limits.states))
        lists.append(("/system/parameters", system.get("parameters"), limits.names))
    errors = [
        FieldError(pointer, f"at most {most} entries, here are {len(entries)}")
        for pointer, entries, most in lists
        if isinstance(entries, list) and len(entries) > max(most, limits.names)
    ]
    if not errors and _has_more_fields(raw, limits.fields):
        errors.append(FieldError("", f"at most {limits.fields} fields in all objects together"))
    return errors


def _has_more_fields(raw: Mapping[str, Any], most: int) -> bool:
    count = 0
    pending: list[Any] = [raw]
    while pending:
        node = pending.pop()
        count += len(node) if isinstance(node, dict) else 0
        if count > most:
            return True
        if len(node) <= most:
            entries = node.values() if isinstance(node, dict) else node
            pending.extend(entry for entry in entries if isinstance(entry, dict | list))
    return False
