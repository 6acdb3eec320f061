"""The process that delivers webhooks.

    python -m worker.webhooks.process PARENT

A worker starts it when some are due. A delivery is taken under a lease, so that one that a killed process had taken is
made again by the next.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor

import structlog

from worker.errors import WorkerError
from worker.log import configure_logging, where
from worker.parent_death import end_with_parent
from worker.settings import WorkerSettings
from worker.store.webhooks import Delivery, WebhookStore
from worker.webhooks.delivery import DeliveryFailed, deliver, headers_of, message_of

_THREADS = 16
_IDLE_SECONDS = 30.0
_POLL_SECONDS = 0.5

log = structlog.get_logger(__name__)


class Deliverer:
    """Delivers all webhooks that are due."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._store = WebhookStore(settings)
        self._threads = ThreadPoolExecutor(_THREADS, "webhook")

    def run(self) -> None:
        """Deliver until none has been due for some time."""
        last, running = time.monotonic(), set[Future[None]]()
        while time.monotonic() - last < _IDLE_SECONDS:
            running = {delivery for delivery in running if not delivery.done()}
            found = self._next() if len(running) < _THREADS else None
            if found is not None:
                running.add(self._threads.submit(self._deliver, found))
            else:
                time.sleep(_POLL_SECONDS)
            if running:
                last = time.monotonic()

    def _next(self) -> Delivery | None:
        try:
            return self._store.next()
        except WorkerError as error:
            log.warning("webhooks_without_store", reason=str(error))
            return None

    def _deliver(self, delivery: Delivery) -> None:
        try:
            self._try(delivery)
        except WorkerError:  # the lease lapses, and it is delivered again: at least once
            log.warning("webhook_not_noted", fit=delivery.fit_id)
        except Exception as error:  # noqa: BLE001  another webhook may well succeed
            log.error("unforeseen", fit=delivery.fit_id, kind=type(error).__name__, at=where(error))

    def _try(self, delivery: Delivery) -> None:
        body = message_of(delivery.fit_id, delivery.status)
        headers = headers_of(delivery.fit_id, int(time.time()), body, delivery.secret)
        try:
            deliver(delivery.url, body, headers, allow_private=self._settings.webhook_private_addresses)
        except DeliveryFailed as error:
            again = self._store.failed(delivery)
            log.warning("webhook_failed", fit=delivery.fit_id, reason=str(error), attempt=delivery.attempt, again=again)
        else:
            self._store.delivered(delivery)
            log.info("webhook_delivered", fit=delivery.fit_id, attempt=delivery.attempt)


def main() -> None:
    """Deliver, as a child of the worker whose process id is the first argument."""
    end_with_parent(int(sys.argv[1]))
    settings = WorkerSettings()
    configure_logging(settings.redis_url)
    Deliverer(settings).run()


if __name__ == "__main__":
    main()
