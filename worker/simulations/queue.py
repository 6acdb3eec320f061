"""Simulations as the service sees them: a request in, the answer of a simulation process out."""

from __future__ import annotations

import asyncio
import json
import math
import uuid
from contextlib import suppress

from odelib.problem.plot_kinds import PlotKind
from worker.errors import (
    NoWorker,
    SimulationBroke,
    SimulationFailed,
    SimulationsFull,
    SimulationTimeout,
    StoreUnavailable,
    WorkerError,
)
from worker.settings import WorkerSettings
from worker.store.connection import connect_async, store_errors
from worker.store.fits import microseconds
from worker.store.keys import KEYS
from worker.store.scripts import script_text
from worker.subscription import Subscription

SUCCEEDED, FAILED = b"+", b"-"  # the first byte of an answer


class SimulationQueue:
    """Asks the simulation processes, in an event loop. One subscription tells of the answers to all questions."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._client = connect_async(settings.redis_url)
        self._submit, self._take, self._withdraw = (
            self._client.register_script(script_text(name))
            for name in ("simulate", "simulation_take", "simulation_withdraw")
        )
        self._channel = KEYS["SIMULATED_CHANNEL"] + str(uuid.uuid4())
        self._waiting: dict[str, asyncio.Event] = {}  # simulation → set when its answer may be there
        self._subscription = Subscription(
            self._client,
            [self._channel],
            receive=lambda _, simulation: self._wake(simulation),
            subscribed=self._wake_all,
            lost=lambda: self._wake(*self._waiting),
        )

    async def start(self) -> None:
        """Begin to listen, whether Redis is available yet or not."""
        self._subscription.start()

    async def stop(self) -> None:
        """Stop listening, and close all connections."""
        await self._subscription.stop()
        await self._client.aclose()

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
        simulation, seconds = str(uuid.uuid4()), self._settings.simulation_seconds
        self._waiting[simulation] = asyncio.Event()
        answer = None
        try:
            await self._queue(simulation, task)
            async with asyncio.timeout(seconds):
                answer = await self._answer(simulation)
        except TimeoutError:
            raise SimulationTimeout(seconds) from None
        finally:
            del self._waiting[simulation]
            if answer is None:
                with suppress(WorkerError), store_errors():  # what is left expires
                    await self._withdraw(args=[simulation])
        if answer[:1] == SUCCEEDED:
            return answer[1:]
        failure = json.loads(answer[1:])
        raise (SimulationBroke if failure["code"] == "internal" else SimulationFailed)(failure["detail"])

    async def _queue(self, simulation: str, task: bytes) -> None:
        settings = self._settings
        limit, life = settings.max_queued_simulations, microseconds(settings.heartbeat_seconds)
        kept = math.ceil(settings.simulation_seconds) + 1
        with store_errors():
            verdict = await self._submit(args=[simulation, task, self._channel, limit, life, kept])
        if verdict == b"full":
            raise SimulationsFull(limit)
        if verdict == b"no_worker":
            raise NoWorker

    async def _answer(self, simulation: str) -> bytes:
        while True:
            await self._waiting[simulation].wait()
            self._waiting[simulation].clear()
            with store_errors():
                is_open, answer = await self._take(args=[simulation])
            if answer is not None:
                found: bytes = answer
                return found
            if not is_open:
                raise StoreUnavailable("Redis has lost the simulation; it may have restarted")

    def _wake(self, *simulations: str) -> None:
        for simulation in simulations:
            if (waiting := self._waiting.get(simulation)) is not None:
                waiting.set()

    async def _wake_all(self) -> None:
        self._wake(*self._waiting)
