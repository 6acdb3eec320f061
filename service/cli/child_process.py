"""Child processes that are kept alive: what `odefit serve` is made of."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

_STEADY_SECONDS = 10.0  # a process that lived so long is started again at once
_LONGEST_PAUSE = 30.0
_PR_SET_PDEATHSIG = 1

Say = Callable[[str], None]


class Process:
    """A child that is started again when it ends.

    It runs in a session of its own, so that Ctrl-C reaches only the parent, which then stops its children in
    order.
    """

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], pass_fds: Sequence[int] = ()
    ) -> None:
        self.name = name
        self._command = list(command)
        self._environment = dict(environment)
        self._pass_fds = tuple(pass_fds)
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._pause = 0.0

    def start(self) -> None:
        """Start it."""
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            pass_fds=self._pass_fds,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._started = time.monotonic()

    def keep_alive(self, say: Say) -> None:
        """Start it again if it has ended; ever more slowly if it does not stay."""
        if self._process is None:
            if time.monotonic() - self._started >= self._pause:
                self.start()
        elif (status := self._process.poll()) is not None:
            steady = time.monotonic() - self._started > _STEADY_SECONDS
            self._pause = 0.0 if steady else min(_LONGEST_PAUSE, 2 * self._pause + 0.5)
            self.kill()  # what it may have left behind
            self._process, self._started = None, time.monotonic()
            say(f"the {self.name} has ended ({_how(status)}); it is started again")

    def stop(self, seconds: float) -> None:
        """Ask it to end, and kill it with its children if it has not after `seconds`."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        self.kill()
        self._process.wait()
        self._process = None

    def kill(self) -> None:
        """End it and its children at once, without waiting: safe to call from a signal handler."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


def end_with_parent(parent: int) -> None:
    """Have this process get SIGTERM when `parent` dies, however it dies; Linux only, elsewhere nothing happens."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the line above
        sys.exit(1)


def _how(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    with suppress(ValueError):
        return signal.Signals(-status).name
    return f"signal {-status}"
