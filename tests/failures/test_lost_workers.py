"""Workers that die, hang or are stopped: every fit ends exactly once, and goes on from its checkpoint."""

from __future__ import annotations

import json
import uuid

import psutil

from tests.failures.conftest import END_SECONDS, Stack, result_of
from tests.failures.requests import decay
from tests.processes import WorkerProcess, wait_for
from worker.settings import WorkerSettings
from worker.store.fits import FitStore

Shared = tuple[Stack, WorkerProcess]


def test_child_killed(shared: Shared) -> None:
    stack, worker = shared
    fit_id = stack.submit(decay(150))
    stack.running(fit_id, steps=20)
    child = worker.busy_child()
    saved = stack.saved_step(fit_id)
    child.kill()
    stack.running(fit_id, attempt=2)
    stack.steps.clear()

    record = stack.ended(fit_id)
    assert (record.status, record.attempts, stack.times_ended(fit_id)) == ("succeeded", 2, 1)
    assert min(stack.steps) >= saved > 0
    stage = result_of(record)["stages"][0]
    assert (stage["steps"], stage["stopped"]["code"]) == (150, "step_limit")


def test_worker_killed(stack: Stack) -> None:
    with stack.worker() as worker:
        fit_id = stack.submit(decay(150))
        waiting = stack.submit(decay(2))
        stack.running(fit_id, steps=20)
        saved = stack.saved_step(fit_id)
        children = worker.children()
        worker.kill()
        wait_for(lambda: not any(child.is_running() for child in children), 10, "the end of the children")
    with stack.worker():
        stack.running(fit_id, attempt=2)
        stack.steps.clear()

        record = stack.ended(fit_id)
        assert (record.status, record.attempts, stack.times_ended(fit_id)) == ("succeeded", 2, 1)
        assert min(stack.steps) >= saved > 0
        assert stack.ended(waiting).attempts == 1


def test_child_stopped_past_its_lease_does_not_overwrite(shared: Shared) -> None:
    stack, worker = shared
    fit_id = stack.submit(decay(200))
    stack.running(fit_id, steps=20)
    stale = worker.busy_child()
    saved = stack.saved_step(fit_id)
    stale.suspend()
    stack.running(fit_id, attempt=2)
    stack.steps.clear()
    stale.resume()
    wait_for(lambda: "dropped" in worker.events(fit_id), END_SECONDS, "the stale child's giving up")

    record = stack.ended(fit_id)
    assert (record.status, record.attempts, stack.times_ended(fit_id)) == ("succeeded", 2, 1)
    assert result_of(record)["stages"][0]["steps"] == 200
    assert min(stack.steps) >= saved > 0
    assert stale.is_running()  # only the fit was dropped


def test_sigterm_hands_the_fit_back(stack: Stack) -> None:
    with stack.worker(lease_seconds=300.0) as worker:
        fit_id = stack.submit(decay(150))
        stack.running(fit_id, steps=20)
        assert worker.stop() == 0

    handed_back = stack.get(fit_id)
    assert (handed_back.status, handed_back.attempts) == ("running", 1)
    saved = stack.saved_step(fit_id)
    assert saved >= 20
    assert stack.redis.hget(f"odefit:fit:{fit_id}", "deaths") in (None, b"0")
    stack.steps.clear()
    with stack.worker(lease_seconds=300.0):  # a lease that had to lapse would not do so within this test
        record = stack.ended(fit_id)
        assert (record.status, record.attempts, stack.times_ended(fit_id)) == ("succeeded", 2, 1)
        assert min(stack.steps) >= saved


def test_three_deaths_without_a_step_forward(stack: Stack) -> None:
    with stack.worker(checkpoint_seconds=1000.0) as worker:
        fit_id = stack.submit(decay(1_000_000))
        stack.running(fit_id, steps=5)
        for attempt in (1, 2, 3):
            stack.running(fit_id, attempt=attempt)
            worker.children()[0].kill()

        record = stack.ended(fit_id)
        assert (record.status, record.attempts, stack.times_ended(fit_id)) == ("failed", 3, 1)
        assert record.error is not None
        assert record.error["type"] == "urn:odefit:error:worker_died"
        assert "3 times in a row" in record.error["detail"]
        result = result_of(record)
        assert result["outcome"]["code"] == "interrupted"
        assert result["parameters"]["k"]["value"] > 0

        assert stack.ended(stack.submit(decay(2))).status == "succeeded"


def test_a_lost_message_is_sent_again(shared: Shared) -> None:
    stack, _ = shared
    fits = FitStore(stack.redis, WorkerSettings(redis_url=stack.server.url))
    problem, ids = json.dumps({"request": decay(2)}).encode(), [str(uuid.uuid4()) for _ in range(3)]
    for fit_id in ids:
        lost = ("a list that nobody reads", b"")
        fits.submit(
            fit_id, problem, system="custom", labels=b"{}", queue="cpu", idempotency="", digest="", message=lost
        )
    for fit_id in ids:
        record = stack.ended(fit_id)
        assert (record.status, record.attempts) == ("succeeded", 1)


def test_doubled_messages_change_nothing(shared: Shared) -> None:
    stack, _ = shared
    message = stack.queue._messenger.message("cpu", "a fit that is gone")
    stack.redis.lpush("cpu", message, message, message)
    fit_id = stack.submit(decay(2))
    stack.redis.lpush("cpu", message, message, message)

    record = stack.ended(fit_id)
    assert (record.status, record.attempts, stack.times_ended(fit_id)) == ("succeeded", 1, 1)
    wait_for(lambda: stack.redis.llen("cpu") == 0, END_SECONDS, "the end of all messages")


def test_the_parent_loads_no_numerics_and_has_no_thread(shared: Shared) -> None:
    def loaded(process: psutil.Process) -> bool:
        return any("torch" in entry.path for entry in process.memory_maps())

    stack, worker = shared
    stack.ended(stack.submit(decay(2)))
    assert any(loaded(child) for child in worker.children())
    assert not loaded(psutil.Process(worker.pid))
    assert psutil.Process(worker.pid).num_threads() == 1
