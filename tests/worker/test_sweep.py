"""The sweep."""

from __future__ import annotations

import time

import pytest

from tests.processes import wait_for
from tests.worker.conftest import Store, open_store
from worker.attempt_endings import Ending
from worker.errors import StoreUnavailable
from worker.shared_flags import SharedFlags
from worker.states import Queue
from worker.store.records import FitFilter
from worker.sweep import Sweep


class Bench:
    """A sweep that records its wake-ups."""

    def __init__(self, store: Store, name: str = "a", queues: tuple[str, ...] = ("cpu",)) -> None:
        self.store = store
        self.flags = SharedFlags()
        self.flags.set_ready()
        self.woken: list[tuple[Queue, str]] = []
        self.sweep = Sweep(
            store.upkeep,
            store.settings,
            self.flags,
            name=name,
            queues=queues,
            wake=lambda queue, fit_id: self.woken.append((queue, fit_id)),
            broker_list=lambda queue: queue,
        )


def test_a_lapsed_fit_is_woken_at_once(redis_url: str) -> None:
    bench = Bench(open_store(redis_url, lease_seconds=0.2, sweep_seconds=1000))
    claim = bench.store.submit_and_claim()
    wait_for(lambda: bench.store.upkeep.seconds_up() >= 1, 30)  # Redis has been there for longer than a lease
    time.sleep(0.3)
    bench.sweep.sweep()
    assert bench.woken == [("cpu", claim.fit_id)]


def test_leases_do_not_lapse_just_after_redis_was_started(redis_url: str) -> None:
    bench = Bench(open_store(redis_url, lease_seconds=1e9))
    claim = bench.store.submit_and_claim()
    bench.store.lapse(claim.fit_id)
    bench.sweep.sweep()
    assert bench.woken == []


def test_missing_messages_are_sent(redis_url: str) -> None:
    bench = Bench(open_store(redis_url, sweep_seconds=0.1))
    for _ in range(2):
        bench.store.submit()
    bench.store.submit(queue="gpu")
    bench.store.redis.delete("cpu", "gpu")
    bench.sweep.sweep()
    assert bench.woken == []
    time.sleep(0.2)
    bench.sweep.sweep()
    assert bench.woken == [("cpu", ""), ("cpu", ""), ("gpu", "")]


def test_results_expire_and_overdue_cancellations_end(redis_url: str) -> None:
    bench = Bench(open_store(redis_url))
    expired, cancelled = bench.store.submit_and_claim(), bench.store.submit_and_claim()
    bench.store.leases.finish(expired, Ending("succeeded", "{}"), "")
    bench.store.expire(expired.fit_id)
    bench.store.fits.cancel(cancelled.fit_id)
    bench.store.age_cancellation(cancelled.fit_id)
    bench.sweep.sweep()

    fits = bench.store.fits.list(FitFilter(), limit=9, cursor=None).fits
    assert [(fit.id, fit.status) for fit in fits] == [(cancelled.fit_id, "cancelled")]


def test_a_worker_is_live_from_its_first_ready_child_until_it_stops(redis_url: str) -> None:
    store = open_store(redis_url, sweep_seconds=1000)
    bench = Bench(store)
    bench.flags = bench.sweep._flags = SharedFlags()
    bench.sweep.tick()
    assert store.upkeep.workers() == 0
    bench.flags.set_ready()
    bench.sweep.tick()
    assert store.upkeep.workers() == 1
    bench.sweep.farewell()
    assert store.upkeep.workers() == 0
    bench.sweep._due = 0.0  # a tick would tell again that it is alive
    bench.flags.set_stopping()
    bench.sweep.tick()
    assert store.upkeep.workers() == 0


def test_fits_wait_for_a_gpu_worker_that_is_live(redis_url: str) -> None:
    store = open_store(redis_url, sweep_seconds=0.05, gpu_wait_seconds=0.4)
    fit_id = store.submit(queue="gpu").record.id
    cpu, gpu = Bench(store, "cpu"), Bench(store, "gpu", ("gpu",))
    until = time.monotonic() + 1.2
    while time.monotonic() < until:
        cpu.sweep.tick()
        gpu.sweep.tick()
        time.sleep(0.02)
    assert store.get(fit_id).status == "queued"

    until = time.monotonic() + 30
    while store.get(fit_id).status == "queued" and time.monotonic() < until:
        cpu.sweep.tick()
        time.sleep(0.02)
    record = store.get(fit_id)
    assert record.status == "failed"
    assert record.error is not None
    assert record.error["type"] == "urn:odefit:error:no_gpu"
    assert "start a worker for the queue 'gpu'" in record.error["detail"]


def test_without_redis_it_waits() -> None:
    bench = Bench(open_store("unix:///no/such/socket"))
    bench.sweep.tick()
    bench.sweep.farewell()
    with pytest.raises(StoreUnavailable, match="does not respond"):
        bench.sweep.sweep()
