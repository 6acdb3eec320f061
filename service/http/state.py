"""What the routes share while the service runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import ParamSpec, TypeVar

from fastapi import FastAPI
from starlette.requests import Request

from odelib.problem.limits import Limits
from service.http.request_body import Room
from service.settings import ServiceSettings
from worker.queue import EndedListener, FitQueue
from worker.settings import WorkerSettings

SMALL_BODY = 16 * 2**10  # bytes; parsed in less time than it takes to hand it to a thread and back
# The numbers are measured: with more threads they spend more time on handing the interpreter's lock around than they
# win, and anyio's own threads, meant for anything, cost three times as much a call.
_THREADS = 8
_PARSERS = 2  # as Python objects a body takes some twenty times as much memory

P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class State:
    """Settings, the queue, room for bodies, and who waits for fits to end.

    `closing` is set when the service is asked to stop: whoever waits for a fit is answered at once. `parsers` lets
    through as many bodies beyond `SMALL_BODY` as may be parsed at a time.
    """

    settings: ServiceSettings
    limits: Limits
    queue: FitQueue
    listener: EndedListener
    room: Room
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    parsers: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_PARSERS))
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_THREADS, "queue"))

    async def in_thread(self, function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Call what blocks, such as the queue, in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, partial(function, *args, **options))

    async def wait_for_end(self, fit_id: str, seconds: float) -> None:
        """Return when the fit has ended, the time is over, or the service stops."""
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
            wait.result()  # an error of the listener is the caller's to know


def attach(app: FastAPI, settings: ServiceSettings, queue_settings: WorkerSettings) -> None:
    """Give `app` its state and keep the listener running while the app does."""
    app.state.service = State(
        settings,
        settings.limits(),
        FitQueue(queue_settings),
        EndedListener(queue_settings),
        Room(settings.max_received_bytes),
    )
    app.router.lifespan_context = _lifespan


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    state: State = app.state.service
    await state.listener.start()
    try:
        yield
    finally:
        await state.listener.stop()
        state.threads.shutdown(wait=False, cancel_futures=True)


def state_of(request: Request) -> State:
    """The state of the service that answers this request."""
    state: State = request.app.state.service
    return state
