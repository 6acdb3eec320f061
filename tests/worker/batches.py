"""Batches in a store, for tests."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Any

from tests.worker.conftest import Store
from worker.store.batches import AcceptedBatch, BatchStore, Rows

DECAY: dict[str, Any] = {"states": ["x"], "parameters": ["k"], "equations": {"x": "-k*x"}}
REQUEST: dict[str, Any] = {
    "system": DECAY,
    "parameters": {"k": 1.0},
    "initial_state": {"x": {"guess": 2, "fixed": True}},
}


def well(name: str, k: float = 0.5) -> dict[str, Any]:
    return {"name": name, "times": [0.0, 1.0, 2.0], "values": {"x": [2.0, 2 * (1 - k / 2), 2 * (1 - k / 2) ** 2]}}


def batch_store(store: Store) -> BatchStore:
    return BatchStore(store.redis, store.settings)


def accept(
    batches: BatchStore,
    chunks: Sequence[Sequence[Any]],
    *,
    key: str = "",
    digest: str = "",
    owner: str = "",
    request: dict[str, Any] = REQUEST,
    lane: str = "long",
    message_list: str = "cpu",
) -> AcceptedBatch:
    """Accept a batch with these chunks of series. message_list: where its messages go, which no worker can read."""
    batch_id, first = str(uuid.uuid4()), 0
    for number, series in enumerate(chunks):
        batches.add_chunk(batch_id, number, first, [json.dumps(entry).encode() for entry in series])
        first += len(series)
    return batches.accept(
        batch_id,
        json.dumps({"request": request, "versions": {}}).encode(),
        system="custom",
        labels=b"{}",
        queue="cpu",
        lane=lane,
        series=first,
        chunks=len(chunks),
        idempotency=key,
        digest=digest,
        owner=owner,
        messages=(message_list, [b"message"] * min(len(chunks), 64)),
    )


def rows_of(batches: BatchStore, batch_id: str, start: int = 0, limit: int | None = None) -> Rows:
    """All rows that are ready."""
    return [row for chunk in batches.rows(batches.ready_rows(batch_id, start, limit)) for row in chunk]
