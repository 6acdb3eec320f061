"""The metrics, and the ids of requests in responses and logs."""

from __future__ import annotations

import json
import re

import httpx
import pytest

from tests.processes import ApiProcess
from tests.service.requests import DECAY, changed, problem
from worker.attempt_endings import Ending, problem_json
from worker.settings import WorkerSettings
from worker.store.connection import connect
from worker.store.leases import LeaseStore
from worker.store.upkeep import UpkeepStore

LINE = re.compile(r'(odefit_\w+)(\{\w+="[^"]*"(?:,\w+="[^"]*")*\})? (-?[0-9.e+]+)')


def read(client: httpx.Client) -> dict[str, float]:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = {}
    for line in answer.text.splitlines():
        if not line.startswith("#"):
            parsed = LINE.fullmatch(line)
            assert parsed is not None, line
            found[parsed[1] + (parsed[2] or "")] = float(parsed[3])
    return found


def test_an_empty_service_has_metrics(client: httpx.Client) -> None:
    numbers = read(client)

    assert numbers['odefit_queued_fits{queue="cpu"}'] == 0
    assert numbers["odefit_fit_run_seconds_count"] == 0
    assert numbers["odefit_redis_memory_bytes"] > 1e5
    assert numbers["odefit_api_memory_bytes"] > 1e7


def test_ends_are_counted(client: httpx.Client, queue_settings: WorkerSettings) -> None:
    for _ in range(4):
        client.post("/fits", json=DECAY)
    redis = connect(queue_settings.redis_url, retries=0)
    leases = LeaseStore(redis, queue_settings)
    UpkeepStore(redis, queue_settings).heartbeat("one", gpu=False)
    stages = json.dumps({"adam": 1.5, "lbfgsb": 0.25})
    result = '{"outcome":{"code":"converged","message":""}}'
    endings = [Ending("succeeded", result, stages=stages), Ending("failed", error=problem_json("no_gpu", "t", "d"))]
    for ending in endings:
        claim = leases.claim("cpu")
        assert claim is not None
        leases.finish(claim, ending, "")
    numbers = read(client)

    assert numbers['odefit_queued_fits{queue="cpu"}'] == 2
    assert numbers['odefit_oldest_queued_fit_seconds{queue="cpu"}'] >= 0
    assert numbers['odefit_stored_fits{status="succeeded"}'] == 1
    assert numbers['odefit_ended_fits_total{status="succeeded",outcome="converged"}'] == 1
    assert numbers['odefit_ended_fits_total{status="failed",outcome="none"}'] == 1
    assert numbers['odefit_failed_fits_total{code="no_gpu"}'] == 1
    assert numbers['odefit_stage_seconds_total{stage="adam",outcome="converged"}'] == 1.5
    assert numbers['odefit_stages_total{stage="lbfgsb",outcome="converged"}'] == 1
    assert numbers['odefit_fit_run_seconds_bucket{le="10"}'] == numbers["odefit_fit_run_seconds_count"] == 2
    assert numbers["odefit_workers"] == 1
    assert numbers["odefit_worker_memory_bytes"] > 1e6


def test_every_metric_has_help_and_type(client: httpx.Client) -> None:
    text = client.get("/metrics").text
    for kind in ("HELP", "TYPE"):
        described = re.findall(rf"^# {kind} (\w+)", text, re.MULTILINE)
        assert len(described) == len(set(described))
        for name in {match[1] for match in LINE.finditer(text)}:
            assert re.sub("_(bucket|sum|count)$", "", name) in described or name in described, name


@pytest.mark.parametrize("given", ["abc", "a" * 100, "4bf92f35-77b3.x:1"])
def test_a_valid_request_id_is_kept(client: httpx.Client, given: str) -> None:
    assert client.get("/health/live", headers={"X-Request-Id": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a" * 101, "a b", 'x","level":"error', None])
def test_another_is_replaced(client: httpx.Client, given: str | None) -> None:
    answers = [client.get("/health/live", headers={"X-Request-Id": given} if given is not None else {}) for _ in "12"]
    ids = [answer.headers["x-request-id"] for answer in answers]

    assert ids[0] != ids[1]
    assert given not in ids


def test_the_log_has_ids_of_requests_and_fits(redis_url: str) -> None:
    with ApiProcess(redis_url, access_log=True) as api, api.client() as client:
        answer = client.post(
            "/fits", json=changed(DECAY, "/labels", {"private": "words"}), headers={"X-Request-Id": "r1"}
        )
        problem(client.get("/fits/none"), 404, "fit_not_found")
        text = api.log()
    lines = [json.loads(line) for line in text.splitlines()]

    [submitted] = [line for line in lines if line["event"] == "submitted"]
    assert (submitted["request"], submitted["fit"]) == ("r1", answer.json()["id"])
    requests = {line["request"]: (line["path"], line["status"]) for line in lines if line["event"] == "request"}
    assert requests["r1"] == ("/fits", 202)
    assert ("/fits/none", 404) in requests.values()
    assert "words" not in text
    claim = LeaseStore(connect(redis_url, retries=0), WorkerSettings(redis_url=redis_url)).claim("cpu")
    assert claim is not None
    assert claim.request_id == "r1"
