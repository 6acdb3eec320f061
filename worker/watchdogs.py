"""A worker process that no longer takes work ends itself, so that whoever started it starts it again.

After a restart of Redis, versions of Celery and kombu have stayed connected and consumed nothing. Two things are
watched: that the event loop turns, and that no message waits long while a child is idle.
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


class LoopWatch:
    """Watches the event loop from a timer signal, which arrives even while the loop hangs in a system call.

    seconds: how long the loop may stand still while Redis answers. period: from one look to the next.
    redis_answers: asks Redis on a connection of its own. prepare: called one look before the end, so that running
    fits can be handed back.
    """

    def __init__(
        self, seconds: float, period: float, redis_answers: Callable[[], bool], prepare: Callable[[], None]
    ) -> None:
        self._seconds = seconds
        self._period = period
        self._redis_answers = redis_answers
        self._prepare = prepare
        self._last_turn = self._last_look = time.monotonic()
        self._stuck_since: float | None = None
        self._prepared = False

    def start(self) -> None:
        """Begin to watch. In the main thread; children do not inherit the timer."""
        signal.signal(signal.SIGALRM, self._look)
        signal.setitimer(signal.ITIMER_REAL, self._period, self._period)
        # At its end Python takes its signal handlers away, and the signal would kill the process.
        atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)

    def turn(self) -> None:
        """The event loop has come round."""
        self._last_turn = time.monotonic()

    def _look(self, signal_number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        was_suspended = now - self._last_look > 3 * self._period
        self._last_look = now
        if now - self._last_turn < 2 * self._period or was_suspended or not self._redis_answers():
            self._stuck_since = None
        elif self._stuck_since is None:
            self._stuck_since = now
        elif self._prepared:
            # Not through logging: the signal may have come in the middle of a log line.
            os.write(sys.stderr.fileno(), b'{"event": "stuck", "level": "critical"}\n')
            os._exit(EXIT_STATUS)
        elif now - self._stuck_since > self._seconds:
            self._prepared = True
            self._prepare()


class ConsumptionWatch:
    """Watches that messages are taken while there are idle children. `seconds`: how long none may be."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._received = -1
        self._since: float | None = None

    def is_stuck(self, *, waiting: bool, idle: bool, received: int) -> bool:
        """Look once: whether messages wait, a child is idle, and how many messages have been received in all."""
        if not (waiting and idle) or received != self._received or self._since is None:
            self._since = time.monotonic()
            self._received = received
            return False
        return time.monotonic() - self._since > self._seconds
