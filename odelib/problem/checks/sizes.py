"""How large a request may be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from odelib.errors import FieldError
from odelib.problem.checks.raw import MistakeReport, as_list, as_number, as_object
from odelib.problem.limits import Limits
from odelib.problem.pointers import join


def too_large(raw: Mapping[str, Any], limits: Limits) -> list[FieldError]:
    """Return the parts that are so far beyond a limit that the list of their mistakes would fill the memory.

    The request is then refused before it is validated. Parts that are only somewhat too large are refused by
    `check_sizes` and other checks. Lists of numbers are not counted: their validation stops at the first mistake.
    """
    system, penalty, hold_out = (as_object(raw.get(name)) for name in ("system", "penalty", "hold_out"))
    lists = (
        ("/stages", raw.get("stages"), limits.stages),
        ("/predictions", raw.get("predictions"), limits.predictions),
        ("/experiments", raw.get("experiments"), limits.experiments),
        ("/per_experiment", raw.get("per_experiment"), limits.names),
        ("/penalty/names", penalty.get("names"), limits.names),
        ("/hold_out/experiments", hold_out.get("experiments"), limits.experiments),
        ("/system/states", system.get("states"), limits.states),
        ("/system/parameters", system.get("parameters"), limits.names),
        ("/system/inputs", system.get("inputs"), limits.names),
        ("/system/events", system.get("events"), limits.names),
        *_lists_of_protocols(raw, limits),
    )
    errors = [
        FieldError(pointer, f"at most {limit} entries are allowed, but there are {len(entries)}")
        for pointer, entries, limit in lists
        if isinstance(entries, list) and len(entries) > max(limit, limits.names)
    ]
    if not errors and _has_more_fields(raw, limits.fields):
        errors.append(FieldError("", f"at most {limits.fields} fields are allowed in all objects together"))
    return errors or _too_much_text(raw, limits.definition_characters)


def check_sizes(raw: Mapping[str, Any], limits: Limits, report: MistakeReport) -> None:
    """Check the number of stages, labels, predictions and starts. Other checks count series, unknowns and values."""
    for name, limit in (("stages", limits.stages), ("labels", limits.labels), ("predictions", limits.predictions)):
        entries = raw.get(name)
        if isinstance(entries, list | dict) and len(entries) > limit:
            report.add(f"/{name}", f"at most {limit} {name} are allowed, but there are {len(entries)}")
    stages = [(f"/stages/{i}", as_object(stage)) for i, stage in enumerate(as_list(raw.get("stages")))]
    for base, fields in [("", raw), *stages]:
        starts = as_number(fields.get("starts"))
        if starts is not None and starts > limits.starts:
            report.add(f"{base}/starts", f"must be at most {limits.starts}, not {starts:.0f}")


def _lists_of_protocols(raw: Mapping[str, Any], limits: Limits) -> Iterator[tuple[str, Any, int]]:
    """The lists of doses and changes, whose entries are objects."""
    for base, owner in _owners(raw):
        for name in ("doses", "changes"):
            yield join(base, name), owner.get(name), limits.doses


def _too_much_text(raw: Mapping[str, Any], limit: int) -> list[FieldError]:
    """Return where the expressions, counted together, exceed the limit. Parsing takes time for every character."""
    count = 0
    for pointer, entries in _expressions(raw):
        count += sum(len(text) for text in _texts(entries))
        if count > limit:
            detail = (
                f"the expressions up to and including these have more than {limit} characters in total; shorten them, "
                "or fit a smaller system"
            )
            return [FieldError(pointer, detail)]
    return []


def _texts(root: Any) -> Iterator[str]:
    """Every string in a value."""
    pending = [root]
    while pending:
        node = pending.pop()
        if isinstance(node, str):
            yield node
        elif isinstance(node, Mapping):
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(entry for entry in node if isinstance(entry, str | dict | list))


def _owners(raw: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The request, its series and its predictions, each with its pointer."""
    yield "", raw
    yield "/data", as_object(raw.get("data"))
    for field in ("experiments", "predictions"):
        for i, entry in enumerate(as_list(raw.get(field))):
            yield f"/{field}/{i}", as_object(entry)


def _expressions(raw: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every part of the request whose strings are expressions, with its pointer."""
    system = as_object(raw.get("system"))
    for name in ("equations", "observables", "derived", "definitions", "events", "networks"):
        yield join("/system", name), system.get(name)
    for base, owner in _owners(raw):
        for name in ("initial_state", "inputs", "constants", "doses", "changes", "steady_state"):
            yield join(base, name), owner.get(name)


def _has_more_fields(raw: Mapping[str, Any], limit: int) -> bool:
    count = 0
    pending: list[Any] = [raw]
    while pending:
        node = pending.pop()
        count += len(node) if isinstance(node, dict) else 0
        if count > limit:
            return True
        if len(node) <= limit:
            entries = node.values() if isinstance(node, dict) else node
            pending.extend(entry for entry in entries if isinstance(entry, dict | list))
    return False
