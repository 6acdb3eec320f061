"""The queue of batches, which the service calls."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from worker.queue import accepted_problem, hash_of_key
from worker.settings import WorkerSettings
from worker.states import Queue
from worker.store.batches import (
    AcceptedBatch,
    BatchCancellation,
    BatchPage,
    BatchRecord,
    BatchStore,
    ReadyRows,
    Rows,
)
from worker.store.connection import connect

if TYPE_CHECKING:
    from worker.celery_app import Messenger

_WOKEN_CHUNKS = 64  # as many as batch_prelude.lua lets wait at once


class BatchQueue:
    """The queue of batches, safe for threads. Every method may raise `StoreUnavailable`.

    messenger: returns what builds the messages that wake a worker.
    """

    def __init__(self, settings: WorkerSettings, messenger: Callable[[], Messenger]) -> None:
        self._store = BatchStore(connect(settings.redis_url, retries=1), settings)
        self._messenger = messenger
        self._long = settings.long_seconds

    def begin(self) -> str:
        """Return the id of a batch that begins to arrive."""
        return str(uuid.uuid4())

    def add_chunk(self, batch_id: str, chunk: int, first: int, lines: Sequence[bytes]) -> None:
        """Keep the series of a chunk of a batch that is arriving. first: the place of the first one in the batch.

        lines: a series each, JSON text, or `refusal`. Raises `StoreFull`.
        """
        self._store.add_chunk(batch_id, chunk, first, lines)

    def discard(self, batch_id: str) -> None:
        """Forget what has arrived of a batch that is not accepted."""
        self._store.discard(batch_id)

    def accept(
        self,
        batch_id: str,
        request: dict[str, Any],
        *,
        system: str,
        labels: dict[str, str],
        queue: Queue,
        series: int,
        chunks: int,
        seconds: float,
        idempotency_key: str | None,
        body_digest: str,
        owner: str,
    ) -> AcceptedBatch:
        """Accept a batch whose chunks have arrived; once accepted, it is never lost.

        request: without data, as JSON. series, chunks: how many. seconds: how long all will probably take. Idempotency
        as for a fit. Raises `BatchesFull`, `IdempotencyConflict`, `StoreFull`.
        """
        waiting, messenger = min(chunks, _WOKEN_CHUNKS), self._messenger()
        return self._store.accept(
            batch_id,
            accepted_problem(request),
            system=system,
            labels=to_json(labels),
            queue=queue,
            lane="small" if seconds <= self._long else "long",
            series=series,
            chunks=chunks,
            idempotency=hash_of_key("batch", owner, idempotency_key) if idempotency_key else "",
            digest=body_digest,
            owner=owner,
            messages=(messenger.broker_list(queue), [messenger.message(queue, batch_id) for _ in range(waiting)]),
        )

    def get(self, batch_id: str) -> BatchRecord:
        """Return a batch in its current state. Raises `BatchNotFound`."""
        return self._store.get(batch_id)

    def list(self, owner: str, *, limit: int, cursor: str | None) -> BatchPage:
        """Return a page of at most `limit` batches, newest first. Raises `ValueError` for an invalid cursor."""
        return self._store.list(owner, limit=limit, cursor=cursor)

    def cancel(self, batch_id: str) -> BatchCancellation:
        """Cancel a batch within two seconds; what is done stays. Raises `BatchNotFound`, `BatchEnded`."""
        return self._store.cancel(batch_id)

    def forget(self, batch_id: str) -> None:
        """Delete a batch that has ended. Raises `BatchNotFound`, `BatchNotFinished`."""
        self._store.forget(batch_id)

    def ready_rows(self, batch_id: str, start: int, limit: int | None = None) -> ReadyRows:
        """Return which rows can be read from `start` on without a gap, at most `limit`. Raises `BatchNotFound`."""
        return self._store.ready_rows(batch_id, start, limit)

    def rows(self, ready: ReadyRows) -> Iterator[Rows]:
        """Yield the rows chunk by chunk."""
        return self._store.rows(ready)
