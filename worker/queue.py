"""What the service calls: the queue of fits, and how to wait for the end of one."""

from __future__ import annotations

import hashlib
import uuid
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pydantic_core import to_json

from worker.celery_app import Messenger, broker_list
from worker.end_listener import EndListener
from worker.errors import (
    FitEnded,
    FitNotFinished,
    FitNotFound,
    IdempotencyConflict,
    QueueFull,
    StoreFull,
    StoreUnavailable,
    WorkerError,
)
from worker.settings import WorkerSettings
from worker.states import Queue
from worker.store.connection import connect
from worker.store.fits import FitStore
from worker.store.records import Cancellation, FitRecord, Page, Submission
from worker.store.upkeep import UpkeepStore

__all__ = [
    "Cancellation",
    "EndListener",
    "FitEnded",
    "FitNotFinished",
    "FitNotFound",
    "FitQueue",
    "FitRecord",
    "IdempotencyConflict",
    "Page",
    "QueueFull",
    "StoreFull",
    "StoreUnavailable",
    "Submission",
    "WorkerError",
]

# What decides the numbers of a fit, and is recorded with it.
_VERSIONED = ("odefit", "torch", "torchdiffeq", "numpy", "scipy")


class FitQueue:
    """The queue of fits, for any number of threads. Every method raises `StoreUnavailable` when Redis is away."""

    def __init__(self, settings: WorkerSettings) -> None:
        client = connect(settings.redis_url, retries=1)
        self._fits = FitStore(client, settings)
        self._upkeep = UpkeepStore(client, settings)
        self._messenger = Messenger(settings)
        self._versions = to_json(_versions())

    def submit(
        self,
        request: dict[str, Any],
        *,
        system: str,
        labels: dict[str, str],
        queue: Queue,
        idempotency_key: str | None = None,
        body_digest: str | None = None,
    ) -> Submission:
        """Accept a fit; from here on it is not lost.

        request: a valid fit request as JSON. A repeat of `idempotency_key` with the same `body_digest` returns
        the first fit as it is now.
        Raises `QueueFull`, `StoreFull`, and `IdempotencyConflict` for the same key with another digest.
        """
        fit_id = str(uuid.uuid4())
        return self._fits.submit(
            fit_id,
            b'{"request":%b,"versions":%b}' % (to_json(request), self._versions),
            system=system,
            labels=to_json(labels),
            queue=queue,
            idempotency=hashlib.sha256(idempotency_key.encode()).hexdigest() if idempotency_key else "",
            digest=body_digest or "",
            message=(broker_list(queue), self._messenger.message(queue, fit_id)),
        )

    def get(self, fit_id: str, *, result: bool = True) -> FitRecord:
        """The fit as it is now, without its result if `result` is False. Raises `FitNotFound`."""
        return self._fits.get(fit_id, result=result)

    def list(self, *, status: str | None, system: str | None, limit: int, cursor: str | None) -> Page:
        """A page of at most `limit` fits, newest first, without results. Raises `ValueError` for a bad cursor."""
        return self._fits.list(status=status, system=system, limit=limit, cursor=cursor)

    def cancel(self, fit_id: str) -> Cancellation:
        """Cancel a fit: at once while it waits, within two seconds while it runs.

        Raises `FitNotFound`, and `FitEnded` if it ended otherwise.
        """
        return self._fits.cancel(fit_id)

    def forget(self, fit_id: str) -> None:
        """Remove a fit that has ended. Raises `FitNotFound`, `FitNotFinished`."""
        self._fits.forget(fit_id)

    def problem(self, fit_id: str) -> bytes:
        """JSON text: `request` as it was submitted, and the `versions` of the software then. Raises `FitNotFound`."""
        return self._fits.problem(fit_id)

    def workers(self) -> int:
        """How many worker processes are live and ready to work."""
        return self._upkeep.workers()


def _versions() -> dict[str, str]:
    found = {}
    for name in _VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # the service may be installed without the numerics
            continue
    return found
