"""Authentication: a request needs the API key, if the service has one."""

from __future__ import annotations

import hmac

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.http.errors import ServiceError, problem_response

OPEN_PATHS = frozenset({"/health/live", "/health/ready", "/docs", "/openapi.json"})


class KeyMiddleware:
    """Refuses (401) every request without `Authorization: Bearer KEY`, except for `OPEN_PATHS`."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self.app = app
        self._key = key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS or self._has_key(Headers(scope=scope)):
            await self.app(scope, receive, send)
        else:
            await problem_response(_unauthorized())(scope, receive, send)

    def _has_key(self, headers: Headers) -> bool:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        # Compared in constant time: the response time must not reveal how much of a key was right.
        return scheme.lower() == "bearer" and hmac.compare_digest(key.strip().encode("latin-1"), self._key)


def _unauthorized() -> ServiceError:
    return ServiceError(
        "unauthorized",
        "send the header `Authorization: Bearer KEY` with the API key of this service",
        headers={"WWW-Authenticate": "Bearer"},
    )
