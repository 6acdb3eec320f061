"""A worker that is stuck ends itself; one that only waits for Redis does not."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from worker.watchdogs import EXIT_STATUS, ConsumptionWatchdog

LOOP = """
import socket, sys, time
from worker.watchdogs import LoopWatchdog
answers, turns, seconds = sys.argv[1] == "answers", sys.argv[2] == "turns", float(sys.argv[3])
watch = LoopWatchdog(0.5, 0.1, lambda: answers, lambda: print("prepared", flush=True))
watch.start()
end = time.monotonic() + seconds
reader, writer = socket.socketpair()
while time.monotonic() < end:
    if turns:
        watch.turn()
        time.sleep(0.02)
    else:
        reader.settimeout(seconds)
        try:
            reader.recv(1)  # hangs in the kernel
        except TimeoutError:
            break
print("alive", flush=True)
"""


@pytest.mark.parametrize(
    ("redis", "loop", "seconds", "status", "output"),
    [
        ("answers", "hangs", "60", EXIT_STATUS, "prepared\n"),  # after half a second, unless it is kept from that
        ("answers", "turns", "3", 0, "alive\n"),
        ("away", "hangs", "3", 0, "alive\n"),
    ],
)
def test_loop(redis: str, loop: str, seconds: str, status: int, output: str) -> None:
    command = [sys.executable, "-c", LOOP, redis, loop, seconds]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (status, output)


def test_unconsumed_messages_are_noticed() -> None:
    watch = ConsumptionWatchdog(0.2)
    assert not watch.is_stuck(waiting=True, idle=True, received=1)
    assert not watch.is_stuck(waiting=True, idle=True, received=1)
    time.sleep(0.3)
    assert watch.is_stuck(waiting=True, idle=True, received=1)


@pytest.mark.parametrize(
    ("waiting", "idle", "received"), [(False, True, 1), (True, False, 1), (True, True, 2)], ids=["none", "busy", "took"]
)
def test_good_reasons_to_consume_nothing(waiting: bool, idle: bool, received: int) -> None:
    watch = ConsumptionWatchdog(0.2)
    watch.is_stuck(waiting=True, idle=True, received=1)
    time.sleep(0.3)
    assert not watch.is_stuck(waiting=waiting, idle=idle, received=received)
    assert not watch.is_stuck(waiting=True, idle=True, received=received)
