"""The thread beside a fit."""

from __future__ import annotations

import time
from typing import Any

import pytest

from odelib.monitor import Monitor, Progress
from odelib.problem.request import parse_problem
from tests.failures.requests import decay
from tests.processes import kill_redis, redis_server, wait_for
from tests.worker.conftest import Store, open_store
from worker.memory import FitMemory
from worker.progress_updates import ProgressUpdates
from worker.pulse import Pulse
from worker.store.keys import KEYS
from worker.store.leases import Claim

SETTINGS: dict[str, Any] = {
    "pulse_seconds": 0.05,
    "lease_seconds": 5.0,
    "stop_grace_seconds": 60.0,  # or it would end this process
    "cancel_grace_seconds": 60.0,
}
PROBLEM = parse_problem(decay(3))


def pulse_of(store: Store, claim: Claim, monitor: Monitor) -> Pulse:
    updates = ProgressUpdates(monitor, store.settings.checkpoint_seconds)
    updates.begin(PROBLEM, None)
    pulse = Pulse(store.leases, claim, monitor, updates, store.settings, FitMemory(10_000), lambda: False)
    pulse.limit(PROBLEM.time_limit_seconds)
    return pulse


def progress(step: int, loss: float = 1.0) -> Progress:
    return Progress("adam", step, 10, loss, step / 10)


def shown(store: Store, fit_id: str) -> Any:
    found = store.get(fit_id).progress
    return found and found["step"]


def test_progress_and_lease_are_kept(redis_url: str) -> None:
    store = open_store(redis_url, **SETTINGS)
    claim, monitor = store.submit_and_claim(), Monitor()
    with pulse_of(store, claim, monitor):
        lease = store.redis.zscore(KEYS["LEASES"], claim.fit_id)
        monitor.progress = progress(3)
        wait_for(lambda: shown(store, claim.fit_id) == 3, 30)
        wait_for(lambda: store.redis.zscore(KEYS["LEASES"], claim.fit_id) > lease, 30)
        monitor.progress = progress(4, float("inf"))  # which JSON has no word for
        time.sleep(0.2)
        assert shown(store, claim.fit_id) == 3
    assert monitor.stop is None


def test_a_cancellation_reaches_the_fit(redis_url: str) -> None:
    store = open_store(redis_url, **SETTINGS)
    claim, monitor = store.submit_and_claim(), Monitor()
    with pulse_of(store, claim, monitor):
        store.fits.cancel(claim.fit_id)
        assert wait_for(lambda: monitor.stop, 30) == "cancelled"


def test_the_first_reason_to_stop_is_kept(redis_url: str) -> None:
    store = open_store(redis_url, **SETTINGS)
    claim, monitor = store.submit_and_claim(), Monitor()
    with pulse_of(store, claim, monitor):
        store.fits.cancel(claim.fit_id)
        wait_for(lambda: monitor.stop, 30)
        store.age_cancellation(claim.fit_id)
        store.upkeep.sweep_cancellations()
        time.sleep(0.2)
        assert monitor.stop == "cancelled"


def test_it_survives_without_redis() -> None:
    with redis_server() as server:
        store = open_store(server.url, **SETTINGS)
        claim, monitor = store.submit_and_claim(), Monitor()
        with pulse_of(store, claim, monitor):
            kill_redis(server)
            monitor.progress = progress(5)
            time.sleep(0.5)
            server.start()
            wait_for(lambda: shown(store, claim.fit_id) == 5, 30)


def test_it_survives_an_unexpected_error(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(redis_url, **SETTINGS)
    claim, monitor = store.submit_and_claim(), Monitor()
    pulse, failed = store.leases.pulse, []

    def fail_once(*arguments: Any) -> Any:
        if not failed:
            failed.append(1)
            raise ZeroDivisionError
        return pulse(*arguments)

    monkeypatch.setattr(store.leases, "pulse", fail_once)
    with pulse_of(store, claim, monitor):
        monitor.progress = progress(6)
        wait_for(lambda: shown(store, claim.fit_id) == 6, 30)
    assert failed == [1]
