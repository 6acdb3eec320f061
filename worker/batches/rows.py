"""The rows of a chunk of a batch: one for each series, with its answer or its error, as the store has them."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

from odelib.result import BatchRow
from worker.store.batches import named

Row = dict[str, Any]


def to_row(row: BatchRow, place: int) -> Row:
    """Return a row as JSON, whose pointers begin at the batch. place: of the series in the batch."""
    fields = row.model_dump(mode="json", exclude_none=True)
    for mistake in fields.get("error", {}).get("errors", ()):
        if not mistake["pointer"].startswith("/request"):
            mistake["pointer"] = f"/series/{place}{mistake['pointer']}"
    return fields


def failed_row(series: Any, problem: str) -> Row:
    """Return the row of a series that failed. problem: JSON text of `worker.attempt_endings`."""
    return {**named(series), "status": "failed", "error": json.loads(problem)}


def counts_of(rows: Mapping[int, Row]) -> str:
    """Return how many rows have which status and outcome, as JSON text."""
    counts = Counter(f"status:{row['status']}" for row in rows.values())
    counts += Counter(f"outcome:{row['outcome']}" for row in rows.values() if "outcome" in row)
    return json.dumps(counts)


def packed(rows: Mapping[int, Row]) -> bytes:
    """Return rows by their place in the chunk as compressed lines of JSON, `[place, row]` each."""
    return zlib.compress("\n".join(json.dumps(entry, allow_nan=False) for entry in rows.items()).encode(), 1)
