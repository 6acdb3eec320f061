"""Requests of web pages from other origins (CORS), if a setting allows their origins."""

from __future__ import annotations

from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_METHODS = "GET, HEAD, POST, DELETE"
_REQUEST_HEADERS = "Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, Prefer, X-Request-Id"
_RESPONSE_HEADERS = "ETag, Idempotency-Replayed, Location, Next-Cursor, Preference-Applied, Retry-After, X-Request-Id"
_PREFLIGHT_SECONDS = "600"


class CrossOriginMiddleware:
    """Permits pages from `origins` to read responses; `*` permits all. Answers their preflight requests."""

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        self.app = app
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight request, or pass the request on and permit its origin to read the response."""
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        origin = headers.get("origin")
        if origin is None or not {origin, "*"} & self._origins:
            await self.app(scope, receive, send)
        elif scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await self._preflight(origin)(scope, receive, send)
        else:
            await self.app(scope, receive, _permitting(send, self._allowed(origin)))

    def _allowed(self, origin: str) -> str:
        return "*" if "*" in self._origins else origin

    def _preflight(self, origin: str) -> Response:
        headers = {
            "Access-Control-Allow-Origin": self._allowed(origin),
            "Access-Control-Allow-Methods": _METHODS,
            "Access-Control-Allow-Headers": _REQUEST_HEADERS,
            "Access-Control-Max-Age": _PREFLIGHT_SECONDS,
            "Vary": "Origin",
        }
        return Response(status_code=204, headers=headers)


def _permitting(send: Send, origin: str) -> Send:
    async def permit(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message["headers"])
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = _RESPONSE_HEADERS
            headers.add_vary_header("Origin")
        await send(message)

    return permit
