"""The API key, and the hosts that need one."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from service.http.app import create_app
from service.settings import ServiceSettings, UnprotectedHost, is_loopback, require_key_beyond_loopback
from tests.service.conftest import served
from tests.service.requests import DECAY, problem
from worker.embedded_redis import EmbeddedRedis
from worker.settings import WorkerSettings

KEY = "schlüssel and more"


@pytest.fixture(scope="module")
def guarded(_shared_redis: EmbeddedRedis) -> Iterator[httpx.Client]:
    settings = ServiceSettings.model_validate({"api_key": KEY})
    queue_settings = WorkerSettings(redis_url=_shared_redis.url)
    with served(create_app(settings, queue_settings)) as client:
        yield client


@pytest.mark.parametrize(
    "path", ["/", "/health/live", "/health/ready", "/docs", "/openapi.json", "/assets/api/start.js"]
)
def test_health_and_documentation_need_no_key(guarded: httpx.Client, path: str) -> None:
    assert guarded.get(path).status_code == 200


@pytest.mark.parametrize(
    "authorization",
    [None, "", KEY, "Bearer", "Bearer wrong", f"Basic {KEY}", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}"],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/fits"), ("POST", "/fits"), ("PUT", "/fits"), ("GET", "/systems"), ("GET", "/none"), ("GET", "/docs/x")],
)
def test_everything_else_is_401_without_the_key(
    guarded: httpx.Client, authorization: str | None, method: str, path: str
) -> None:
    headers = {} if authorization is None else {b"Authorization": authorization.encode()}
    answer = guarded.request(method, path, headers=headers)

    problem(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert KEY not in answer.text


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_with_the_key_everything_works(guarded: httpx.Client, scheme: str) -> None:
    headers = {b"Authorization": f"{scheme} {KEY}".encode()}

    assert guarded.get("/systems", headers=headers).status_code == 200
    assert guarded.post("/fits", json=DECAY, headers=headers).status_code == 202


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True), ("127.3.4.5", True), ("::1", True), ("localhost", True),
        ("0.0.0.0", False), ("::", False), ("", False), ("10.0.0.1", False), ("no.such.host.invalid", False),
    ],
)  # fmt: skip
def test_loopback_hosts(host: str, *, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_a_host_beyond_loopback_needs_a_key() -> None:
    with pytest.raises(UnprotectedHost, match="ODEFIT_API_KEY"):
        require_key_beyond_loopback(ServiceSettings(host="0.0.0.0"))

    require_key_beyond_loopback(ServiceSettings.model_validate({"host": "0.0.0.0", "api_key": "k"}))
    require_key_beyond_loopback(ServiceSettings(host="localhost"))


def test_an_empty_key_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODEFIT_API_KEY", "")

    assert ServiceSettings().api_key is None
