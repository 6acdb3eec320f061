"""The sweep's side of the store: live workers, lapsed leases, lost messages, expired results."""

from __future__ import annotations

from dataclasses import dataclass

import redis

from worker.errors import WorkerError
from worker.memory import tree_bytes
from worker.settings import WorkerSettings
from worker.states import Queue
from worker.store.connection import store_errors
from worker.store.fits import microseconds
from worker.store.scripts import Scripts

# Maximum number of fits in one script: Redis serves no other client meanwhile.
_BATCH = 100


@dataclass(frozen=True)
class LapsedLeases:
    """The ids of fits whose leases lapsed: those that wait again, with their queues, and those that ended."""

    again: list[tuple[str, Queue]]
    failed: list[str]
    cancelled: list[str]


class UpkeepStore:
    """Upkeep of the store, safe for any number of sweeps at once. Methods may raise `StoreUnavailable`."""

    def __init__(self, client: redis.Redis, settings: WorkerSettings) -> None:
        self._client = client
        self._scripts = Scripts(client)
        self._settings = settings
        self._kept = microseconds(settings.results_kept_seconds)

    def heartbeat(self, worker: str, *, gpu: bool) -> bool:
        """Record that a worker process is live. Returns whether it is its turn to sweep."""
        life = microseconds(self._settings.heartbeat_seconds)
        turn = round(self._settings.sweep_seconds * 900)
        return bool(self._scripts.run("heartbeat", worker, int(gpu), life, turn, tree_bytes()))

    def farewell(self, worker: str) -> None:
        """Remove a worker process from the live ones."""
        self._scripts.run("farewell", worker)

    def workers(self) -> int:
        """Return the number of live worker processes."""
        return int(self._scripts.run("workers", microseconds(self._settings.heartbeat_seconds)))

    def seconds_up(self) -> float:
        """Return how long Redis has been running; workers may not have renewed their leases since it started."""
        with store_errors():
            return float(self._client.info("server")["uptime_in_seconds"])

    def responds(self) -> bool:
        """Return whether Redis responds."""
        try:
            with store_errors():
                return bool(self._client.ping())
        except WorkerError:
            return False

    def messages(self, broker_list: str) -> int:
        """Return the number of messages in one of the broker's lists."""
        with store_errors():
            return int(self._client.llen(broker_list))

    def sweep_leases(self, died_too_often: str) -> LapsedLeases:
        """Handle lapsed leases. died_too_often: the error (JSON) of fits that are given up."""
        arguments = (self._settings.max_deaths, self._kept, died_too_often, _BATCH)
        again, failed, cancelled = self._scripts.run("sweep_leases", *arguments)
        return LapsedLeases(
            [(fit_id.decode(), queue.decode()) for fit_id, queue in again], _texts(failed), _texts(cancelled)
        )

    def sweep_cancellations(self) -> list[str]:
        """Cancel fits that were asked to stop but whose worker is gone or unreachable. Returns their ids."""
        patience = microseconds(self._settings.cancel_grace_seconds + 1)
        return _texts(self._scripts.run("sweep_cancellations", patience, self._kept, _BATCH))

    def sweep_gpu(self, no_gpu: str) -> list[str]:
        """Fail fits that have waited too long for a GPU worker. no_gpu: their error (JSON). Returns their ids."""
        wait = microseconds(self._settings.gpu_wait_seconds)
        return _texts(self._scripts.run("sweep_gpu", wait, self._kept, no_gpu, _BATCH))

    def sweep_expired(self) -> int:
        """Delete expired fits. Returns their number."""
        return int(self._scripts.run("sweep_expired", _BATCH))

    def missing_messages(self, queue: Queue, broker_list: str) -> int:
        """Return the number of wake-ups to send so that each waiting fit has one. The caller must send them."""
        patience = microseconds(self._settings.sweep_seconds)
        return int(self._scripts.run("missing_messages", queue, broker_list, patience, _BATCH))


def _texts(values: list[bytes]) -> list[str]:
    return [value.decode() for value in values]
