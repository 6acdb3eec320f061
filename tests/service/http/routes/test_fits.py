"""The routes of fits on a store without workers: what is accepted stays queued."""

from __future__ import annotations

import json
import threading
import time
from datetime import datetime
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odelib.problem.request import FitProblem
from service.http.app import create_app
from service.http.parameters import seconds_to_wait
from service.http.routes.fits import fit_json
from service.http.schemas import Fit, FitList, FitProblemAnswer
from service.settings import ServiceSettings
from tests.service.conftest import served
from tests.service.requests import DECAY, MINIMAL, Json, changed, problem
from worker.settings import WorkerSettings
from worker.states import Queue
from worker.store.connection import connect
from worker.store.leases import LeaseStore
from worker.store.records import FitRecord


def submit(client: httpx.Client, request: Json, **headers: str) -> httpx.Response:
    return client.post(
        "/fits", json=request, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


def submitted(client: httpx.Client, request: Json, **headers: str) -> Json:
    answer = submit(client, request, **headers)
    assert answer.status_code in (200, 202), answer.text
    fit: Json = answer.json()
    return fit


def test_a_fit_is_accepted_with_its_address(client: httpx.Client) -> None:
    answer = submit(client, changed(MINIMAL, "/labels", {"who": "mé"}))
    fit = answer.json()

    assert answer.status_code == 202
    assert answer.headers["location"] == f"/fits/{fit['id']}"
    assert answer.headers["retry-after"].isdigit()
    assert "preference-applied" not in answer.headers
    assert fit == {
        "id": fit["id"],
        "status": "queued",
        "system": "lotka-volterra",
        "created_at": fit["created_at"],
        "labels": {"who": "mé"},
        "attempts": 0,
    }
    assert datetime.fromisoformat(fit["created_at"]).tzinfo is not None
    assert client.get(answer.headers["location"]).json() == fit


def test_a_definition_shows_as_custom(client: httpx.Client) -> None:
    assert submitted(client, DECAY)["system"] == "custom"


@pytest.mark.parametrize(("device", "queue"), [("auto", "cpu"), ("cpu", "cpu"), ("cuda", "gpu")])
def test_only_cuda_goes_to_the_gpu_workers(
    client: httpx.Client, queue_settings: WorkerSettings, device: str, queue: Queue
) -> None:
    fit = submitted(client, changed(DECAY, "/solver/device", device))

    claim = LeaseStore(connect(queue_settings.redis_url, retries=0), queue_settings).claim(queue)
    assert claim is not None
    assert claim.fit_id == fit["id"]


def test_responses_match_their_models(client: httpx.Client) -> None:
    fit = submitted(client, DECAY)

    Fit.model_validate(fit)
    FitList.model_validate(client.get("/fits").json())
    FitProblemAnswer.model_validate(client.get(f"/fits/{fit['id']}/problem").json())


def test_the_problem_comes_back_complete_and_can_be_sent_again(client: httpx.Client) -> None:
    fit = submitted(client, changed(MINIMAL, "/parameters/alpha", 1))
    answer = client.get(f"/fits/{fit['id']}/problem").json()
    request = answer["request"]

    assert request["parameters"]["alpha"] == 1
    assert (request["seed"], request["time_limit_seconds"], request["solver"]["max_steps"]) == (0, 3600, 100_000)
    assert [stage["kind"] for stage in request["stages"]][-2:] == ["adam", "lbfgsb"]
    assert answer["versions"]["odefit"]
    again = submitted(client, request)
    assert client.get(f"/fits/{again['id']}/problem").json()["request"] == request


def test_a_queued_fit_is_cancelled_at_once_and_then_forgotten(client: httpx.Client) -> None:
    address = f"/fits/{submitted(client, DECAY)['id']}"

    problem(client.delete(address), 409, "fit_not_finished")
    first, second = client.post(f"{address}/cancel"), client.post(f"{address}/cancel")
    assert (first.status_code, first.json()["status"]) == (202, "cancelled")
    assert (second.status_code, second.json()["status"]) == (200, "cancelled")
    assert "result" not in first.json()
    assert "started_at" not in first.json()
    forgotten = client.delete(address)
    assert (forgotten.status_code, forgotten.content) == (204, b"")
    for answer in (client.get(address), client.delete(address), client.post(f"{address}/cancel")):
        problem(answer, 404, "fit_not_found")


def test_lists_are_newest_first_page_by_page(client: httpx.Client) -> None:
    ids = [submitted(client, changed(DECAY, "/seed", seed))["id"] for seed in range(5)]

    pages, query = [], {"limit": 2}
    while True:
        page = client.get("/fits", params=query).json()
        pages.append([fit["id"] for fit in page["fits"]])
        if "next_cursor" not in page:
            break
        query = {"limit": 2, "cursor": page["next_cursor"]}

    assert pages == [ids[:2:-1], ids[2:0:-1], ids[:1]]


def test_an_empty_list_has_no_next_page(client: httpx.Client) -> None:
    assert client.get("/fits").json() == {"fits": []}


def test_lists_can_be_filtered(client: httpx.Client) -> None:
    custom, cancelled, named = (submitted(client, request)["id"] for request in (DECAY, DECAY, MINIMAL))
    client.post(f"/fits/{cancelled}/cancel")

    def ids(**query: str) -> list[str]:
        return [fit["id"] for fit in client.get("/fits", params=query).json()["fits"]]

    assert ids(system="custom") == [cancelled, custom]
    assert ids(status="queued") == [named, custom]
    assert ids(system="custom", status="queued") == [custom]
    assert ids(system="lorenz") == []


def test_the_same_key_and_body_give_the_same_fit(client: httpx.Client) -> None:
    first = submitted(client, changed(DECAY, "/seed", 1), Idempotency_Key="k 1")
    spaced = json.dumps(dict(reversed(changed(DECAY, "/seed", 1).items())), indent=3).replace("2.0", "2")
    again = client.post("/fits", content=spaced, headers={"Content-Type": "application/json", "Idempotency-Key": "k 1"})

    assert (again.status_code, again.json()["id"]) == (202, first["id"])
    assert submitted(client, changed(DECAY, "/seed", 1), Idempotency_Key="k 2")["id"] != first["id"]
    assert submitted(client, changed(DECAY, "/seed", 1))["id"] != first["id"]


def test_the_same_key_with_another_body_is_422(client: httpx.Client) -> None:
    submitted(client, DECAY, Idempotency_Key="key")
    body = problem(submit(client, MINIMAL, Idempotency_Key="key"), 422, "idempotency_conflict")

    assert [entry["parameter"] for entry in body["errors"]] == ["Idempotency-Key"]


def test_a_key_lives_as_long_as_its_fit(client: httpx.Client) -> None:
    first = submitted(client, DECAY, Idempotency_Key="key")
    client.post(f"/fits/{first['id']}/cancel")
    ended = submit(client, DECAY, Idempotency_Key="key")
    client.delete(f"/fits/{first['id']}")

    assert (ended.status_code, ended.json()["id"], ended.json()["status"]) == (200, first["id"], "cancelled")
    assert submitted(client, DECAY, Idempotency_Key="key")["id"] != first["id"]


@pytest.mark.parametrize("key", ["", "k" * 256, "ключ"])
def test_an_invalid_key_is_422(client: httpx.Client, key: str) -> None:
    answer = client.post("/fits", json=DECAY, headers={b"Idempotency-Key": key.encode()})

    assert problem(answer, 422, "invalid_parameter")["errors"][0]["parameter"] == "Idempotency-Key"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        (["wait=30"], 30),
        (["wait=0"], 0),
        (["respond-async, Wait = 5"], 5),
        (["respond-async", 'wait="7"; foo=bar']  , 7),
        (["wait=61"], 60),
        (["wait=99999999999999999999"], 60),
        (["wait=2, wait=9"], 2),
        ([], None),
        (["respond-async"], None),
        (["wait"], None),
        (["wait="], None),
        (["wait=soon"], None),
        (["wait=-1"], None),
        (["wait=1.5"], None),
        (["wait=-1e9x"], None),
        (["wait=٣"], None),
        ([";;;,="], None),
        ([""], None),
    ],
)  # fmt: skip
def test_prefer_wait_is_clipped_and_ignored_if_malformed(headers: list[str], seconds: int | None) -> None:
    assert seconds_to_wait(headers, 60.0) == seconds


