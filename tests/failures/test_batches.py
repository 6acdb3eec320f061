"""Batches whose workers die: every series is answered once, in order.

make kills [SERIES=5000]
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import pytest

from tests.failures.conftest import END_SECONDS, Stack
from tests.processes import kill_redis, wait_for, wait_for_end
from tests.worker.batches import accept, rows_of, well
from worker.errors import WorkerError
from worker.settings import WorkerSettings
from worker.store.batches import BatchRecord, BatchStore

NOBODY = "a list that nobody reads"  # so the sweep sends the messages
SERIES = int(os.environ.get("KILLED_SERIES", "60"))
CHUNK, STEPS = (5, 200) if SERIES < 1000 else (50, 10)
SLOW: dict[str, Any] = {
    "system": {"states": ["x"], "parameters": ["k"], "equations": {"x": "-k*x"}},
    "parameters": {"k": 0.2},
    "initial_state": {"x": {"guess": 2, "fixed": True}},
    "stages": [{"kind": "adam", "steps": STEPS, "learning_rate": 1e-3}],
}


def batches_of(stack: Stack) -> BatchStore:
    return BatchStore(stack.redis, WorkerSettings(redis_url=stack.server.url))


def state(batches: BatchStore, batch_id: str) -> BatchRecord | None:
    try:
        return batches.get(batch_id)
    except WorkerError:  # Redis is away because the test wants it so
        return None


def ended(batches: BatchStore, batch_id: str) -> BatchRecord:
    def look() -> BatchRecord | None:
        record = state(batches, batch_id)
        return record if record and record.status in ("succeeded", "cancelled") else None

    found = wait_for(look, END_SECONDS + SERIES, "the end of the batch")
    assert found is not None
    return found


@pytest.mark.timeout(3600)
def test_workers_and_redis_are_killed_in_the_middle(stack: Stack) -> None:
    batches = batches_of(stack)
    names = [f"w{i}" for i in range(SERIES)]
    chunks = [[well(name, 0.3) for name in names[i : i + CHUNK]] for i in range(0, SERIES, CHUNK)]
    with stack.worker(concurrency=2) as worker:
        batch_id = accept(batches, chunks, request=SLOW, message_list=NOBODY).record.id

        def done(share: float) -> bool:
            record = state(batches, batch_id)
            return record is not None and record.done >= share * len(names)

        wait_for(lambda: done(0.1), END_SECONDS + SERIES, "the first rows")
        for child in worker.children():
            child.kill()
        wait_for(lambda: done(0.3), END_SECONDS + SERIES, "rows after the death of the children")
        kill_redis(stack.server)
        stack.server.start()
        wait_for(lambda: done(0.5), END_SECONDS + SERIES, "rows after the death of Redis")
        children = worker.children()
        worker.kill()
        wait_for_end(*children)
    with stack.worker(concurrency=2):
        record = ended(batches, batch_id)
        rows = rows_of(batches, batch_id)

    sys.stdout.write(f"{SERIES} series under kills: {record.statuses}, {len(rows)} rows\n")
    assert (record.status, record.statuses) == ("succeeded", {"succeeded": len(names)})
    assert [row["name"] for row in rows] == names


def test_a_running_batch_is_cancelled(stack: Stack) -> None:
    batches = batches_of(stack)
    slow = SLOW | {"stages": [{"kind": "adam", "steps": 50_000_000}]}
    with stack.worker():
        quick = [well(f"q{i}", 0.3) | {"parameters": {"k": {"fixed": True}}} for i in range(3)]
        batch_id = accept(
            batches, [[*quick, *(well(f"s{i}") for i in range(50))]], request=slow, message_list=NOBODY
        ).record.id
        wait_for(lambda: batches.get(batch_id).status == "running", END_SECONDS, "a worker")
        time.sleep(1.0)
        batches.cancel(batch_id)
        record = wait_for(lambda: (r := batches.get(batch_id)).status == "cancelled" and r, 20, "the cancellation")
        assert isinstance(record, BatchRecord)

    rows = rows_of(batches, batch_id)
    assert len(rows) == 53
    assert {row["status"] for row in rows[:3]} <= {"succeeded", "cancelled"}
    assert {row["status"] for row in rows[4:]} == {"cancelled"}
