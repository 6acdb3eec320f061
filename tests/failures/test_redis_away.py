"""Redis killed with -9 and started again: the fit goes on without it, and ends once."""

from __future__ import annotations

import time

from tests.failures.conftest import END_SECONDS, Stack, result_of
from tests.failures.requests import decay
from tests.processes import kill_redis, wait_for


def test_killed_in_the_middle_of_a_fit(stack: Stack) -> None:
    with stack.worker() as worker:
        caught = stack.caught(worker, lambda work: decay(200 * work))
        kill_redis(stack.server)
        caught.child.resume()
        time.sleep(2.5)  # longer than the lease
        stack.server.start()

        record = stack.ended(caught.fit_id)
        assert (record.status, record.attempts) == ("succeeded", 1)
        assert result_of(record)["stages"][0]["steps"] == 200 * caught.work
        assert '"event": "pulse_without_store"' in worker.log()
        assert stack.ended(stack.submit(decay(2))).status == "succeeded"


def test_away_when_the_fit_ends(stack: Stack) -> None:
    with stack.worker() as worker:
        caught = stack.caught(worker, lambda work: decay(60 * work))
        kill_redis(stack.server)
        caught.child.resume()
        wait_for(lambda: '"event": "save_waits_for_store"' in worker.log(), END_SECONDS, "the end of the fit")
        stack.server.start()

        record = stack.ended(caught.fit_id)
        assert (record.status, record.attempts) == ("succeeded", 1)
        assert result_of(record)["stages"][0]["steps"] == 60 * caught.work


def test_away_when_the_worker_stops(stack: Stack) -> None:
    with stack.worker() as worker:
        fit_id = stack.submit(decay(1_000_000))
        stack.running(fit_id, steps=5)
        kill_redis(stack.server)
        assert worker.stop(60) == 0
    stack.server.start()
    with stack.worker():
        stack.running(fit_id, attempt=2)
        stack.queue.cancel(fit_id)
        assert stack.ended(fit_id).status == "cancelled"
