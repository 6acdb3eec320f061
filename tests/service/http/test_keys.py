"""Keys with scopes and limits: what each may do, and that it sees only its own fits."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import pytest

from service.http import auth
from service.http.app import create_app
from service.settings import ServiceSettings
from tests.processes import wait_for
from tests.service.conftest import served
from tests.service.requests import DECAY, changed, problem
from worker.settings import WorkerSettings
from worker.store.api_keys import ApiKey, KeyStore
from worker.store.connection import connect

MASTER = {"Authorization": "Bearer master"}


@pytest.fixture
def keys(queue_settings: WorkerSettings, monkeypatch: pytest.MonkeyPatch) -> KeyStore:
    monkeypatch.setattr(auth, "_KNOWN_SECONDS", 0.0)
    return KeyStore(queue_settings)


@pytest.fixture
def guarded(queue_settings: WorkerSettings) -> Iterator[httpx.Client]:
    settings = ServiceSettings.model_validate({"api_key": "master"})
    with served(create_app(settings, queue_settings)) as client:
        yield client


def made(keys: KeyStore, *scopes: str, **limits: int) -> tuple[ApiKey, dict[str, str]]:
    key, secret = keys.make("someone", scopes or ("submit", "read"), **limits)
    return key, {"Authorization": f"Bearer {secret}"}


def test_redis_has_only_the_hash(keys: KeyStore, redis_url: str) -> None:
    _, secret = keys.make("me", ("read",))
    with connect(redis_url, retries=0) as redis:
        content = json.dumps([str(redis.hgetall(name)) for name in redis.scan_iter()])

    assert len(secret) >= 40
    assert '"me"' in content.replace("\\", "")
    assert secret not in content
    assert secret.removeprefix("odefit_") not in content


def test_one_key_does_not_see_the_fits_of_another(keys: KeyStore, guarded: httpx.Client) -> None:
    (_, mine), (_, other) = made(keys), made(keys)
    path = f"/fits/{guarded.post('/fits', json=DECAY, headers=mine).json()['id']}"

    assert guarded.get(path, headers=mine).status_code == 200
    for method, route in [
        ("GET", path), ("HEAD", path), ("GET", f"{path}/problem"), ("GET", f"{path}/events"), ("DELETE", path),
        ("GET", f"{path}/result.csv"), ("GET", f"{path}/plot.svg"), ("POST", f"{path}/cancel"),
    ]:  # fmt: skip
        answer = guarded.request(method, route, headers=other)
        assert answer.status_code == 404, (method, route)
        if method != "HEAD":
            assert answer.json()["type"] == "urn:odefit:error:fit_not_found"
    assert guarded.get("/fits", headers=other).json() == {"fits": []}
    assert len(guarded.get("/fits?status=queued&system=custom", headers=mine).json()["fits"]) == 1
    assert len(guarded.get("/fits", headers=MASTER).json()["fits"]) == 1
    body = guarded.post("/fits", json=changed(DECAY, "/continue_from", path[6:]), headers=other)
    assert [error["pointer"] for error in problem(body, 422, "invalid_request")["errors"]] == ["/continue_from"]
    assert guarded.post(f"{path}/cancel", headers=mine).status_code == 202
    assert guarded.delete(path, headers=mine).status_code == 204
    assert guarded.get("/fits", headers=mine).json() == {"fits": []}


def test_idempotency_keys_of_two_callers_are_apart(keys: KeyStore, guarded: httpx.Client) -> None:
    (_, mine), (_, other) = made(keys), made(keys)
    ids = {
        guarded.post("/fits", json=DECAY, headers=headers | {"Idempotency-Key": "same"}).json()["id"]
        for headers in (mine, other, MASTER, mine)
    }

    assert len(ids) == 3


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [(("read",), [200, 403, 403]), (("submit",), [403, 202, 403 - 0]), (("read", "submit"), [200, 202, 404])],
)
def test_scopes_permit(keys: KeyStore, guarded: httpx.Client, scopes: tuple[str, ...], expected: list[int]) -> None:
    _, headers = made(keys, *scopes)
    statuses = [
        guarded.get("/fits", headers=headers).status_code,
        guarded.post("/fits", json=DECAY, headers=headers).status_code,
    ]

    assert statuses == expected[:2]
    if expected[0] == 403:
        problem(guarded.get("/systems", headers=headers), 403, "forbidden")


def test_an_admin_sees_all(keys: KeyStore, guarded: httpx.Client) -> None:
    (_, mine), (_, admin) = made(keys), made(keys, "admin")
    fit_id = guarded.post("/fits", json=DECAY, headers=mine).json()["id"]

    assert guarded.get(f"/fits/{fit_id}", headers=admin).status_code == 200


def test_the_limit_per_minute_is_429(keys: KeyStore, guarded: httpx.Client) -> None:
    (_, limited), (_, other) = made(keys, per_minute=2), made(keys, per_minute=2)
    if time.time() % 60 > 55:  # the minute must not end within the test
        time.sleep(6)
    statuses = [guarded.post("/fits", json=DECAY, headers=limited).status_code for _ in range(3)]

    assert statuses == [202, 202, 429]
    refused = guarded.post("/simulations", json=DECAY, headers=limited)
    problem(refused, 429, "key_limit")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert guarded.get("/fits", headers=limited).status_code == 200
    assert guarded.post("/fits", json=DECAY, headers=other).status_code == 202


def test_the_limit_on_fits_is_429_until_one_has_ended(keys: KeyStore, guarded: httpx.Client) -> None:
    _, limited = made(keys, max_fits=1)
    first = guarded.post("/fits", json=DECAY, headers=limited).json()["id"]
    refused = guarded.post("/fits", json=DECAY, headers=limited)

    problem(refused, 429, "key_limit")
    assert refused.headers["retry-after"]
    guarded.post(f"/fits/{first}/cancel", headers=limited)
    assert guarded.post("/fits", json=DECAY, headers=limited).status_code == 202


def test_a_revoked_key_is_401(keys: KeyStore, guarded: httpx.Client) -> None:
    key, headers = made(keys)
    assert guarded.get("/fits", headers=headers).status_code == 200

    assert keys.revoke(key.id)
    assert not keys.revoke(key.id)
    problem(guarded.get("/fits", headers=headers), 401, "unauthorized")


def test_the_first_key_closes_an_open_service(keys: KeyStore, queue_settings: WorkerSettings) -> None:
    with served(create_app(ServiceSettings(), queue_settings)) as client:
        assert client.get("/fits").status_code == 200
        _, headers = made(keys)
        problem(client.get("/fits"), 401, "unauthorized")
        assert client.get("/fits", headers=headers).status_code == 200
        assert client.get("/health/live").status_code == 200


def test_a_service_that_requires_keys_is_closed_without_any(queue_settings: WorkerSettings) -> None:
    with served(create_app(ServiceSettings(keys_required=True), queue_settings)) as client:
        problem(client.get("/systems"), 401, "unauthorized")


def test_without_redis_no_key_is_accepted() -> None:
    settings = WorkerSettings(redis_url="unix:///no/such/socket")
    with served(create_app(ServiceSettings(keys_required=True), settings)) as client:
        problem(client.get("/systems", headers={"Authorization": "Bearer x"}), 503, "store_unavailable")


def odefit(redis_url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    import os  # noqa: PLC0415

    command = [sys.executable, "-m", "service", "keys", *arguments]
    environment = os.environ | {"ODEFIT_REDIS_URL": redis_url}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_keys_are_made_listed_and_revoked_by_commands(redis_url: str, guarded: httpx.Client) -> None:
    done = odefit(redis_url, "make", "--name", "lab", "--scope", "read", "--per-minute", "5")
    assert done.returncode == 0, done
    headers = {"Authorization": f"Bearer {done.stdout.strip()}"}
    wait_for(lambda: guarded.get("/fits", headers=headers).status_code == 200, 10, "the key")

    listed = odefit(redis_url, "list").stdout
    assert "lab" in listed
    assert done.stdout.strip() not in listed
    key_id = listed.splitlines()[1].split()[0]
    assert odefit(redis_url, "revoke", key_id).returncode == 0
    assert odefit(redis_url, "revoke", key_id).returncode == 1
    assert odefit(redis_url, "make", "--name", "x", "--scope", "root").returncode == 2
    assert odefit("unix:///no/such/socket", "list").returncode == 3
