"""Authentication: who calls, and what a key permits.

`ODEFIT_API_KEY` is a key that permits everything. Further keys are made with `odefit keys`; each has scopes, and sees
only the fits that were submitted with it. As soon as any key exists, every request needs one.
"""

from __future__ import annotations

import hmac
import re
import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.http.callers import Caller
from service.http.errors import ServiceError, problem_response, queue_error
from service.http.state import State
from worker.errors import BatchNotFound, FitNotFound, WorkerError
from worker.store.api_keys import ApiKey, digest_of

OPEN_PATHS = frozenset({"/", "/health/live", "/health/ready", "/docs", "/openapi.json"})
PAGE_FILES = "/assets/"
_OF_ONE = re.compile(r"/(fits|batches)/([^/]+)")
_KNOWN_SECONDS = 2.0  # a new or revoked key takes effect after this time at the latest
_MAX_KNOWN = 10_000


class KeyMiddleware:
    """Refuses requests without a key (401) if one is needed, and those that their key does not permit (403, 404).

    master: the key that permits everything, if there is one.
    """

    def __init__(self, app: ASGIApp, master: str | None, *, is_required: bool) -> None:
        self.app = app
        self._master = None if master is None else master.encode()
        self._is_required = is_required or master is not None
        self._known: dict[str, tuple[ApiKey | None, float]] = {}  # by digest, with the time until which it is known
        self._are_any, self._are_any_until = False, 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "http" and not _is_open(scope["path"]):
            state: State = scope["app"].state.service
            try:
                scope["state"]["caller"] = await self._permitted(state, scope)
            except WorkerError as error:
                await queue_error(error)(scope, receive, send)
                return
            except ServiceError as error:
                await problem_response(error)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    async def _permitted(self, state: State, scope: Scope) -> Caller:
        """Return the caller. Raises `ServiceError` or `FitNotFound` if it may not do this."""
        caller = await self._caller(state, Headers(scope=scope))
        needed = "read" if scope["method"] in ("GET", "HEAD", "OPTIONS") else "submit"
        if needed not in caller.scopes:
            raise ServiceError("forbidden", f"this key has not the scope {needed!r}")
        if caller.owner and (found := _OF_ONE.match(scope["path"])):
            await _check_owner(state, found[1], found[2], caller.owner)
        return caller

    async def _caller(self, state: State, headers: Headers) -> Caller:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        given = given.strip() if scheme.lower() == "bearer" else ""
        # Compared in constant time: the response time must not reveal how much of a key was right.
        if self._master is not None and hmac.compare_digest(given.encode("latin-1"), self._master):
            return Caller()
        if given and (key := await self._find(state, digest_of(given))):
            return Caller.of(key)
        if self._is_required or await self._exist(state):
            raise _unauthorized()
        return Caller()

    async def _find(self, state: State, digest: str) -> ApiKey | None:
        now = time.monotonic()
        known, until = self._known.get(digest, (None, 0.0))
        if now >= until:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            known = await state.in_thread(state.keys.find, digest)
            self._known[digest] = (known, now + _KNOWN_SECONDS)
        return known

    async def _exist(self, state: State) -> bool:
        if time.monotonic() >= self._are_any_until:
            self._are_any = await state.in_thread(state.keys.are_any)
            self._are_any_until = time.monotonic() + _KNOWN_SECONDS
        return self._are_any


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(PAGE_FILES)


async def _check_owner(state: State, kind: str, its_id: str, owner: str) -> None:
    """Raise `FitNotFound` or `BatchNotFound` for a fit or batch of another key."""
    if kind == "batches":
        if (await state.in_thread(state.batches.get, its_id)).owner != owner:
            raise BatchNotFound(its_id)
    elif (await state.in_thread(state.queue.get, its_id, result=False)).owner != owner:
        raise FitNotFound(its_id)


def _unauthorized() -> ServiceError:
    return ServiceError(
        "unauthorized",
        "send the header `Authorization: Bearer KEY` with an API key of this service",
        headers={"WWW-Authenticate": "Bearer"},
    )
