"""Child processes that are restarted when they end: the parts of `odefit serve`."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

_STABLE_SECONDS = 10.0  # a process that ran so long is restarted at once
_MAX_PAUSE_SECONDS = 30.0

Notify = Callable[[str], None]  # shows a line to the user


class ChildProcess:
    """A child process that is restarted when it ends.

    It has its own session, so that Ctrl-C reaches only the parent, which then stops its children in order.
    """

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], pass_fds: Sequence[int] = ()
    ) -> None:
        self.name = name
        self._command = list(command)
        self._environment = dict(environment)
        self._pass_fds = tuple(pass_fds)
        self._process: subprocess.Popen[bytes] | None = None
        self._started_or_ended = 0.0
        self._pause = 0.0

    def start(self) -> None:
        """Start the process."""
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            pass_fds=self._pass_fds,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._started_or_ended = time.monotonic()

    def keep_alive(self, notify: Notify) -> None:
        """Restart the process if it has ended, with growing pauses if it keeps ending."""
        if self._process is None:
            if time.monotonic() - self._started_or_ended >= self._pause:
                self.start()
        elif (status := self._process.poll()) is not None:
            was_stable = time.monotonic() - self._started_or_ended > _STABLE_SECONDS
            self._pause = 0.0 if was_stable else min(_MAX_PAUSE_SECONDS, 2 * self._pause + 0.5)
            self.kill()  # its own children may have outlived it
            self._process, self._started_or_ended = None, time.monotonic()
            notify(f"the {self.name} ended unexpectedly ({_describe(status)}); restarting it")

    def stop(self, seconds: float) -> None:
        """Ask the process to end, and kill it with its children if it has not ended after `seconds`."""
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
        """Kill the process and its children without waiting; safe to call from a signal handler."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


def _describe(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    with suppress(ValueError):
        return signal.Signals(-status).name
    return f"signal {-status}"
