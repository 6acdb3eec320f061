"""Processes that a worker's parent starts when there is work for them; they end by themselves when there is none."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

import structlog

from worker.errors import WorkerError

# The environment of processes that each have one thread, read when they load the numerics.
ONE_THREAD: Mapping[str, str] = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"),
    "NUMBA_THREADING_LAYER": "workqueue",
}
_BETWEEN_STARTS = 5.0  # seconds; a process first loads what it needs

log = structlog.get_logger(__name__)


class OnDemandProcesses:
    """Keeps at most `maximum` processes of a module, and starts one only if the others cannot keep up.

    module: run with the id of this process as its argument. has_work: asks Redis; may raise `WorkerError`. environment:
    added to that of this process. period: seconds between two questions.
    """

    def __init__(
        self,
        module: str,
        has_work: Callable[[], bool],
        maximum: int,
        *,
        period: float = 0.0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._module = module
        self._has_work = has_work
        self._maximum = maximum
        self._period = period
        self._environment = dict(environment or {})
        self._processes: list[subprocess.Popen[bytes]] = []
        self._started_at = -_BETWEEN_STARTS
        self._due_at = 0.0

    def tick(self) -> None:
        """Start a process if there is work. Called several times a second."""
        now = time.monotonic()
        self._processes = [process for process in self._processes if process.poll() is None]
        is_starting = self._processes and now - self._started_at < _BETWEEN_STARTS
        if now < self._due_at or is_starting or len(self._processes) >= self._maximum:
            return
        self._due_at = now + self._period
        try:
            if self._has_work():
                self._start()
        except WorkerError:  # the next tick asks again
            return

    def stop(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()

    def _start(self) -> None:
        command = [sys.executable, "-m", self._module, str(os.getpid())]
        environment = os.environ | self._environment
        self._processes.append(subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL))
        self._started_at = time.monotonic()
        log.info("process_started", module=self._module, processes=len(self._processes))


def simulators(has_work: Callable[[], bool], maximum: int) -> OnDemandProcesses:
    """Return the processes that simulate, each with one thread."""
    return OnDemandProcesses("worker.simulations.process", has_work, maximum, environment=ONE_THREAD)
