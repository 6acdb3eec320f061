"""Streams of events while the worker and the API are killed and Redis restarts: they resume, and none loses the end."""

from __future__ import annotations

import threading
import time

import httpx
import pytest

from tests.failures.conftest import Stack
from tests.failures.requests import decay
from tests.processes import ApiProcess, kill_redis, wait_for
from tests.service.http.routes.test_events import Event, read


class Listener(threading.Thread):
    """Follows a fit to its end; connects again from the last event whenever the stream breaks."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.events: list[Event] = []
        self.connections = 0

    def run(self) -> None:
        while not (self.events and self.events[-1][1] == "finished"):
            headers = {"Last-Event-ID": self.events[-1][0]} if self.events else {}
            try:
                with httpx.stream("GET", self.url, headers=headers, timeout=60) as answer:
                    if answer.status_code == 200:
                        self.connections += 1
                        for event in read(answer):
                            self.events.append(event)
            except httpx.TransportError:
                pass
            time.sleep(0.1)

    @property
    def steps(self) -> list[int]:
        return [step for _, kind, data in self.events if kind == "progress" for step, _ in data["losses"]]


@pytest.mark.timeout(300)
def test_streams_survive_kills_and_restarts(stack: Stack) -> None:
    with stack.worker() as worker, ApiProcess(stack.server.url) as api:
        fit_id = stack.submit(decay(300))
        listeners = [Listener(f"{api.url}/fits/{fit_id}/events") for _ in range(5)]
        for listener in listeners:
            listener.start()
        wait_for(lambda: all(listener.steps for listener in listeners), 120, "the first losses")
        worker.computing_child().kill()
        kill_redis(stack.server)
        time.sleep(0.5)
        stack.server.start()
        api.kill()
        api.start()
        record = stack.ended(fit_id)
        for listener in listeners:
            listener.join(60)

    assert (record.status, record.attempts) == ("succeeded", 2)
    for listener in listeners:
        assert listener.connections >= 2
        assert listener.events[-1][1:] == (
            "finished",
            {"id": fit_id, "status": "succeeded", "outcome": "step_limit"},
        )
        assert listener.steps == sorted(set(listener.steps))
        assert listener.steps[-1] == 300
        parameters = [data["parameters"] for _, kind, data in listener.events if kind == "progress"]
        assert all(set(values) == {"k"} for values in parameters)
