"""Slow, silent, endless and unread connections end, and other clients are served meanwhile."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from service.http.app import create_app
from service.http.guarded_protocol import MAX_HEAD_BYTES
from service.settings import ServiceSettings
from tests.processes import wait_for
from tests.service.conftest import served
from tests.service.requests import MINIMAL
from worker.embedded_redis import EmbeddedRedis
from worker.settings import WorkerSettings
from worker.store.connection import connect
from worker.store.keys import KEYS

SECONDS = 1.5  # that a client has
CONNECTIONS = 20
POST = b"POST /fits HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def guarded(_shared_redis: EmbeddedRedis) -> Iterator[httpx.Client]:
    """A client of a service with short timeouts."""
    settings = ServiceSettings(receive_seconds=SECONDS, max_connections=CONNECTIONS, max_body_bytes=10**6)
    with served(create_app(settings, WorkerSettings(redis_url=_shared_redis.url))) as client:
        yield client


class Raw:
    """A connection for arbitrary bytes."""

    def __init__(self, client: httpx.Client) -> None:
        self.socket = socket.create_connection((client.base_url.host, client.base_url.port or 80), timeout=60)

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> bool:
        """Whether it could be sent."""
        try:
            self.socket.sendall(data)
        except OSError:
            return False
        return True

    def rest(self) -> bytes:
        """Return all bytes until the service closes the connection; some may be lost if it closes early."""
        received = b""
        try:
            while part := self.socket.recv(65536):
                received += part
        except ConnectionError:
            pass
        return received

    def is_closed(self) -> bool:
        self.socket.setblocking(False)
        try:
            return self.socket.recv(65536) == b""
        except BlockingIOError:
            return False
        except ConnectionError:
            return True
        finally:
            self.socket.settimeout(60)


def answer(received: bytes) -> tuple[int, dict[str, Any]]:
    """Return status and body of a problem that is the only response."""
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    assert "content-type: application/problem+json" in lines
    assert "connection: close" in lines
    return int(lines[0].split()[1]), json.loads(body)


def check_alive(client: httpx.Client) -> None:
    assert client.get("/health/ready").status_code == 200


def test_a_body_that_trickles_is_408_and_others_are_served(guarded: httpx.Client) -> None:
    with Raw(guarded) as raw:
        raw.send(POST + b"Content-Length: 1000\r\n\r\n")
        began = time.monotonic()
        while raw.send(b" ") and not raw.is_closed() and time.monotonic() - began < 30:
            check_alive(guarded)
            time.sleep(0.1)
    with Raw(guarded) as raw:
        raw.send(POST + b"Content-Length: 1000\r\n\r\n {")
        status, body = answer(raw.rest())

    assert time.monotonic() - began < 30
    assert (status, body["type"]) == (408, "urn:odefit:error:request_timeout")
    assert (body["status"], "1.5 s" in body["detail"]) == (408, True)


@pytest.mark.parametrize("head", [b"P", b"POST /fits HTTP/1.1\r\n", POST, POST + b"X-Long: "])
def test_a_head_that_does_not_end_is_408(guarded: httpx.Client, head: bytes) -> None:
    with Raw(guarded) as raw:
        raw.send(head)
        status, body = answer(raw.rest())

    assert (status, body["type"]) == (408, "urn:odefit:error:request_timeout")


def test_a_silent_connection_is_closed(guarded: httpx.Client) -> None:
    with Raw(guarded) as raw:
        assert raw.rest() == b""


def test_a_second_request_has_its_own_time(guarded: httpx.Client) -> None:
    request = b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n"
    with Raw(guarded) as raw:
        for _ in range(6):  # together they take longer than one may
            raw.send(request[:10])
            time.sleep(SECONDS / 5)
            raw.send(request[10:])
            assert raw.socket.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
        raw.send(request[:10])
        assert answer(raw.rest())[0] == 408


@pytest.mark.parametrize(
    "part",
    [
        b"GET /" + b"a" * 1000,
        b"GET / HTTP/1.1\r\n" + b"X: " + b"a" * 1000 + b"\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 1000,
        POST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"a" * 1000,
        POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n \r\n0\r\nX: " + b"a" * 1000,
    ],
    ids=["address", "headers", "header", "chunk", "trailer"],
)
def test_an_endless_head_chunk_or_trailer_is_refused(guarded: httpx.Client, part: bytes) -> None:
    more = b"X: " + b"a" * 1000 + b"\r\n" if part.endswith(b"\r\n") else b"a" * 1000
    sent = len(part)
    with Raw(guarded) as raw:
        raw.send(part)
        while raw.send(more) and sent < 100 * MAX_HEAD_BYTES:
            sent += len(more)
        received = raw.rest()

    assert sent < 100 * MAX_HEAD_BYTES
    if received:  # it may be lost on the way, since the client does not stop to read it
        assert answer(received)[0] in (431, 400)
    check_alive(guarded)


def test_a_long_head_within_the_limit_is_read(guarded: httpx.Client) -> None:
    answered = guarded.get("/health/live", headers={"X-Long": "a" * (MAX_HEAD_BYTES - 2000)})

    assert answered.status_code == 200


@pytest.mark.parametrize(
    "text",
    [
        b"\r\n\r\nnonsense\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST /fits HTTP/1.1\r\nContent-Length: many\r\n\r\n",
        b"POST /fits HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /fits HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nnot a number\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
    ],
)
def test_invalid_http_is_400(guarded: httpx.Client, text: bytes) -> None:
    with Raw(guarded) as raw:
        raw.send(text)
        status, body = answer(raw.rest())

    assert (status, body["type"]) == (400, "urn:odefit:error:bad_request")


@pytest.mark.parametrize("how", ["chunked", "announced"])
def test_a_body_without_end_is_413(guarded: httpx.Client, how: str) -> None:
    lengths = {"chunked": b"Transfer-Encoding: chunked\r\n\r\n", "announced": b"Content-Length: 99999999999\r\n\r\n"}
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n" if how == "chunked" else b" " * 65536
    sent = 0
    with Raw(guarded) as raw:
        raw.send(POST + lengths[how])
        while sent < 20 * 65536 and raw.send(chunk):
            sent += 65536
        began = time.monotonic()
        head = raw.socket.recv(65536)
        assert head.startswith(b"HTTP/1.1 413 ")
        while raw.send(chunk) and time.monotonic() - began < 30:  # it goes on all the same
            time.sleep(0.02)

    assert time.monotonic() - began < 30
    check_alive(guarded)


def test_with_too_many_connections_the_longest_idle_ones_are_closed(guarded: httpx.Client) -> None:
    silent = [Raw(guarded) for _ in range(CONNECTIONS)]
    for raw in silent[::2]:
        raw.send(b"GET /hea")
    try:
        for _ in range(3 * CONNECTIONS):
            answered = httpx.get(f"{guarded.base_url}/health/ready", timeout=60)  # a new connection each
            assert answered.status_code == 200
        wait_for(silent[0].is_closed, 30)
    finally:
        for raw in silent:
            raw.socket.close()


def test_connections_of_running_requests_are_not_closed(guarded: httpx.Client, redis_url: str) -> None:
    store = connect(redis_url, retries=1)
    body = json.dumps(MINIMAL).encode()
    waiting = [Raw(guarded) for _ in range(CONNECTIONS - 5)]
    try:
        for raw in waiting:
            raw.send(POST + b"Prefer: wait=20\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        wait_for(lambda: store.zcard(KEYS["READY"] + "cpu") == len(waiting), 15, "all fits")
        silent = [Raw(guarded) for _ in range(CONNECTIONS)]
        assert httpx.get(f"{guarded.base_url}/health/ready", timeout=60).status_code == 200
        assert not any(raw.is_closed() for raw in waiting)
        for raw in silent:
            raw.socket.close()
    finally:
        for raw in waiting:
            raw.socket.close()


def test_a_client_that_does_not_read_responses_is_disconnected(guarded: httpx.Client) -> None:
    with Raw(guarded) as raw:
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        request = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n"
        began = time.monotonic()
        raw.socket.settimeout(1)
        while time.monotonic() - began < 40:
            try:
                raw.socket.sendall(request * 100)
            except TimeoutError:
                continue
            except OSError:
                break
            time.sleep(0.05)

    assert time.monotonic() - began < 40
    check_alive(guarded)


@pytest.mark.parametrize("cut", [0, 20, 100, 160])
@pytest.mark.parametrize("connection", [b"Upgrade, HTTP2-Settings", b"close, Upgrade"])
def test_an_offered_upgrade_is_passed_over(client: httpx.Client, connection: bytes, cut: int) -> None:
    """As `curl --http2` and Java's HttpClient offer it. cut: where the request is sent in two parts."""
    body = json.dumps(MINIMAL).encode()
    offer = b"Connection: %b\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n" % connection
    request = POST + offer + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    if b"close" not in connection:
        request += b"GET /systems/lorenz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    with Raw(client) as raw:
        raw.send(request[:cut])
        time.sleep(0.05)
        raw.send(request[cut:])
        answers = raw.rest()

    assert answers.startswith(b"HTTP/1.1 202 ")
    assert answers.count(b"HTTP/1.1 ") == answers.count(b"HTTP/1.1 20") == 1 + (b"close" not in connection)


def test_an_offered_upgrade_with_a_chunked_body_is_passed_over(client: httpx.Client) -> None:
    body = json.dumps(MINIMAL).encode()
    head = POST + b"Upgrade: websocket\r\nConnection: upgrade, close\r\nTransfer-Encoding: chunked\r\n\r\n"
    with Raw(client) as raw:
        raw.send(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))

        assert raw.rest().startswith(b"HTTP/1.1 202 ")
