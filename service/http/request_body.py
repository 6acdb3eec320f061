"""The body of a request: from bytes to parsed JSON, by the rules of the interface.

Everything that would be refused later for its size or its letters is refused here, so that what reaches the
models is plain: unique keys, no nesting beyond the limit, no text that cannot be written as UTF-8.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from starlette.requests import ClientDisconnect

from odelib.errors import FieldError
from odelib.problem.pointers import join
from service.http.errors import ServiceError, invalid_request

_DIGITS_OF_AN_INTEGER = 300  # beyond about 308 digits no double can hold it; Python itself stops at 4300
SLOWEST = 10_000  # bytes a second; a sender that is slower is refused
# Far beyond what the limits on a request let through; as Python objects 16 MiB of "[]," take 400 MB and half a minute.
_MOST_BRACKETS, _MOST_COMMAS = 500_000, 3_000_000
_MOST_ERRORS = 1_000  # of one kind that anybody could want to read
_HALF_A_PAIR = "half a surrogate pair and cannot be written as UTF-8"
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def check_headers(content_type: str | None, content_encoding: str | None) -> None:
    """Refuse (415) whatever is not plain JSON in UTF-8."""
    if content_encoding is not None:
        raise ServiceError(
            "unsupported_media_type",
            f"Content-Encoding {content_encoding!r:.80} is not accepted; send the JSON as it is, without the header",
        )
    media_type, _, parameters = (content_type or "").partition(";")
    if media_type.strip().lower() != "application/json":
        came = f"came {media_type.strip()!r:.80}" if media_type.strip() else "came none"
        raise ServiceError("unsupported_media_type", f"the Content-Type must be application/json; {came}")
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() not in ("utf-8", "utf8"):
            raise ServiceError("unsupported_media_type", f"the charset must be utf-8; came {value.strip()!r:.80}")


class Room:
    """For the bodies that are held at a time, in bytes: what the service has of them is bounded, whoever sends."""

    def __init__(self, most: int) -> None:
        self._left = most

    @contextmanager
    def body(self) -> Iterator[Callable[[int], None]]:
        """One body's part: taken bit by bit by the function, given back at the end. Refuses (503) what is too much."""
        taken = 0

        def take(count: int) -> None:
            nonlocal taken
            if count > self._left:
                detail = "many large bodies are being received at the moment; try again"
                raise ServiceError("too_busy", detail, headers={"Retry-After": "5"})
            self._left -= count
            taken += count

        try:
            yield take
        finally:
            self._left += taken


async def read_body(
    stream: AsyncIterator[bytes], content_length: str | None, most: int, seconds: float, take: Callable[[int], None]
) -> bytes:
    """The whole body. Each of its bytes is taken from the room for all bodies.

    Refuses more than `most` bytes (413), before reading where the length was announced, and what does not come
    within `seconds`, and a second more for each `SLOWEST` bytes (408).
    """
    if content_length is not None and content_length.isdecimal() and int(content_length[:20]) > most:
        raise _too_large(most)
    size, chunks = 0, []
    due = asyncio.get_running_loop().time() + seconds
    try:
        async with asyncio.timeout_at(due) as limit:
            async for chunk in stream:
                size += len(chunk)
                if size > most:
                    raise _too_large(most)
                take(len(chunk))
                chunks.append(chunk)
                limit.reschedule(due + size / SLOWEST)
    except TimeoutError:
        detail = f"the body did not come within {seconds:g} s and a second for each {SLOWEST} bytes"
        raise ServiceError("request_timeout", detail, headers={"Connection": "close"}) from None
    except ClientDisconnect:  # nobody reads this answer
        raise ServiceError("bad_request", "the connection was closed before the whole body had come") from None
    return b"".join(chunks)


def parse_json(body: bytes, max_depth: int) -> Any:
    """The body as Python objects.

    Refuses with 400 what is not UTF-8 or not JSON, `NaN` and `Infinity`, and duplicate keys; with 422 nesting
    beyond `max_depth` and text with half a surrogate pair. Numbers beyond double precision become infinite: the
    models refuse them where they stand.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _malformed(f"the body is not UTF-8: byte {error.start} cannot be decoded") from None
    if body.count(b"[") + body.count(b"{") > _MOST_BRACKETS or body.count(b",") > _MOST_COMMAS:
        detail = f"at most {_MOST_BRACKETS} lists and objects and {_MOST_COMMAS} entries, all together"
        raise invalid_request([FieldError("", detail)])
    try:
        parsed = json.loads(text, object_pairs_hook=_unique, parse_int=_integer, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise _malformed(f"the body is not JSON: {error.msg} at {where}") from None
    except RecursionError:  # far beyond any limit that can be set
        raise _too_deep("", max_depth) from None
    if body.count(b"[") + body.count(b"{") > max_depth or _SURROGATE.search(body):
        _check_tree(parsed, max_depth)
    return parsed


def digest(body: bytes) -> str:
    """The same for two bodies that mean the same JSON: order of keys, spacing and 1 or 1.0 make no difference."""
    parsed = json.loads(body, parse_int=_as_float)
    return hashlib.sha256(json.dumps(parsed, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        seen: set[str] = set()
        name = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise _malformed(f"the key {name!r:.80} stands twice in one object")
    return entries


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _DIGITS_OF_AN_INTEGER else _as_float(digits)


def _as_float(digits: str) -> float:
    return float(digits)  # infinite where it is too large


def _refuse_constant(word: str) -> NoReturn:
    raise _malformed(f"{word} is not JSON; null stands for a missing value")


def _check_tree(root: Any, max_depth: int) -> None:
    """Walks without recursion, holding one iterator a level; levels are counted as brackets that are open."""
    errors: list[FieldError] = []
    path: list[str | int] = []
    open_nodes: list[Iterator[tuple[str | int, Any]]] = [iter([("", root)])]
    while open_nodes:
        key, node = next(open_nodes[-1], (None, None))
        if key is None:
            open_nodes.pop()
            path[-1:] = []
        elif not _is_text(key):
            errors.append(FieldError(join("", *path[1:]), f"a key has {_HALF_A_PAIR}"))
        elif isinstance(node, str) and not _is_text(node):
            errors.append(FieldError(join("", *[*path, key][1:]), f"the text has {_HALF_A_PAIR}"))
        elif isinstance(node, dict | list):
            path.append(key)
            if len(path) > max_depth:
                raise _too_deep(join("", *path[1:]), max_depth)
            open_nodes.append(iter(node.items()) if isinstance(node, dict) else _worth_a_look(node))
        if len(errors) >= _MOST_ERRORS:
            break
    if errors:
        raise invalid_request(errors)


def _worth_a_look(items: list[Any]) -> Iterator[tuple[int, Any]]:
    return ((i, item) for i, item in enumerate(items) if isinstance(item, str | dict | list))


def _is_text(key: str | int) -> bool:
    try:
        str(key).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _malformed(detail: str) -> ServiceError:
    return ServiceError("malformed_json", detail)


def _too_deep(pointer: str, most: int) -> ServiceError:
    return invalid_request([FieldError(pointer, f"nested too deeply: at most {most} levels are allowed")])


def _too_large(most: int) -> ServiceError:
    return ServiceError("body_too_large", f"the body has more than {most} bytes, which is the limit")
