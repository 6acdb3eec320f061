"""A store on a real Redis, and shortcuts that put fits into it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import pytest
import redis

from worker.settings import WorkerSettings
from worker.states import Queue
from worker.store.connection import connect
from worker.store.fits import FitStore
from worker.store.keys import KEYS
from worker.store.leases import Claim, LeaseStore
from worker.store.records import FitRecord, Submission
from worker.store.upkeep import UpkeepStore


@dataclass
class Store:
    """All sides of the store, and Redis below it."""

    settings: WorkerSettings
    redis: redis.Redis
    fits: FitStore
    leases: LeaseStore
    upkeep: UpkeepStore

    def submit(
        self,
        *,
        system: str = "lorenz",
        queue: Queue = "cpu",
        key: str = "",
        digest: str = "",
        fit_id: str | None = None,
        problem: bytes = b'{"request":{"a":1}}',
    ) -> Submission:
        return self.fits.submit(
            fit_id or str(uuid.uuid4()),
            problem,
            system=system,
            labels=b'{"who":"me"}',
            queue=queue,
            idempotency=key,
            digest=digest,
            message=(queue, b"message"),
        )

    def submit_and_claim(self, queue: Queue = "cpu") -> Claim:
        self.submit(queue=queue)
        return self.claim(queue)

    def claim(self, queue: Queue = "cpu") -> Claim:
        claim = self.leases.claim(queue)
        assert claim is not None
        return claim

    def get(self, fit_id: str) -> FitRecord:
        return self.fits.get(fit_id, result=True)

    def lapse(self, fit_id: str) -> None:
        """Let the lease lapse."""
        self.redis.zadd(KEYS["LEASES"], {fit_id: 1})

    def age_cancellation(self, fit_id: str) -> None:
        """Let the cancellation be overdue."""
        self.redis.zadd(KEYS["CANCELLING"], {fit_id: 1})

    def expire(self, fit_id: str) -> None:
        """Let the fit expire."""
        self.redis.zadd(KEYS["EXPIRIES"], {fit_id: 1})
        self.redis.hset(KEYS["FIT"] + fit_id, "expires_at", "1")


def open_store(url: str, **settings: Any) -> Store:
    values = WorkerSettings(redis_url=url, **settings)
    client = connect(url, retries=1)
    return Store(values, client, FitStore(client, values), LeaseStore(client, values), UpkeepStore(client, values))


@pytest.fixture
def store(redis_url: str) -> Store:
    return open_store(redis_url, max_queued_fits=5)
