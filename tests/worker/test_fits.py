"""The service's side of the store."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tests.worker.conftest import Store, open_store
from worker.attempt_endings import Ending
from worker.errors import (
    FitEnded,
    FitNotFinished,
    FitNotFound,
    IdempotencyConflict,
    QueueFull,
    StoreFull,
)
from worker.store.keys import KEYS
from worker.store.records import FitFilter, FitRecord

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def finished(store: Store, ending: Ending) -> FitRecord:
    claim = store.submit_and_claim()
    assert store.leases.finish(claim, ending, '{"fraction":1.0}')
    return store.get(claim.fit_id)


def test_a_new_fit_is_queued(store: Store) -> None:
    submission = store.submit(fit_id="one")
    created_at = submission.record.created_at

    expected = FitRecord("one", "queued", "lorenz", created_at, {"who": "me"}, 0, None, None, None, None, None, None)
    assert submission.created
    assert submission.record == expected
    assert store.get("one") == expected
    assert TIME.fullmatch(created_at)
    assert store.fits.problem("one") == b'{"request":{"a":1}}'
    assert store.redis.lrange("cpu", 0, -1) == [b"message"]


def test_the_same_submission_sent_twice_is_one_fit(store: Store) -> None:
    first, second = store.submit(fit_id="one"), store.submit(fit_id="one")

    assert first == second
    assert store.redis.lrange("cpu", 0, -1) == [b"message"]


def test_times_and_results_of_an_ended_fit(store: Store) -> None:
    fit = finished(store, Ending("succeeded", '{"loss":0.1000000000000000055}'))

    assert (fit.status, fit.attempts, fit.error) == ("succeeded", 1, None)
    assert fit.result == b'{"loss":0.1000000000000000055}'
    assert fit.progress == {"fraction": 1.0}
    assert fit.started_at is not None
    assert fit.finished_at is not None
    assert fit.expires_at is not None
    assert fit.created_at < fit.started_at < fit.finished_at
    kept = datetime.fromisoformat(fit.expires_at) - datetime.fromisoformat(fit.finished_at)
    assert kept == timedelta(days=7)
    assert store.fits.get(fit.id, result=False) == replace(fit, result=None)


def test_unknown_ids(store: Store) -> None:
    for call in (lambda: store.get("x"), lambda: store.fits.problem("x"), lambda: store.fits.cancel("x")):
        with pytest.raises(FitNotFound, match="no fit has the id 'x'"):
            call()
    with pytest.raises(FitNotFound):
        store.fits.forget("x")


def test_a_full_queue_accepts_no_more(store: Store) -> None:
    for _ in range(4):
        store.submit()
    store.submit(key="k", digest="d", queue="gpu")
    with pytest.raises(QueueFull, match="the queue is full with 5 fits"):
        store.submit()

    assert not store.submit(key="k", digest="d").created
    store.claim()
    assert store.submit().created


def test_an_idempotency_key_names_the_first_fit(store: Store) -> None:
    first = store.submit(key="k", digest="d")
    claim = store.claim()
    store.leases.finish(claim, Ending("succeeded", '{"loss":1}'), "")

    repeat = store.submit(key="k", digest="d")
    assert (repeat.created, repeat.record) == (False, store.get(first.record.id))
    assert repeat.record.result == b'{"loss":1}'
    with pytest.raises(IdempotencyConflict):
        store.submit(key="k", digest="other")
    assert store.submit(key="other", digest="d").created


@pytest.mark.parametrize("end", ["forget", "expire", "sweep"])
def test_an_idempotency_key_lives_as_long_as_its_fit(store: Store, end: str) -> None:
    first = store.submit(key="k", digest="d").record.id
    store.leases.finish(store.claim(), Ending("succeeded"), "")
    if end == "forget":
        store.fits.forget(first)
    else:
        store.expire(first)
    if end == "sweep":
        assert store.upkeep.sweep_expired() == 1

    second = store.submit(key="k", digest="other")
    assert second.created
    assert second.record.id != first


def test_expired_fits_are_gone_before_the_sweep(store: Store) -> None:
    fit = finished(store, Ending("succeeded"))
    other = store.submit().record
    store.expire(fit.id)

    for call in (store.get, store.fits.problem, store.fits.cancel, store.fits.forget):
        with pytest.raises(FitNotFound, match="expired"):
            call(fit.id)
    assert [found.id for found in store.fits.list(FitFilter(), limit=10, cursor=None).fits] == [other.id]


def test_deleted_and_expired_fits_leave_nothing_behind(store: Store) -> None:
    forgotten = finished(store, Ending("succeeded", "{}")).id
    expired = finished(store, Ending("failed", "", '{"type":"t"}')).id
    store.fits.forget(forgotten)
    store.expire(expired)

    assert store.upkeep.sweep_expired() == 1
    kept = {KEYS[name].encode() for name in ("SEQUENCE", "COUNTERS", "TURNS")}  # of bounded size
    assert set(store.redis.keys()) == kept | {b"cpu"}


def test_only_ended_fits_can_be_deleted(store: Store) -> None:
    fit_id = store.submit().record.id
    with pytest.raises(FitNotFinished):
        store.fits.forget(fit_id)
    store.claim()
    with pytest.raises(FitNotFinished):
        store.fits.forget(fit_id)


def test_cancelling_a_waiting_fit(store: Store) -> None:
    fit_id = store.submit().record.id
    cancelled = store.fits.cancel(fit_id)

    assert cancelled.accepted
    assert (cancelled.record.status, cancelled.record.attempts, cancelled.record.result) == ("cancelled", 0, None)
    assert store.get(fit_id) == cancelled.record
    assert store.leases.claim("cpu") is None
    again = store.fits.cancel(fit_id)
    assert (again.accepted, again.record) == (False, cancelled.record)


@pytest.mark.parametrize("status", ["succeeded", "failed"])
def test_cancelling_an_ended_fit(store: Store, status: str) -> None:
    fit = finished(store, Ending(status))  # type: ignore[arg-type]
    with pytest.raises(FitEnded, match=status):
        store.fits.cancel(fit.id)


def test_list_is_newest_first_in_pages(redis_url: str) -> None:
    store = open_store(redis_url)
    ids = [store.submit(system="lorenz" if i % 2 else "custom").record.id for i in range(7)]
    claims = [store.claim() for _ in range(2)]
    store.leases.finish(claims[1], Ending("succeeded", "{}"), "")

    def pages(limit: int, status: str | None = None, system: str | None = None) -> list[list[str]]:
        found, cursor = [], None
        while True:
            page = store.fits.list(FitFilter(status=status, system=system), limit=limit, cursor=cursor)
            found.append([fit.id for fit in page.fits])
            assert all(fit.result is None for fit in page.fits)
            if (cursor := page.next_cursor) is None:
                return found

    newest_first = ids[::-1]
    assert pages(3) == [newest_first[:3], newest_first[3:6], newest_first[6:]]
    assert pages(7) == [newest_first]
    assert pages(10, status="queued") == [newest_first[:5]]
    assert pages(10, status="running") == [[ids[0]]]
    assert pages(10, status="succeeded") == [[ids[1]]]
    assert pages(2, system="lorenz") == [[ids[5], ids[3]], [ids[1]]]
    assert pages(10, status="queued", system="lorenz") == [[ids[5], ids[3]]]
    assert pages(10, system="no such system") == [[]]
    for fit_id in ids[2:]:
        store.fits.cancel(fit_id)
        store.expire(fit_id)
    assert pages(1) == [[ids[1]], [ids[0]]]


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1.5", "1 ", "٣", "1" * 16, "+inf"])
def test_a_bad_cursor(store: Store, cursor: str) -> None:
    with pytest.raises(ValueError, match="invalid cursor"):
        store.fits.list(FitFilter(), limit=1, cursor=cursor)


def test_full_memory_refuses_fits_but_nothing_else(redis_url: str) -> None:
    store = open_store(redis_url, lease_seconds=0.5)
    running = store.submit_and_claim()
    second = store.submit().record.id
    third = store.submit().record.id
    store.redis.config_set("maxmemory", "1")
    try:
        with pytest.raises(StoreFull, match="Redis has no memory left"):
            store.submit()
        assert store.leases.finish(running, Ending("succeeded", "x" * 10_000), "{}")
        claim = store.claim()
        assert claim.fit_id == second
        assert store.fits.cancel(second).accepted
        assert store.fits.cancel(third).record.status == "cancelled"
        assert store.upkeep.heartbeat("worker", gpu=True)
        time.sleep(0.6)
        assert store.upkeep.sweep_leases("{}").cancelled == [second]
        store.fits.forget(running.fit_id)
    finally:
        store.redis.config_set("maxmemory", "0")
