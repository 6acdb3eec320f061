"""Simulations as the service sees them: a request in, the answer of a simulation process out."""

from __future__ import annotations

import json
import math
import uuid
from typing import Any

from redis.exceptions import RedisError

from odelib.problem.plot_kinds import PlotKind
from worker.errors import NoWorker, SimulationBroke, SimulationFailed, SimulationsFull, SimulationTimeout
from worker.settings import WorkerSettings
from worker.store.connection import connect_async, store_errors
from worker.store.fits import microseconds
from worker.store.keys import KEYS
from worker.store.scripts import script_text

SUCCEEDED, FAILED = b"+", b"-"  # the first byte of an answer


class SimulationQueue:
    """Asks the simulation processes, in an event loop."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._client = connect_async(settings.redis_url)
        self._submit = self._client.register_script(script_text("simulate"))

    async def simulate(self, request: bytes) -> bytes:
        """Return the result of a simulation as JSON text. request: a valid request, JSON text. Raises as `run`."""
        return await self.run(b'{"kind":"simulation","request":%b}' % request)

    async def make_file(self, fit_id: str, name: str, plot: PlotKind | None) -> bytes:
        """Return a file made of a result: a plot of some kind, or else the table. Raises as `run`."""
        return await self.run(json.dumps({"kind": "file", "fit": fit_id, "name": name, "plot": plot}).encode())

    async def make_batch_table(self, batch_id: str) -> bytes:
        """Return the rows of a batch as a Parquet file. Raises as `run`."""
        return await self.run(json.dumps({"kind": "batch", "batch": batch_id}).encode())

    async def run(self, task: bytes) -> bytes:
        """Return the answer to a task. If the call is cancelled, so is the task.
        Raises `SimulationsFull`, `NoWorker`, `SimulationTimeout`,
               `SimulationFailed`, `SimulationBroke`, `StoreFull`, `StoreUnavailable`.
        """
        simulation = str(uuid.uuid4())
        try:
            await self._queue(simulation, task)
            return await self._answer(simulation)
        finally:
            await self._withdraw(simulation)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def _queue(self, simulation: str, task: bytes) -> None:
        settings = self._settings
        limit, life = settings.max_queued_simulations, microseconds(settings.heartbeat_seconds)
        kept = math.ceil(settings.simulation_seconds) + 1
        with store_errors():
            verdict = await self._submit(args=[simulation, task, limit, life, kept])
        if verdict == b"full":
            raise SimulationsFull(limit)
        if verdict == b"no_worker":
            raise NoWorker

    async def _answer(self, simulation: str) -> bytes:
        seconds = self._settings.simulation_seconds
        with store_errors():
            found: Any = await self._client.blpop([KEYS["SIMULATED"] + simulation], timeout=seconds)
        if found is None:
            raise SimulationTimeout(seconds)
        answer: bytes = found[1]
        if answer[:1] == SUCCEEDED:
            return answer[1:]
        failure = json.loads(answer[1:])
        raise (SimulationBroke if failure["code"] == "internal" else SimulationFailed)(failure["detail"])

    async def _withdraw(self, simulation: str) -> None:
        """Remove what is left of a simulation; the process that runs it stops when its request is gone."""
        try:
            await self._client.delete(KEYS["SIMULATION"] + simulation, KEYS["SIMULATED"] + simulation)
            await self._client.lrem(KEYS["SIMULATIONS"], 1, simulation)
        except (RedisError, OSError):
            pass  # the keys expire, and a process passes over an id without a request
