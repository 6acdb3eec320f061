"""The whole stack, as processes: Redis, a worker with one child, and the API."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests.processes import ApiProcess, WorkerProcess, forget_settings, redis_server
from worker.embedded_redis import EmbeddedRedis


@dataclass
class Stack:
    """The parts, and a client of the API."""

    redis: EmbeddedRedis
    worker: WorkerProcess
    api: ApiProcess
    client: httpx.Client

    @property
    def url(self) -> str:
        return self.api.url


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Shared by the tests of one process: a test leaves nothing running in it."""
    forget_settings()
    with (
        redis_server() as redis,
        WorkerProcess(redis.url) as worker,
        ApiProcess(redis.url) as api,
        httpx.Client(base_url=api.url, timeout=90) as client,
    ):
        yield Stack(redis, worker, api, client)
