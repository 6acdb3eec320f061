"""Work that ends when its caller goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from starlette.requests import Request

from service.http.errors import ServiceError


async def while_connected(request: Request, work: Coroutine[Any, Any, bytes]) -> bytes:
    """Return what `work` returns; cancel it when the caller goes away. The body must have been read."""
    run = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnect(request))
    try:
        await asyncio.wait([run, gone], return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        run.cancel()
        await asyncio.wait([run])
    if run.cancelled():
        raise ServiceError("bad_request", "the client closed the connection")  # nobody reads this answer
    return run.result()


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
