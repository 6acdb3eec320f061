"""Workers that die, hang or are stopped: every fit ends exactly once, and goes on from its checkpoint."""

from __future__ import annotations

import signal
import time

import psutil

from tests.failures.conftest import END_SECONDS, Stack, result_of
from tests.failures.requests import decay
from tests.processes import wait_for


def test_child_killed(stack: Stack) -> None:
    with stack.worker() as worker:
        fit_id = stack.submit(decay(150))
        stack.running(fit_id, steps=20)
        saved = stack.saved_step(fit_id)
        worker.children()[0].kill()
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


def test_child_stopped_past_its_lease_does_not_overwrite(stack: Stack) -> None:
    with stack.worker(concurrency=2) as worker:
        fit_id = stack.submit(decay(200))
        stack.running(fit_id, steps=20)
        stale = _busiest(worker.children())
        stale.suspend()
        stack.running(fit_id, attempt=2)
        stale.resume()
        wait_for(lambda: '"event": "dropped"' in worker.log(), END_SECONDS, "the stale child's giving up")

        record = stack.ended(fit_id)
        assert (record.status, record.attempts, stack.times_ended(fit_id)) == ("succeeded", 2, 1)
        assert result_of(record)["stages"][0]["steps"] == 200
        assert stale.is_running()  # only the fit was dropped


def test_stopped_within_its_lease_nothing_happens(stack: Stack) -> None:
    with stack.worker(lease_seconds=30.0) as worker:
        fit_id = stack.submit(decay(100))
        stack.running(fit_id, steps=5)
        child = worker.children()[0]
        child.suspend()
        time.sleep(1.5)
        child.resume()

        record = stack.ended(fit_id)
        assert (record.status, record.attempts) == ("succeeded", 1)


def test_sigterm_hands_the_fit_back(stack: Stack) -> None:
    with stack.worker(lease_seconds=120.0) as worker:
        fit_id = stack.submit(decay(150))
        stack.running(fit_id, steps=20)
        assert worker.stop() == 0

    handed_back = stack.get(fit_id)
    assert (handed_back.status, handed_back.attempts) == ("running", 1)
    assert stack.saved_step(fit_id) >= 20
    assert stack.redis.hget(f"odefit:fit:{fit_id}", "deaths") in (None, b"0")
    with stack.worker(lease_seconds=120.0):  # a lease that had to lapse would not do so in this test
        record = stack.ended(fit_id)
        assert (record.status, record.attempts, stack.times_ended(fit_id)) == ("succeeded", 2, 1)
        assert stack.steps == sorted(stack.steps)


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


def test_a_lost_message_is_sent_again(stack: Stack) -> None:
    ids = [stack.submit(decay(2)) for _ in range(3)]
    assert stack.redis.delete("cpu") == 1
    with stack.worker():
        for fit_id in ids:
            record = stack.ended(fit_id)
            assert (record.status, record.attempts) == ("succeeded", 1)


def test_doubled_messages_change_nothing(stack: Stack) -> None:
    fit_id = stack.submit(decay(2))
    message = stack.redis.lrange("cpu", 0, -1)[0]
    stack.redis.lpush("cpu", message, message)
    with stack.worker(concurrency=2):
        record = stack.ended(fit_id)
        assert (record.status, record.attempts, stack.times_ended(fit_id)) == ("succeeded", 1, 1)


def test_the_parent_loads_no_numerics(stack: Stack) -> None:
    def loaded(process: psutil.Process) -> bool:
        return any("torch" in entry.path for entry in process.memory_maps())

    with stack.worker() as worker:
        stack.ended(stack.submit(decay(2)))
        assert loaded(worker.children()[0])
        assert not loaded(psutil.Process(worker.pid))
        assert psutil.Process(worker.pid).num_threads() == 1


def test_two_signals_at_once_end_it_as_well(stack: Stack) -> None:
    """As a supervisor does that signals all processes of a group."""
    with stack.worker() as worker:
        fit_id = stack.submit(decay(100))
        stack.running(fit_id, steps=5)
        children = worker.children()
        worker.send(signal.SIGTERM)
        for child in children:
            child.send_signal(signal.SIGTERM)
        assert worker.stop() == 0
    with stack.worker():
        assert stack.ended(fit_id).status == "succeeded"


def _busiest(processes: list[psutil.Process]) -> psutil.Process:
    before = {process: process.cpu_times().user for process in processes}
    time.sleep(0.5)
    return max(processes, key=lambda process: process.cpu_times().user - before[process])