@given(st.lists(st.text()))
def test_any_prefer_header_is_read(headers: list[str]) -> None:
    seconds = seconds_to_wait(headers, 60.0)

    assert seconds is None or 0 <= seconds <= 60


def test_waiting_ends_with_the_time(client: httpx.Client) -> None:
    began = time.monotonic()
    answer = submit(client, DECAY, Prefer="wait=1")

    assert time.monotonic() - began >= 1
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert answer.headers["preference-applied"] == "wait=1"


def test_waiting_ends_with_the_fit(client: httpx.Client, queue_settings: WorkerSettings) -> None:
    """Two clients wait for one fit, and a third cancels it."""
    answers: list[httpx.Response] = []

    def wait() -> None:
        headers = {"Prefer": "wait=50", "Idempotency-Key": "key"}
        answers.append(httpx.post(f"{client.base_url}/fits", json=DECAY, headers=headers, timeout=60))

    waiting = [threading.Thread(target=wait) for _ in range(2)]
    for thread in waiting:
        thread.start()
    while not (fits := client.get("/fits").json()["fits"]):
        time.sleep(0.02)
    client.post(f"/fits/{fits[0]['id']}/cancel")
    for thread in waiting:
        thread.join()

    assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [(200, "cancelled")] * 2


def test_a_full_queue_is_429(redis_url: str) -> None:
    settings = WorkerSettings(redis_url=redis_url, max_queued_fits=2)
    with served(create_app(ServiceSettings(), settings)) as client:
        accepted = [submit(client, DECAY).status_code for _ in range(2)]
        refused = submit(client, DECAY)

    assert accepted == [202, 202]
    problem(refused, 429, "queue_full")
    assert refused.headers["retry-after"].isdigit()


def test_the_stored_result_is_sent_unchanged() -> None:
    record = FitRecord(
        id="1", status="succeeded", system="custom", created_at="2026-01-01T00:00:00.000000Z", labels={}, attempts=1,
        started_at="2026-01-01T00:00:01.000000Z", finished_at=None, expires_at=None, progress=None, error=None,
        result=b'{"loss":1.50}',
    )  # fmt: skip

    text = fit_json(record)

    assert text.endswith(b', "result": {"loss":1.50}}')
    assert list(json.loads(text)) == [
        "id", "status", "system", "created_at", "started_at", "labels", "attempts", "result",
    ]  # fmt: skip


def test_the_returned_problem_is_a_valid_problem(client: httpx.Client) -> None:
    fit = submitted(client, DECAY)
    request: dict[str, Any] = client.get(f"/fits/{fit['id']}/problem").json()["request"]

    assert FitProblem.model_validate(request).model_dump(mode="json", exclude_none=True) == request
