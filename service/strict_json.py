"""JSON by the interface's rules, which are stricter than Python's: for request bodies and for FILE.json alike.

The models get plain data: unique keys, a bounded depth, and only text that can be written as UTF-8.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from odelib.errors import FieldError, ProblemError
from odelib.problem.pointers import join

_MAX_INTEGER_DIGITS = 300  # a double holds at most 309 digits; Python itself refuses more than 4300
# Far beyond what a valid request needs. Parsed by Python, 16 MiB of "[]," take 400 MB and half a minute.
_MAX_CONTAINERS, _MAX_COMMAS = 500_000, 3_000_000
_MAX_ERRORS = 1_000
_LONE_SURROGATE = "contains a lone surrogate, which UTF-8 cannot encode"
# Up to NaN or an infinity, and up to a bracket or a key of an object; what is before is matched without backtracking.
_STRING = r'"(?:[^"\\]++|\\.)*+"'
_TO_CONSTANT = re.compile(rf'(?:[^"NI-]++|{_STRING}|-(?!I))*+', re.DOTALL)
_TO_KEY = re.compile(rf'(?:[^"{{}}]++|{_STRING}(?!\s*:))*+([{{}}]|{_STRING})', re.DOTALL)
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class MalformedJsonError(Exception):
    """Bytes that are not JSON by the interface's rules; the message says why and where."""


def parse_json(body: bytes, max_depth: int) -> Any:
    """Return `body` as Python objects.

    Numbers beyond double precision become infinite; the models refuse them at their place.

    Raises:
        MalformedJsonError: not UTF-8, not JSON, `NaN` or `Infinity`, or a duplicate key.
        ProblemError: nested deeper than `max_depth`, too many values, or text with a lone surrogate.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        before = body[: error.start].decode("utf-8")
        place = _place(before, len(before))
        raise MalformedJsonError(f"not UTF-8: byte {body[error.start]:#04x} {place} cannot be decoded") from None
    if body.count(b"[") + body.count(b"{") > _MAX_CONTAINERS or body.count(b",") > _MAX_COMMAS:
        detail = f"too many values: at most {_MAX_CONTAINERS} lists and objects and {_MAX_COMMAS} commas are allowed"
        raise ProblemError([FieldError("", detail)])
    try:
        parsed = json.loads(
            text, object_pairs_hook=_unique_keys, parse_int=_parse_integer, parse_constant=_refuse_constant
        )
    except json.JSONDecodeError as error:
        raise MalformedJsonError(f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except _DuplicateKeyError:
        name, start = _duplicate_key(text)
        raise MalformedJsonError(f"duplicate key {name!r:.80} {_place(text, start)}") from None
    except _ConstantError as error:
        found = _TO_CONSTANT.match(text)
        place = _place(text, found.end() if found else 0)
        raise MalformedJsonError(f"{error} {place} is not JSON; write null for a missing value") from None
    except RecursionError:  # Python's own limit, far beyond any `max_depth` that the settings allow
        raise _too_deep("", max_depth) from None
    # Most bodies have fewer brackets than levels are allowed, and no escaped surrogate: nothing to walk through.
    if body.count(b"[") + body.count(b"{") > max_depth or _ESCAPED_SURROGATE.search(body):
        _check_tree(parsed, max_depth)
    return parsed


class _DuplicateKeyError(Exception):
    pass


class _ConstantError(Exception):
    pass


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise _DuplicateKeyError
    return entries


def _duplicate_key(text: str) -> tuple[str, int]:
    """Return the first key that its object has already, and where it starts. Python's parser does not say where."""
    open_objects: list[set[str]] = []
    for found in _TO_KEY.finditer(text):
        token = found[1]
        if token == "{":
            open_objects.append(set())
        elif token == "}":
            open_objects.pop()
        else:
            name = json.loads(token) if "\\" in token else token[1:-1]
            if name in open_objects[-1]:
                return name, found.start(1)
            open_objects[-1].add(name)
    raise AssertionError("there is a duplicate key")


def _place(text: str, index: int) -> str:
    """Return the line and column of a character, both counted from 1."""
    return f"at line {text.count(chr(10), 0, index) + 1}, column {index - text.rfind(chr(10), 0, index)}"


def _parse_integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_INTEGER_DIGITS else float(digits)


def _refuse_constant(word: str) -> NoReturn:
    raise _ConstantError(word)


def _check_tree(root: Any, max_depth: int) -> None:
    """Check depth and text without recursion: one iterator for each open list or object."""
    errors: list[FieldError] = []
    path: list[str | int] = []
    open_nodes: list[Iterator[tuple[str | int, Any]]] = [iter([("", root)])]
    while open_nodes:
        key, node = next(open_nodes[-1], (None, None))
        if key is None:
            open_nodes.pop()
            path[-1:] = []
        elif not _is_encodable(key):
            errors.append(FieldError(join("", *path[1:]), f"a key {_LONE_SURROGATE}"))
        elif isinstance(node, str) and not _is_encodable(node):
            errors.append(FieldError(join("", *[*path, key][1:]), f"the text {_LONE_SURROGATE}"))
        elif isinstance(node, dict | list):
            path.append(key)
            if len(path) > max_depth:
                raise _too_deep(join("", *path[1:]), max_depth)
            open_nodes.append(iter(node.items()) if isinstance(node, dict) else _items_to_check(node))
        if len(errors) >= _MAX_ERRORS:
            break
    if errors:
        raise ProblemError(errors)


def _items_to_check(items: list[Any]) -> Iterator[tuple[int, Any]]:
    return ((i, item) for i, item in enumerate(items) if isinstance(item, str | dict | list))


def _is_encodable(key: str | int) -> bool:
    try:
        str(key).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _too_deep(pointer: str, max_depth: int) -> ProblemError:
    return ProblemError([FieldError(pointer, f"nested too deeply: at most {max_depth} levels are allowed")])
