"""Webhooks: delivered at least once after the end, whoever is killed, and again after a failure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

import psutil
import pytest

from tests.failures.conftest import Stack
from tests.processes import ApiProcess, is_alive, kill_redis, wait_for
from tests.service.requests import DECAY, changed, problem
from tests.worker.webhooks.test_delivery import served
from worker.store.keys import KEYS

QUICK = changed(DECAY, "/stages", [{"kind": "lbfgsb", "steps": 2}], "/predictions", [])
SECRET = "whsec_" + base64.b64encode(b"a secret of the caller").decode()


def deliverers(parent: int) -> list[psutil.Process]:
    return [c for c in psutil.Process(parent).children() if "worker.webhooks.process" in c.cmdline()]


@pytest.mark.timeout(300)
def test_a_webhook_is_signed_and_delivered_in_spite_of_kills(stack: Stack) -> None:
    settings = {"webhook_private_addresses": True}
    with (
        served() as (url, requests),
        stack.worker(**settings) as worker,
        ApiProcess(stack.server.url, **settings) as api,
        api.client() as client,
    ):
        good = [
            client.post("/fits", json=changed(QUICK, "/webhook", {"url": f"{url}/{i}", "secret": SECRET})).json()["id"]
            for i in range(200, 205)
        ]
        failing = client.post("/fits", json=changed(QUICK, "/webhook", {"url": f"{url}/500"})).json()["id"]
        for fit_id in (*good, failing):
            stack.ended(fit_id)
            assert SECRET not in client.get(f"/fits/{fit_id}").text + client.get(f"/fits/{fit_id}/problem").text
        wait_for(lambda: any(path == "/500" for path, _, _ in requests), 60, "the first attempt")
        for process in deliverers(worker.pid):
            process.kill()
            wait_for(lambda process=process: not is_alive(process), 30, "its end")
        kill_redis(stack.server)
        stack.server.start()
        # What the killed process had taken is due again when its lease lapses, and the failed one after its pause.
        due = stack.redis.zrange(KEYS["WEBHOOKS"], 0, -1)
        stack.redis.zadd(KEYS["WEBHOOKS"], dict.fromkeys(due, 1))
        arrived = {f"/{i}" for i in range(200, 205)}
        wait_for(lambda: arrived <= {path for path, _, _ in requests}, 60, "all messages")
        wait_for(lambda: sum(path == "/500" for path, _, _ in requests) >= 2, 60, "another attempt")
        wait_for(lambda: stack.redis.zcard(KEYS["WEBHOOKS"]) == 1, 60, "the end of the delivered ones")

    for path, headers, body in requests:
        message = json.loads(body)
        assert message["status"] == "succeeded"
        assert headers["webhook-id"] == message["id"]
        assert abs(time.time() - int(headers["webhook-timestamp"])) < 300
        if path != "/500":
            assert message["id"] == good[int(path[1:]) - 200]
            signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
            digest = hmac.digest(b"a secret of the caller", signed, hashlib.sha256)
            assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"


def test_bad_webhooks_are_422(stack: Stack) -> None:
    with ApiProcess(stack.server.url) as api, api.client() as client:
        for url in (
            "http://127.0.0.1/", "http://[::1]:80/", "http://localhost/", "http://169.254.169.254/latest", "ftp://a.org/",
            "https://", "nothing", "http://user:password@example.org/", "http://example.org:99999/", "http://a b/",
        ):  # fmt: skip
            body = problem(client.post("/fits", json=changed(QUICK, "/webhook", {"url": url})), 422, "invalid_request")
            assert [error["pointer"] for error in body["errors"]] == ["/webhook/url"], url
        for webhook, pointer in (
            ({}, "/webhook/url"),
            ({"url": "https://a.org", "x": 1}, "/webhook/x"),
            ("u", "/webhook"),
        ):
            body = problem(client.post("/fits", json=changed(QUICK, "/webhook", webhook)), 422, "invalid_request")
            assert [error["pointer"] for error in body["errors"]] == [pointer]


def test_a_webhook_is_given_up_after_a_day(stack: Stack) -> None:
    from worker.settings import WorkerSettings  # noqa: PLC0415
    from worker.store.webhooks import WebhookStore  # noqa: PLC0415

    store = WebhookStore(WorkerSettings(redis_url=stack.server.url))
    fit_id = stack.queue.submit({}, system="custom", labels={}, queue="cpu", webhook={"url": "https://a.org"}).record.id
    assert not store.is_due()
    stack.queue.cancel(fit_id)
    assert store.is_due()
    first = store.next()
    assert first is not None
    assert (first.fit_id, first.status, first.attempt) == (fit_id, "cancelled", 1)
    assert not store.is_due()  # it is under a lease
    assert store.failed(first)
    stack.redis.hset(KEYS["FIT"] + fit_id, "finished_at", 1)
    assert not store.failed(first)
    assert stack.redis.zcard(KEYS["WEBHOOKS"]) == 0
