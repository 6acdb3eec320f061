"""The Celery app: URLs, options, and the flags that a worker and its children share."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from kombu.connection import Connection

from worker.celery_app import app, broker_url
from worker.shared_flags import SharedFlags


@pytest.mark.parametrize(
    ("redis_url", "expected"),
    [
        ("redis://:secret@host:6380/3", "redis://:secret@host:6380/3"),
        ("unix:///tmp/a.sock?db=0", "redis+socket:///tmp/a.sock?virtual_host=0"),
        ("unix:///tmp/a.sock", "redis+socket:///tmp/a.sock?virtual_host=0"),
        ("unix://:p%40ss@/tmp/a%20b.sock?db=2", "redis+socket://:p%40ss@/tmp/a%20b.sock?virtual_host=2"),
    ],
)
def test_broker_url(redis_url: str, expected: str) -> None:
    assert broker_url(redis_url) == expected


def test_the_password_is_not_shown() -> None:
    for url in ("redis://:secret@host:6380/3", "unix://:secret@/tmp/a.sock?db=2"):
        assert "secret" not in Connection(broker_url(url)).as_uri()


def test_nothing_of_celery_decides_about_a_fit() -> None:
    assert app.conf.task_acks_late is False
    assert app.conf.broker_transport_options["ack_emulation"] is False
    assert app.conf.worker_disable_prefetch is True
    assert app.conf.worker_enable_remote_control is False
    assert app.backend.as_uri() == "disabled://"


def test_flags_are_shared_with_children() -> None:
    flags = SharedFlags()
    assert (flags.stopping, flags.ready) == (False, False)
    child = os.fork()
    if child == 0:
        flags.set_ready()
        os._exit(0)
    os.waitpid(child, 0)
    assert (flags.stopping, flags.ready) == (False, True)
    flags.set_stopping()
    assert flags.stopping


def test_importing_the_queue_loads_no_numerics() -> None:
    code = (
        "import sys, worker.queue, worker.sweep\n"
        "print([m for m in ('torch', 'numpy', 'scipy', 'sympy', 'numba', 'torchdiffeq') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
