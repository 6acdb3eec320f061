"""The state that all routes share while the service runs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import ParamSpec, TypeVar

from fastapi import FastAPI
from starlette.requests import Request

from odelib.problem.limits import Limits
from service.http.callers import Caller
from service.http.request_body import BodyBudget, check_headers, read_body
from service.settings import ServiceSettings
from worker.batch_queue import BatchQueue
from worker.queue import FitListener, FitQueue
from worker.settings import WorkerSettings
from worker.simulations.queue import SimulationQueue
from worker.store.api_keys import KeyStore
from worker.store.metrics import MetricsStore

SMALL_BODY_BYTES = 16 * 2**10  # parsed faster than handed over to a thread
# Measured: more threads lose more time to contention for the interpreter's lock than they gain, and a call through
# anyio's general-purpose threads costs three times as much.
_QUEUE_THREADS = 8
_MAX_PARSING = 2  # parsed into Python objects, a body takes about twenty times its size in memory

P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class State:
    """Settings, queue and listener of one application.

    responses: how many responses had each status. private_webhooks: whether webhooks may call addresses that are not
    public.
    closing: set when the service shuts down; requests that wait for a fit are then answered at once.
    parsing: limits how many bodies above `SMALL_BODY_BYTES` are parsed at a time.
    """

    settings: ServiceSettings
    limits: Limits
    queue: FitQueue
    listener: FitListener
    simulations: SimulationQueue
    batches: BatchQueue
    body_budget: BodyBudget
    metrics: MetricsStore
    keys: KeyStore
    responses: Counter[int]
    private_webhooks: bool = False
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    parsing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_MAX_PARSING))
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_QUEUE_THREADS, "queue"))

    async def in_thread(self, function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Call a blocking function, such as a method of the queue, in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, partial(function, *args, **options))

    async def admit(self, caller: Caller) -> None:
        """Count a submission or simulation of the caller. Raises `KeyLimitReached`."""
        if caller.per_minute is not None:
            await self.in_thread(self.keys.admit, caller.owner or "admin", caller.per_minute)

    def close(self) -> None:
        """Answer requests that wait for a fit or follow it: the service shuts down."""
        self.closing.set()
        self.listener.wake_followers()

    async def wait_for_end(self, fit_id: str, seconds: float) -> None:
        """Return when the fit ends, after `seconds`, or when the service shuts down."""
        waits = [
            asyncio.ensure_future(self.listener.wait(fit_id, seconds)),
            asyncio.ensure_future(self.closing.wait()),
        ]
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        for wait in done:
            wait.result()  # raises an error of the listener


def attach(app: FastAPI, settings: ServiceSettings, queue_settings: WorkerSettings, responses: Counter[int]) -> None:
    """Give `app` its state, and keep the listener running while the app runs."""
    queue = FitQueue(queue_settings)
    app.state.service = State(
        settings,
        settings.limits(),
        queue,
        FitListener(queue_settings),
        SimulationQueue(queue_settings),
        BatchQueue(queue_settings, lambda: queue.messenger),
        BodyBudget(settings.max_received_bytes),
        MetricsStore(queue_settings),
        KeyStore(queue_settings),
        responses,
        queue_settings.webhook_private_addresses,
    )
    app.router.lifespan_context = _lifespan


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    state: State = app.state.service
    await state.listener.start()
    await state.simulations.start()
    preparing = asyncio.get_running_loop().run_in_executor(state.threads, state.queue.prepare)
    try:
        yield
    finally:
        await state.listener.stop()
        await state.simulations.stop()
        await preparing
        state.threads.shutdown(wait=False, cancel_futures=True)


def state_of(request: Request) -> State:
    """Return the state of the service that handles this request."""
    state: State = request.app.state.service
    return state


async def read_and_process(state: State, request: Request, process: Callable[[bytes], T]) -> T:
    """Read the body of a request, and process it in a thread.

    Nothing here outlives the call: the body may be large, and the caller may wait long.
    """
    headers = request.headers
    check_headers(headers.get("content-type"), headers.get("content-encoding"))
    with state.body_budget.body() as reserve:
        length, settings = headers.get("content-length"), state.settings
        body = await read_body(request.stream(), length, settings.max_body_bytes, settings.receive_seconds, reserve)
        if len(body) <= SMALL_BODY_BYTES:
            return await state.in_thread(process, body)
        async with state.parsing:
            return await state.in_thread(process, body)
