"""Definitions that take minutes to compile, which cannot be interrupted, and one that is too large to compile."""

from __future__ import annotations

import time
import uuid
from typing import Any

from tests.failures.conftest import SHORT, Stack
from tests.failures.requests import decay
from tests.processes import WorkerProcess, wait_for_end

Shared = tuple[Stack, WorkerProcess]


def chain(size: int, **more: Any) -> dict[str, Any]:
    """Neighbours coupled by products, 24 operations a state; 600 states take a minute or more. No two are the same."""
    states, rates = [f"y{i}" for i in range(size)], [f"k{i}" for i in range(size)]
    flows = [f"k{i}*y{i}*(1 + y{(i + 1) % size})" for i in range(size)]
    own = uuid.uuid4().int % 10**9  # or a second run would find it compiled
    return {
        "system": {
            "states": states,
            "parameters": rates,
            "equations": {f"y{i}": f"{flows[i - 1]} - {flows[i]} - {own}" for i in range(size)},
        },
        "data": {"times": [0.0, 1.0], "values": {"y0": [1.0, 0.5]}},
        "parameters": dict.fromkeys(rates, 1.0),
        "initial_state": dict.fromkeys(states, 0.1),
        "solver": {"engine": "compiled"},
        **more,
    }


def product(factors: int) -> dict[str, Any]:
    """An expression of less than 10,000 characters whose derivatives have a million operations."""
    names = [f"k{i}" for i in range(factors)]
    return {
        "system": {"states": ["y"], "parameters": names, "equations": {"y": "*".join([*names, "y"])}},
        "data": {"times": [0.0, 1.0], "values": {"y": [1.0, 0.5]}},
        "parameters": dict.fromkeys(names, 1.0),
        "initial_state": {"y": 1.0},
    }


def test_a_compilation_of_minutes_is_cancelled_in_time(shared: Shared) -> None:
    stack, worker = shared
    fit_id = stack.submit(chain(600))
    stack.running(fit_id)
    child = worker.computing_child()
    time.sleep(2 * SHORT["lease_seconds"])
    assert (stack.get(fit_id).status, stack.get(fit_id).attempts) == ("running", 1)  # its lease was kept
    asked = time.monotonic()
    stack.queue.cancel(fit_id)
    record = stack.ended(fit_id)

    assert time.monotonic() - asked < 15  # 2 s on a machine that is not busy
    assert (record.status, record.attempts, record.error, record.result) == ("cancelled", 1, None, None)
    wait_for_end(child)
    assert "does_not_stop" in worker.events(fit_id)
    assert stack.ended(stack.submit(decay(2))).status == "succeeded"


def test_the_time_limit_ends_a_compilation_of_minutes(shared: Shared) -> None:
    stack, worker = shared
    fit_id = stack.submit(chain(600, time_limit_seconds=3.0))
    stack.running(fit_id)
    child = worker.computing_child()
    record = stack.ended(fit_id)

    assert (record.status, record.attempts, stack.times_ended(fit_id)) == ("failed", 1, 1)
    assert record.error is not None
    assert record.error["type"] == "urn:odefit:error:time_limit"
    assert "compiled" in record.error["detail"]
    wait_for_end(child)  # it ends after its record does
    assert "does_not_stop" in worker.events(fit_id)
    assert stack.ended(stack.submit(decay(2))).status == "succeeded"


def test_a_system_too_large_to_compile_fails_at_once(shared: Shared) -> None:
    stack, worker = shared
    before = {child.pid for child in worker.children()}
    record = stack.ended(stack.submit(product(1400)))

    assert (record.status, record.attempts, record.result) == ("failed", 1, None)
    assert record.error is not None
    assert record.error["type"] == "urn:odefit:error:system_too_large"
    assert "torchdiffeq" in record.error["detail"]
    assert before <= {child.pid for child in worker.children()}
