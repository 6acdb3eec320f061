"""Who calls the service, and what it may do."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from worker.store.api_keys import SCOPES, ApiKey


@dataclass(frozen=True)
class Caller:
    """Who calls. owner: the id of the key, whose fits alone it sees; "" for one that sees all."""

    owner: str = ""
    scopes: frozenset[str] = frozenset(SCOPES)
    per_minute: int | None = None
    max_fits: int | None = None

    @classmethod
    def of(cls, key: ApiKey) -> Caller:
        """Return the caller that has a key."""
        if "admin" in key.scopes:
            return cls(per_minute=key.per_minute, max_fits=None)
        return cls(key.id, frozenset(key.scopes), key.per_minute, key.max_fits)


def caller_of(request: Request) -> Caller:
    """Return who sent a request that the middleware has passed on."""
    caller: Caller = request.scope["state"]["caller"]
    return caller
