"""Fits, webhooks and event streams while workers, the API and Redis are killed in turn: nothing is lost or done twice.

    make kills [FITS=300]

A webhook and an event stream belong to every sixth fit.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any

import httpx
import pytest
from redis.exceptions import RedisError

from tests.failures.conftest import Stack
from tests.failures.requests import decay
from tests.failures.test_streams import Listener
from tests.processes import ApiProcess, WorkerProcess, kill_redis, wait_for
from tests.worker.webhooks.test_delivery import served
from worker.store.connection import connect
from worker.store.keys import KEYS

FITS = int(os.environ.get("KILLED_FITS", "12"))
KILLS = max(4, FITS // 10)
PAUSE_SECONDS = 1.5
END_SECONDS = 240 + 6 * FITS


class Ends(threading.Thread):
    """Counts the ends that the store publishes, over restarts of Redis."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._is_over = threading.Event()
        self.counts: Counter[str] = Counter()

    def run(self) -> None:
        while not self._is_over.is_set():
            try:
                with connect(self._url, retries=0) as client, client.pubsub(ignore_subscribe_messages=True) as ends:
                    ends.subscribe(KEYS["ENDED_CHANNEL"])
                    while not self._is_over.is_set():
                        if message := ends.get_message(timeout=0.2):
                            self.counts[message["data"].decode()] += 1
            except (RedisError, OSError):
                time.sleep(0.05)

    def stop(self) -> Counter[str]:
        self._is_over.set()
        self.join()
        return self.counts


def submitted(client: httpx.Client, key: str, request: dict[str, Any]) -> str:
    """The id of a fit, sent again under the same key until there is an answer."""
    while True:
        try:
            answer = client.post("/fits", json=request, headers={"Idempotency-Key": key})
            if answer.status_code < 500:
                return str(answer.raise_for_status().json()["id"])
        except httpx.TransportError:
            pass
        time.sleep(0.1)


class Submitter(threading.Thread):
    """Submits all fits, whoever is killed meanwhile, and listens to some."""

    def __init__(self, api: ApiProcess, webhooks: str) -> None:
        super().__init__(daemon=True)
        self._api = api
        self._webhooks = webhooks
        self.ids: list[str] = []
        self.listeners: dict[str, Listener] = {}

    def run(self) -> None:
        numbers = random.Random(1)
        with self._api.client() as client:
            for number in range(FITS):
                steps = 60 if number % 10 == 0 else numbers.randrange(2, 12)
                hook = {"webhook": {"url": f"{self._webhooks}/fit"}} if number % 6 == 0 else {}
                fit_id = submitted(client, f"fit {number}", decay(steps, **hook))
                self.ids.append(fit_id)
                if hook:
                    listener = Listener(f"{self._api.url}/fits/{fit_id}/events")
                    listener.start()
                    self.listeners[fit_id] = listener


def kill_in_turn(stack: Stack, worker: WorkerProcess, api: ApiProcess) -> None:
    """kill -9 of a child, of Redis, of the API and of the worker with all its children, again and again."""

    def child() -> None:
        for process in worker.computing()[:1]:
            process.kill()

    def redis() -> None:
        kill_redis(stack.server)
        time.sleep(0.5)
        stack.server.start()

    def restart(process: ApiProcess | WorkerProcess) -> Callable[[], None]:
        def again() -> None:
            process.kill()
            process.start()

        return again

    kills = [child, redis, restart(api), restart(worker)]
    for number in range(KILLS):
        time.sleep(PAUSE_SECONDS)
        kills[number % len(kills)]()


@pytest.mark.timeout(3600)
def test_each_fit_ends_once_with_its_webhook_and_stream(stack: Stack) -> None:
    settings = {"webhook_private_addresses": True}
    ends = Ends(stack.server.url)
    ends.start()
    with (
        served() as (url, requests),
        stack.worker(concurrency=2, **settings) as worker,
        ApiProcess(stack.server.url, **settings) as api,
    ):
        submitter = Submitter(api, url)
        submitter.start()
        kill_in_turn(stack, worker, api)
        submitter.join(END_SECONDS)
        assert len(set(submitter.ids)) == FITS
        first = {fit_id: stack.ended(fit_id) for fit_id in submitter.ids}
        for listener in submitter.listeners.values():
            listener.join(60)
        hooked = set(submitter.listeners)
        # A delivery that a killed process had taken is made again when its lease lapses.
        wait_for(lambda: hooked <= {json.loads(body)["id"] for _, _, body in list(requests)}, 240, "all webhooks")
        last = {fit_id: stack.get(fit_id) for fit_id in submitter.ids}
    counts = ends.stop()

    attempts = Counter(record.attempts for record in last.values())
    statuses = Counter(record.status for record in last.values())
    sys.stdout.write(
        f"{FITS} fits, {len(hooked)} webhooks and streams, {KILLS} kills: {dict(statuses)}, attempts "
        f"{dict(sorted(attempts.items()))}, "
        f"{len(requests)} deliveries, {sum(one.connections for one in submitter.listeners.values())} connections\n"
    )
    assert last == first  # an end is final
    for record in last.values():
        # A fit that was killed three times before it could save anything is given up, as one that kills workers.
        died = record.error is not None and record.error["type"] == "urn:odefit:error:worker_died"
        assert record.status == ("failed" if died else "succeeded"), record
    assert max(counts.values()) == 1
    for _, headers, body in requests:
        message = json.loads(body)
        assert message["status"] == last[message["id"]].status
        finished = last[message["id"]].finished_at
        assert finished is not None
        assert int(headers["webhook-timestamp"]) >= int(datetime.fromisoformat(finished).timestamp())
    for fit_id, listener in submitter.listeners.items():
        kinds = [kind for _, kind, _ in listener.events]
        assert kinds.count("finished") == 1
        assert listener.events[-1][2]["status"] == last[fit_id].status
        assert listener.steps == sorted(set(listener.steps))
