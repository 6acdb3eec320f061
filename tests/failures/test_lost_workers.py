"""Workers that die, hang or are stopped: every fit ends exactly once, and goes on from its checkpoint."""

from __future__ import annotations

import json
import uuid
from threading import Timer

import psutil

from tests.failures.conftest import END_SECONDS, Stack, result_of
from tests.failures.requests import decay
from tests.processes import WorkerProcess, is_alive, wait_for, wait_for_end
from worker.settings import WorkerSettings
from worker.store.fits import FitStore

Shared = tuple[Stack, WorkerProcess]


def test_child_killed(shared: Shared) -> None:
    stack, worker = shared
    caught = stack.caught(worker, lambda work: decay(150 * work))
    caught.kill()
    saved = stack.saved_step(caught.fit_id)
    stack.taken_over(caught.fit_id)

    record = stack.ended(caught.fit_id)
    assert (record.status, record.attempts, stack.times_ended(caught.fit_id)) == ("succeeded", 2, 1)
    assert min(stack.steps) >= saved > 0
    stage = result_of(record)["stages"][0]
    assert (stage["steps"], stage["stopped"]["code"]) == (150 * caught.work, "step_limit")


def test_worker_killed(stack: Stack) -> None:
    with stack.worker() as worker:
        caught = stack.caught(worker, lambda work: decay(150 * work))
        waiting = stack.submit(decay(2))
        children = worker.children()
        worker.kill()
        wait_for_end(*children)
        saved = stack.saved_step(caught.fit_id)
    with stack.worker():
        stack.taken_over(caught.fit_id)

        record = stack.ended(caught.fit_id)
        assert (record.status, record.attempts, stack.times_ended(caught.fit_id)) == ("succeeded", 2, 1)
        assert min(stack.steps) >= saved > 0
        assert stack.ended(waiting).attempts == 1


def test_child_stopped_past_its_lease_does_not_overwrite(shared: Shared) -> None:
    stack, worker = shared
    caught = stack.caught(worker, lambda work: decay(200 * work))
    saved = stack.saved_step(caught.fit_id)
    stack.taken_over(caught.fit_id)
    caught.child.resume()
    wait_for(lambda: "dropped" in worker.events(caught.fit_id), END_SECONDS, "the stale child's giving up")

    record = stack.ended(caught.fit_id)
    assert (record.status, record.attempts, stack.times_ended(caught.fit_id)) == ("succeeded", 2, 1)
    assert result_of(record)["stages"][0]["steps"] == 200 * caught.work
    assert min(stack.steps) >= saved > 0
    assert is_alive(caught.child)  # only the fit was dropped


def test_sigterm_hands_the_fit_back(stack: Stack) -> None:
    with stack.worker(lease_seconds=300.0) as worker:
        caught = stack.caught(worker, lambda work: decay(150 * work))
        Timer(0.5, caught.child.resume).start()  # it finds out then that it is to stop
        assert worker.stop() == 0

    fit_id = caught.fit_id
    handed_back = stack.get(fit_id)
    assert (handed_back.status, handed_back.attempts) == ("running", 1)
    saved = stack.saved_step(fit_id)
    assert saved > 0
    assert stack.redis.hget(f"odefit:fit:{fit_id}", "deaths") in (None, b"0")
    stack.steps.clear()
    with stack.worker(lease_seconds=300.0):  # a lease that had to lapse would not do so within this test
        record = stack.ended(fit_id)
        assert (record.status, record.attempts, stack.times_ended(fit_id)) == ("succeeded", 2, 1)
        assert min(stack.steps) >= saved


def test_three_deaths_without_progress(stack: Stack) -> None:
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
    message = stack.queue.messenger.message("cpu", "a fit that is gone")
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
