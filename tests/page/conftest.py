"""A service with one worker, and Debian's Chromium, which the tests drive as a reader would."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from playwright import sync_api

from tests.processes import ApiProcess, WorkerProcess, forget_settings, redis_server
from worker.embedded_redis import EmbeddedRedis

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
TIMEOUT_MS = 60_000.0  # wide: the machine may be busy with other tests

sync_api.expect.set_options(timeout=TIMEOUT_MS)


@dataclass
class Service:
    """The parts of a running service."""

    redis: EmbeddedRedis
    worker: WorkerProcess
    api: ApiProcess

    @property
    def url(self) -> str:
        return self.api.url


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """Shared by the tests of one process: a test leaves nothing running in it."""
    forget_settings()
    with redis_server() as redis, WorkerProcess(redis.url) as worker, ApiProcess(redis.url) as api:
        yield Service(redis, worker, api)


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    """A browser without windows. Its event loop runs as long, and tests of other modules have their own."""
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"there is no browser: none of {', '.join(BROWSERS)} is on the PATH")
    with sync_api.sync_playwright() as playwright:
        # Root, as in containers, has no sandbox.
        options = [] if os.geteuid() else ["--no-sandbox"]
        instance = playwright.chromium.launch(executable_path=path, args=options)
        yield instance
        instance.close()


Open = Callable[..., sync_api.Page]


@pytest.fixture
def open_page(browser: sync_api.Browser, service: Service) -> Iterator[Open]:
    """A function that opens an address in a browser of its own, without history or storage.

    After the test nothing may have been loaded from elsewhere, no script may have failed, and the content security
    policy may have had nothing to forbid.
    """
    contexts: list[sync_api.BrowserContext] = []
    troubles: list[str] = []

    def visit(path: str = "/", url: str = service.url, **options: object) -> sync_api.Page:
        context = browser.new_context(base_url=url, **options)
        context.set_default_timeout(TIMEOUT_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda message: troubles.append(message.text) if is_violation(message.text) else None)
        page.on("request", lambda request: troubles.append(request.url) if is_foreign(request.url, url) else None)
        page.goto(path)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert troubles == []


def is_violation(text: str) -> bool:
    """Whether a line of the console says that the policy forbade something."""
    return "Content Security Policy" in text


def is_foreign(address: str, url: str) -> bool:
    """Whether a request left the service."""
    return not address.startswith((url, "data:", "blob:"))
