"""Addresses that webhooks may not reach, and deliveries to servers that misbehave."""

from __future__ import annotations

import doctest
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from worker.webhooks import delivery
from worker.webhooks.delivery import DeliveryFailed, checked_address, deliver, headers_of, is_public

NOT_PUBLIC = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "224.0.0.1", "239.255.255.250", "255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1", "::", "::1", "fe80::1",
    "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b::a00:1", "2002:7f00:1::", "2002:a00:1::1", "2001:db8::1",
]  # fmt: skip


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)


def test_signatures_are_those_of_the_specification() -> None:
    assert doctest.testmod(delivery).failed == 0
    assert "webhook-signature" not in headers_of("id", 1, b"{}", None)
    assert headers_of("id", 1, b"{}", "whsec_not base64!")["webhook-signature"].startswith("v1,")


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
    """Let the name server give these answers, one after the other."""
    left = list(answers)

    def resolve(host: str, port: int, *args: Any, **options: Any) -> list[Any]:
        found = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


def test_one_private_address_among_several_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, ["8.8.8.8", "10.0.0.1"])

    with pytest.raises(DeliveryFailed, match=r"10\.0\.0\.1"):
        checked_address("example.org", 443, allow_private=False)


def test_a_rebinding_name_is_resolved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection goes to the address that was checked, whatever the name server says next."""
    resolving(monkeypatch, ["192.0.2.55"], ["127.0.0.1"])
    connected: list[str] = []

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        connected.append(address[0])
        raise OSError("no route")

    monkeypatch.setattr(delivery, "is_public", lambda address: address == "192.0.2.55")
    monkeypatch.setattr(socket, "create_connection", connect)

    with pytest.raises(DeliveryFailed):
        deliver("http://rebinding.example/", b"{}", {}, allow_private=False)
    assert connected == ["192.0.2.55"]


class Server(BaseHTTPRequestHandler):
    """Answers by path."""

    requests: list[tuple[str, dict[str, str], bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", "/ok")
        elif self.path == "/endless":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            try:
                while True:
                    self.wfile.write(b"x: y\r\n" * 1000)
            except OSError:
                return
        else:
            self.send_response(int(self.path[1:]) if self.path[1:].isdigit() else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def served() -> Iterator[tuple[str, list[tuple[str, dict[str, str], bytes]]]]:
    handler = type("Handler", (Server,), {"requests": []})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://localhost:{server.server_port}", handler.requests  # type: ignore[attr-defined]
        finally:
            server.shutdown()


def test_a_message_arrives_with_its_headers() -> None:
    with served() as (url, requests):
        deliver(f"{url}/path?query=1", b"{}", {"webhook-id": "1"}, allow_private=True)

    [(path, headers, body)] = requests
    assert (path, headers["webhook-id"], body) == ("/path?query=1", "1", b"{}")
    assert headers["host"] == url.removeprefix("http://")


@pytest.mark.parametrize(
    ("path", "why"), [("/500", "500"), ("/404", "404"), ("/redirect", "302"), ("/endless", "at localhost")]
)
def test_other_answers_are_failures(path: str, why: str) -> None:
    with served() as (url, requests):
        with pytest.raises(DeliveryFailed, match=why):
            deliver(f"{url}{path}", b"{}", {}, allow_private=True)
        assert [path for path, _, _ in requests] == [path]


def test_private_addresses_are_not_connected_to() -> None:
    with served() as (url, requests), pytest.raises(DeliveryFailed, match="not public"):
        deliver(url, b"{}", {}, allow_private=False)

    assert requests == []


def test_a_silent_server_does_not_hold_a_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "_MAX_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(DeliveryFailed):
        deliver(f"http://127.0.0.1:{silent.getsockname()[1]}/", b"{}", {}, allow_private=True)
