"""The client for asyncio, and a fit on the service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self

import httpx

from odefit.errors import ClientClosed, FitFailed, Json, ServiceUnavailable, error_of, unavailable
from odefit.events import Event, EventStream
from odefit.fit_state import FitState
from odefit.requests import (
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
from odefit.retries import RETRY_PAUSE, Attempts


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
        if self._http.is_closed:
            raise ClientClosed
        attempts = Attempts(self.url, self._retry_seconds)
        while True:
            failed: httpx.Response | httpx.TransportError
            try:
                failed = response = await self._http.request(method, path, **options)
            except httpx.TransportError as error:
                failed = error
            else:
                if not response.is_error:
                    return response
            await asyncio.sleep(attempts.pause_after(failed))

    async def lines(self, path: str, last_event_id: str) -> AsyncGenerator[str]:
        """Yield the lines of a stream. Raises `ServiceError`, also when the stream breaks."""
        if self._http.is_closed:
            raise ClientClosed
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


class AsyncFit(FitState):
    """As `Fit`, for asyncio."""

    def __init__(self, client: AsyncClient, content: Json) -> None:
        super().__init__(content)
        self._client = client

    async def result(self) -> Result:
        """Return the result, asked for if the last answer had none. Raises `FitFailed` if there is none."""
        if "result" not in self.content:
            await self.refresh()
        return self._result((await self.problem())["request"])

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
        stream = EventStream()
        while True:
            lost = None
            try:
                async with aclosing(self._client.lines(fit_path(self.id, "/events"), stream.last_id)) as lines:
                    async for line in lines:
                        if event := stream.feed(line):
                            yield event
                            if event.is_last:
                                return
            except ServiceUnavailable as error:
                lost = error
            stream.broke(lost)
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
