"""Cancelled and overdue fits that stop when asked; test_compiling.py has those that do not."""

from __future__ import annotations

import time

import pytest

from tests.failures.conftest import END_SECONDS, PATIENT, Stack, result_of
from tests.failures.requests import decay, lorenz
from tests.processes import WorkerProcess, is_alive, wait_for
from worker.store.keys import KEYS

Shared = tuple[Stack, WorkerProcess]


def attempt_seconds(stack: Stack, fit_id: str) -> float:
    """How long the last attempt has run, by its last update."""
    return float(stack.redis.hget(KEYS["FIT"] + fit_id, "attempt_seconds") or 0)


@pytest.mark.parametrize("engine", ["compiled", "torchdiffeq"])
def test_a_cancelled_fit_has_its_best_point(stack: Stack, engine: str) -> None:
    with stack.worker(**PATIENT) as worker:
        fit_id = stack.submit(lorenz(engine))
        stack.running(fit_id, steps=1)
        child = worker.computing_child()
        asked = time.monotonic()
        assert stack.queue.cancel(fit_id).accepted
        record = stack.ended(fit_id)

        assert time.monotonic() - asked < 10  # 2 s on a machine that is not busy
        assert (record.status, record.attempts, record.error) == ("cancelled", 1, None)
        result = result_of(record)
        assert result["outcome"]["code"] == "cancelled"
        assert result["parameters"]["sigma"]["value"] == pytest.approx(10, abs=5)
        assert stack.times_ended(fit_id) == 1
        assert is_alive(child)  # it listened, so it lives


def test_the_time_limit_counts_over_all_attempts(shared: Shared) -> None:
    stack, worker = shared
    limit = 12.0
    fit_id = stack.submit(decay(100_000_000, time_limit_seconds=limit))
    stack.running(fit_id, steps=1)
    wait_for(lambda: attempt_seconds(stack, fit_id) > 4, END_SECONDS)
    worker.computing_child().kill()
    first_attempt = attempt_seconds(stack, fit_id)
    stack.running(fit_id, attempt=2)
    second_began = time.monotonic()
    record = stack.ended(fit_id)
    second_attempt = time.monotonic() - second_began

    assert (record.status, record.attempts, record.error) == ("succeeded", 2, None)
    assert result_of(record)["outcome"]["code"] == "time_limit"
    assert 4 < first_attempt < limit
    assert second_attempt < limit - first_attempt + 5


def test_cancelled_just_after_its_child_died(shared: Shared) -> None:
    stack, worker = shared
    fit_id = stack.submit(decay(100_000_000))
    stack.running(fit_id, steps=20)
    wait_for(lambda: stack.saved_step(fit_id) > 0, END_SECONDS)
    worker.computing_child().kill()
    assert stack.queue.cancel(fit_id).accepted
    record = stack.ended(fit_id)

    assert (record.status, record.attempts, stack.times_ended(fit_id)) == ("cancelled", 1, 1)
    assert result_of(record)["outcome"]["code"] == "cancelled"
