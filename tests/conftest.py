"""Fixtures that any test may use."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis.internal.conjecture import providers

from tests.processes import redis_server
from worker.embedded_redis import EmbeddedRedis
from worker.store.connection import connect

# The same examples in every run: no landing hangs on a draw. New ones: make test ARGS=--hypothesis-profile=default
settings.load_profile("ci")
# Hypothesis draws constants from whatever modules of ours are loaded by then, compiled kernels among them: the examples
# would hang on which tests ran before.
assert hasattr(providers, "is_local_module_file")
providers.is_local_module_file = lambda path: False

# A shell that runs the tests in the background has them ignore Ctrl-C, and so would every process they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def _shared_redis() -> Iterator[EmbeddedRedis]:
    with redis_server() as server:
        yield server


@pytest.fixture
def redis_url(_shared_redis: EmbeddedRedis) -> str:
    """The URL of an empty Redis; the server is shared by the tests of one process, one after the other."""
    client = connect(_shared_redis.url, retries=0)
    client.flushall()
    client.close()
    return _shared_redis.url
