"""Fits that run on real workers, with leases and sweeps short enough to watch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psutil
import pytest

from odelib.monitor import Checkpoint
from tests.processes import WorkerProcess, redis_server, wait_for, wait_for_end
from worker.embedded_redis import EmbeddedRedis
from worker.queue import FitQueue, FitRecord, StoreUnavailable
from worker.settings import WorkerSettings
from worker.states import ENDED
from worker.store.connection import connect
from worker.store.keys import KEYS

SHORT = {
    "lease_seconds": 2.0,
    "pulse_seconds": 0.1,
    "sweep_seconds": 0.3,
    "checkpoint_seconds": 0.2,
    "stop_grace_seconds": 1.0,
}
# For tests in which a child listens: longer than a busy machine may keep it from answering.
PATIENT = {"cancel_grace_seconds": 20.0, "stop_grace_seconds": 20.0}
END_SECONDS = 180.0


@dataclass(frozen=True)
class Caught:
    """A fit whose child is suspended, and its request."""

    fit_id: str
    work: int  # that it was asked for
    request: dict[str, Any]
    child: psutil.Process

    def kill(self) -> None:
        """kill -9 of the child."""
        self.child.kill()
        wait_for_end(self.child)


class Stack:
    """A separate Redis server with fits."""

    def __init__(self, server: EmbeddedRedis) -> None:
        self.server = server
        self.redis = connect(server.url, retries=1)
        self.queue = FitQueue(WorkerSettings(redis_url=server.url))
        self._ends = self.redis.pubsub(ignore_subscribe_messages=True)
        self._ends.subscribe(KEYS["ENDED_CHANNEL"])
        self._ends.get_message(timeout=5)
        self.steps: list[int] = []

    def worker(self, **settings: Any) -> WorkerProcess:
        return WorkerProcess(self.server.url, **{**SHORT, **settings})

    def submit(self, request: dict[str, Any], queue: Any = "cpu") -> str:
        return self.queue.submit(request, system="custom", labels={}, queue=queue).record.id

    def get(self, fit_id: str) -> FitRecord:
        """The fit; the steps that its progress shows are noted in `steps`."""
        record = wait_for(lambda: self._get(fit_id), END_SECONDS, "an answer of Redis")
        assert record is not None
        if record.progress is not None:
            self.steps.append(record.progress["step"])
        return record

    def _get(self, fit_id: str) -> FitRecord | None:
        try:
            return self.queue.get(fit_id)
        except StoreUnavailable:  # the disk is busy, or it is away because the test wants it so
            return None

    def running(self, fit_id: str, *, steps: int = 0, attempt: int = 1) -> FitRecord:
        """A fit that takes longer than any test, once this attempt has shown so many steps."""

        def look() -> FitRecord | None:
            record = self.get(fit_id)
            assert record.status not in ENDED, f"the fit has ended: {record}"
            far = record.progress is not None and record.progress["step"] >= steps
            return record if record.attempts >= attempt and (far or steps == 0) else None

        found = wait_for(look, END_SECONDS, f"attempt {attempt} with {steps} steps")
        assert found is not None
        return found

    def caught(
        self,
        worker: WorkerProcess,
        request_of: Callable[[int], dict[str, Any]],
        *,
        stage: int = 0,
        steps: Callable[[dict[str, Any]], int] = lambda request: 1,
    ) -> Caught:
        """A fit in its middle, which cannot end before the test lets it: so many steps of a stage are in its
        checkpoint, and its child stands still. After the stages come profiles.

        Machines differ in speed, and stall. A fit that ended before its child stood still is sent again with twice
        the work; `request_of` is given 1, then 2, 4, …
        """
        for work in (1, 2, 4, 8, 16, 32):
            request = request_of(work)
            fit_id = self.submit(request)
            if child := self._frozen(worker, fit_id, (stage, steps(request))):
                return Caught(fit_id, work, request, child)
        raise AssertionError("the fit ended each time before it could be disturbed")

    def _frozen(self, worker: WorkerProcess, fit_id: str, position: tuple[int, int]) -> psutil.Process | None:
        def is_there() -> bool:
            return self._saved_position(fit_id) >= position or self.get(fit_id).status in ENDED

        wait_for(is_there, END_SECONDS, f"stage and step {position} in the checkpoint")
        for child in worker.computing():
            child.suspend()
            if self.get(fit_id).status not in ENDED:
                return child
            child.resume()
        return None

    def taken_over(self, fit_id: str) -> None:
        """Returns once there is a second attempt; `steps` then has the steps from there on."""
        wait_for(lambda: self.get(fit_id).attempts > 1, END_SECONDS, "a second attempt")
        self.steps.clear()

    def checkpoint(self, fit_id: str) -> Checkpoint:
        """From where the next attempt goes on; to be asked for when the last one is dead."""
        return Checkpoint.from_json(self.redis.hget(KEYS["FIT"] + fit_id, "checkpoint"))

    def ended(self, fit_id: str) -> FitRecord:
        """The fit, once it has ended."""
        found = wait_for(lambda: (r := self.get(fit_id)).status in ENDED and r, END_SECONDS, "the end of the fit")
        assert isinstance(found, FitRecord)
        return found

    def times_ended(self, fit_id: str) -> int:
        """How often its end has been published so far."""
        count = 0
        while message := self._ends.get_message(timeout=0.5):
            count += message["data"] == fit_id.encode()
        return count

    def saved_step(self, fit_id: str) -> int:
        """The step of the checkpoint in the store."""
        return self._saved_position(fit_id)[1]

    def _saved_position(self, fit_id: str) -> tuple[int, int]:
        stage, step = (int(self.redis.hget(KEYS["FIT"] + fit_id, field) or 0) for field in ("stage", "step"))
        return stage, step


def result_of(record: FitRecord) -> dict[str, Any]:
    assert record.result is not None
    result: dict[str, Any] = json.loads(record.result)
    return result


@pytest.fixture
def stack() -> Iterator[Stack]:
    """For tests that kill workers or Redis."""
    with redis_server() as server:
        yield Stack(server)


@pytest.fixture(scope="session")
def _shared() -> Iterator[tuple[Stack, WorkerProcess]]:
    with redis_server() as server:
        stack = Stack(server)
        with stack.worker(concurrency=2) as worker:
            yield stack, worker


@pytest.fixture
def shared(_shared: tuple[Stack, WorkerProcess]) -> tuple[Stack, WorkerProcess]:
    """For tests after which the worker still works, with two children."""
    _shared[0].steps.clear()
    return _shared
