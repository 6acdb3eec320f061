"""The stream of a fit's events, with a store whose worker is the test."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from service.http.routes import events
from service.http.routes.events import MAX_LOSSES, thinned
from tests.service.requests import DECAY, problem
from worker.attempt_endings import Ending
from worker.settings import WorkerSettings
from worker.store.connection import connect
from worker.store.leases import AttemptUpdate, Claim, LeaseStore, Trace

RESULT = '{"loss":1.5,"outcome":{"code":"converged","message":"\\"outcome\\":{\\"code\\":\\"x\\"}"}}'
Event = tuple[str, str, Any]


class Worker:
    """Runs the fit as a worker would, step by step."""

    def __init__(self, settings: WorkerSettings) -> None:
        self.leases = LeaseStore(connect(settings.redis_url, retries=0), settings)
        claim = self.leases.claim("cpu")
        assert claim is not None
        self.claim: Claim = claim

    def steps(self, first: int, last: int, *, replaces: bool = False) -> None:
        progress = {"stage": "adam", "step": last, "steps": 9000, "loss": 1 / last, "fraction": 0.5}
        losses = ",".join(f"[{step},{1 / step:.4g}]" for step in range(first, last + 1))
        trace = Trace(json.dumps({"parameters": {"k": float(last)}, "initial_state": {"c": 5.0}}), losses, replaces)
        self.leases.pulse(self.claim, AttemptUpdate(1.0, progress=json.dumps(progress), trace=trace))

    def end(self) -> None:
        assert self.leases.finish(self.claim, Ending("succeeded", RESULT), "")


@pytest.fixture
def fit_id(client: httpx.Client) -> str:
    return str(client.post("/fits", json=DECAY).json()["id"])


@pytest.fixture
def worker(fit_id: str, queue_settings: WorkerSettings) -> Worker:
    return Worker(queue_settings)


def read(answer: httpx.Response) -> Iterator[Event]:
    """The events: id, kind, data."""
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        if line.startswith(":"):
            continue
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            yield fields["id"], fields["event"], json.loads(fields["data"])
            fields = {}


def all_events(client: httpx.Client, fit_id: str, **headers: str) -> list[Event]:
    options = {name.replace("_", "-"): value for name, value in headers.items()}
    with client.stream("GET", f"/fits/{fit_id}/events", headers=options) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        return list(read(answer))


def test_progress_comes_as_it_happens_and_the_end_last(client: httpx.Client, fit_id: str, worker: Worker) -> None:
    with client.stream("GET", f"/fits/{fit_id}/events") as answer:
        stream = read(answer)
        worker.steps(1, 3)
        first = next(stream)
        worker.steps(4, 5)
        second = next(stream)
        worker.end()
        rest = list(stream)

    assert first[:2] == ("3", "progress")
    assert first[2] == {
        "stage": "adam", "step": 3, "steps": 9000, "loss": 1 / 3, "fraction": 0.5, "parameters": {"k": 3.0},
        "initial_state": {"c": 5.0}, "losses": [[1, 1.0], [2, 0.5], [3, 0.3333]],
    }  # fmt: skip
    assert (second[0], second[2]["losses"]) == ("5", [[4, 0.25], [5, 0.2]])
    assert rest == [("5", "finished", {"id": fit_id, "status": "succeeded", "outcome": "converged"})]


def test_a_stream_resumes_after_the_last_event(client: httpx.Client, fit_id: str, worker: Worker) -> None:
    worker.steps(1, 10)
    worker.end()

    whole = all_events(client, fit_id)
    resumed = all_events(client, fit_id, Last_Event_ID="7")
    at_the_end = all_events(client, fit_id, Last_Event_ID="10")

    assert [event[1] for event in whole] == ["progress", "finished"]
    assert [step for step, _ in whole[0][2]["losses"]] == list(range(1, 11))
    assert [step for step, _ in resumed[0][2]["losses"]] == [8, 9, 10]
    assert [event[1] for event in at_the_end] == ["finished"]


def test_losses_are_thinned(client: httpx.Client, fit_id: str, worker: Worker) -> None:
    worker.steps(1, 2500)
    worker.end()
    losses = all_events(client, fit_id)[0][2]["losses"]

    assert MAX_LOSSES / 2 <= len(losses) <= MAX_LOSSES
    assert losses[-1][0] == 2500


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2000, 2001, 12345])
def test_thinning_keeps_the_last(count: int) -> None:
    losses = [(step, 1.0) for step in range(1, count + 1)]
    kept = thinned(losses)

    assert len(kept) <= MAX_LOSSES
    assert kept[-1:] == losses[-1:]
    assert kept == sorted(kept)


def test_a_replaced_trace_is_not_doubled(client: httpx.Client, fit_id: str, worker: Worker) -> None:
    worker.steps(1, 4)
    worker.steps(2, 6, replaces=True)
    worker.end()

    assert [step for step, _ in all_events(client, fit_id)[0][2]["losses"]] == [2, 3, 4, 5, 6]


def test_a_queued_fit_has_no_events_until_it_ends(client: httpx.Client, fit_id: str) -> None:
    threading.Timer(0.3, lambda: httpx.post(f"{client.base_url}/fits/{fit_id}/cancel")).start()

    assert [event[1:] for event in all_events(client, fit_id)] == [("finished", {"id": fit_id, "status": "cancelled"})]


def test_a_deleted_fit_ends_the_stream(client: httpx.Client, fit_id: str, worker: Worker) -> None:
    worker.end()
    client.delete(f"/fits/{fit_id}")

    problem(client.get(f"/fits/{fit_id}/events"), 404, "fit_not_found")


def test_comments_keep_the_connection_alive(client: httpx.Client, fit_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "COMMENT_SECONDS", 0.1)
    with client.stream("GET", f"/fits/{fit_id}/events") as answer:
        lines = answer.iter_lines()
        comments = [next(lines) for _ in range(6)][::2]

    assert all(comment.startswith(":") for comment in comments)


@pytest.mark.parametrize("value", ["", "abc", "-1", "1.5", "9" * 16])
def test_a_bad_last_event_id_is_422(client: httpx.Client, fit_id: str, value: str) -> None:
    answer = client.get(f"/fits/{fit_id}/events", headers={"Last-Event-ID": value})

    assert problem(answer, 422, "invalid_parameter")["errors"][0]["parameter"] == "Last-Event-ID"


def test_an_unknown_fit_is_404(client: httpx.Client) -> None:
    problem(client.get("/fits/no-such-fit/events"), 404, "fit_not_found")


def test_head_does_not_wait(client: httpx.Client, fit_id: str) -> None:
    began = time.monotonic()

    assert client.head(f"/fits/{fit_id}/events").status_code == 200
    assert time.monotonic() - began < 10


def test_a_client_that_never_reads_is_bounded(client: httpx.Client, fit_id: str, worker: Worker) -> None:
    """Others get all events meanwhile, and its stream holds one state, not all."""
    with socket.create_connection((client.base_url.host, client.base_url.port or 80)) as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        silent.sendall(f"GET /fits/{fit_id}/events HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        with client.stream("GET", f"/fits/{fit_id}/events") as answer:
            stream = read(answer)
            for first in range(1, 300_000, 5_000):
                worker.steps(first, first + 4_999, replaces=True)
                assert next(stream)[1] == "progress"
            worker.end()
            assert [kind for _, kind, _ in stream][-1] == "finished"
