"""httptools' parser for requests, which passes over offers to switch the protocol.

A client may offer an upgrade with any request: `curl --http2` and Java's HttpClient send `Upgrade: h2c` with every one.
RFC 9110 (7.8) lets a server ignore the offer. llhttp instead ends the request at its headers, so its body would be read
as the next request.
"""

from __future__ import annotations

from typing import Protocol

import httptools

_OFFER = frozenset({b"upgrade", b"http2-settings"})


class RequestHandler(Protocol):
    """What receives the parts of requests: uvicorn's protocol."""

    def on_message_begin(self) -> None: ...  # noqa: D102
    def on_url(self, url: bytes) -> None: ...  # noqa: D102
    def on_header(self, name: bytes, value: bytes) -> None: ...  # noqa: D102
    def on_headers_complete(self) -> None: ...  # noqa: D102
    def on_body(self, body: bytes) -> None: ...  # noqa: D102
    def on_message_complete(self) -> None: ...  # noqa: D102


class RequestParser:
    """Parses requests for `handler`, with the interface of `httptools.HttpRequestParser` that uvicorn uses.

    If a request offers an upgrade, its head is parsed again without the offer, by a new parser.
    """

    def __init__(self, handler: RequestHandler) -> None:
        self._handler = handler
        self._start_over()
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []

    def _start_over(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        # As uvicorn does: bytes after a request with `Connection: close` are ignored.
        if hasattr(self._parser, "set_dangerous_leniencies"):
            self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._offers_upgrade = False

    def feed_data(self, data: bytes) -> None:
        """Parse the next bytes of the connection. Raises `httptools.HttpParserError`."""
        while True:
            try:
                self._parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                head, data = self._head_without_offer(), data[offer.args[0] :]
                self._start_over()
                self._parser.feed_data(head)

    def _head_without_offer(self) -> bytes:
        lines = [b"%b %b HTTP/%b" % (self.get_method(), self._url, self.get_http_version().encode())]
        for name, value in self._headers:
            if name.lower() == b"connection":
                tokens = [token.strip() for token in value.split(b",")]
                value = b", ".join(token for token in tokens if token.lower() not in _OFFER)  # noqa: PLW2901
            if value and name.lower() not in _OFFER:
                lines.append(b"%b: %b" % (name, value))
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def get_method(self) -> bytes:
        """Return the method of the request."""
        method: bytes = self._parser.get_method()
        return method

    def get_http_version(self) -> str:
        """Return the version, such as 1.1."""
        version: str = self._parser.get_http_version()
        return version

    def should_keep_alive(self) -> bool:
        """Return whether the connection stays open after the response."""
        return bool(self._parser.should_keep_alive())

    def should_upgrade(self) -> bool:
        """Return False: no offer is accepted."""
        return False

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._url = b""
        self._headers = []
        self._handler.on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Receive a part of the URL."""
        self._url += url
        self._handler.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Receive a header."""
        self._headers.append((name, value))
        self._handler.on_header(name, value)

    def on_headers_complete(self) -> None:
        """Pass the request on, unless it is parsed again."""
        self._offers_upgrade = bool(self._parser.should_upgrade())
        if not self._offers_upgrade:
            self._handler.on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Receive a part of the body."""
        self._handler.on_body(body)

    def on_message_complete(self) -> None:
        """End the request, unless it is parsed again."""
        if not self._offers_upgrade:
            self._handler.on_message_complete()
