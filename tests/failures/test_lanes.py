"""Long fits on all workers: a small one starts soon, and the long ones go on."""

from __future__ import annotations

import time

import pytest

from tests.failures.conftest import Stack
from tests.failures.requests import decay
from tests.processes import wait_for
from tests.service.requests import DECAY, changed

SMALL = changed(DECAY, "/stages", [{"kind": "lbfgsb", "steps": 2}], "/predictions", [])


@pytest.mark.timeout(300)
def test_a_small_fit_does_not_wait_behind_long_ones(stack: Stack) -> None:
    with stack.worker(concurrency=2) as worker:
        long = [stack.submit(decay(1_000_000)) for _ in range(6)]
        wait_for(lambda: len(worker.computing()) == 2, 120, "two running fits")
        running = [fit_id for fit_id in long if stack.get(fit_id).status == "running"]
        for fit_id in running:
            stack.running(fit_id, steps=3)
        time.sleep(2.5)  # longer than a slice
        began = time.monotonic()
        for _ in range(3):
            assert stack.ended(stack.submit(SMALL)).status == "succeeded"
        seconds = time.monotonic() - began

        assert seconds < 60  # each some 2 s on a quiet machine; the long ones take hours
        made_way = [fit_id for fit_id in long if "makes_way" in worker.events(fit_id)]
        assert made_way
        assert all(stack.get(fit_id).status in ("queued", "running") for fit_id in long)
        assert all("does_not_stop" not in worker.events(fit_id) for fit_id in long)
        for fit_id in long:
            stack.queue.cancel(fit_id)
        assert {stack.ended(fit_id).status for fit_id in long} == {"cancelled"}
