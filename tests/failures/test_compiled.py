"""One call of the compiled engine that takes minutes: the worker stays live and responsive."""

from __future__ import annotations

import time
from typing import Any

from tests.failures.conftest import PATIENT, SHORT, Stack, result_of
from tests.failures.requests import decay
from tests.processes import is_alive

QUICK_SECONDS = 10.0  # 2 on a machine that is not busy


def oscillator(**more: Any) -> dict[str, Any]:
    """x = cos(w·t), with w near 10,000 for all time: a solve to t = 100,000 goes round 160 million times."""
    return {
        "system": {"states": ["x", "v"], "parameters": ["w"], "equations": {"x": "v", "v": "-w**2*x"}},
        "data": {"times": [0.0, 1e-5, 2e-5], "values": {"x": [1.0, 0.99, 0.98]}},
        "parameters": {"w": 9990.0},
        "initial_state": {"x": {"guess": 1.0, "fixed": True}, "v": {"guess": 0.0, "fixed": True}},
        "solver": {"engine": "compiled", "max_steps": 2_000_000_000},
        **more,
    }


def cancel(stack: Stack, fit_id: str) -> Any:
    asked = time.monotonic()
    assert stack.queue.cancel(fit_id).accepted
    record = stack.ended(fit_id)
    assert time.monotonic() - asked < QUICK_SECONDS
    return record


def test_a_gradient_of_minutes_keeps_its_lease_and_is_cancelled_in_time(stack: Stack) -> None:
    with stack.worker(**PATIENT) as worker:
        data = {"times": [0.0, 1e5], "values": {"x": [1.0, 0.5]}}
        fit_id = stack.submit(oscillator(data=data))
        child = worker.children()[0]
        stack.running(fit_id)
        time.sleep(3 * SHORT["lease_seconds"])
        assert (stack.get(fit_id).status, stack.get(fit_id).attempts) == ("running", 1)
        record = cancel(stack, fit_id)

        assert (record.status, record.attempts, record.error, record.result) == ("cancelled", 1, None, None)
        assert is_alive(child)  # it listened, so it was not killed
        assert '"event": "does_not_stop"' not in worker.log()
        assert stack.ended(stack.submit(decay(2))).status == "succeeded"


def test_a_solve_of_minutes_after_the_fit_shows_progress_and_keeps_the_best_point(stack: Stack) -> None:
    with stack.worker(**PATIENT) as worker:
        predictions = [{"name": "much later", "times": [0.0, 1e5]}]
        fit_id = stack.submit(oscillator(stages=[{"kind": "lbfgsb", "steps": 20}], predictions=predictions))
        child = worker.children()[0]
        stack.running(fit_id, steps=1)
        time.sleep(2 * SHORT["lease_seconds"])
        shown = stack.get(fit_id)
        assert (shown.status, shown.attempts) == ("running", 1)
        assert shown.progress is not None
        assert shown.progress["stage"] == "lbfgsb"
        record = cancel(stack, fit_id)

        assert (record.status, record.attempts, record.error) == ("cancelled", 1, None)
        result = result_of(record)
        assert result["outcome"]["code"] == "cancelled"
        assert 5000 < result["parameters"]["w"]["value"] < 20_000
        assert is_alive(child)


def test_the_time_limit_ends_a_gradient_of_minutes(stack: Stack) -> None:
    with stack.worker():
        data = {"times": [0.0, 1e5], "values": {"x": [1.0, 0.5]}}
        began = time.monotonic()
        record = stack.ended(stack.submit(oscillator(data=data, time_limit_seconds=2.0)))
        assert time.monotonic() - began < 2 + QUICK_SECONDS
        assert (record.status, record.attempts) == ("failed", 1)
        assert record.error is not None
        assert record.error["type"] == "urn:odefit:error:time_limit"
