"""The client for asyncio, and a fit on the service."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from odefit.errors import FitFailed, Json, ServiceUnavailable, error_of, unavailable
from odefit.events import Event, EventParser
from odefit.requests import (
    ENDED,
    RETRIED,
    RETRY_PAUSE,
    STREAM_TIMEOUT,
    TIMEOUT,
    WAIT_SECONDS,
    address,
    filters,
    fit_path,
    key_headers,
    plain,
    submission,
)
from odefit.result import Result


class AsyncClient:
    """As `Client`, for asyncio."""

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        retry_seconds: float = 5.0,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self.url = address(url)
        self._retry_seconds = retry_seconds
        self._http = http or httpx.AsyncClient(base_url=self.url, headers=key_headers(key), timeout=TIMEOUT)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def fit(self, request: Mapping[str, Any], *, idempotency_key: str | None = None) -> AsyncFit:
        """Submit a fit. Raises `InvalidRequest` with all mistakes."""
        headers = submission(idempotency_key, None)
        response = await self.request("POST", "/fits", json=plain(request), headers=headers)
        return AsyncFit(self, response.json())

    async def validate(self, request: Mapping[str, Any]) -> Json:
        """Return a request with all defaults filled in; nothing is stored. Raises `InvalidRequest`."""
        response = await self.request("POST", "/fits", params={"validate_only": "true"}, json=plain(request))
        found: Json = response.json()["request"]
        return found

    async def simulate(self, request: Mapping[str, Any]) -> Json:
        """Return the trajectories of a request at its guesses; its series need no values."""
        answer: Json = (await self.request("POST", "/simulations", json=plain(request))).json()
        return answer

    async def get(self, fit_id: str) -> AsyncFit:
        """Return a fit in its current state. Raises `NotFound`."""
        return AsyncFit(self, (await self.request("GET", fit_path(fit_id))).json())

    async def fits(
        self,
        *,
        status: str | None = None,
        system: str | None = None,
        labels: Mapping[str, str] | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[AsyncFit]:
        """Yield fits without their results, newest first, at most `limit`."""
        query, left = filters(status, system, labels, min(limit, 100) if limit else None), limit
        while True:
            page: Json = (await self.request("GET", "/fits", params=query)).json()
            for content in page["fits"][:left]:
                yield AsyncFit(self, content)
            left = None if left is None else left - len(page["fits"])
            if "next_cursor" not in page or (left is not None and left <= 0):
                return
            query["cursor"] = page["next_cursor"]

    async def systems(self) -> list[Json]:
        """Return the catalogue."""
        found: list[Json] = (await self.request("GET", "/systems")).json()["systems"]
        return found

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request, again while the service is away or busy. Raises `ServiceError` for an error."""
        deadline = time.monotonic() + self._retry_seconds
        while True:
            pause = RETRY_PAUSE
            try:
                response = await self._http.request(method, path, **options)
            except httpx.TransportError as transport:
                error: Exception = unavailable(transport, self.url)
            else:
                if not response.is_error:
                    return response
                failure = error_of(response)
                if response.status_code not in RETRIED:
                    raise failure
                error, pause = failure, max(RETRY_PAUSE, failure.retry_after or 0.0)
            if time.monotonic() + pause > deadline:
                raise error
            await asyncio.sleep(pause)

    async def lines(self, path: str, last_event_id: str) -> AsyncIterator[str]:
        """Yield the lines of a stream. Raises `ServiceError`, also when the stream breaks."""
        headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
        try:
            async with self._http.stream("GET", path, headers=headers, timeout=STREAM_TIMEOUT) as response:
                if response.is_error:
                    await response.aread()
                    raise error_of(response)
                async for line in response.aiter_lines():
                    yield line
        except httpx.TransportError as error:
            raise unavailable(error, self.url) from None


class AsyncFit:
    """As `Fit`, for asyncio."""

    def __init__(self, client: AsyncClient, content: Json) -> None:
        self._client = client
        self.content = content

    def __repr__(self) -> str:
        return f"AsyncFit({self.id!r}, status={self.status!r})"

    @property
    def id(self) -> str:
        """The id."""
        return str(self.content["id"])

    @property
    def status(self) -> str:
        """`queued`, `running`, `succeeded`, `failed` or `cancelled`; later versions may add others."""
        return str(self.content["status"])

    @property
    def has_ended(self) -> bool:
        """Whether it has ended."""
        return self.status in ENDED

    @property
    def progress(self) -> Json | None:
        """Stage, step, steps, loss and fraction, if it has started."""
        return self.content.get("progress")

    async def result(self) -> Result:
        """Return the result, asked for if the last answer had none. Raises `FitFailed` if there is none."""
        if "result" not in self.content:
            await self.refresh()
        if "result" not in self.content:
            raise FitFailed(self.content)
        return Result(self.content["result"], (await self.problem())["request"])

    async def refresh(self) -> AsyncFit:
        """Ask for the current state."""
        self.content = (await self._client.request("GET", fit_path(self.id))).json()
        return self

    async def problem(self) -> Json:
        """Return the request with all defaults, and the versions of the software."""
        found: Json = (await self._client.request("GET", fit_path(self.id, "/problem"))).json()
        return found

    async def wait(self, timeout: float | None = None) -> AsyncFit:
        """Wait for the end. Raises `FitFailed` if it failed or was cancelled, and `TimeoutError`."""
        async with asyncio.timeout(timeout):
            while not self.has_ended:
                headers = {"Prefer": f"wait={WAIT_SECONDS}"}
                self.content = (await self._client.request("GET", fit_path(self.id), headers=headers)).json()
        if self.status != "succeeded":
            raise FitFailed((await self.refresh()).content)
        return self if "result" in self.content else await self.refresh()

    async def events(self) -> AsyncIterator[Event]:
        """Yield the events until the fit ends; resumes where the stream breaks."""
        last_id, failed_since = "", 0.0
        while True:
            parser = EventParser()
            try:
                async for line in self._client.lines(fit_path(self.id, "/events"), last_id):
                    failed_since = 0.0
                    if event := parser.feed(line):
                        last_id = event.id
                        yield event
                        if event.is_last:
                            return
            except ServiceUnavailable:
                failed_since = failed_since or time.monotonic()
                if time.monotonic() - failed_since > 60.0:
                    raise
            await asyncio.sleep(RETRY_PAUSE)

    async def cancel(self) -> AsyncFit:
        """Ask the service to cancel it; its best point so far is kept."""
        self.content = (await self._client.request("POST", fit_path(self.id, "/cancel"))).json()
        return self

    async def delete(self) -> None:
        """Delete it, after its end."""
        await self._client.request("DELETE", fit_path(self.id))

    async def csv(self) -> str:
        """Return the fitted trajectories as CSV text."""
        return (await self._client.request("GET", fit_path(self.id, "/result.csv"))).text

    async def svg(self, kind: str = "time") -> str:
        """Return a plot as SVG text; the service draws it. kind: `time`, `phase`, `residuals`, …"""
        return (await self._client.request("GET", fit_path(self.id, "/plot.svg"), params={"kind": kind})).text
