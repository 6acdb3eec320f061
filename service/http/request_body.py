"""The body of a request: its media type, its size and how long it may take."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager

from starlette.requests import ClientDisconnect

from service.http.errors import ServiceError

MIN_BYTES_PER_SECOND = 10_000  # slower senders are refused


JSON = "application/json"
LINES = "application/x-ndjson"
_LINES_BYTES = 256 * 2**10  # of lines that are processed together


def check_headers(content_type: str | None, content_encoding: str | None, allowed: Sequence[str] = (JSON,)) -> str:
    """Return the media type. Refuses everything but the allowed ones, plain and in UTF-8 (415)."""
    if content_encoding is not None:
        raise ServiceError(
            "unsupported_media_type",
            f"Content-Encoding {content_encoding!r:.80} is not supported; send the JSON unencoded, without this header",
        )
    media_type, _, parameters = (content_type or "").partition(";")
    if media_type.strip().lower() not in allowed:
        received = f"not {media_type.strip()!r:.80}" if media_type.strip() else "and it is missing"
        raise ServiceError("unsupported_media_type", f"the Content-Type must be {' or '.join(allowed)}, {received}")
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() not in ("utf-8", "utf8"):
            raise ServiceError("unsupported_media_type", f"the charset must be utf-8, not {value.strip()!r:.80}")
    return media_type.strip().lower()


class BodyBudget:
    """Bounds the bytes of all bodies that the service holds at a time, whoever sends them."""

    def __init__(self, max_bytes: int) -> None:
        self._bytes_left = max_bytes

    @contextmanager
    def body(self) -> Iterator[Callable[[int], None]]:
        """Yield the function that reserves bytes for one body; they are released at the end.

        It refuses (503) more bytes than are left.
        """
        reserved = 0

        def reserve(count: int) -> None:
            nonlocal reserved
            if count > self._bytes_left:
                detail = "the service is receiving too many large bodies at the moment; try again later"
                raise ServiceError("too_busy", detail, headers={"Retry-After": "5"})
            self._bytes_left -= count
            reserved += count

        try:
            yield reserve
        finally:
            self._bytes_left += reserved


async def read_body(
    stream: AsyncIterator[bytes],
    content_length: str | None,
    max_bytes: int,
    seconds: float,
    reserve: Callable[[int], None],
) -> bytes:
    """Return the whole body, whose bytes are reserved as they arrive.

    Refuses more than `max_bytes` (413), before reading if Content-Length announces it, and a body that takes longer
    than `seconds` plus one second for each `MIN_BYTES_PER_SECOND` bytes (408).
    """
    if content_length is not None and content_length.isdecimal() and int(content_length[:20]) > max_bytes:
        raise _too_large(max_bytes)
    size, chunks = 0, []
    due = asyncio.get_running_loop().time() + seconds
    try:
        async with asyncio.timeout_at(due) as limit:
            async for chunk in stream:
                size += len(chunk)
                if size > max_bytes:
                    raise _too_large(max_bytes)
                reserve(len(chunk))
                chunks.append(chunk)
                limit.reschedule(due + size / MIN_BYTES_PER_SECOND)
    except TimeoutError:
        raise _too_slow(seconds) from None
    except ClientDisconnect:  # nobody reads this answer
        raise ServiceError("bad_request", "the client closed the connection before the whole body arrived") from None
    return b"".join(chunks)


async def read_lines(
    stream: AsyncIterator[bytes], content_length: str | None, max_bytes: int, max_line_bytes: int, seconds: float
) -> AsyncIterator[list[bytes]]:
    """Yield the lines of a body as they arrive, many at a time, so that a body of any size takes little memory.

    Refuses more than `max_bytes` (413), a line of more than `max_line_bytes` (413), and a sender that is waited for
    longer than `seconds` plus one second for each `MIN_BYTES_PER_SECOND` bytes (408).
    """
    if content_length is not None and content_length.isdecimal() and int(content_length[:20]) > max_bytes:
        raise _too_large(max_bytes)
    clock, size, waited = asyncio.get_running_loop().time, 0, 0.0
    rest, lines, held = b"", [], 0
    while True:
        began = clock()
        try:
            async with asyncio.timeout(seconds + size / MIN_BYTES_PER_SECOND - waited):
                chunk = await anext(stream, None)
        except TimeoutError:
            raise _too_slow(seconds) from None
        except ClientDisconnect:  # nobody reads this answer
            raise ServiceError("bad_request", "the client closed the connection before the body arrived") from None
        waited += clock() - began
        if chunk is None:
            break
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        first, *others = chunk.split(b"\n")
        rest += first
        for line in others:
            lines.append(rest)
            held += len(rest)
            rest = line
        if len(rest) > max_line_bytes:
            raise ServiceError("body_too_large", f"a line is longer than the limit of {max_line_bytes} bytes")
        if held > _LINES_BYTES:
            yield lines
            lines, held = [], 0
    yield [*lines, rest]


def digest(body: bytes) -> str:
    """Return a hash of what `body` (valid JSON) means."""
    return hashlib.sha256(canonical(body)).hexdigest()


def canonical(text: bytes) -> bytes:
    """Return the form that all JSON texts of one meaning share: key order, spacing and 1 or 1.0 make no difference."""
    return json.dumps(json.loads(text, parse_int=float), sort_keys=True, separators=(",", ":")).encode()


def _too_large(max_bytes: int) -> ServiceError:
    return ServiceError("body_too_large", f"the body is larger than the limit of {max_bytes} bytes; send less data")


def _too_slow(seconds: float) -> ServiceError:
    detail = (
        f"the body did not arrive within {seconds:g} s plus one second for each {MIN_BYTES_PER_SECOND} bytes; "
        "send it faster"
    )
    return ServiceError("request_timeout", detail, headers={"Connection": "close"})
