"""Watchdogs of a worker process: one that no longer takes work ends itself, so that it is restarted.

After a restart of Redis, some versions of Celery and kombu stay connected but consume nothing. One watchdog checks that
the event loop turns, the other that no message waits long while a child is idle.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

EXIT_STATUS = 70  # EX_SOFTWARE: the worker was stuck


class LoopWatchdog:
    """Checks the event loop in a timer signal, which arrives even while the loop hangs in a system call.

    seconds: how long the loop may hang while Redis responds. period: seconds between two checks.
    redis_responds: asks Redis on a separate connection. prepare: called one check before the process ends, so that
    running fits are handed back.
    """

    def __init__(
        self, seconds: float, period: float, redis_responds: Callable[[], bool], prepare: Callable[[], None]
    ) -> None:
        self._seconds = seconds
        self._period = period
        self._redis_responds = redis_responds
        self._prepare = prepare
        self._last_turn = self._last_check = time.monotonic()
        self._stuck_since: float | None = None
        self._prepared = False

    def start(self) -> None:
        """Start the timer, in the main thread. Children do not inherit it."""
        signal.signal(signal.SIGALRM, self._check)
        signal.setitimer(signal.ITIMER_REAL, self._period, self._period)
        # Python removes its signal handlers on exit; a signal after that would kill the process.
        atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)

    def turn(self) -> None:
        """Record a turn of the event loop."""
        self._last_turn = time.monotonic()

    def _check(self, signal_number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        was_suspended = now - self._last_check > 3 * self._period
        self._last_check = now
        if now - self._last_turn < 2 * self._period or was_suspended or not self._redis_responds():
            self._stuck_since = None
        elif self._stuck_since is None:
            self._stuck_since = now
        elif self._prepared:
            # Not through logging: the signal may have interrupted it.
            os.write(sys.stderr.fileno(), b'{"event": "stuck", "level": "critical"}\n')
            os._exit(EXIT_STATUS)
        elif now - self._stuck_since > self._seconds:
            self._prepared = True
            self._prepare()


class ConsumptionWatchdog:
    """Checks that messages are consumed while children are idle. seconds: how long none may be consumed."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._received = -1
        self._since: float | None = None

    def is_stuck(self, *, waiting: bool, idle: bool, received: int) -> bool:
        """Check once. waiting: messages wait. idle: a child is idle. received: number of messages received so far."""
        if not (waiting and idle) or received != self._received or self._since is None:
            self._since = time.monotonic()
            self._received = received
            return False
        return time.monotonic() - self._since > self._seconds
