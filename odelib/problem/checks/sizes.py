"""How large a request may be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from odelib.errors import FieldError
from odelib.problem.checks.raw import MistakeReport, as_number, as_object
from odelib.problem.limits import Limits
from odelib.problem.pointers import join


def too_large(raw: Mapping[str, Any], limits: Limits) -> list[FieldError]:
    """The parts of a request that are so far beyond a limit that their mistakes alone would fill the memory.

    Such a request is refused before it is read; `check_sizes` and other checks refuse what is closer to its limit.
    Lists of numbers are not among them: the models stop reading those at the first mistake.
    """
    system, penalty, hold_out = raw.get("system"), raw.get("penalty"), raw.get("hold_out")
    lists: list[tuple[str, Any, int]] = [
        ("/stages", raw.get("stages"), limits.stages),
        ("/predictions", raw.get("predictions"), limits.predictions),
        ("/experiments", raw.get("experiments"), limits.experiments),
        ("/per_experiment", raw.get("per_experiment"), limits.names),
    ]
    if isinstance(penalty, Mapping):
        lists.append(("/penalty/names", penalty.get("names"), limits.names))
    if isinstance(hold_out, Mapping):
        lists.append(("/hold_out/experiments", hold_out.get("experiments"), limits.experiments))
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
    return errors or _too_much_text(raw, limits.definition_characters)


def check_sizes(raw: Mapping[str, Any], limits: Limits, report: MistakeReport) -> None:
    """Lists and counts of the request itself; other checks count series, unknowns and predicted values."""
    parts = (("stages", limits.stages), ("labels", limits.labels), ("predictions", limits.predictions))
    for name, most in parts:
        if isinstance(raw.get(name), list | dict) and len(raw[name]) > most:
            report.add(f"/{name}", f"at most {most} {name}, here are {len(raw[name])}")
    stages = raw.get("stages")
    entries = [(f"/stages/{i}", entry) for i, entry in enumerate(stages if isinstance(stages, list) else [])]
    for base, fields in [("", raw), *entries]:
        starts = as_number(as_object(fields).get("starts"))
        if starts is not None and starts > limits.starts:
            report.add(f"{base}/starts", f"at most {limits.starts} starts, here are {starts:.0f}")


def _too_much_text(raw: Mapping[str, Any], most: int) -> list[FieldError]:
    """Where the expressions, counted together and unread, pass the limit: parsing takes time with every character."""
    count = 0
    for pointer, entries in _expressions(raw):
        count += sum(len(text) for text in entries.values() if isinstance(text, str))
        if count > most:
            detail = (
                f"all expressions together may have {most} characters, and pass that here; name what occurs more than "
                "once as a parameter or a state, or fit a smaller system"
            )
            return [FieldError(pointer, detail)]
    return []


def _expressions(raw: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every object whose texts are expressions, with its pointer."""
    experiments = raw.get("experiments")
    owners: list[tuple[str, Any, tuple[str, ...]]] = [
        ("/system", raw.get("system"), ("equations", "observables", "derived")),
        ("", raw, ("initial_state",)),
        ("/data", raw.get("data"), ("initial_state",)),
    ]
    for i, series in enumerate(experiments if isinstance(experiments, list) else ()):
        owners.append((f"/experiments/{i}", series, ("initial_state",)))
    for base, owner, names in owners:
        for name in names if isinstance(owner, Mapping) else ():
            if isinstance(owner.get(name), Mapping):
                yield join(base, name), owner[name]


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
