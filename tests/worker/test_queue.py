"""The queue as the service calls it."""

from __future__ import annotations

import json
import os
import signal
import threading
from importlib.metadata import version

import pytest

from tests.processes import kill_redis, redis_server
from worker.celery_app import app, broker_url
from worker.errors import IdempotencyConflict, StoreUnavailable
from worker.queue import FitQueue
from worker.settings import WorkerSettings
from worker.store.connection import connect
from worker.store.records import FitFilter
from worker.store.upkeep import UpkeepStore

REQUEST = {"system": "lorenz", "data": {"times": [0.1, 1e-300, 0.30000000000000004], "label": "Übung ☃"}}


@pytest.fixture
def queue(redis_url: str) -> FitQueue:
    return FitQueue(WorkerSettings(redis_url=redis_url))


def test_a_submission(queue: FitQueue) -> None:
    submission = queue.submit(REQUEST, system="lorenz", labels={"who": "ich ☃"}, queue="cpu")

    assert submission.created
    assert submission.record == queue.get(submission.record.id)
    assert (submission.record.labels, submission.record.system) == ({"who": "ich ☃"}, "lorenz")
    problem = json.loads(queue.problem(submission.record.id))
    assert problem["request"] == REQUEST
    assert problem["versions"]["odefit"] == version("odefit")
    assert problem["versions"]["torch"] == version("torch")
    page = queue.list(FitFilter(status="queued", system="lorenz"), limit=10, cursor=None)
    assert (page.fits, page.next_cursor) == ([submission.record], None)


def test_the_message_is_one_that_celery_understands(queue: FitQueue, redis_url: str) -> None:
    fit_id = queue.submit(REQUEST, system="lorenz", labels={}, queue="gpu").record.id

    with app.connection_for_read(broker_url(redis_url)) as connection, connection.SimpleQueue("gpu") as messages:
        message = messages.get(timeout=5)
        assert message.headers["task"] == "run_next_fit"
        assert message.headers["id"] == message.properties["correlation_id"]
        assert message.decode() == [["gpu", fit_id], {}, {}]
        message.ack()


def test_idempotency_keys_may_be_any_text(queue: FitQueue) -> None:
    for key in ("a", "ü" * 1000, "a:b *\n"):
        first = queue.submit(REQUEST, system="s", labels={}, queue="cpu", idempotency_key=key, body_digest="1")
        again = queue.submit(REQUEST, system="s", labels={}, queue="cpu", idempotency_key=key, body_digest="1")
        assert (first.created, again.created, again.record.id) == (True, False, first.record.id)
        with pytest.raises(IdempotencyConflict):
            queue.submit(REQUEST, system="s", labels={}, queue="cpu", idempotency_key=key, body_digest="2")


def test_one_fit_of_many_submissions_with_one_key(queue: FitQueue) -> None:
    created: list[bool] = []

    def submit() -> None:
        submission = queue.submit(REQUEST, system="s", labels={}, queue="cpu", idempotency_key="k", body_digest="d")
        created.append(submission.created)

    threads = [threading.Thread(target=submit) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(created) == [False] * 15 + [True]
    assert len(queue.list(FitFilter(), limit=100, cursor=None).fits) == 1


def test_live_workers_are_counted(queue: FitQueue, redis_url: str) -> None:
    settings = WorkerSettings(redis_url=redis_url)
    upkeep = UpkeepStore(connect(redis_url, retries=0), settings)
    assert queue.workers() == 0
    upkeep.heartbeat("a", gpu=False)
    upkeep.heartbeat("b", gpu=True)
    assert queue.workers() == 2


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "unix:///no/such/socket?db=0"])
def test_without_redis_every_call_raises(url: str) -> None:
    queue = FitQueue(WorkerSettings(redis_url=url))
    calls = (
        lambda: queue.submit(REQUEST, system="s", labels={}, queue="cpu"),
        lambda: queue.get("x"),
        lambda: queue.list(FitFilter(), limit=1, cursor=None),
        lambda: queue.cancel("x"),
        lambda: queue.forget("x"),
        lambda: queue.problem("x"),
        queue.workers,
    )
    for call in calls:
        with pytest.raises(StoreUnavailable):
            call()


def test_redis_killed_and_started_again_between_two_calls() -> None:
    with redis_server() as server:
        queue = FitQueue(WorkerSettings(redis_url=server.url))
        ids = [queue.submit(REQUEST, system="s", labels={}, queue="cpu").record.id for _ in range(20)]
        kill_redis(server)
        with pytest.raises(StoreUnavailable):
            queue.get(ids[0])
        server.start()

        assert [queue.get(fit_id).status for fit_id in ids] == ["queued"] * 20


def test_redis_that_hangs_or_cannot_write() -> None:
    with redis_server() as server:
        assert server.process is not None
        queue = FitQueue(WorkerSettings(redis_url=server.url))
        admin = connect(server.url, retries=0)
        os.kill(server.process.pid, signal.SIGSTOP)
        with pytest.raises(StoreUnavailable):
            queue.submit(REQUEST, system="s", labels={}, queue="cpu")
        os.kill(server.process.pid, signal.SIGCONT)
        admin.execute_command("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(StoreUnavailable, match="READONLY"):
            queue.submit(REQUEST, system="s", labels={}, queue="cpu")
