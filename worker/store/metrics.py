"""Numbers about the queue and the store, for monitoring."""

from __future__ import annotations

from dataclasses import dataclass

from worker.settings import WorkerSettings
from worker.store.connection import connect, store_errors
from worker.store.fits import microseconds
from worker.store.scripts import Scripts

# Upper ends of the buckets of durations, in seconds; prelude.lua has the same.
BUCKETS = (0.1, 1.0, 10.0, 60.0, 600.0, 3600.0)


@dataclass(frozen=True)
class Numbers:
    """The numbers by name, as metrics.lua returns them.

    now: of the moment. counters: since Redis was first started. redis: from INFO.
    """

    now: dict[str, float]
    counters: dict[str, float]
    redis: dict[str, float]


class MetricsStore:
    """Reads the numbers. May raise `StoreUnavailable`."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._client = connect(settings.redis_url, retries=1)
        self._scripts = Scripts(self._client)
        self._life = microseconds(settings.heartbeat_seconds)

    def read(self) -> Numbers:
        """Return all numbers."""
        now, counters = self._scripts.run("metrics", self._life)
        with store_errors():
            info = self._client.info()
        wanted = ("used_memory", "maxmemory", "connected_clients", "uptime_in_seconds", "total_commands_processed")
        return Numbers(_pairs(now), _pairs(counters), {name: float(info.get(name, 0)) for name in wanted})


def _pairs(flat: list[bytes]) -> dict[str, float]:
    return {name.decode(): float(value) for name, value in zip(flat[::2], flat[1::2], strict=True)}
