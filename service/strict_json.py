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
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class MalformedJsonError(Exception):
    """Bytes that are not JSON by the interface's rules; the message says why."""


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
        raise MalformedJsonError(f"not UTF-8: byte {error.start} cannot be decoded") from None
    if body.count(b"[") + body.count(b"{") > _MAX_CONTAINERS or body.count(b",") > _MAX_COMMAS:
        detail = f"too many values: at most {_MAX_CONTAINERS} lists and objects and {_MAX_COMMAS} commas are allowed"
        raise ProblemError([FieldError("", detail)])
    try:
        parsed = json.loads(
            text, object_pairs_hook=_unique_keys, parse_int=_parse_integer, parse_constant=_refuse_constant
        )
    except json.JSONDecodeError as error:
        raise MalformedJsonError(f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:  # Python's own limit, far beyond any `max_depth` that the settings allow
        raise _too_deep("", max_depth) from None
    # Most bodies have fewer brackets than levels are allowed, and no escaped surrogate: nothing to walk through.
    if body.count(b"[") + body.count(b"{") > max_depth or _ESCAPED_SURROGATE.search(body):
        _check_tree(parsed, max_depth)
    return parsed


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        seen: set[str] = set()
        name = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise MalformedJsonError(f"duplicate key {name!r:.80} in an object")
    return entries


def _parse_integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_INTEGER_DIGITS else float(digits)


def _refuse_constant(word: str) -> NoReturn:
    raise MalformedJsonError(f"{word} is not JSON; write null for a missing value")


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
