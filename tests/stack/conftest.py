"""The stack, started once for all tests here."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

import httpx
import pytest

from tests.processes import wait_for
from tests.stack.containers import PROJECT, ComposeStack

# Loading torch in a fresh container from a cold disk.
READY_SECONDS = 300.0


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def _is_ready(url: str) -> bool:
    try:
        answer = httpx.get(f"{url}/health/ready", timeout=10)
    except httpx.TransportError:
        return False
    return answer.status_code == 200 and answer.json()["workers"] >= 1


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposeStack]:
    """The running stack, with at least one worker that lives; its containers and volume are removed afterwards."""
    stack = ComposeStack(tmp_path_factory.mktemp("stack") / PROJECT, _free_port())
    stack.copy_tree()
    try:
        stack.make("stack")
        wait_for(lambda: _is_ready(stack.url), READY_SECONDS, "a ready stack")
        yield stack
        sys.stdout.write(stack.logs())
    finally:
        stack.make("stack-down", "ARGS=-v")


@pytest.fixture
def client(stack: ComposeStack) -> Iterator[httpx.Client]:
    """A client with the key; a worker lives."""
    wait_for(lambda: _is_ready(stack.url), READY_SECONDS, "a ready stack")
    with stack.client() as client:
        yield client
