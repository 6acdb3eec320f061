"""The application over HTTP, on a real Redis and without workers: what it accepts stays queued."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from service.http.app import create_app
from service.http.guarded_protocol import ServerConfig
from service.settings import ServiceSettings
from tests.processes import forget_settings, wait_for
from worker.embedded_redis import EmbeddedRedis
from worker.settings import WorkerSettings


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> None:
    """The environment may have settings for another service."""
    forget_settings()


@contextmanager
def served(app: FastAPI) -> Iterator[httpx.Client]:
    """An HTTP client of the application, which runs in another thread."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(ServerConfig(app, app.state.service.settings))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            wait_for(lambda: server.started, 60, "a started server")
            with httpx.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=60) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join(60)  # once in some hundred runs uvloop does not come back from closing its loop


@pytest.fixture
def queue_settings(redis_url: str) -> WorkerSettings:
    return WorkerSettings(redis_url=redis_url)


@pytest.fixture(scope="session")
def _shared_client(_shared_redis: EmbeddedRedis) -> Iterator[httpx.Client]:
    with served(create_app(ServiceSettings(), WorkerSettings(redis_url=_shared_redis.url))) as client:
        yield client


@pytest.fixture
def client(_shared_client: httpx.Client, redis_url: str) -> httpx.Client:
    """A client of the application with its default settings, whose Redis is empty."""
    return _shared_client
