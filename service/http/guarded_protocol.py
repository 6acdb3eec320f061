"""Connections that cost the service no more than they should: uvicorn's protocol with bounds on what a client may
leave undone.

A client may send the head of a request slowly, or without end; it may never read an answer, or open connections and
do nothing. None of this is a request yet, so the application cannot refuse it.
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
from service.settings import ServiceSettings

MAX_HEAD_BYTES = 64 * 2**10  # of a request's line and headers, and of what stands between the parts of a body
_AT_ONCE = struct.pack("ii", 1, 0)
_OTHER_FILES = 100  # that the process has open beside its connections


class ServerConfig(uvicorn.Config):
    """uvicorn's configuration for `app`, whose connections are guarded."""

    def __init__(self, app: FastAPI, settings: ServiceSettings, **options: Any) -> None:
        super().__init__(
            app,
            http=GuardedProtocol,
            ws="none",
            log_config=None,
            access_log=settings.access_log,
            server_header=False,
            **options,
        )
        self.seconds = settings.receive_seconds
        self.most_connections = min(settings.max_connections, _files() - _OTHER_FILES)
        # Connections of which a whole request has not come yet, since the longest first.
        self.awaited: dict[GuardedProtocol, None] = {}


class GuardedProtocol(HttpToolsProtocol):
    """One connection.

    The head of a request must come within `ServerConfig.seconds`, in `MAX_HEAD_BYTES`; an answer must be read at
    some pace. Where there are too many connections, the one that has been awaited for the longest makes room.
    """

    def __init__(
        self,
        config: ServerConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._guard = config
        self._head_bytes = 0  # that came since the last part of a body, or since the request began
        self._whole = True  # no request has begun that has not come to its end
        self._unread = 0  # bytes of the answer that waited for the client when last looked at
        self._running: RequestResponseCycle | None = None
        self._late: asyncio.TimerHandle | None = None
        self._slow: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, if there is room or can be made."""
        super().connection_made(transport)
        if len(self.connections) > self._guard.most_connections and not self._make_room():
            self._refuse(ServiceError("too_busy", "too many connections are open", headers={"Retry-After": "5"}))
            return
        self._guard.awaited[self] = None
        self._late = self.loop.call_later(self._guard.seconds, self._on_late_head)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        super().connection_lost(exc)
        self._guard.awaited.pop(self, None)
        self._no_longer_late()
        self._no_longer_slow()

    def data_received(self, data: bytes) -> None:
        """Bytes of a request, or of several."""
        if self.transport.is_closing():
            return
        if self._late is None and self._whole and (self.cycle is None or self.cycle.response_complete):
            self._late = self.loop.call_later(self._guard.seconds, self._on_late_head)
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(
                ServiceError("headers_too_large", f"more than {MAX_HEAD_BYTES} bytes of headers; send fewer or shorter")
            )

    def on_headers_complete(self) -> None:
        """The head is there; its body has time by another rule."""
        self._head_bytes = 0
        self._whole = False
        self._no_longer_late()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Part of a body."""
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is there, and from now on waits for the service, unless it has been answered already."""
        self._head_bytes = 0
        self._whole = True
        self._no_longer_late()
        if self.cycle.response_complete:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        else:
            self._guard.awaited.pop(self, None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is on its way; the rest of a body that was not wanted has some time to come to its end."""
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if not self._whole:
            self._late = self.loop.call_later(self._guard.seconds, self.transport.close)
        elif self.cycle.response_complete:  # and no other request has come behind it
            self._guard.awaited[self] = None

    def pause_writing(self) -> None:
        """The client does not take the answer as fast as it comes."""
        super().pause_writing()
        self._look_at_reader()

    def resume_writing(self) -> None:
        """It has taken most of it."""
        super().resume_writing()
        self._no_longer_slow()

    def send_400_response(self, msg: str) -> None:
        """What came is not HTTP."""
        self._refuse(ServiceError("bad_request", "what came is not an HTTP request that can be understood"))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle  # not the last one that came, where several were sent without waiting for an answer
        super()._start_asgi_task(cycle, app)

    def _no_longer_late(self) -> None:
        if self._late is not None:
            self._late.cancel()
        self._late = None

    def _no_longer_slow(self) -> None:
        if self._slow is not None:
            self._slow.cancel()
        self._slow = None

    def _on_late_head(self) -> None:
        self._late = None
        if self._head_bytes:
            self._refuse(ServiceError("request_timeout", f"no whole request came within {self._guard.seconds:g} s"))
        else:
            self.transport.close()

    def _look_at_reader(self) -> None:
        self._unread = self.transport.get_write_buffer_size()
        self._slow = self.loop.call_later(self._guard.seconds, self._on_slow_reader)

    def _on_slow_reader(self) -> None:
        if self.transport.get_write_buffer_size() < self._unread:
            self._look_at_reader()
        else:
            self._abort()

    def _make_room(self) -> bool:
        oldest = next(iter(self._guard.awaited), None)
        if oldest is None:
            return False
        del self._guard.awaited[oldest]
        self.connections.discard(oldest)
        oldest._abort()
        return True

    def _abort(self) -> None:
        """Close at once; who is at work on an answer learns of it before the transport says so."""
        if self._running is not None:
            self._running.disconnected = True
        # With what is still to be sent thrown away: otherwise the kernel would keep it for as long as nobody reads it.
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self.transport.abort()

    def _refuse(self, error: ServiceError) -> None:
        """Answer without the application, and close."""
        if self.cycle is None or not self.cycle.response_started or self.cycle.response_complete:
            self.transport.write(_raw(problem_response(error)))
        self.transport.close()


def _raw(response: Response) -> bytes:
    status = HTTPStatus(response.status_code)
    head = [f"HTTP/1.1 {status.value} {status.phrase}".encode()]
    head += [b"%b: %b" % header for header in response.raw_headers]
    return b"\r\n".join([*head, b"connection: close", b"", bytes(response.body)])


def _files() -> int:
    """How many files the process may have open; raised as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 2**20
