"""An id for each request, in its response and in all log lines about it."""

from __future__ import annotations

import re
import time
import uuid
from collections import Counter

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "X-Request-Id"
_VALID = re.compile(r"[A-Za-z0-9._:-]{1,100}")

log = structlog.get_logger("service.http.access")


class RequestIdMiddleware:
    """Takes the id of a caller's `X-Request-Id` if it is valid, or else makes one, and logs the request.

    counts: how many responses had each status, for the metrics.
    """

    def __init__(self, app: ASGIApp, counts: Counter[int]) -> None:
        self.app = app
        self._counts = counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its id."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        request_id = given if _VALID.fullmatch(given) else uuid.uuid4().hex
        scope["state"]["request_id"] = request_id
        structlog.contextvars.bind_contextvars(request=request_id)
        began = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(raw=message["headers"])[HEADER] = request_id
                self._counts[message["status"]] += 1
                seconds = round(time.perf_counter() - began, 6)
                log.info(
                    "request", method=scope["method"], path=scope["path"], status=message["status"], seconds=seconds
                )
            await send(message)

        await self.app(scope, receive, send_with_id)
