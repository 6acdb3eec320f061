"""The queue of fits, which the service calls."""

from __future__ import annotations

import hashlib
import uuid
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from worker.costs import kind_of
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
from worker.fit_listener import FitListener
from worker.settings import WorkerSettings
from worker.states import Queue
from worker.store.connection import connect
from worker.store.fits import FitStore
from worker.store.records import Cancellation, FitFilter, FitRecord, Page, Submission
from worker.store.upkeep import UpkeepStore

if TYPE_CHECKING:
    from worker.celery_app import Messenger

__all__ = [
    "Cancellation",
    "FitEnded",
    "FitFilter",
    "FitListener",
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

# Packages that determine the numbers of a fit; their versions are recorded with it.
_VERSIONED = ("odefit", "torch", "torchdiffeq", "numpy", "scipy")


class FitQueue:
    """The queue of fits, safe for threads. Every method may raise `StoreUnavailable`."""

    def __init__(self, settings: WorkerSettings) -> None:
        client = connect(settings.redis_url, retries=1)
        self._fits = FitStore(client, settings)
        self._upkeep = UpkeepStore(client, settings)
        self._settings = settings

    @cached_property
    def messenger(self) -> Messenger:
        """Builds the messages that wake a worker. Loads Celery, which takes a tenth of a second."""
        from worker.celery_app import Messenger  # noqa: PLC0415

        return Messenger(self._settings)

    def prepare(self) -> None:
        """Load what the first submission would wait for."""
        _ = self.messenger

    def submit(
        self,
        request: dict[str, Any],
        *,
        system: str,
        labels: dict[str, str],
        queue: Queue,
        idempotency_key: str | None = None,
        body_digest: str | None = None,
        webhook: dict[str, Any] | None = None,
        request_id: str = "",
        owner: str = "",
        owner_limit: int | None = None,
        seconds: float = 0.0,
    ) -> Submission:
        """Accept a fit; once accepted, it is never lost.

        request: a valid fit request as JSON. webhook: `url` and perhaps `secret`. request_id: for the logs. A repeated
        `idempotency_key` with the same `body_digest` returns the first fit in its current state.
        seconds: how long it will probably take. owner: the id of a key, and owner_limit: the most queued and running
        fits that it may have.
        Raises `QueueFull`, `KeyLimitReached`, `StoreFull`, and `IdempotencyConflict` for the same idempotency key with
        another digest.
        """
        fit_id = str(uuid.uuid4())
        return self._fits.submit(
            fit_id,
            accepted_problem(request),
            system=system,
            labels=to_json(labels),
            queue=queue,
            idempotency=hash_of_key(owner, idempotency_key) if idempotency_key else "",
            digest=body_digest or "",
            message=(self.messenger.broker_list(queue), self.messenger.message(queue, fit_id)),
            webhook=to_json(webhook) if webhook else b"",
            request_id=request_id,
            owner=owner,
            owner_limit=owner_limit,
            kind=kind_of(request),
            seconds=seconds,
        )

    def get(self, fit_id: str, *, result: bool = True) -> FitRecord:
        """Return a fit in its current state, with its result if `result`. Raises `FitNotFound`."""
        return self._fits.get(fit_id, result=result)

    def list(self, wanted: FitFilter, *, limit: int, cursor: str | None) -> Page:
        """Return a page of at most `limit` fits, newest first, without results.

        Raises `ValueError` for an invalid cursor.
        """
        return self._fits.list(wanted, limit=limit, cursor=cursor)

    def cancel(self, fit_id: str) -> Cancellation:
        """Cancel a fit: at once if it is queued, within two seconds if it is running.

        Raises `FitNotFound`, and `FitEnded` if it has ended otherwise.
        """
        return self._fits.cancel(fit_id)

    def forget(self, fit_id: str) -> None:
        """Delete a fit that has ended. Raises `FitNotFound`, `FitNotFinished`."""
        self._fits.forget(fit_id)

    def problem(self, fit_id: str) -> bytes:
        """Return JSON text: the accepted `request` and the software `versions` at that time. Raises `FitNotFound`."""
        return self._fits.problem(fit_id)

    def file(self, fit_id: str, name: str) -> bytes | None:
        """Return a file that was made of the result before, None if it was not. Raises `FitNotFound`, `NoResult`."""
        return self._fits.file(fit_id, name)

    def workers(self) -> int:
        """Return the number of live worker processes."""
        return self._upkeep.workers()


def accepted_problem(request: dict[str, Any]) -> bytes:
    """Return what is stored of an accepted request, as JSON text: it, and the software versions."""
    return b'{"request":%b,"versions":%b}' % (to_json(request), _versions())


def hash_of_key(*parts: str) -> str:
    """Return the hash by which the store knows an idempotency key. parts: what it is unique within, and the key."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@cache
def _versions() -> bytes:
    """The software versions, as JSON text."""
    found = {}
    for name in _VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # the service can be installed without the numerics
            continue
    return to_json(found)
