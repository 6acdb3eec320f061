"""Fits that exceed their memory limit end with an error that says so, and the worker runs the next one."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import psutil

from tests.failures.conftest import END_SECONDS, Stack
from tests.failures.requests import decay
from tests.processes import WorkerProcess, is_alive, wait_for, wait_for_end
from worker.queue import FitRecord

MEGABYTES = 200


def at_once() -> dict[str, Any]:
    """States and their derivatives at all times, in one piece: 40 columns and the state, 20 rows, 1.3 GB."""
    states = [f"x{i}" for i in range(20)]
    rates = [f"k{i}" for i in range(20)]
    times = [1e-3 * i for i in range(200_000)]
    return {
        "system": {
            "states": states,
            "parameters": rates,
            "equations": {state: f"-{rate}*{state}" for state, rate in zip(states, rates, strict=True)},
        },
        "data": {"times": times, "values": {"x0": [1.0] * len(times)}},
        "parameters": dict.fromkeys(rates, 0.01),
        "initial_state": dict.fromkeys(states, 1.0),
        "solver": {"engine": "compiled"},
    }


def bit_by_bit() -> dict[str, Any]:
    """Backpropagation keeps every operation of every step until the end, which is a million steps away."""
    return {
        "system": "lorenz",
        "data": {"times": [0.0, 5000.0], "values": {"x": [1.0, 1.0]}},
        "parameters": {"sigma": 10.0, "rho": 28.0, "beta": 2.6667},
        "initial_state": {"x": 1.0, "y": 1.0, "z": 20.0},
        "solver": {"engine": "torchdiffeq", "rtol": 1e-9, "atol": 1e-9, "max_steps": 10_000_000},
    }


def check(record: FitRecord) -> None:
    assert (record.status, record.attempts, record.result) == ("failed", 1, None)
    assert record.error is not None
    assert record.error["type"] == "urn:odefit:error:out_of_memory"
    for word in (f"{MEGABYTES} MB", "number of times", "predictions", "ODEFIT_FIT_MEMORY_MB"):
        assert word in record.error["detail"]


def served(stack: Stack) -> bool:
    return stack.ended(stack.submit(decay(2))).status == "succeeded"


def memory_of(worker: WorkerProcess) -> float:
    """Of all its children together, in MB."""
    total = 0.0
    for child in worker.children():
        with suppress(psutil.NoSuchProcess):  # it ends just now
            total += child.memory_info().rss / 2**20
    return total


def test_fits_that_exceed_their_memory_limit(stack: Stack) -> None:
    with stack.worker(fit_memory_mb=MEGABYTES) as worker:
        child = worker.children()[0]
        before = memory_of(worker)
        check(stack.ended(stack.submit(at_once())))
        assert is_alive(child)  # the demand was refused, and nothing had been taken
        assert served(stack)

        fit_id = stack.submit(bit_by_bit())
        most = before

        def ended() -> bool:
            nonlocal most
            most = max(most, memory_of(worker))
            return stack.get(fit_id).status == "failed"

        wait_for(ended, END_SECONDS, "the end of the fit")
        check(stack.get(fit_id))
        assert "takes_too_much_memory" in worker.events(fit_id)
        assert most - before < 4 * MEGABYTES
        wait_for_end(child)
        assert served(stack)
        assert stack.times_ended(fit_id) == 1
