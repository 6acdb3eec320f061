"""How responses are read: parts of results, waiting, ETags, filters, and validation alone."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from service.http.parameters import matches
from service.http.schemas import PartialFit, ValidRequest
from tests.service.http.routes.test_fits import submit, submitted
from tests.service.requests import DECAY, MINIMAL, REMOVED, changed, problem
from worker.attempt_endings import Ending
from worker.settings import WorkerSettings
from worker.store.connection import connect
from worker.store.leases import LeaseStore

RESULT = '{"loss":1.5,"parameters":{"k":{"value":0.4}},"warnings":[],"outcome":{"code":"converged","message":"m"}}'


def end_with_result(settings: WorkerSettings) -> None:
    """Let the oldest fit end as a worker would."""
    leases = LeaseStore(connect(settings.redis_url, retries=0), settings)
    claim = leases.claim("cpu")
    assert claim is not None
    assert leases.finish(claim, Ending("succeeded", RESULT), "")


def test_validation_alone_stores_nothing(client: httpx.Client) -> None:
    answer = client.post("/fits?validate_only=true", json=MINIMAL)

    assert answer.status_code == 200
    ValidRequest.model_validate(answer.json())
    assert answer.json()["valid"] is True
    assert answer.json()["status"] == "valid"  # the tag of the union with a fit
    assert client.get("/fits").json() == {"fits": []}
    fit = submitted(client, answer.json()["request"])
    assert client.get(f"/fits/{fit['id']}/problem").json()["request"] == answer.json()["request"]


@pytest.mark.parametrize(
    ("body", "status"), [(b"{", 400), (b'{"system": "lorenz"}', 422), (b" " * (16 * 2**20 + 1), 413)]
)
def test_validation_alone_refuses_what_a_submission_would(client: httpx.Client, body: bytes, status: int) -> None:
    headers = {"Content-Type": "application/json"}
    validated = client.post("/fits?validate_only=true", content=body, headers=headers)
    answered = client.post("/fits", content=body, headers=headers)

    assert (validated.status_code, validated.json()) == (status, answered.json())


def test_the_idempotency_key_is_validated_too(client: httpx.Client) -> None:
    headers = {"Idempotency-Key": "k" * 256}
    asked = client.post("/fits", json=MINIMAL, headers=headers)
    validated = client.post("/fits?validate_only=true", json=MINIMAL, headers=headers)

    assert (validated.status_code, validated.text) == (asked.status_code, asked.text)
    assert asked.status_code == 422


@pytest.mark.parametrize("query", ["validate_only=perhaps", "validate=true", "validate_only="])
def test_a_bad_query_of_a_submission_is_422(client: httpx.Client, query: str) -> None:
    body = problem(client.post(f"/fits?{query}", json=MINIMAL), 422, "invalid_parameter")

    assert body["errors"][0]["parameter"] == query.partition("=")[0]


def test_reading_waits_for_the_end(client: httpx.Client, queue_settings: WorkerSettings) -> None:
    fit = submitted(client, DECAY)
    timer = threading.Timer(0.3, end_with_result, [queue_settings])
    timer.start()
    ended = client.get(f"/fits/{fit['id']}", headers={"Prefer": "wait=50"})
    timer.join()

    assert (ended.status_code, ended.json()["status"]) == (200, "succeeded")
    assert ended.headers["preference-applied"] == "wait=50"
    assert "retry-after" not in ended.headers


def test_reading_waits_no_longer_than_asked(client: httpx.Client) -> None:
    fit = submitted(client, DECAY)
    began = time.monotonic()
    answer = client.get(f"/fits/{fit['id']}", headers={"Prefer": "wait=1"})

    assert 1 <= time.monotonic() - began < 20
    assert answer.json()["status"] == "queued"
    assert int(answer.headers["retry-after"]) >= 1


def test_fields_select_parts_of_the_result(client: httpx.Client, queue_settings: WorkerSettings) -> None:
    fit = submitted(client, DECAY)
    assert "result" not in client.get(f"/fits/{fit['id']}?fields=loss").json()
    end_with_result(queue_settings)

    def parts(query: str) -> set[str]:
        answer = client.get(f"/fits/{fit['id']}?{query}").json()
        assert answer["status"] == "succeeded"
        return set(answer["result"])

    assert parts("fields=loss") == {"loss"}
    assert parts("fields=loss,parameters") == parts("fields=loss&fields=parameters") == {"loss", "parameters"}
    assert parts("fields=profiles") == set()
    assert parts("") == {"loss", "parameters", "warnings", "outcome"}


@pytest.mark.parametrize("value", ["los", "", "loss,", "loss,loss;parameters"])
def test_unknown_fields_are_422(client: httpx.Client, value: str) -> None:
    fit = submitted(client, DECAY)
    body = problem(client.get(f"/fits/{fit['id']}?fields={value}"), 422, "invalid_parameter")

    assert body["errors"][0]["parameter"] == "fields"


def test_an_unchanged_fit_is_304(client: httpx.Client, queue_settings: WorkerSettings) -> None:
    path = f"/fits/{submitted(client, DECAY)['id']}"
    first = client.get(path)
    again = client.get(path, headers={"If-None-Match": first.headers["etag"]})

    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    end_with_result(queue_settings)
    ended = client.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (ended.status_code, ended.json()["status"]) == (200, "succeeded")
    part = client.get(f"{path}?fields=loss", headers={"If-None-Match": ended.headers["etag"]})
    assert part.status_code == 200


@pytest.mark.parametrize(
    ("header", "expected"),
    [(None, False), ("", False), ("*", True), ('W/"a"', True), ('"a"', True), ('"b", W/"a"', True), ("a", False)],
)
def test_etags_are_compared_weakly(header: str | None, expected: bool) -> None:
    assert matches(header, 'W/"a"') is expected


def test_lists_are_filtered_by_labels(client: httpx.Client) -> None:
    both = submitted(client, changed(DECAY, "/labels", {"run": "a:b", "who": "mé"}))["id"]
    one = submitted(client, changed(DECAY, "/labels", {"run": "a:b"}))["id"]
    submitted(client, DECAY)

    def ids(*labels: str) -> list[str]:
        return [fit["id"] for fit in client.get("/fits", params={"label": labels}).json()["fits"]]

    assert ids("run:a:b") == [one, both]
    assert ids("run:a:b", "who:mé") == [both]
    assert ids("run:a") == ids("ru:a:b") == []


def test_filtered_lists_have_pages(client: httpx.Client) -> None:
    wanted = [
        fit["id"]
        for i in range(6)
        if (fit := submitted(client, changed(DECAY, "/labels", {"kind": f"{i % 2}"})))["labels"]["kind"] == "1"
    ]
    first = client.get("/fits", params={"label": "kind:1", "limit": 2}).json()
    last = client.get("/fits", params={"label": "kind:1", "limit": 2, "cursor": first["next_cursor"]}).json()

    assert [fit["id"] for fit in first["fits"] + last["fits"]] == wanted[::-1]
    assert "next_cursor" not in last


def test_lists_are_filtered_by_time(client: httpx.Client) -> None:
    fits = [submitted(client, DECAY) for _ in range(3)]

    def ids(**query: str) -> list[str]:
        return [fit["id"] for fit in client.get("/fits", params=query).json()["fits"]]

    middle = fits[1]["created_at"]
    assert ids(created_after=middle) == [fits[2]["id"], fits[1]["id"]]
    assert ids(created_before=middle) == [fits[0]["id"]]
    assert ids(created_after=middle, created_before=fits[2]["created_at"]) == [fits[1]["id"]]
    assert ids(created_after=(datetime.now(UTC) + timedelta(days=1)).isoformat()) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("label", "run"), ("label", ""), ("created_after", "yesterday"), ("created_after", "2026-11-28T09:30:00"),
        ("created_before", "1764275357"), ("cursor", ""), ("cursor", "next"),
    ],
)  # fmt: skip
def test_a_bad_filter_is_422(client: httpx.Client, name: str, value: str) -> None:
    body = problem(client.get("/fits", params={name: value}), 422, "invalid_parameter")

    assert [error["parameter"] for error in body["errors"]] == [name]


def test_a_repeated_key_is_marked(client: httpx.Client) -> None:
    first, again = (submit(client, DECAY, Idempotency_Key="key") for _ in range(2))

    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"


def test_an_empty_list_of_experiments_beside_data_is_none(client: httpx.Client) -> None:
    fit = submitted(client, changed(MINIMAL, "/experiments", []))

    assert "experiments" not in client.get(f"/fits/{fit['id']}/problem").json()["request"]


COMPLETE = RESULT.replace('"warnings"', '"initial_state":{"x":{"value":2.0,"fixed":true}},"trajectories":[],"warnings"')


def test_a_fit_continues_from_another(client: httpx.Client, queue_settings: WorkerSettings) -> None:
    earlier = submitted(client, DECAY)["id"]
    request = changed(DECAY, "/parameters", {}, "/initial_state", REMOVED, "/continue_from", earlier)
    body = problem(submit(client, request), 422, "invalid_request")
    assert [error["pointer"] for error in body["errors"]] == ["/continue_from"]

    leases = LeaseStore(connect(queue_settings.redis_url, retries=0), queue_settings)
    claim = leases.claim("cpu")
    assert claim is not None
    leases.finish(claim, Ending("succeeded", COMPLETE), "")
    asked = client.get(f"/fits/{submitted(client, request)['id']}/problem").json()["request"]
    assert (asked["parameters"], asked["initial_state"]) == ({"k": 0.4}, {"x": 2.0})
    assert "continue_from" not in asked

    unknown = changed(request, "/system/parameters", ["k", "q"], "/system/equations/x", "-k*x*q")
    body = problem(submit(client, unknown), 422, "invalid_request")
    assert [error["pointer"] for error in body["errors"]] == ["/parameters/q"]


@pytest.mark.parametrize("value", ["no-such-fit", "", 5, None, {}])
def test_an_unknown_fit_to_continue_from_is_422(client: httpx.Client, value: object) -> None:
    body = problem(submit(client, changed(DECAY, "/continue_from", value)), 422, "invalid_request")

    assert [error["pointer"] for error in body["errors"]] == ["/continue_from"]


def test_a_partial_fit_matches_its_model(client: httpx.Client) -> None:
    PartialFit.model_validate(submitted(client, DECAY))
