"""Simulations over HTTP, with a worker that starts the processes for them."""

from __future__ import annotations

import math
import statistics
import time

import httpx
import psutil
import pytest

from odelib.result import SimulationResult
from tests.end_to_end.conftest import Stack
from tests.processes import ApiProcess, is_alive, wait_for
from tests.service.requests import DECAY, MINIMAL, REMOVED, Json, changed, problem

PLAIN = changed(DECAY, "/data/values", REMOVED, "/data/sigma", REMOVED, "/stages", REMOVED)
# Never ends by itself: ten million oscillations, at a tight tolerance.
ENDLESS: Json = {
    "system": {"states": ["x"], "parameters": ["w"], "equations": {"x": "cos(w*t)"}},
    "data": {"times": [0.0, 1.0]},
    "parameters": {"w": 1e9},
    "initial_state": {"x": 0.0},
    "solver": {"max_steps": 2**31 - 1, "method": "dopri5"},
}


def simulated(client: httpx.Client, request: Json) -> Json:
    """The answer; the first one may come too late, because the process starts and compiles."""

    def ask() -> httpx.Response | None:
        answer = client.post("/simulations", json=request)
        return answer if answer.status_code != 504 else None

    answer = wait_for(ask, 300, "an answer in time")
    assert answer.status_code == 200, answer.text
    body: Json = answer.json()
    SimulationResult.model_validate(body)
    return body


def simulators(stack: Stack) -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process(stack.worker.pid).children()
        if "worker.simulations.process" in child.cmdline()
    ]


def test_trajectories_are_those_at_the_guesses(stack: Stack) -> None:
    body = simulated(stack.client, PLAIN)

    [trajectory] = body["trajectories"]
    assert trajectory["name"] == "data"
    assert trajectory["initial_state"] == {"x": {"value": 2.0}}
    assert trajectory["times"] == [0.0, 1.0, 2.0]
    assert trajectory["states"]["x"] == pytest.approx([2 * math.exp(-0.4 * t) for t in trajectory["times"]], rel=1e-8)
    assert trajectory["values"]["seen"] == pytest.approx([2 * x for x in trajectory["states"]["x"]])
    assert trajectory["dense"]["times"][0] == 0.0
    assert "residuals" not in trajectory
    assert body["solver"]["engine"] == "compiled"


def test_a_known_system_answers_quickly(stack: Stack) -> None:
    simulated(stack.client, MINIMAL)
    seconds = []
    for _ in range(30):
        began = time.monotonic()
        simulated(stack.client, MINIMAL)
        seconds.append(time.monotonic() - began)

    assert statistics.median(seconds) < 0.5  # some milliseconds on a quiet machine


def test_experiments_fail_one_by_one(stack: Stack) -> None:
    blows_up = changed(PLAIN, "/system/equations/x", "k*x**2", "/data", REMOVED, "/predictions", REMOVED)
    blows_up["experiments"] = [
        {"name": "short", "times": [0.0, 0.1]},
        {"name": "long", "times": [0.0, 100.0]},
        {"name": "measured", "times": [0.0, 0.2], "values": {"seen": [1.0, None]}},
    ]
    short, long, measured = simulated(stack.client, blows_up)["trajectories"]

    assert "error" not in short
    assert len(measured["values"]["seen"]) == 2
    assert long["error"]["code"] in ("max_steps", "step_too_small", "not_finite")
    assert "states" not in long


@pytest.mark.parametrize(
    ("request_", "pointers"),
    [
        (changed(PLAIN, "/data/times", []), ["/data/times"]),
        (changed(PLAIN, "/data/times", [1.0, 0.0]), ["/data/times/1"]),
        (changed(PLAIN, "/data", REMOVED), ["/data/times"]),
        (changed(PLAIN, "/parameters/k", REMOVED), ["/parameters/k"]),
        (changed(PLAIN, "/solver/device", "cuda"), ["/solver/device"]),
        (changed(PLAIN, "/data/values", {"seen": [1.0]}), ["/data/values/seen"]),
        (changed(PLAIN, "/data/times", [0.0] * 500_001), ["/data/times"]),
        (changed(PLAIN, "/data/valeus", {}), ["/data/valeus"]),
        (changed(PLAIN, "/data", REMOVED, "/experiments", []), ["/experiments"]),
        ([], [""]),
    ],
)
def test_bad_requests_are_422_with_pointers(stack: Stack, request_: Json, pointers: list[str]) -> None:
    body = problem(stack.client.post("/simulations", json=request_), 422, "invalid_request")

    assert [error["pointer"] for error in body["errors"]] == pointers


def test_a_simulation_ends_when_its_caller_goes_away(stack: Stack) -> None:
    simulated(stack.client, PLAIN)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{stack.url}/simulations", json=ENDLESS, timeout=2)
    began = time.monotonic()
    simulated(stack.client, PLAIN)

    assert time.monotonic() - began < 9


def test_a_long_simulation_is_504(stack: Stack) -> None:
    problem(stack.client.post("/simulations", json=ENDLESS), 504, "simulation_timeout")


def test_without_a_worker_it_is_503_and_a_full_queue_429(redis_url: str) -> None:
    from worker.store.connection import connect  # noqa: PLC0415
    from worker.store.keys import KEYS  # noqa: PLC0415

    with ApiProcess(redis_url, max_queued_simulations=1, simulation_seconds=1) as api, api.client() as client:
        problem(client.post("/simulations", json=PLAIN), 503, "no_worker")
        redis = connect(redis_url, retries=0)
        redis.zadd(KEYS["WORKERS"], {"pretended": 9e15})
        redis.rpush(KEYS["SIMULATIONS"], "another")
        full = client.post("/simulations", json=PLAIN)
        problem(full, 429, "simulations_full")
        assert full.headers["retry-after"]
        redis.delete(KEYS["SIMULATIONS"])
        problem(client.post("/simulations", json=PLAIN), 504, "simulation_timeout")
        assert redis.llen(KEYS["SIMULATIONS"]) == 0
        assert not list(redis.scan_iter(KEYS["SIMULATION"] + "*"))


def test_a_killed_process_is_replaced(stack: Stack) -> None:
    simulated(stack.client, PLAIN)
    for process in simulators(stack):
        process.kill()
        wait_for(lambda process=process: not is_alive(process), 30, "its end")

    assert simulated(stack.client, PLAIN)["trajectories"]
