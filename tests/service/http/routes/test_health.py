from __future__ import annotations

import threading

import httpx

from service.http.app import create_app
from service.settings import ServiceSettings
from tests.processes import kill_redis, redis_server, wait_for
from tests.service.conftest import served
from tests.service.requests import DECAY, problem
from worker.settings import WorkerSettings
from worker.store.connection import connect
from worker.store.keys import KEYS


def test_live_and_ready_without_workers(client: httpx.Client) -> None:
    assert client.get("/health/live").json() == {"status": "live"}
    assert client.get("/health/ready").json() == {"status": "ready", "workers": 0}


def test_without_redis_the_service_is_live_and_responds_503() -> None:
    with redis_server() as redis, served(create_app(ServiceSettings(), WorkerSettings(redis_url=redis.url))) as client:
        fit = client.post("/fits", json=DECAY).json()
        kill_redis(redis)

        assert client.get("/health/live").status_code == 200
        assert client.get("/systems").status_code == 200
        for answer in (
            client.get("/health/ready"),
            client.post("/fits", json=DECAY),
            client.get(f"/fits/{fit['id']}"),
            client.get("/fits"),
            client.get(f"/fits/{fit['id']}/problem"),
            client.post(f"/fits/{fit['id']}/cancel"),
            client.delete(f"/fits/{fit['id']}"),
        ):
            body = problem(answer, 503, "store_unavailable")
            assert redis.url not in body["detail"]
            assert answer.headers["retry-after"].isdigit()

        redis.start()
        wait_for(lambda: client.get("/health/ready").status_code == 200, 60, "a ready service")
        assert client.get(f"/fits/{fit['id']}").json() == fit


def test_an_accepted_fit_is_returned_even_if_redis_goes_away() -> None:
    app_settings = ServiceSettings()
    with redis_server() as redis, served(create_app(app_settings, WorkerSettings(redis_url=redis.url))) as client:
        store = connect(redis.url, retries=1)

        def kill_once_it_is_there() -> None:
            wait_for(lambda: store.zcard(KEYS["READY"] + "cpu"), 60, "the fit")
            store.close()
            kill_redis(redis)

        killing = threading.Thread(target=kill_once_it_is_there)
        killing.start()
        answer = client.post("/fits", json=DECAY, headers={"Prefer": "wait=5"})
        killing.join()

    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
