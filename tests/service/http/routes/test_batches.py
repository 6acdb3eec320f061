"""The routes of batches without workers: what is taken in, what is refused, and what can be read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from service.http import auth
from service.http.app import create_app
from service.settings import ServiceSettings
from tests.service.conftest import served
from tests.worker.batches import REQUEST, well
from worker.attempt_endings import Ending
from worker.batches.rows import counts_of, packed
from worker.settings import WorkerSettings
from worker.store.api_keys import KeyStore
from worker.store.batches import lines_in
from worker.store.connection import connect
from worker.store.keys import KEYS
from worker.store.leases import LeaseStore

LINES = {"Content-Type": "application/x-ndjson"}
CSV, PARQUET = {"Accept": "text/csv"}, {"Accept": "application/vnd.apache.parquet"}


def lines(*entries: Any, request: Any = REQUEST) -> bytes:
    """A body of lines; bytes stand for themselves."""
    return b"\n".join(
        entry if isinstance(entry, bytes) else json.dumps(entry).encode() for entry in (request, *entries)
    )


def send(client: httpx.Client, *entries: Any, **headers: str) -> httpx.Response:
    return client.post("/batches", content=lines(*entries), headers=LINES | headers)


def finish(settings: WorkerSettings) -> int:
    """Give every series of the next chunk a row, as a worker would. Returns their number."""
    leases = LeaseStore(connect(settings.redis_url, retries=0), settings)
    claim = leases.claim("cpu")
    assert claim is not None
    assert claim.chunk is not None
    series = [json.loads(line) for line in lines_in(claim.chunk.series)]
    value = {"value": 0.5, "standard_error": 0.1}
    ended = {"status": "succeeded", "outcome": "converged", "loss": 1.5, "parameters": {"k": value}}
    rows = {place: {"name": entry["name"], **ended} for place, entry in enumerate(series)}
    leases.finish(claim, Ending("succeeded", packed(rows), stages=counts_of(rows)), "")
    return len(rows)


def mistakes(response: httpx.Response) -> list[str]:
    assert response.status_code == 422, response.text
    return [entry["pointer"] for entry in response.json()["errors"]]


def test_lines_and_one_object_are_the_same_batch(client: httpx.Client) -> None:
    body = {"request": REQUEST | {"labels": {"plate": "7"}}, "series": [well("a"), well("b")]}
    one = client.post("/batches", json=body)
    many = client.post(
        "/batches", content=lines(*body["series"], b"", request=body["request"]) + b"\n\n", headers=LINES
    )
    for response in (one, many):
        assert response.status_code == 202
        batch = response.json()
        assert response.headers["location"] == f"/batches/{batch['id']}"
        assert response.headers["retry-after"]
        assert (batch["status"], batch["system"], batch["series"]) == ("queued", "custom", 2)
        assert batch["labels"] == {"plate": "7"}
        assert batch["counts"] == {"status": {"queued": 2}, "outcome": {}}
        assert batch["progress"] == {"done": 0, "series": 2, "fraction": 0.0}
        assert client.get(response.headers["location"]).json() == batch
    listed = client.get("/batches").json()["batches"]
    assert [batch["id"] for batch in listed] == [many.json()["id"], one.json()["id"]]


def test_rows_as_lines_table_and_parquet(client: httpx.Client, queue_settings: WorkerSettings) -> None:
    path = send(client, well("a"), well('b,"c"')).headers["location"] + "/results"
    waiting = client.get(path)
    assert (waiting.text, waiting.headers["next-cursor"]) == ("", "0")
    assert waiting.headers["content-type"].startswith("application/x-ndjson")
    assert client.get(path, headers=CSV).text.startswith("name,status,outcome,loss,k,k_standard_error,")
    assert client.get(path, headers=PARQUET).status_code == 409
    assert finish(queue_settings) == 2

    ended = client.get(path)
    rows = [json.loads(line) for line in ended.text.splitlines()]
    assert [row["name"] for row in rows] == ["a", 'b,"c"']
    assert "next-cursor" not in ended.headers
    first = client.get(path, params={"limit": 1})
    assert (len(first.text.splitlines()), first.headers["next-cursor"]) == (1, "1")
    second = client.get(path, params={"cursor": 1, "limit": 1})
    assert json.loads(second.text)["name"] == 'b,"c"'
    table = client.get(path, headers=CSV).text.splitlines()
    assert table[2].startswith('"b,""c""",succeeded,converged,1.5,0.5,0.1,')
    assert client.get(path, headers=PARQUET).status_code == 503  # a worker makes it, and there is none
    assert client.get(path, headers={"Accept": "text/html"}).status_code == 406
    assert client.get(path, headers={"Accept": "text/html, text/csv;q=0.5, */*;q=0.1"}).text == "\n".join([*table, ""])
    assert client.get(path, params={"cursor": 3}).status_code == 422
    assert client.get(path, params={"page": 3}).status_code == 422


def test_mistakes_in_the_request_refuse_the_batch(client: httpx.Client) -> None:
    assert mistakes(client.post("/batches", json={"series": [well("a")]})) == ["/request"]
    assert mistakes(client.post("/batches", json={"request": REQUEST})) == ["/series"]
    assert mistakes(client.post("/batches", json={"request": REQUEST, "series": []})) == ["/series"]
    assert mistakes(client.post("/batches", json={"request": REQUEST, "series": [well("a")], "x": 1})) == ["/x"]
    assert mistakes(client.post("/batches", json=[])) == [""]
    assert mistakes(client.post("/batches", content=b"", headers=LINES)) == ["/request"]
    assert mistakes(client.post("/batches", content=lines(request=REQUEST), headers=LINES)) == ["/series"]
    wrong = REQUEST | {"parameters": {}, "data": well("a")}
    assert mistakes(client.post("/batches", content=lines(well("a"), request=wrong), headers=LINES)) == [
        "/request/data"
    ]
    wrong.pop("data")
    assert mistakes(client.post("/batches", content=lines(well("a"), request=wrong), headers=LINES)) == [
        "/request/parameters/k"
    ]
    assert client.post("/batches", content=b"{NaN", headers=LINES).status_code == 400
    assert client.post("/batches", content=b"", headers={"Content-Type": "text/csv"}).status_code == 415


