"""Connections to Redis, and the translation of its errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from worker.errors import StoreFull, StoreUnavailable

CONNECT_SECONDS = 1.0
RESPONSE_SECONDS = 2.0

# Redis responds but cannot serve: still loading, a replica, disk full, wrong password, …
_CANNOT_SERVE = re.compile(
    r"\b(LOADING|READONLY|MISCONF|MASTERDOWN|NOREPLICAS|NOAUTH|WRONGPASS|NOPERM|CLUSTERDOWN|BUSY)\b"
)


def connect(url: str, *, retries: int) -> redis.Redis:
    """Return a client with its own pool of connections, which opens the first one with the first command.

    retries: how often a command is sent again at once when its connection breaks; not 0 only if all commands may safely
    run twice.
    """
    return redis.Redis.from_url(
        url,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=RESPONSE_SECONDS,
        retry=Retry(NoBackoff(), retries, supported_errors=(RedisConnectionError,)),
        protocol=2,
        **_keepalive(url),
    )


def connect_async(url: str) -> redis.asyncio.Redis:
    """Return a client for asyncio, without a timeout on responses: it listens."""
    return redis.asyncio.Redis.from_url(
        url,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=None,
        health_check_interval=10,
        retry=AsyncRetry(NoBackoff(), 0),
        protocol=2,
        **_keepalive(url),
    )


def _keepalive(url: str) -> dict[str, Any]:
    return {} if url.startswith("unix:") else {"socket_keepalive": True}


@contextmanager
def store_errors() -> Iterator[None]:
    """Translate errors of redis-py into `StoreUnavailable` and `StoreFull`; other response errors are bugs and pass."""
    try:
        yield
    except ResponseError as error:
        raise _translate(error) from error
    except (RedisError, OSError) as error:
        raise StoreUnavailable(f"Redis does not respond ({type(error).__name__})") from error


def _translate(error: ResponseError) -> Exception:
    text = str(error)
    if re.search(r"\bOOM\b", text):
        return StoreFull()
    found: Any = _CANNOT_SERVE.search(text)
    return StoreUnavailable(f"Redis cannot serve now ({found[1]})") if found else error
