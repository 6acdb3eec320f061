"""Compression, HEAD, and requests of pages from other origins."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import httpx
import pytest

from service.http.app import create_app
from service.http.middleware.compression import MIN_BYTES, accepts_gzip
from service.settings import ServiceSettings
from tests.service.conftest import served
from tests.service.requests import MINIMAL, problem
from worker.embedded_redis import EmbeddedRedis
from worker.settings import WorkerSettings

PAGE = "https://page.example"


@pytest.fixture(scope="module")
def guarded(_shared_redis: EmbeddedRedis) -> Iterator[httpx.Client]:
    """A client of a service with a key that a page may use."""
    settings = ServiceSettings(api_key="secret", cors_origins=f"{PAGE}, https://other.example")  # type: ignore[arg-type]
    with served(create_app(settings, WorkerSettings(redis_url=_shared_redis.url))) as client:
        yield client


def test_large_responses_are_compressed(client: httpx.Client) -> None:
    with client.stream("GET", "/openapi.json", headers={"Accept-Encoding": "br, gzip"}) as answer:
        raw = b"".join(answer.iter_raw())
    plain = client.get("/openapi.json", headers={"Accept-Encoding": "identity"})

    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) == len(raw) < len(plain.content) / 3
    assert gzip.decompress(raw) == plain.content
    assert answer.headers["vary"] == "Accept-Encoding"
    assert "content-encoding" not in plain.headers


def test_small_responses_are_not_compressed(client: httpx.Client) -> None:
    answer = client.get("/health/live", headers={"Accept-Encoding": "gzip"})

    assert len(answer.content) < MIN_BYTES
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", False), ("gzip", True), ("GZIP ; q=0.5", True), ("gzip;q=0", False), ("gzip;q=0.000", False),
        ("*", True), ("*;q=0", False), ("gzip;q=0, *", False), ("br, deflate", False), ("identity;q=1, gzip", True),
    ],
)  # fmt: skip
def test_accept_encoding_is_read(header: str, expected: bool) -> None:
    assert accepts_gzip(header) is expected


@pytest.mark.parametrize("path", ["/fits", "/systems/lorenz", "/health/live", "/openapi.json", "/fits/no-such-fit"])
def test_head_is_get_without_a_body(client: httpx.Client, path: str) -> None:
    head, get = client.head(path), client.get(path)

    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-length"] == get.headers["content-length"]


def test_head_is_not_allowed_where_get_is_not(client: httpx.Client) -> None:
    answer = client.head("/fits/1/cancel")

    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_a_page_of_an_allowed_origin_may_ask_and_read(guarded: httpx.Client) -> None:
    asked = guarded.options("/fits", headers={"Origin": PAGE, "Access-Control-Request-Method": "POST"})
    headers = {"Origin": PAGE, "Authorization": "Bearer secret"}
    answer = guarded.post("/fits", json=MINIMAL, headers=headers)

    assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (204, PAGE)
    assert "POST" in asked.headers["access-control-allow-methods"]
    assert "Authorization" in asked.headers["access-control-allow-headers"]
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (202, PAGE)
    assert "Location" in answer.headers["access-control-expose-headers"]
    refused = guarded.get("/fits", headers={"Origin": PAGE})
    problem(refused, 401, "unauthorized")
    assert refused.headers["access-control-allow-origin"] == PAGE


def test_a_page_of_another_origin_may_not(guarded: httpx.Client) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    asked = guarded.options("/fits", headers=headers)

    assert asked.status_code == 401
    assert "access-control-allow-origin" not in asked.headers
    assert "access-control-allow-origin" not in guarded.get("/systems", headers=headers).headers


def test_without_the_setting_no_page_may(client: httpx.Client) -> None:
    answer = client.options("/fits", headers={"Origin": PAGE, "Access-Control-Request-Method": "POST"})

    problem(answer, 405, "method_not_allowed")


@pytest.mark.parametrize("origins", ["page.example", "https://page.example/path", "ftp://page.example"])
def test_what_is_no_origin_is_refused(origins: str) -> None:
    with pytest.raises(ValueError, match="is not an origin"):
        ServiceSettings(cors_origins=origins)  # type: ignore[arg-type]
