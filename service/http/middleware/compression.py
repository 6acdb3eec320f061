"""Compressed responses, for clients that accept gzip."""

from __future__ import annotations

import asyncio
import gzip

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MIN_BYTES = 1_000  # smaller responses fit into one packet anyway
_MAX_BYTES_INLINE = 64 * 2**10  # compressed in under a millisecond; larger ones in a thread, so that others go on
_LEVEL = 1  # on a result level 9 takes six times as long, for 10 % fewer bytes


class CompressionMiddleware:
    """Compresses complete responses of at least `MIN_BYTES`; not streams, nor what is compressed already."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and compress the response if the client accepts it."""
        if scope["type"] == "http" and accepts_gzip(Headers(scope=scope).get("accept-encoding", "")):
            await self.app(scope, receive, _Compressing(send))
        else:
            await self.app(scope, receive, send)


class _Compressing:
    """Sends the messages of one response."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        if self._start is not None:
            start, self._start = self._start, None
            headers = MutableHeaders(raw=start["headers"])
            body = message.get("body", b"")
            is_whole = "content-length" in headers and not message.get("more_body")  # a stream has no length
            if len(body) >= MIN_BYTES and is_whole and "content-encoding" not in headers:
                message = {**message, "body": await _compressed(body)}
                headers["Content-Encoding"] = "gzip"
                headers["Content-Length"] = str(len(message["body"]))
            headers.add_vary_header("Accept-Encoding")
            await self._send(start)
        await self._send(message)


async def _compressed(body: bytes) -> bytes:
    if len(body) <= _MAX_BYTES_INLINE:
        return gzip.compress(body, _LEVEL, mtime=0)
    return await asyncio.to_thread(gzip.compress, body, _LEVEL, mtime=0)


def accepts_gzip(accept_encoding: str) -> bool:
    """Return whether an `Accept-Encoding` header (RFC 9110, 12.5.3) accepts gzip."""
    weights: dict[str, bool] = {}
    for entry in accept_encoding.split(","):
        coding, _, parameter = entry.partition(";")
        quality = parameter.strip().lower().removeprefix("q=")
        weights[coding.strip().lower()] = quality.strip("0.") != "" or not parameter
    return weights.get("gzip", weights.get("*", False))
