"""The events of a fit, as a stream of server-sent events.

A stream keeps no events: whenever the fit's state is new and the client reads, it sends what has changed since the last
event. So a client that reads slowly, or never, costs no more memory than others.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.http.errors import ParameterError, invalid_parameters
from service.http.parameters import NO_PARAMETERS
from service.http.schemas import error_responses
from service.http.state import State, state_of
from worker.fit_listener import Feed, FitState

MAX_LOSSES = 1_000
COMMENT_SECONDS = 15.0
_COMMENT = b": waiting\n\n"
_DESCRIPTION = (
    "Server-sent events. `progress`: the running stage, its `step` of `steps`, the best `loss`, `fraction`, the best "
    "`parameters` and `initial_state`, and `losses`, a list of `[step, loss]` since the last event, where steps count "
    "over all stages. "
    "`finished`: `id`, `status`, `outcome`; the last event. More kinds may be added."
)
# A response is a whole body in OpenAPI 3.1, so a stream of events is text: generated clients parse an object as JSON.
_STREAM = {"type": "string", "description": "Events, each with `id` (for `Last-Event-ID`), `event` and `data` (JSON)."}

router = APIRouter(tags=["fits"], dependencies=NO_PARAMETERS)


@router.get(
    "/fits/{fit_id}/events",
    response_class=Response,
    responses={
        200: {"description": _DESCRIPTION, "content": {"text/event-stream": {"schema": _STREAM}}},
        **error_responses("unauthorized", "fit_not_found", "invalid_parameter", "store_unavailable"),
    },
)
async def get_fit_events(request: Request, fit_id: str) -> Response:
    """Follow a fit to its end. With `Last-Event-ID`, the losses since that event are sent."""
    state = state_of(request)
    since = _last_step(request.headers.get("last-event-id"))
    await state.in_thread(state.queue.get, fit_id, result=False)
    return EventStream(state, fit_id, since)


def _last_step(header: str | None) -> int:
    if header is None:
        return 0
    if not re.fullmatch(r"[0-9]{1,15}", header, re.ASCII):
        raise invalid_parameters([ParameterError("Last-Event-ID", "not the id of an event of this stream")])
    return int(header)


class EventStream(Response):
    """The response: follows a fit until it ends, the client goes away, or the service shuts down.

    since: the step of the last loss that the client has.
    """

    media_type = "text/event-stream"

    def __init__(self, state: State, fit_id: str, since: int) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._state = state
        self._fit_id = fit_id
        self._since = since
        self._sent: FitState | None = None
        self._progress: dict[str, Any] | None = None
        self._is_closed = False
        self._wake = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        disconnect = asyncio.ensure_future(self._watch(receive))
        try:
            with self._state.listener.follow(self._fit_id, self._wake.set) as feed:
                await self._follow(feed, send)
        finally:
            disconnect.cancel()
        await send({"type": "http.response.body", "body": b""})

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._is_closed = True
        self._wake.set()

    async def _follow(self, feed: Feed, send: Send) -> None:
        loop = asyncio.get_running_loop()
        comment_due = loop.time()  # the first at once, so that proxies pass on the headers
        while not self._is_over(feed):
            if loop.time() >= comment_due:
                await _send_part(send, _COMMENT)
                comment_due += COMMENT_SECONDS
            if feed.state is not None and feed.state is not self._sent:
                state = self._sent = feed.state
                await _send_part(send, self._events(state))
                if state.has_ended:
                    return
            self._wake.clear()
            if feed.state is self._sent and not self._is_over(feed):
                await self._sleep(comment_due - loop.time())

    def _is_over(self, feed: Feed) -> bool:
        return self._is_closed or feed.is_gone or self._state.closing.is_set()

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _events(self, state: FitState) -> bytes:
        """Return what is new in a state."""
        text = b""
        losses = [entry for entry in state.losses if entry[0] > self._since]
        has_resumed = self._progress is None and self._since > 0
        if state.progress is not None and (losses or (state.progress != self._progress and not has_resumed)):
            self._since = losses[-1][0] if losses else self._since
            progress = state.progress | state.best | {"losses": thinned(losses)}
            text += _event("progress", self._since, progress)
        self._progress = state.progress
        if state.has_ended:
            ended = {"id": self._fit_id, "status": state.status}
            text += _event("finished", self._since, ended | ({"outcome": state.outcome} if state.outcome else {}))
        return text


async def _send_part(send: Send, body: bytes) -> None:
    # Waits while the client reads too slowly; the connection ends if it reads nothing for too long.
    if body:
        await send({"type": "http.response.body", "body": body, "more_body": True})


def _event(kind: str, number: int, data: dict[str, Any]) -> bytes:
    return f"id: {number}\nevent: {kind}\ndata: {json.dumps(data, allow_nan=False)}\n\n".encode()


def thinned(losses: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return at most `MAX_LOSSES` entries, evenly chosen, with the last.

    >>> len(thinned([(i, 1.0) for i in range(2_500)])), thinned([(1, 2.0)])
    (834, [(1, 2.0)])
    """
    stride = -(-len(losses) // MAX_LOSSES) or 1
    return losses[::-1][::stride][::-1]
