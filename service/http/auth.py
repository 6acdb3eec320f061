"""Who may use the service: whoever has the key."""

from __future__ import annotations

import hmac

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.http.errors import ServiceError, problem_response

OPEN_PATHS = frozenset({"/health/live", "/health/ready", "/docs", "/openapi.json"})


class KeyMiddleware:
    """Refuses (401) every request without `Authorization: Bearer KEY`, but for `OPEN_PATHS`."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self.app = app
        self._key = key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS or self._knows(Headers(scope=scope)):
            await self.app(scope, receive, send)
        else:
            await problem_response(_refusal())(scope, receive, send)

    def _knows(self, headers: Headers) -> bool:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        # Compared in constant time: how long the answer takes must not tell how much of a key was right.
        return scheme.lower() == "bearer" and hmac.compare_digest(key.strip().encode("latin-1"), self._key)


def _refusal() -> ServiceError:
    return ServiceError(
        "unauthorized",
        "send the header Authorization: Bearer KEY, with the key that the service was started with",
        headers={"WWW-Authenticate": "Bearer"},
    )
