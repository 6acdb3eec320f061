"""What keeps the store going when workers die: lapsed leases, lost messages, expired results; who is alive."""

from __future__ import annotations

from dataclasses import dataclass

import redis

from worker.errors import WorkerError
from worker.settings import WorkerSettings
from worker.states import Queue
from worker.store.connection import store_errors
from worker.store.fits import microseconds
from worker.store.scripts import Scripts

# So many fits are dealt with in one script at most: Redis serves nobody else meanwhile.
_BATCH = 100


@dataclass(frozen=True)
class Lapsed:
    """What became of the fits whose workers are gone: ids, those that wait again with their queues."""

    again: list[tuple[str, Queue]]
    failed: list[str]
    cancelled: list[str]


class UpkeepStore:
    """The sweep's side of the store. Any number of sweeps may run at once. Methods raise `StoreUnavailable`."""

    def __init__(self, client: redis.Redis, settings: WorkerSettings) -> None:
        self._client = client
        self._scripts = Scripts(client)
        self._settings = settings
        self._kept = microseconds(settings.results_kept_seconds)

    def heartbeat(self, worker: str, *, gpu: bool) -> bool:
        """Say that this worker process is alive. Returns whether it is its turn to sweep."""
        life = microseconds(self._settings.heartbeat_seconds)
        turn = round(self._settings.sweep_seconds * 900)
        return bool(self._scripts.run("heartbeat", worker, int(gpu), life, turn))

    def farewell(self, worker: str) -> None:
        """Say that this worker process ends."""
        self._scripts.run("farewell", worker)

    def workers(self) -> int:
        """How many worker processes are alive."""
        return int(self._scripts.run("workers", microseconds(self._settings.heartbeat_seconds)))

    def seconds_up(self) -> float:
        """Since when Redis runs; what happened before it started says nothing about those it has not heard since."""
        with store_errors():
            return float(self._client.info("server")["uptime_in_seconds"])

    def answers(self) -> bool:
        """Whether Redis answers."""
        try:
            with store_errors():
                return bool(self._client.ping())
        except WorkerError:
            return False

    def messages(self, broker_list: str) -> int:
        """How many messages wait in one of the broker's lists."""
        with store_errors():
            return int(self._client.llen(broker_list))

    def sweep_leases(self, died_too_often: str) -> Lapsed:
        """Deal with leases that lapsed; `died_too_often` is the error (JSON) of those given up."""
        arguments = (self._settings.max_deaths, self._kept, died_too_often, _BATCH)
        again, failed, cancelled = self._scripts.run("sweep_leases", *arguments)
        return Lapsed([(fit_id.decode(), queue.decode()) for fit_id, queue in again], _texts(failed), _texts(cancelled))

    def sweep_cancellations(self) -> list[str]:
        """Cancel what was asked to stop and has not, because its worker is gone or away. Returns the ids."""
        patience = microseconds(self._settings.cancel_grace_seconds + 1)
        return _texts(self._scripts.run("sweep_cancellations", patience, self._kept, _BATCH))

    def sweep_gpu(self, no_gpu: str) -> list[str]:
        """Fail what waits for a GPU worker if none was seen for long; `no_gpu` is the error (JSON). Returns the ids."""
        wait = microseconds(self._settings.gpu_wait_seconds)
        return _texts(self._scripts.run("sweep_gpu", wait, self._kept, no_gpu, _BATCH))

    def sweep_expired(self) -> int:
        """Remove expired fits. Returns how many."""
        return int(self._scripts.run("sweep_expired", _BATCH))

    def missing_messages(self, queue: Queue, broker_list: str) -> int:
        """How many wake-ups to send so that each waiting fit of the queue has one; whoever asks must send them."""
        patience = microseconds(self._settings.sweep_seconds)
        return int(self._scripts.run("missing_messages", queue, broker_list, patience, _BATCH))


def _texts(values: list[bytes]) -> list[str]:
    return [value.decode() for value in values]
