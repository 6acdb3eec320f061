"""Cancelled and overdue fits, those that listen and those that do not."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.failures.conftest import Stack, result_of
from tests.failures.requests import deaf, decay, lorenz
from tests.processes import wait_for


@pytest.mark.parametrize("engine", ["compiled", "torchdiffeq"])
def test_a_cancelled_fit_has_its_best_point(stack: Stack, engine: str) -> None:
    with stack.worker() as worker:
        fit_id = stack.submit(lorenz(engine))
        child = worker.children()[0]
        stack.running(fit_id, steps=1)
        asked = time.monotonic()
        assert stack.queue.cancel(fit_id).accepted
        record = stack.ended(fit_id)

        assert time.monotonic() - asked < 10  # 2 s on a machine that is not busy
        assert (record.status, record.attempts, record.error) == ("cancelled", 1, None)
        result = result_of(record)
        assert result["outcome"]["code"] == "cancelled"
        assert result["parameters"]["sigma"]["value"] == pytest.approx(10, abs=1)
        assert stack.times_ended(fit_id) == 1
        assert stack.ended(stack.submit(decay(2))).status == "succeeded"
        assert child.is_running()  # it listened, so it lives


def test_a_fit_that_does_not_listen_is_killed(stack: Stack) -> None:
    with stack.worker() as worker:
        fit_id = stack.submit(deaf())
        stack.running(fit_id)
        child = worker.children()[0]
        asked = time.monotonic()
        stack.queue.cancel(fit_id)
        record = stack.ended(fit_id)

        assert time.monotonic() - asked < 15  # 2 s on a machine that is not busy
        assert (record.status, record.result, record.error) == ("cancelled", None, None)
        wait_for(lambda: not child.is_running(), 10, "the end of the child")
        assert '"event": "does_not_stop"' in worker.log()
        assert stack.ended(stack.submit(decay(2))).status == "succeeded"


def test_a_time_limit_that_is_not_kept_is_enforced(stack: Stack) -> None:
    with stack.worker(stop_grace_seconds=1.0) as worker:
        record = stack.ended(stack.submit(deaf(time_limit_seconds=1.0)))

        assert (record.status, record.attempts, record.result) == ("failed", 1, None)
        assert record.error is not None
        assert record.error["type"] == "urn:odefit:error:time_limit"
        assert '"event": "does_not_stop"' in worker.log()


def test_a_time_limit_ends_with_the_best_point(stack: Stack) -> None:
    with stack.worker():
        record = stack.ended(stack.submit(decay(1_000_000, time_limit_seconds=3.0)))
        assert (record.status, record.error) == ("succeeded", None)
        assert result_of(record)["outcome"]["code"] == "time_limit"


def test_the_time_limit_counts_over_all_attempts(stack: Stack) -> None:
    limit = 12.0
    with stack.worker() as worker:
        fit_id = stack.submit(decay(1_000_000, time_limit_seconds=limit))
        began = time.monotonic()
        stack.running(fit_id, steps=1)
        wait_for(lambda: time.monotonic() - began > 6, 30)
        first_attempt = float(stack.redis.hget(f"odefit:fit:{fit_id}", "attempt_seconds") or 0)
        worker.children()[0].kill()
        stack.running(fit_id, attempt=2)
        second_began = time.monotonic()
        record = stack.ended(fit_id)
        second_attempt = time.monotonic() - second_began

        assert (record.status, record.attempts) == ("succeeded", 2)
        assert result_of(record)["outcome"]["code"] == "time_limit"
        assert 4 < first_attempt < limit
        assert second_attempt < limit - first_attempt + 5


@pytest.mark.parametrize("worker_lives", [True, False])
def test_cancelled_while_no_worker_has_it(stack: Stack, worker_lives: bool) -> None:
    settings: dict[str, Any] = {"lease_seconds": 120.0}
    with stack.worker(**settings) as worker:
        fit_id = stack.submit(decay(1_000_000))
        stack.running(fit_id, steps=20)
        wait_for(lambda: stack.saved_step(fit_id) > 0, 30)
        worker.children()[0].kill()
        if not worker_lives:
            worker.kill()
        assert stack.queue.cancel(fit_id).accepted
        if worker_lives:
            record = stack.ended(fit_id)
    if not worker_lives:
        with stack.worker(**settings):
            record = stack.ended(fit_id)

    assert (record.status, stack.times_ended(fit_id)) == ("cancelled", 1)
    assert result_of(record)["outcome"]["code"] == "cancelled"
