"""uvicorn's HTTP protocol, guarded against slow and silent clients.

A client may send headers slowly or without end, never read a response, or open connections and stay silent. The
application cannot refuse this, because it sees only requests whose headers are complete.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import struct
from http import HTTPStatus
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.responses import Response
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from service.http.errors import ServiceError, problem_response
from service.http.request_parser import RequestParser
from service.settings import ServiceSettings

MAX_HEAD_BYTES = 64 * 2**10  # request line and headers; also the bytes between two chunks of a body
_LINGER_ZERO = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close discards unsent data
_OTHER_FILES = 100  # files that the process has open besides its connections


class ServerConfig(uvicorn.Config):
    """uvicorn's configuration for `app` with guarded connections."""

    def __init__(self, app: FastAPI, settings: ServiceSettings, **options: Any) -> None:
        super().__init__(
            app,
            http=GuardedProtocol,
            ws="none",
            log_config=None,
            access_log=False,  # the application logs requests, with their ids
            server_header=False,
            **options,
        )
        self.receive_seconds = settings.receive_seconds
        self.max_connections = min(settings.max_connections, _max_open_files() - _OTHER_FILES)
        # Connections that have not sent a complete request yet; the one that has waited longest comes first.
        self.idle: dict[GuardedProtocol, None] = {}


class GuardedProtocol(HttpToolsProtocol):
    """One connection.

    The head of a request (request line and headers) must arrive within `ServerConfig.receive_seconds` and
    `MAX_HEAD_BYTES`; the client must keep reading the response. When there are too many connections, the one that has
    been idle longest is closed.
    """

    def __init__(
        self,
        config: ServerConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.parser = RequestParser(self)  # type: ignore[assignment]
        self._config = config
        self._head_bytes = 0  # received since the last part of a body, or since the request began
        self._is_complete = True  # False while a request is arriving
        self._unsent_bytes = 0  # of the response, at the last check
        self._running: RequestResponseCycle | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._read_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection, closing an idle one if necessary."""
        super().connection_made(transport)
        if len(self.connections) > self._config.max_connections and not self._close_idle_connection():
            self._refuse(
                ServiceError("too_busy", "too many open connections; try again later", headers={"Retry-After": "5"})
            )
            return
        self._config.idle[self] = None
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Clean up after the connection."""
        super().connection_lost(exc)
        self._config.idle.pop(self, None)
        self._stop_head_timer()
        self._stop_read_timer()

    def data_received(self, data: bytes) -> None:
        """Receive bytes of one or several requests."""
        if self.transport.is_closing():
            return
        if self._head_timer is None and self._is_complete and (self.cycle is None or self.cycle.response_complete):
            self._start_head_timer()
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(
                ServiceError(
                    "headers_too_large", f"the headers exceed {MAX_HEAD_BYTES} bytes; send fewer or shorter headers"
                )
            )

    def on_headers_complete(self) -> None:
        """Stop timing the head; the application times the body."""
        self._head_bytes = 0
        self._is_complete = False
        self._stop_head_timer()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Receive a part of a body."""
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Mark the request as complete; the client now waits for the service, unless it has been answered already."""
        self._head_bytes = 0
        self._is_complete = True
        self._stop_head_timer()
        if self.cycle.response_complete:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        else:
            self._config.idle.pop(self, None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Mark the connection as idle again; if its body is still arriving, it gets some time for the rest."""
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if not self._is_complete:
            self._head_timer = self.loop.call_later(self._config.receive_seconds, self.transport.close)
        elif self.cycle.response_complete:  # and no other request has arrived meanwhile
            self._config.idle[self] = None

    def pause_writing(self) -> None:
        """Start watching a client that reads the response too slowly."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """Stop watching the client: it has read most of the response."""
        super().resume_writing()
        self._stop_read_timer()

    def send_400_response(self, msg: str) -> None:
        """Refuse bytes that are not HTTP."""
        self._refuse(ServiceError("bad_request", "the request is not valid HTTP"))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle  # with pipelining, not the last one received
        super()._start_asgi_task(cycle, app)

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self._config.receive_seconds, self._on_head_timeout)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
        self._head_timer = None

    def _stop_read_timer(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
        self._read_timer = None

    def _on_head_timeout(self) -> None:
        self._head_timer = None
        if self._head_bytes:
            self._refuse(
                ServiceError("request_timeout", f"the headers did not arrive within {self._config.receive_seconds:g} s")
            )
        else:
            self.transport.close()

    def _watch_reader(self) -> None:
        self._unsent_bytes = self.transport.get_write_buffer_size()
        self._read_timer = self.loop.call_later(self._config.receive_seconds, self._on_read_timeout)

    def _on_read_timeout(self) -> None:
        if self.transport.get_write_buffer_size() < self._unsent_bytes:
            self._watch_reader()
        else:
            self._abort()

    def _close_idle_connection(self) -> bool:
        oldest = next(iter(self._config.idle), None)
        if oldest is None:
            return False
        del self._config.idle[oldest]
        self.connections.discard(oldest)
        oldest._abort()
        return True

    def _abort(self) -> None:
        """Close at once; the running request learns of it before the transport reports it."""
        if self._running is not None:
            self._running.disconnected = True
        # Discard unsent data, which the kernel would otherwise keep for as long as nobody reads it.
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        self.transport.abort()

    def _refuse(self, error: ServiceError) -> None:
        """Respond without the application, and close."""
        if self.cycle is None or not self.cycle.response_started or self.cycle.response_complete:
            self.transport.write(_response_bytes(problem_response(error)))
        self.transport.close()


def _response_bytes(response: Response) -> bytes:
    status = HTTPStatus(response.status_code)
    head = [f"HTTP/1.1 {status.value} {status.phrase}".encode()]
    head += [b"%b: %b" % header for header in response.raw_headers]
    return b"\r\n".join([*head, b"connection: close", b"", bytes(response.body)])


def _max_open_files() -> int:
    """Raise the limit on open files as far as the system allows, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 2**20
