"""Batches in the store: chunks are claimed, ended and lost as fits are, and every series gets one row."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.worker.batches import accept, batch_store, rows_of, well
from tests.worker.conftest import Store, open_store
from worker.attempt_endings import Ending, died_too_often
from worker.batches.rows import Row, counts_of, packed
from worker.batches.updates import SINGLY, ChunkUpdates
from worker.errors import BatchEnded, BatchesFull, BatchNotFinished, BatchNotFound, FitNotFound, IdempotencyConflict
from worker.store.batches import BatchStore
from worker.store.keys import KEYS
from worker.store.leases import Claim


@pytest.fixture
def batches(store: Store) -> BatchStore:
    return batch_store(store)


def row(name: str) -> Row:
    return {"name": name, "status": "succeeded", "outcome": "converged", "loss": 1.0}


def end(store: Store, claim: Claim, *names: str) -> None:
    rows = dict(enumerate(map(row, names)))
    assert store.leases.finish(claim, Ending("succeeded", packed(rows), stages=counts_of(rows)), "")


def names(rows: list[Row]) -> list[str]:
    return [entry["name"] for entry in rows]


def save(store: Store, claim: Claim, name: str) -> None:
    """Save the row of the first series, as the pulse of a running chunk does."""
    updates = ChunkUpdates({}, singly=False, every=0.0)
    updates.add(0, row(name))
    store.leases.pulse(claim, updates.build(1.0))


def test_a_batch_runs_chunk_by_chunk(store: Store, batches: BatchStore) -> None:
    record = accept(batches, [[well("a"), well("b")], [well("c")]]).record
    assert (record.status, record.series, record.statuses, record.done) == ("queued", 3, {"queued": 3}, 0)
    assert store.redis.llen("cpu") == 2

    first, second = store.claim(), store.claim()
    assert first.chunk is not None
    assert second.chunk is not None
    assert (first.chunk.first, second.chunk.first) == (0, 2)
    record = batches.get(record.id)
    assert (record.status, record.statuses) == ("running", {"running": 3})

    end(store, second, "c")
    assert rows_of(batches, record.id) == []  # the first rows are missing: there is a gap
    assert batches.get(record.id).done == 1
    end(store, first, "a", "b")
    assert names(rows_of(batches, record.id)) == ["a", "b", "c"]
    record = batches.get(record.id)
    assert (record.status, record.statuses, record.outcomes) == ("succeeded", {"succeeded": 3}, {"converged": 3})
    assert record.expires_at is not None
    assert names(rows_of(batches, record.id, 1, 1)) == ["b"]
    assert store.redis.exists(KEYS["FIT"] + first.fit_id) == 0


def test_a_chunk_is_no_fit(store: Store, batches: BatchStore) -> None:
    accept(batches, [[well("a")]])
    claim = store.claim()
    with pytest.raises(FitNotFound):
        store.get(claim.fit_id)
    with pytest.raises(FitNotFound):
        store.fits.cancel(claim.fit_id)
    with pytest.raises(FitNotFound):
        store.fits.problem(claim.fit_id)
    assert not list(store.redis.scan_iter(KEYS["INDEX"] + "*"))


def test_small_fits_come_before_the_chunks_of_a_batch(store: Store, batches: BatchStore) -> None:
    accept(batches, [[well("a")], [well("b")]])
    store.submit()
    assert store.claim().chunk is None
    assert store.claim().chunk is not None


def test_only_so_many_chunks_wait_at_a_time(store: Store, batches: BatchStore) -> None:
    record = accept(batches, [[well(str(i))] for i in range(150)]).record
    assert store.redis.zcard(KEYS["READY"] + "cpu") == 64
    for i in range(150):
        claim = store.claim()
        assert claim.chunk is not None
        assert claim.chunk.first == i
        end(store, claim, str(i))
    assert store.leases.claim("cpu") is None
    assert names(rows_of(batches, record.id)) == [str(i) for i in range(150)]


def test_a_chunk_whose_worker_died_goes_on_from_its_rows(store: Store, batches: BatchStore) -> None:
    record = accept(batches, [[well("a"), well("b"), well("c")]]).record
    claim = store.claim()
    save(store, claim, "a")
    store.lapse(claim.fit_id)
    store.upkeep.sweep_leases("{}")

    again = store.claim()
    assert again.chunk is not None
    assert again.chunk.rows is not None
    assert (again.chunk.deaths, packed({0: row("a")})) == (1, again.chunk.rows)
    assert not store.leases.finish(claim, Ending("succeeded", packed({}), stages="{}"), "")  # fenced off
    end(store, again, "a", "b", "c")
    assert names(rows_of(batches, record.id)) == ["a", "b", "c"]


def test_a_chunk_that_is_given_up_keeps_its_rows(store: Store, batches: BatchStore) -> None:
    record = accept(batches, [[well("a"), well("b"), well("c")]]).record
    claim = store.claim()
    save(store, claim, "a")
    for _ in range(store.settings.max_deaths):
        store.lapse(claim.fit_id)
        store.upkeep.sweep_leases(died_too_often(3))
        claim = store.leases.claim("cpu") or claim

    rows = rows_of(batches, record.id)
    assert names(rows) == ["a", "b", "c"]
    assert [entry["status"] for entry in rows] == ["succeeded", "failed", "failed"]
    assert rows[1]["error"]["type"] == "urn:odefit:error:worker_died"
    record = batches.get(record.id)
    assert (record.status, record.statuses) == ("succeeded", {"succeeded": 1, "failed": 2})


def test_cancelling_keeps_what_is_done(store: Store, batches: BatchStore) -> None:
    record = accept(batches, [[well("a")], [well("b"), well("c")], [well("d")]]).record
    end(store, store.claim(), "a")
    running = store.claim()
    assert batches.cancel(record.id).accepted
    assert batches.get(record.id).status == "running"
    updates = ChunkUpdates({}, singly=False, every=0.0)
    updates.add(0, row("b"))
    assert not store.leases.hand_back(running, updates.build(1.0))

    record = batches.get(record.id)
    assert (record.status, record.statuses) == ("cancelled", {"succeeded": 2, "cancelled": 2})
    assert [(entry["name"], entry["status"]) for entry in rows_of(batches, record.id)] == [
        ("a", "succeeded"),
        ("b", "succeeded"),
        ("c", "cancelled"),
        ("d", "cancelled"),
    ]
    assert not batches.cancel(record.id).accepted
    assert store.leases.claim("cpu") is None


def test_cancelling_a_batch_of_more_chunks_than_wait(batches: BatchStore) -> None:
    record = accept(batches, [[well(str(i))] for i in range(100)]).record
    batches.cancel(record.id)
    record = batches.get(record.id)
    assert (record.status, record.statuses) == ("cancelled", {"cancelled": 100})
    assert names(rows_of(batches, record.id)) == [str(i) for i in range(100)]


def test_moves_that_are_refused(store: Store, batches: BatchStore) -> None:
    record = accept(batches, [[well("a")]]).record
    with pytest.raises(BatchNotFinished):
        batches.forget(record.id)
    end(store, store.claim(), "a")
    with pytest.raises(BatchEnded):
        batches.cancel(record.id)
    batches.forget(record.id)
    for call in (batches.get, batches.cancel, batches.forget):
        with pytest.raises(BatchNotFound):
            call(record.id)
    with pytest.raises(BatchNotFound):
        batches.ready_rows(record.id, 0)
    assert not [key for key in store.redis.scan_iter("*batch*") if store.redis.type(key) != b"string"]


def test_an_idempotency_key_gives_the_same_batch(store: Store, batches: BatchStore) -> None:
    first = accept(batches, [[well("a")]], key="k", digest="d")
    second = accept(batches, [[well("a")]], key="k", digest="d")
    assert (first.created, second.created, second.record.id) == (True, False, first.record.id)
    with pytest.raises(IdempotencyConflict):
        accept(batches, [[well("b")]], key="k", digest="other")
    end(store, store.claim(), "a")
    batches.forget(first.record.id)
    assert accept(batches, [[well("b")]], key="k", digest="other").created


def test_batches_expire(store: Store, batches: BatchStore) -> None:
    record = accept(batches, [[well("a")]]).record
    end(store, store.claim(), "a")
    store.redis.zadd(KEYS["BATCH_EXPIRIES"], {record.id: 1})
    store.redis.hset(KEYS["BATCH"] + record.id, "expires_at", "1")
    with pytest.raises(BatchNotFound):
        batches.get(record.id)
    assert store.upkeep.sweep_expired() == 1
    assert not list(store.redis.scan_iter("*" + record.id + "*"))


def test_what_arrived_of_a_batch_that_was_not_accepted_is_forgotten(store: Store, batches: BatchStore) -> None:
    batches.add_chunk("left", 0, 0, [b"{}"])
    assert 0 < store.redis.ttl(KEYS["BATCH_SERIES"] + "left") <= 3600
    batches.discard("left")
    assert not list(store.redis.scan_iter("*left*"))


def test_so_many_batches_may_be_unfinished(redis_url: str) -> None:
    store = open_store(redis_url, max_unfinished_batches=1)
    batches = batch_store(store)
    accept(batches, [[well("a")]])
    with pytest.raises(BatchesFull):
        accept(batches, [[well("b")]])
    end(store, store.claim(), "a")
    accept(batches, [[well("b")]])


def test_pages_of_batches(batches: BatchStore) -> None:
    mine = [accept(batches, [[well("a")]], owner="me").record.id for _ in range(3)]
    other = accept(batches, [[well("a")]], owner="you").record.id
    page = batches.list("me", limit=2, cursor=None)
    assert [record.id for record in page.batches] == [mine[2], mine[1]]
    rest = batches.list("me", limit=2, cursor=page.next_cursor)
    assert ([record.id for record in rest.batches], rest.next_cursor) == ([mine[0]], None)
    assert [record.id for record in batches.list("", limit=1, cursor=None).batches] == [other]
    with pytest.raises(ValueError, match="cursor"):
        batches.list("", limit=1, cursor="x")


def test_rows_that_the_store_has_are_not_sent_again() -> None:
    updates = ChunkUpdates({}, singly=False, every=0.0)
    assert updates.build(1.0).checkpoint == ""
    updates.add(0, row("a"))
    sent: Any = updates.build(2.0)
    assert (sent.position, json.loads(sent.partial_outcome)) == (
        (0, 1),
        {"status:succeeded": 1, "outcome:converged": 1},
    )
    assert updates.build(3.0).checkpoint != ""  # until the store has them
    updates.mark_saved()
    assert updates.build(4.0).checkpoint == ""


def test_rows_come_in_any_order(store: Store, batches: BatchStore) -> None:
    record = accept(batches, [[well("a"), well("b"), well("c")]]).record
    rows = {2: row("c"), 0: row("a")}
    store.leases.finish(store.claim(), Ending("cancelled", packed(rows), stages=counts_of(rows)), "")
    assert [(entry["name"], entry["status"]) for entry in rows_of(batches, record.id)] == [
        ("a", "succeeded"),
        ("b", "cancelled"),
        ("c", "succeeded"),
    ]


def test_a_series_that_takes_too_much_memory_fails_alone() -> None:
    updates = ChunkUpdates({}, singly=False, every=0.0)
    updates.begin(5, well("a"))
    assert updates.give_up(json.dumps({"type": "t", "title": "t", "detail": "d"}))
    assert updates.give_up("{}")  # again, while the store is away
    assert [(place, entry["name"], entry["status"]) for place, entry in updates.rows.items()] == [(5, "a", "failed")]


def test_series_that_take_too_much_memory_together_are_fitted_one_by_one(store: Store, batches: BatchStore) -> None:
    accept(batches, [[well("a"), well("b")]])
    claim = store.claim()
    updates = ChunkUpdates({}, singly=False, every=0.0)
    assert updates.give_up("{}")
    assert store.leases.hand_back(claim, updates.build(1.0, everything=True))
    assert store.claim().checkpoint == SINGLY.encode()
