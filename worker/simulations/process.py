"""A simulation process: answers one task after the other, and keeps the compiled equations.

A task is a simulation, or a file of a finished fit (a plot or a table) or batch (a table).

    python -m worker.simulations.process PARENT

A worker starts it when simulations are waiting. It ends when none came for some time, and with its parent.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from typing import Any

import structlog

from odelib.errors import FitError, OdelibError, StopReason, StopRequested
from odelib.problem.limits import UNLIMITED
from odelib.result import FitResult
from worker.batches.columns import parquet
from worker.beside import Beside
from worker.errors import WorkerError
from worker.loading import loading
from worker.log import configure_logging, where
from worker.memory import FitMemory, default_megabytes
from worker.parent_death import end_with_parent
from worker.settings import WorkerSettings
from worker.simulations.queue import FAILED, SUCCEEDED
from worker.store.batches import BatchStore
from worker.store.connection import connect
from worker.store.files import FileStore
from worker.store.simulations import SimulationStore

_WATCH_SECONDS = 0.1
_STOP_SECONDS = 60.0  # for a compilation that cannot be interrupted; the next such request finds it in the cache
_POLL_SECONDS = 1.0

log = structlog.get_logger(__name__)


class Watch(Beside):
    """Watches a running simulation from another thread.

    It is stopped when its caller has gone away or its time is up. If it does not stop, or exceeds its memory limit, the
    process ends; the worker starts another one.
    """

    def __init__(self, store: SimulationStore, simulation: str, settings: WorkerSettings, memory: FitMemory) -> None:
        super().__init__("watch", _WATCH_SECONDS)
        self._store = store
        self._simulation = simulation
        self._seconds = settings.simulation_seconds
        self._memory = memory
        self._reason: StopReason | None = None
        self._began = time.monotonic()
        self._stopped = 0.0

    def stop(self) -> StopReason | None:
        """Return why the simulation must stop, or None."""
        return self._reason

    def _beat(self) -> None:
        now = time.monotonic()
        if self._memory.exceeded():
            self._end("the simulation exceeds its memory limit; use fewer times or a smaller system")
        if self._reason is None:
            self._reason = "time_limit" if now - self._began > self._seconds else self._cancelled()
            self._stopped = now
        elif now - self._stopped > _STOP_SECONDS:
            self._end("the simulation did not stop in time")

    def _cancelled(self) -> StopReason | None:
        with suppress(WorkerError):
            if not self._store.is_wanted(self._simulation):
                return "cancelled"
        return None

    def _end(self, why: str) -> None:
        log.warning("simulator_ends", simulation=self._simulation, reason=why)
        with suppress(WorkerError):
            self._store.answer(self._simulation, _failure("out_of_memory", why))
        os._exit(1)


class Simulator:
    """Answers simulations."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._store = SimulationStore(settings)
        self._files = FileStore(settings)
        self._batches = BatchStore(connect(settings.redis_url, retries=1), settings)
        self._megabytes = settings.fit_memory_mb or default_megabytes(os.cpu_count() or 1)

    def run(self) -> None:
        """Answer simulations until none has come for `simulator_idle_seconds`."""
        with loading():
            _warm_up()
        last = time.monotonic()
        while time.monotonic() - last < self._settings.simulator_idle_seconds:
            try:
                found = self._store.next(_POLL_SECONDS)
                if found is not None:
                    self._answer(*found)
                    last = time.monotonic()
            except WorkerError as error:
                log.warning("simulator_without_store", reason=str(error))
                time.sleep(_POLL_SECONDS)
        self._store.close()

    def _answer(self, simulation: str, task: bytes) -> None:
        memory = FitMemory(self._megabytes)
        try:
            with Watch(self._store, simulation, self._settings, memory) as watch, memory.limited():
                answer = _perform(task, watch, self._files, self._batches)
        except StopRequested as stop:
            log.info("simulation_stopped", simulation=simulation, reason=stop.reason)
            return
        self._store.answer(simulation, answer)


def _perform(task: bytes, watch: Watch, files: FileStore, batches: BatchStore) -> bytes:
    """Return the answer to a task."""
    try:
        asked = json.loads(task)
        match asked["kind"]:
            case "simulation":
                return SUCCEEDED + _simulate(asked["request"], watch)
            case "batch":
                return SUCCEEDED + _table(asked["batch"], batches)
            case _:
                return SUCCEEDED + _draw(asked, files)
    except (StopRequested, WorkerError):
        raise
    except MemoryError:
        return _failure("out_of_memory", "the simulation exceeds its memory limit; use fewer times or a smaller system")
    except OdelibError as error:
        return _failure("cannot_succeed", error.detail if isinstance(error, FitError) else str(error))
    except Exception as error:  # noqa: BLE001  the caller is told, and the process goes on
        log.error("unforeseen", kind=type(error).__name__, at=where(error))
        return _failure("internal", "an unexpected error occurred; the worker's log has the details")


# The numerics are loaded by the process itself, and matplotlib with the first plot.


def _warm_up() -> None:
    """Load the numerics and the compiled loop before taking a task, which another process may answer sooner."""
    from odelib.problem.request import parse_problem  # noqa: PLC0415
    from odelib.simulation.trajectories import simulate_trajectories  # noqa: PLC0415

    parameters = dict.fromkeys(("alpha", "beta", "gamma", "delta"), 1)
    start = {"prey": 1, "predator": 2}
    data = {"times": [0], "values": {name: [value] for name, value in start.items()}}
    request = {"system": "lotka-volterra", "data": data, "parameters": parameters, "initial_state": start}
    simulate_trajectories(parse_problem(request, UNLIMITED))  # the worker has compiled this system already


def _simulate(request: dict[str, Any], watch: Watch) -> bytes:
    from odelib.problem.request import parse_problem  # noqa: PLC0415
    from odelib.simulation.trajectories import simulate_trajectories  # noqa: PLC0415

    return simulate_trajectories(parse_problem(request, UNLIMITED), watch.stop).to_json().encode()


def _draw(asked: dict[str, Any], files: FileStore) -> bytes:
    """Make a file of a fit, and keep it with the result."""
    from odelib.plots.kinds import plot_kind, to_svg  # noqa: PLC0415
    from odelib.problem.request import parse_problem  # noqa: PLC0415
    from odelib.report.table import result_csv  # noqa: PLC0415

    problem = parse_problem(files.problem(asked["fit"]), UNLIMITED)
    result = FitResult.model_validate_json(files.result(asked["fit"]))
    if asked["plot"] is None:
        content = result_csv(problem, result).encode()
    else:
        content = to_svg(plot_kind(problem, result, asked["plot"]))
    files.keep(asked["fit"], asked["name"], content)
    return content


def _table(batch_id: str, batches: BatchStore) -> bytes:
    ready = batches.ready_rows(batch_id, 0)
    return parquet(json.loads(ready.problem)["request"], batches.rows(ready))


def _failure(code: str, detail: str) -> bytes:
    return FAILED + json.dumps({"code": code, "detail": detail}).encode()


def main() -> None:
    """Answer simulations, as a child of the worker whose process id is the first argument."""
    end_with_parent(int(sys.argv[1]))
    settings = WorkerSettings()
    configure_logging(settings.redis_url)
    Simulator(settings).run()


if __name__ == "__main__":
    main()
