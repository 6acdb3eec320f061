"""The sweep: periodic upkeep of the store in the event loop of every worker process, without threads or numerics.

Any number of workers may sweep at once; they take turns only to spare Redis.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

import structlog

from worker.attempt_endings import died_too_often, no_gpu
from worker.errors import WorkerError
from worker.settings import WorkerSettings
from worker.shared_flags import SharedFlags
from worker.states import QUEUES, Queue
from worker.store.upkeep import UpkeepStore

log = structlog.get_logger(__name__)


class Sweep:
    """Handles lapsed leases, lost messages, fits without a GPU worker, and expired results.

    name: of this worker process. queues: that it serves. wake: sends a wake-up for a fit of a queue; raises
    `StoreUnavailable`. broker_list: returns the Redis list that holds the messages of a queue.
    """

    def __init__(
        self,
        store: UpkeepStore,
        settings: WorkerSettings,
        flags: SharedFlags,
        *,
        name: str,
        queues: Collection[str],
        wake: Callable[[Queue, str], None],
        broker_list: Callable[[Queue], str],
    ) -> None:
        self._store = store
        self._settings = settings
        self._flags = flags
        self._name = name
        self._serves_gpu = "gpu" in queues
        self._wake = wake
        self._broker_list = broker_list
        self._due_at = 0.0

    def tick(self) -> None:
        """Send a heartbeat, and sweep if it is this worker's turn. Does nothing before the next one is due.

        Called several times a second. If Redis is away, the next tick tries again.
        """
        if not self._flags.ready or self._flags.stopping or time.monotonic() < self._due_at:
            return
        self._due_at = time.monotonic() + self._settings.sweep_seconds
        try:
            if self._store.heartbeat(self._name, gpu=self._serves_gpu):
                self.sweep()
        except WorkerError as error:
            log.warning("no_sweep", reason=str(error))

    def farewell(self) -> None:
        """Remove this worker from the live workers."""
        try:
            self._store.farewell(self._name)
        except WorkerError as error:
            log.warning("no_farewell", reason=str(error))

    def sweep(self) -> None:
        """Do all the upkeep once. Raises `StoreUnavailable`."""
        for fit_id in self._store.sweep_cancellations():
            log.info("cancelled_without_worker", fit=fit_id)
        self._sweep_leases()
        for fit_id in self._store.sweep_gpu(no_gpu(self._settings.gpu_wait_seconds)):
            log.warning("no_gpu_worker", fit=fit_id)
        for queue in QUEUES:
            self._send_missing(queue)
        if removed := self._store.sweep_expired():
            log.info("expired", fits=removed)

    def _sweep_leases(self) -> None:
        # When Redis has just restarted all leases may have lapsed although no worker died: let them renew first.
        if self._store.seconds_up() < self._settings.lease_seconds:
            return
        lapsed = self._store.sweep_leases(died_too_often(self._settings.max_deaths))
        for fit_id in lapsed.failed:
            log.warning("worker_died_too_often", fit=fit_id)
        for fit_id in lapsed.cancelled:
            log.info("cancelled_without_worker", fit=fit_id)
        for fit_id, queue in lapsed.again:
            log.warning("lease_lapsed", fit=fit_id)
            self._wake(queue, fit_id)

    def _send_missing(self, queue: Queue) -> None:
        missing = self._store.missing_messages(queue, self._broker_list(queue))
        if missing:
            log.warning("messages_missing", queue=queue, number=missing)
        for _ in range(missing):
            self._wake(queue, "")
