"""The sweep's side of the store."""

from __future__ import annotations

import time

from tests.processes import wait_for
from tests.worker.conftest import Store, open_store
from worker.attempt_endings import Ending
from worker.store.keys import KEYS
from worker.store.upkeep import LapsedLeases


def test_nothing_to_do(store: Store) -> None:
    store.submit_and_claim()

    assert store.upkeep.sweep_leases("{}") == LapsedLeases([], [], [])
    assert store.upkeep.sweep_gpu("{}") == []
    assert store.upkeep.sweep_expired() == 0
    assert store.upkeep.missing_messages("cpu", "cpu") == 0


def test_lapsed_leases_of_both_queues(store: Store) -> None:
    claims = [store.submit_and_claim("cpu"), store.submit_and_claim("gpu")]
    for claim in claims:
        store.lapse(claim.fit_id)

    assert sorted(store.upkeep.sweep_leases("{}").again) == sorted(
        [(claims[0].fit_id, "cpu"), (claims[1].fit_id, "gpu")]
    )
    assert store.claim("gpu").fit_id == claims[1].fit_id


def test_workers_are_counted_while_they_are_live(redis_url: str) -> None:
    store = open_store(redis_url, sweep_seconds=1000)
    assert store.upkeep.workers() == 0
    assert store.upkeep.heartbeat("a", gpu=False)
    assert not store.upkeep.heartbeat("b", gpu=False)  # it is the turn of a
    assert store.upkeep.workers() == 2
    store.upkeep.farewell("a")
    assert store.upkeep.workers() == 1

    store.redis.zadd(KEYS["WORKERS"], {"b": 1})  # seen long ago
    store.redis.delete(KEYS["SWEEP_TURN"])  # which is over
    assert store.upkeep.workers() == 0
    assert store.upkeep.heartbeat("b", gpu=False)


def test_fits_wait_for_a_gpu_for_a_limited_time(redis_url: str) -> None:
    store = open_store(redis_url, gpu_wait_seconds=0.6)
    on_cpu = store.submit().record.id
    fit_id = store.submit(queue="gpu").record.id
    for _ in range(5):
        assert store.upkeep.sweep_gpu('{"type":"no_gpu"}') == []
        store.upkeep.heartbeat("worker", gpu=True)
        time.sleep(0.2)
    since = time.monotonic()
    store.upkeep.heartbeat("worker", gpu=True)

    assert wait_for(lambda: store.upkeep.sweep_gpu('{"type":"no_gpu"}'), 30) == [fit_id]
    assert time.monotonic() - since >= 0.6
    assert (store.get(fit_id).status, store.get(fit_id).error) == ("failed", {"type": "no_gpu"})
    assert store.get(on_cpu).status == "queued"


def test_time_without_any_worker_does_not_count(redis_url: str) -> None:
    store = open_store(redis_url, gpu_wait_seconds=0.4)
    store.submit(queue="gpu")
    assert store.upkeep.sweep_gpu("{}") == []
    time.sleep(0.6)
    assert store.upkeep.sweep_gpu("{}") == []


def test_lost_messages_are_noticed_after_a_while(redis_url: str) -> None:
    store = open_store(redis_url, sweep_seconds=1000)
    for _ in range(5):
        store.submit()
    store.redis.ltrim("cpu", 0, 1)  # three of five are lost

    assert store.upkeep.missing_messages("cpu", "cpu") == 0
    assert store.upkeep.missing_messages("cpu", "cpu") == 0
    store.redis.hset(KEYS["MISSING"] + "cpu", "since", 1)  # long ago
    store.claim()  # a message that was on its way has arrived
    assert store.upkeep.missing_messages("cpu", "cpu") == 2
    assert store.upkeep.missing_messages("cpu", "cpu") == 0  # the caller above sends them
    assert store.upkeep.missing_messages("gpu", "gpu") == 0


def test_messages_that_arrive_in_time_are_not_lost(redis_url: str) -> None:
    store = open_store(redis_url, sweep_seconds=0.2)
    store.submit()
    store.redis.delete("cpu")
    assert store.upkeep.missing_messages("cpu", "cpu") == 0
    store.claim()
    time.sleep(0.3)

    assert store.upkeep.missing_messages("cpu", "cpu") == 0
    store.submit()
    store.redis.delete("cpu")
    assert store.upkeep.missing_messages("cpu", "cpu") == 0


def test_results_expire(redis_url: str) -> None:
    store = open_store(redis_url, results_kept_seconds=0.1)
    claim = store.submit_and_claim()
    store.leases.finish(claim, Ending("succeeded", "{}"), "")
    kept = store.submit().record.id
    time.sleep(0.2)

    assert store.upkeep.sweep_expired() == 1
    assert store.redis.exists(KEYS["FIT"] + claim.fit_id) == 0
    assert store.get(kept).status == "queued"


def test_redis_responds(store: Store) -> None:
    assert store.upkeep.responds()
    assert store.upkeep.seconds_up() >= 0
    assert not open_store("redis://127.0.0.1:1/0").upkeep.responds()
