"""Turns pydantic's errors of form into pointers and plain sentences."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from odelib.errors import FieldError
from odelib.problem.fields import NOT_UNICODE, NULL
from odelib.problem.noise import SCALES
from odelib.problem.pointers import join

MAX_LISTED = 100  # invalid entries of one list that are reported one by one
OUT_OF_RANGE = "the number is outside the range of double precision"

Location = tuple[int | str, ...]

_ENTRIES: Mapping[str, str] = {  # for values that can have several JSON types
    "system": "must be the name of a catalogue system or a definition",
    "parameters": "must be a number or an object with a guess or bounds",
    "initial_state": "must be a number, an expression in quotes, or an object with a guess or bounds",
    "quantity": "must be a number or an expression in quotes",
    "input": "must be a number, an expression in quotes, or an object with 'times' and 'values'",
    "at": "must be a number, an expression in quotes, or a list of these",
    "steady_state": "must be true, false, or an object",
    "scale": "must be a number greater than 0 or 'estimate'",
    "sigma of noise": "must be a number greater than 0, 'estimate' or an expression in quotes",
    "atol": "must be a number greater than 0 or 'auto'",
    "sigma": "must be a number greater than 0 or a list with one such number for each time",
}
_ANY = "*"


def _places_of_inputs(base: tuple[str, ...]) -> set[tuple[str, ...]]:
    return {(*base, "inputs", _ANY), (*base, "inputs", _ANY, "values", _ANY)}


def _places_of_quantities(base: tuple[str, ...]) -> set[tuple[str, ...]]:
    """The unions in what was done in a series or prediction."""
    dose, change, steady = (*base, "doses", _ANY), (*base, "changes", _ANY), (*base, "steady_state")
    numbers = ("amount", "every", "duration", "rate", "lag", "fraction")
    found = {(*dose, name) for name in numbers} | {(*dose, "at"), (*dose, "at", _ANY)}
    found |= {(*change, "at"), steady, (*base, "constants", _ANY)}
    found |= {(*change, field, _ANY) for field in ("set", "add", "constants")}
    found |= {(*steady, field, _ANY) for field in ("set", "constants")}
    return found.union(*(_places_of_inputs(each) for each in (base, change, steady)))


_OF_PROTOCOLS = frozenset(
    {("constants", _ANY)}
    | {("system", "events", _ANY, field, _ANY) for field in ("set", "add")}
    | _places_of_inputs(()).union(
        *(_places_of_quantities(base) for base in (("data",), ("experiments", _ANY), ("predictions", _ANY)))
    )
)
# The places of unions. In the location of an error within one, pydantic inserts the tag of the member.
_UNIONS: frozenset[tuple[str, ...]] = frozenset(
    {("system",), ("solver", "atol"), ("stages", _ANY), ("noise", _ANY), ("noise", _ANY, "prior")}
    | {("noise", _ANY, scale) for scale in SCALES}
    | {
        (*base, field, _ANY, *inner)
        for base in ((), ("data",), ("experiments", _ANY))
        for field in ("parameters", "initial_state", "sigma")
        for inner in ((), ("prior",))
        if base or field != "sigma"
    }
    | _OF_PROTOCOLS
)
_NAMED = frozenset(place[:i] for place in _UNIONS for i, part in enumerate(place) if part == _ANY)
_TAGS: Mapping[str, str] = {"stages": "kind"}  # of the objects in a field; "distribution" elsewhere
_PHRASES = (
    (re.compile(r"^\w+ should\b"), "must"),
    (re.compile(r"\bless than or equal to\b"), "at most"),
    (re.compile(r"\bgreater than or equal to\b"), "at least"),
)
_SENTENCES: Mapping[str, str] = {
    "finite_number": OUT_OF_RANGE,
    "string_type": "must be a string",
    "string_unicode": NOT_UNICODE,
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "the number has too many digits",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
}


def form_errors(error: ValidationError, raw: Any, limit: int) -> list[FieldError]:
    """Return the first `limit` mistakes of `error`, and all invalid numbers in lists: pydantic stops at the first."""
    found = []
    for details in islice(error.errors(include_url=False), limit):
        if details["type"] == "default_factory_not_called":
            continue  # a consequence of the other mistakes
        loc = _place(details["loc"], details["type"])
        found.append(FieldError(join("", *loc), _sentence(details, loc)))
    in_lists = list(_errors_in_lists(raw)) if isinstance(raw, Mapping) else []
    reported = {mistake.pointer for mistake in in_lists}
    return [mistake for mistake in found if mistake.pointer not in reported] + in_lists


def number_error(value: Any, *, null: bool = False, positive: bool = False) -> str | None:
    """Return why `value` is not a valid number, or None if it is one."""
    if value is None:
        return None if null else NULL
    if isinstance(value, bool) or not isinstance(value, int | float):
        given = {bool: f", not {str(value).lower()}", str: ", not a string"}
        return "must be a number" + given.get(type(value), "")
    try:
        finite = math.isfinite(value)
    except OverflowError:
        finite = False
    if not finite:
        return OUT_OF_RANGE
    return "must be greater than 0" if positive and value <= 0 else None


def _place(loc: Location, kind: str) -> Location:
    """Return the location of an error without the tags of union members, which pydantic inserts."""
    place: list[int | str] = []
    shape: list[int | str] = []  # the place, with a wildcard for any name or index
    in_tag = False
    for part in loc:
        if in_tag:
            in_tag = False
            continue
        place.append(part)
        shape.append(_ANY if tuple(shape) in _NAMED else part)
        in_tag = tuple(shape) in _UNIONS
    if kind == "not_unicode_key" and place[-1:] == ["[key]"]:
        return tuple(place[:-1])
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        place.append(_TAGS.get(str(loc[0]), "distribution"))
    return tuple(place)


def _sentence(details: ErrorDetails, loc: Location) -> str:
    kind = details["type"]
    if kind == "extra_forbidden":
        return _extra_field(loc)
    if kind in ("missing", "union_tag_not_found"):
        return f"{loc[-1]!r} is required"
    if kind == "union_tag_invalid":
        return f"must be one of {details['ctx']['expected_tags']}"
    if kind in ("float_type", "string_type", "literal_error", "bool_type"):
        return _wrong_value(details, loc)
    return in_our_words(details)


def in_our_words(details: ErrorDetails) -> str:
    """Return the text of an error in the words of the service.

    "Input should be less than or equal to 5" becomes "must be at most 5".
    """
    sentence = _SENTENCES.get(details["type"]) or details["msg"]
    for theirs, ours in _PHRASES:
        sentence = theirs.sub(ours, sentence)
    return sentence


def _wrong_value(details: ErrorDetails, loc: Location) -> str:
    """Return what must be at a place, which can be one of several JSON types."""
    kind, given = details["type"], details["input"]
    if loc == ("solver", "atol") and isinstance(given, str):
        return _ENTRIES["atol"]
    if (entry := _entry_at(loc)) is not None:
        is_plain = loc == ("system",) or loc[0] == "noise" or given is None or isinstance(given, str | list | Mapping)
        return entry if is_plain else number_error(given) or entry
    if kind == "literal_error":
        return f"must be {details['ctx']['expected']}"
    return _SENTENCES[kind] if kind in ("string_type", "bool_type") else number_error(given) or OUT_OF_RANGE


def _entry_at(loc: Location) -> str | None:
    """Return what must be at a place that allows several JSON types, None for others."""
    match loc:
        case ("system",):
            return _ENTRIES["system"]
        case ("noise", _, field) if field in SCALES:
            return _ENTRIES["sigma of noise" if field == "sigma" else "scale"]
        case (
            ("parameters" | "initial_state" as name, _)
            | ("data", "initial_state" | "sigma" as name, _)
            | ("experiments", _, "initial_state" | "sigma" as name, _)
        ):
            return _ENTRIES[str(name)]
    return _quantity_at(loc)


def _quantity_at(loc: Location) -> str | None:
    """Return what must be at the place of a quantity, an input or a steady state."""
    shape: tuple[int | str, ...] = ()
    for part in loc:
        shape = (*shape, _ANY if shape in _NAMED else part)
    if shape not in _OF_PROTOCOLS:
        return None
    match shape:
        case [*_, "inputs", _]:
            return _ENTRIES["input"]
        case [*_, "doses", _, "at"]:
            return _ENTRIES["at"]
        case [*_, "steady_state"]:
            return _ENTRIES["steady_state"]
    return _ENTRIES["quantity"]


def _extra_field(loc: Location) -> str:
    return f"unknown field {str(loc[-1])!r:.80}"


def _errors_in_lists(raw: Mapping[str, Any]) -> Iterator[FieldError]:
    data = raw.get("data")
    yield from _errors_in_inputs(raw.get("inputs"), "/inputs")
    if isinstance(data, Mapping):
        yield from _errors_in_series(data, "/data")
    for field in ("experiments", "predictions"):
        entries = raw.get(field)
        for i, entry in enumerate(entries if isinstance(entries, list) else ()):
            if isinstance(entry, Mapping):
                yield from _errors_in_series(entry, f"/{field}/{i}")


def _errors_in_series(series: Mapping[str, Any], base: str) -> Iterator[FieldError]:
    yield from _errors_in_list(series.get("times"), join(base, "times"))
    for field in ("values", "sigma"):
        columns = series.get(field)
        for name, column in columns.items() if isinstance(columns, Mapping) else ():
            pointer = join(base, field, name)
            yield from _errors_in_list(column, pointer, null=field == "values", positive=field == "sigma")
    yield from _errors_in_protocol(series, base)


def _errors_in_protocol(series: Mapping[str, Any], base: str) -> Iterator[FieldError]:
    yield from _errors_in_inputs(series.get("inputs"), join(base, "inputs"))
    for field in ("changes", "doses"):
        entries = series.get(field)
        for i, entry in enumerate(entries if isinstance(entries, list) else ()):
            if isinstance(entry, Mapping) and field == "changes":
                yield from _errors_in_inputs(entry.get("inputs"), join(base, field, i, "inputs"))
            elif isinstance(entry, Mapping):
                yield from _errors_in_list(entry.get("at"), join(base, field, i, "at"), texts=True)


def _errors_in_inputs(inputs: Any, base: str) -> Iterator[FieldError]:
    for name, knots in inputs.items() if isinstance(inputs, Mapping) else ():
        if isinstance(knots, Mapping):
            yield from _errors_in_list(knots.get("times"), join(base, name, "times"))
            yield from _errors_in_list(knots.get("values"), join(base, name, "values"), texts=True)


def _errors_in_list(
    numbers: Any, pointer: str, *, null: bool = False, positive: bool = False, texts: bool = False
) -> Iterator[FieldError]:
    reported = 0
    for i, value in enumerate(numbers if isinstance(numbers, list) else ()):
        if texts and isinstance(value, str):
            continue
        if detail := number_error(value, null=null, positive=positive):
            if reported == MAX_LISTED:
                yield FieldError(pointer, f"more entries are invalid, starting with entry {i}")
                return
            reported += 1
            yield FieldError(join(pointer, i), detail)
