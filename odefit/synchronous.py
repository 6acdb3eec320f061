"""The client, and a fit on the service."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
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


class Client:
    """A client of one service, safe for threads.

    url: by default that of `ODEFIT_URL`, or else http://127.0.0.1:8000. key: by default that of `ODEFIT_API_KEY`.
    retry_seconds: for how long a request is repeated while the service is away or busy. http: an `httpx.Client`, to
    replace the one that is made.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        retry_seconds: float = 5.0,
        http: httpx.Client | None = None,
    ) -> None:
        self.url = address(url)
        self._retry_seconds = retry_seconds
        self._http = http or httpx.Client(base_url=self.url, headers=key_headers(key), timeout=TIMEOUT)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def fit(self, request: Mapping[str, Any], *, idempotency_key: str | None = None) -> Fit:
        """Submit a fit. Raises `InvalidRequest` with all mistakes."""
        response = self.request("POST", "/fits", json=plain(request), headers=submission(idempotency_key, None))
        return Fit(self, response.json())

    def validate(self, request: Mapping[str, Any]) -> Json:
        """Return a request with all defaults filled in; nothing is stored. Raises `InvalidRequest`."""
        answer: Json = self.request("POST", "/fits", params={"validate_only": "true"}, json=plain(request)).json()
        found: Json = answer["request"]
        return found

    def simulate(self, request: Mapping[str, Any]) -> Json:
        """Return the trajectories of a request at its guesses; its series need no values."""
        answer: Json = self.request("POST", "/simulations", json=plain(request)).json()
        return answer

    def get(self, fit_id: str) -> Fit:
        """Return a fit in its current state. Raises `NotFound`."""
        return Fit(self, self.request("GET", fit_path(fit_id)).json())

    def fits(
        self,
        *,
        status: str | None = None,
        system: str | None = None,
        labels: Mapping[str, str] | None = None,
        limit: int | None = None,
    ) -> Iterator[Fit]:
        """Yield fits without their results, newest first, at most `limit`."""
        query, left = filters(status, system, labels, min(limit, 100) if limit else None), limit
        while True:
            page: Json = self.request("GET", "/fits", params=query).json()
            for content in page["fits"][:left]:
                yield Fit(self, content)
            left = None if left is None else left - len(page["fits"])
            if "next_cursor" not in page or (left is not None and left <= 0):
                return
            query["cursor"] = page["next_cursor"]

    def systems(self) -> list[Json]:
        """Return the catalogue."""
        found: list[Json] = self.request("GET", "/systems").json()["systems"]
        return found

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request, again while the service is away or busy. Raises `ServiceError` for an error."""
        if self._http.is_closed:
            raise ClientClosed
        attempts = Attempts(self.url, self._retry_seconds)
        while True:
            failed: httpx.Response | httpx.TransportError
            try:
                failed = response = self._http.request(method, path, **options)
            except httpx.TransportError as error:
                failed = error
            else:
                if not response.is_error:
                    return response
            time.sleep(attempts.pause_after(failed))

    def lines(self, path: str, last_event_id: str) -> Iterator[str]:
        """Yield the lines of a stream. Raises `ServiceError`, also when the stream breaks."""
        if self._http.is_closed:
            raise ClientClosed
        headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
        try:
            with self._http.stream("GET", path, headers=headers, timeout=STREAM_TIMEOUT) as response:
                if response.is_error:
                    response.read()
                    raise error_of(response)
                yield from response.iter_lines()
        except httpx.TransportError as error:
            raise unavailable(error, self.url) from None


class Fit(FitState):
    """A fit on the service. content: the JSON of the last answer; `refresh` asks again."""

    def __init__(self, client: Client, content: Json) -> None:
        super().__init__(content)
        self._client = client

    @property
    def result(self) -> Result:
        """The result, asked for if the last answer had none. Raises `FitFailed` if the fit ended without one."""
        if "result" not in self.content:
            self.refresh()
        return self._result(lambda: self.problem()["request"])

    def refresh(self) -> Fit:
        """Ask for the current state."""
        self.content = self._client.request("GET", fit_path(self.id)).json()
        return self

    def problem(self) -> Json:
        """Return the request with all defaults, and the versions of the software."""
        found: Json = self._client.request("GET", fit_path(self.id, "/problem")).json()
        return found

    def wait(self, timeout: float | None = None, *, progress: bool = False) -> Fit:
        """Wait for the end. Raises `FitFailed` if it failed or was cancelled, and `TimeoutError`.

        progress: show it on stderr.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        if progress and deadline is None:
            self._show_progress()
        while not self.has_ended:
            left = WAIT_SECONDS if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"the fit {self.id} has not ended after {timeout:g} s")
            headers = {"Prefer": f"wait={max(1, min(WAIT_SECONDS, round(left)))}"}
            self.content = self._client.request("GET", fit_path(self.id), headers=headers).json()
            if progress:
                _show(self.progress)
        if self.status != "succeeded":
            raise FitFailed(self.refresh().content)
        return self if "result" in self.content else self.refresh()

    def events(self) -> Iterator[Event]:
        """Yield the events until the fit ends; resumes where the stream breaks."""
        stream = EventStream()
        while True:
            lost = None
            try:
                for line in self._client.lines(fit_path(self.id, "/events"), stream.last_id):
                    if event := stream.feed(line):
                        yield event
                        if event.is_last:
                            return
            except ServiceUnavailable as error:
                lost = error
            stream.broke(lost)
            time.sleep(RETRY_PAUSE)

    def cancel(self) -> Fit:
        """Ask the service to cancel it; its best point so far is kept."""
        self.content = self._client.request("POST", fit_path(self.id, "/cancel")).json()
        return self

    def delete(self) -> None:
        """Delete it, after its end."""
        self._client.request("DELETE", fit_path(self.id))

    def csv(self) -> str:
        """Return the fitted trajectories as CSV text."""
        return self._client.request("GET", fit_path(self.id, "/result.csv")).text

    def svg(self, kind: str = "time") -> str:
        """Return a plot as SVG text; the service draws it. kind: `time`, `phase`, `residuals`, …"""
        return self._client.request("GET", fit_path(self.id, "/plot.svg"), params={"kind": kind}).text

    def _show_progress(self) -> None:
        for event in self.events():
            if event.kind == "progress":
                _show(event.data)
        sys.stderr.write("\n")
        self.refresh()


def _show(progress: Mapping[str, Any] | None) -> None:
    if progress:
        text = f"{progress['stage']} {progress['step']}/{progress['steps']}, loss {progress['loss']:.6g}"
        sys.stderr.write(f"\r{progress['fraction']:4.0%}  {text:<60}")
        sys.stderr.flush()
