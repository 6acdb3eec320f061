"""Starts simulation processes when simulations are waiting, in the event loop of a worker's parent process."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import structlog

from worker.errors import WorkerError
from worker.settings import WorkerSettings
from worker.store.simulations import SimulationStore

_BETWEEN_STARTS = 5.0  # seconds; a process loads the numerics first

log = structlog.get_logger(__name__)


class SimulatorSupervisor:
    """Keeps at most `simulators` processes, and starts one only if the others cannot keep up."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._store = SimulationStore(settings)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._started_at = -_BETWEEN_STARTS

    def tick(self) -> None:
        """Start a process if simulations are waiting. Called several times a second."""
        self._processes = [process for process in self._processes if process.poll() is None]
        if len(self._processes) >= self._settings.simulators or not self._is_due():
            return
        try:
            waiting = self._store.waiting()
        except WorkerError:
            return
        if waiting:
            self._start()

    def stop(self) -> None:
        """End the processes; their callers are told to try again."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()

    def _is_due(self) -> bool:
        return not self._processes or time.monotonic() - self._started_at > _BETWEEN_STARTS

    def _start(self) -> None:
        one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        threads = one_thread | {"NUMBA_NUM_THREADS": "1", "NUMBA_THREADING_LAYER": "workqueue"}
        command = [sys.executable, "-m", "worker.simulations.process", str(os.getpid())]
        self._processes.append(subprocess.Popen(command, env=os.environ | threads, stdin=subprocess.DEVNULL))
        self._started_at = time.monotonic()
        log.info("simulator_started", processes=len(self._processes))
