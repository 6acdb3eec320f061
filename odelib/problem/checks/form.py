"""What the models found wrong with a request's form, as pointers and plain sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from odelib.errors import FieldError
from odelib.problem.pointers import join

MAX_LISTED = 100  # wrong numbers in one list that are told one by one
NULL = "null stands for a missing measurement and nothing else"
BEYOND = "the number is beyond double precision"

Location = tuple[int | str, ...]

_NOT_AVAILABLE = "is not available in this version"
_LATER_FIELDS: Mapping[str, tuple[str, ...]] = {  # kind of object → fields of the language that are still to come
    "request": ("webhook",),
    "system": ("inputs", "networks", "events"),
}
_ENTRIES: Mapping[str, str] = {  # what may stand where JSON types mix
    "system": "must be the name of a catalogue system, or a definition",
    "parameters": "must be a number, or an object with guess and bounds",
    "initial_state": "must be a number, an expression in quotes, or an object with guess and bounds",
    "scale": "must be a number above 0, or 'estimate'",
    "sigma": "must be a number above 0, or a list with one for each time",
}
_ANY = "*"
# Where one of several forms may stand, and pydantic puts the form's name into the place of a mistake within it.
_UNIONS: frozenset[tuple[str, ...]] = frozenset(
    {("system",), ("stages", _ANY), ("noise", _ANY), ("noise", _ANY, "prior")}
    | {("noise", _ANY, scale) for scale in ("sigma", "proportional")}
    | {
        (*base, field, _ANY, *inner)
        for base in ((), ("data",), ("experiments", _ANY))
        for field in ("parameters", "initial_state", "sigma")
        for inner in ((), ("prior",))
        if base or field != "sigma"
    }
)
_NAMED = [list(place[:i]) for place in _UNIONS for i, part in enumerate(place) if part == _ANY]
_TAGS: Mapping[str, str] = {"stages": "kind"}  # of the objects in a field; "distribution" elsewhere
_SENTENCES: Mapping[str, str] = {
    "finite_number": BEYOND,
    "string_type": "must be a text",
    "string_unicode": "the text is not Unicode: half of a surrogate pair",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
}


def form_errors(error: ValidationError, raw: Any, most: int) -> list[FieldError]:
    """The first `most` of `error`, and the wrong numbers of long lists, of which the models report the first alone."""
    found = []
    for details in islice(error.errors(include_url=False), most):
        if details["type"] == "default_factory_not_called":
            continue  # follows from the other mistakes
        loc = _place(details["loc"], details["type"])
        found.append(FieldError(join("", *loc), _sentence(details, loc)))
    wrong_numbers = list(_wrong_numbers(raw)) if isinstance(raw, Mapping) else []
    told = {wrong.pointer for wrong in wrong_numbers}
    return [one for one in found if one.pointer not in told] + wrong_numbers


def number_error(value: Any, *, null: bool = False, positive: bool = False) -> str | None:
    """Why `value` is not a number of the language; None if it is one."""
    if value is None:
        return None if null else NULL
    if isinstance(value, bool) or not isinstance(value, int | float):
        came = {bool: f"; {str(value).lower()} is not one", str: "; a text in quotes is not one"}
        return "must be a number" + came.get(type(value), "")
    try:
        finite = math.isfinite(value)
    except OverflowError:
        finite = False
    if not finite:
        return BEYOND
    return "must be above 0" if positive and value <= 0 else None


def _place(loc: Location, kind: str) -> Location:
    """Where the mistake is, without the member of a union that pydantic puts into the place."""
    place: list[int | str] = []
    shape: list[int | str] = []  # the place with any name or index for a wildcard
    in_tag = False
    for part in loc:
        if in_tag:
            in_tag = False
            continue
        place.append(part)
        shape.append(_ANY if shape in _NAMED else part)
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
        return _wrong_word(details["ctx"]["expected_tags"])
    if kind == "literal_error":
        return _wrong_word(details["ctx"]["expected"])
    if kind in ("float_type", "string_type"):
        return _wrong_type(kind, details["input"], loc)
    return _SENTENCES.get(kind) or details["msg"].replace("Input should be", "must be")


def _wrong_type(kind: str, given: Any, loc: Location) -> str:
    match loc:
        case ("system",):
            return _ENTRIES["system"]
        case ("noise", _, "sigma" | "proportional"):
            return _ENTRIES["scale"]
        case (
            ("parameters" | "initial_state" as name, _)
            | ("data", "initial_state" | "sigma" as name, _)
            | ("experiments", _, "initial_state" | "sigma" as name, _)
        ):
            mixed = _ENTRIES[str(name)]
            return mixed if isinstance(given, str | list) or given is None else number_error(given) or mixed
    return _SENTENCES[kind] if kind == "string_type" else number_error(given) or BEYOND


def _extra_field(loc: Location) -> str:
    match loc:
        case (_,):
            later = _LATER_FIELDS["request"]
        case ("system", _):
            later = _LATER_FIELDS["system"]
        case _:
            later = ()
    return f"{loc[-1]!r} {_NOT_AVAILABLE}" if loc[-1] in later else f"unknown field {str(loc[-1])!r:.80}"


def _wrong_word(expected: str) -> str:
    return f"must be {expected}"


def _wrong_numbers(raw: Mapping[str, Any]) -> Iterator[FieldError]:
    data = raw.get("data")
    if isinstance(data, Mapping):
        yield from _wrong_in_series(data, "/data")
    for field in ("experiments", "predictions"):
        entries = raw.get(field)
        for i, entry in enumerate(entries if isinstance(entries, list) else ()):
            if isinstance(entry, Mapping):
                yield from _wrong_in_series(entry, f"/{field}/{i}")


def _wrong_in_series(series: Mapping[str, Any], base: str) -> Iterator[FieldError]:
    yield from _wrong_in_list(series.get("times"), join(base, "times"))
    for field in ("values", "sigma"):
        columns = series.get(field)
        for name, column in columns.items() if isinstance(columns, Mapping) else ():
            pointer = join(base, field, name)
            yield from _wrong_in_list(column, pointer, null=field == "values", positive=field == "sigma")


def _wrong_in_list(numbers: Any, pointer: str, *, null: bool = False, positive: bool = False) -> Iterator[FieldError]:
    told = 0
    for i, value in enumerate(numbers if isinstance(numbers, list) else ()):
        if detail := number_error(value, null=null, positive=positive):
            if told == MAX_LISTED:
                yield FieldError(pointer, f"further entries are wrong, from entry {i} on")
                return
            told += 1
            yield FieldError(join(pointer, i), detail)
