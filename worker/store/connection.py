"""Connections to Redis, and what its errors mean here."""

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
ANSWER_SECONDS = 2.0

# Redis is there and cannot serve: still loading, a replica, its disk is full, another password, …
_CANNOT_SERVE = re.compile(
    r"\b(LOADING|READONLY|MISCONF|MASTERDOWN|NOREPLICAS|NOAUTH|WRONGPASS|NOPERM|CLUSTERDOWN|BUSY)\b"
)


def connect(url: str, *, retries: int) -> redis.Redis:
    """A client with its own pool of connections; nothing is opened before the first command.

    retries: how often a command is sent again at once when its connection breaks. Only for callers whose commands
    may safely run twice.
    """
    return redis.Redis.from_url(
        url,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), retries, supported_errors=(RedisConnectionError,)),
        protocol=2,
        **_keepalive(url),
    )


def connect_async(url: str) -> redis.asyncio.Redis:
    """The same for asyncio, without a time limit on answers: it listens."""
    return redis.asyncio.Redis.from_url(
        url,
        socket_connect_timeout=CONNECT_SECONDS,
        health_check_interval=10,
        retry=AsyncRetry(NoBackoff(), 0),
        protocol=2,
        **_keepalive(url),
    )


def _keepalive(url: str) -> dict[str, Any]:
    return {} if url.startswith("unix:") else {"socket_keepalive": True}


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn what redis-py raises into `StoreUnavailable` and `StoreFull`; a mistake of ours stays what it is."""
    try:
        yield
    except ResponseError as error:
        raise _meaning(error) from error
    except (RedisError, OSError) as error:
        raise StoreUnavailable(f"Redis does not answer ({type(error).__name__})") from error


def _meaning(error: ResponseError) -> Exception:
    text = str(error)
    if re.search(r"\bOOM\b", text):
        return StoreFull()
    found: Any = _CANNOT_SERVE.search(text)
    return StoreUnavailable(f"Redis cannot serve at the moment ({found[1]})") if found else error