def test_nothing_is_left_of_a_refused_batch(client: httpx.Client, redis_url: str) -> None:
    client.post("/batches", json={"request": REQUEST | {"solver": {"rtol": -1}}, "series": [well("a")]})
    with connect(redis_url, retries=0) as redis:
        assert not list(redis.scan_iter("*batch*"))


def test_bad_series_are_taken_in(client: httpx.Client, redis_url: str) -> None:
    response = send(client, b'{"name": "x", "times": [NaN]}', b"[1]", well("a"), well("a"), b"\xff", {"name": "b"})
    assert (response.status_code, response.json()["series"]) == (202, 6)
    with connect(redis_url, retries=0) as redis:
        (packed_lines,) = redis.hvals(KEYS["BATCH_SERIES"] + response.json()["id"])
    kept = [json.loads(line) for line in lines_in(packed_lines)]
    assert [isinstance(entry, list) for entry in kept] == [True, True, False, True, True, False]
    assert [entry[1] for entry in kept if isinstance(entry, list)] == ["", "", "/name", ""]


def test_limits(queue_settings: WorkerSettings) -> None:
    settings = ServiceSettings.model_validate({"max_batch_series": 2, "max_batch_bytes": 5000, "max_body_bytes": 2000})
    with served(create_app(settings, queue_settings)) as client:
        assert mistakes(send(client, well("a"), well("b"), well("c"))) == ["/series"]
        assert send(client, well("a" * 2100)).status_code == 413  # one line
        assert send(client, well("a"), b" " * 1900, b" " * 1900, b" " * 1900).status_code == 413
        assert send(client, well("a"), well("b")).status_code == 202


def test_cancel_and_delete(client: httpx.Client, queue_settings: WorkerSettings) -> None:
    path = send(client, well("a")).headers["location"]
    assert client.delete(path).status_code == 409
    assert client.post(f"{path}/cancel").status_code == 202
    assert client.post(f"{path}/cancel").status_code == 200
    batch = client.get(path).json()
    assert (batch["status"], batch["counts"]["status"]) == ("cancelled", {"cancelled": 1})
    assert json.loads(client.get(f"{path}/results").text) == {"name": "a", "status": "cancelled"}
    assert client.delete(path).status_code == 204
    for response in (client.get(path), client.post(f"{path}/cancel"), client.get(f"{path}/results")):
        assert (response.status_code, response.json()["type"]) == (404, "urn:odefit:error:batch_not_found")

    path = send(client, well("a")).headers["location"]
    finish(queue_settings)
    assert client.post(f"{path}/cancel").status_code == 409


def test_an_idempotency_key(client: httpx.Client) -> None:
    key = {"Idempotency-Key": "once"}
    first, second = send(client, well("a"), **key), send(client, well("a"), **key)
    assert first.json()["id"] == second.json()["id"]
    assert second.headers["idempotency-replayed"] == "true"
    assert send(client, well("b"), **key).status_code == 422
    assert len(client.get("/batches").json()["batches"]) == 1


def test_an_idempotency_key_compares_what_bodies_mean(client: httpx.Client) -> None:
    key, one = {"Idempotency-Key": "once"}, well("a")
    first = send(client, one, **key).json()["id"]
    spaced = "\n\n".join(json.dumps(dict(reversed(entry.items())), indent=None) for entry in (REQUEST, one))
    body = {"series": [one], "request": REQUEST}
    for content, media_type in (
        (spaced, LINES["Content-Type"]),
        (json.dumps(body), "application/json"),
        (json.dumps(body, indent=2), "application/json"),
    ):
        again = client.post("/batches", content=content, headers=key | {"Content-Type": media_type})
        assert again.json()["id"] == first, again.text
    body["request"] = REQUEST | {"seed": 1}
    assert client.post("/batches", json=body, headers=key).status_code == 422
    assert client.post("/batches", content=lines(one) + b"{", headers=key | LINES).status_code == 422


@pytest.fixture
def guarded(queue_settings: WorkerSettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    monkeypatch.setattr(auth, "_KNOWN_SECONDS", 0.0)
    settings = ServiceSettings.model_validate({"api_key": "master"})
    with served(create_app(settings, queue_settings)) as client:
        yield client


def test_one_key_does_not_see_the_batches_of_another(guarded: httpx.Client, queue_settings: WorkerSettings) -> None:
    keys = KeyStore(queue_settings)
    mine, other = ({"Authorization": f"Bearer {keys.make('x', ('submit', 'read'))[1]}"} for _ in range(2))
    path = send(guarded, well("a"), **mine).headers["location"]
    assert guarded.get(path, headers=mine).status_code == 200
    for response in (
        guarded.get(path, headers=other),
        guarded.get(f"{path}/results", headers=other),
        guarded.post(f"{path}/cancel", headers=other),
        guarded.delete(path, headers=other),
    ):
        assert response.status_code == 404
    assert guarded.get("/batches", headers=other).json() == {"batches": []}
    assert len(guarded.get("/batches", headers=mine).json()["batches"]) == 1
    assert send(guarded, well("a")).status_code == 401
