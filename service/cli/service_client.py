"""A client of one service, which retries while the service is away or full."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

import httpx

from odelib.errors import FieldError
from service.cli.errors import BAD_REQUEST, FAILED, NO_SERVICE, CommandError

FIRST_RETRY_SECONDS = 5.0  # until the first response: whoever forgot to start the service should soon know
LATER_RETRY_SECONDS = 300.0  # once the service has accepted the fit, it may restart
RETRY_PAUSE = 0.5
_RETRIED_STATUSES = (429, 502, 503, 504)

Json = dict[str, Any]


class ServiceClient:
    """Sends requests to one service. notify: shows the user what the client waits for."""

    def __init__(self, url: str, key: str | None) -> None:
        self.url = url.rstrip("/")
        self.notify: Callable[[str], None] = lambda text: None
        self._retry_seconds = FIRST_RETRY_SECONDS
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        timeout = httpx.Timeout(30.0, connect=5.0)
        try:
            self._http = httpx.Client(base_url=self.url, headers=headers, timeout=timeout)
        except httpx.InvalidURL as error:
            raise CommandError(BAD_REQUEST, f"{url!r} is not a valid URL of a service: {error}") from None

    def submit(self, body: bytes) -> Json:
        """Submit a fit request and return the accepted fit. Raises `CommandError`."""
        # One key for all attempts: if a response is lost, the next attempt returns the same fit.
        headers = {"Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())}
        fit = self._request("POST", "/fits", content=body, headers=headers)
        self._retry_seconds = LATER_RETRY_SECONDS
        return fit

    def get(self, path: str) -> Json:
        """Return the JSON at `path`. Raises `CommandError`."""
        return self._request("GET", path)

    def _request(self, method: str, path: str, **options: Any) -> Json:
        deadline = time.monotonic() + self._retry_seconds
        while True:
            try:
                response = self._http.request(method, path, **options)
            except httpx.UnsupportedProtocol as error:
                raise CommandError(BAD_REQUEST, f"{self.url!r} is not a valid URL of a service: {error}") from None
            except httpx.TransportError as error:
                problem = f"no service responds at {self.url} ({error}); start one with `odefit serve`"
            else:
                if response.status_code not in _RETRIED_STATUSES:
                    return self._content(response)
                problem = f"the service at {self.url} is temporarily unavailable: {_detail(response)}"
            if time.monotonic() + RETRY_PAUSE > deadline:
                raise CommandError(NO_SERVICE, problem)
            self.notify("waiting for the service")
            time.sleep(RETRY_PAUSE)

    def _content(self, response: httpx.Response) -> Json:
        if response.is_error:
            status = FAILED if response.status_code in (404, 500) else BAD_REQUEST
            raise CommandError(status, f"the service responded {_detail(response)}", _mistakes(response))
        if _media_type(response) != "application/json":
            raise CommandError(NO_SERVICE, f"the server at {self.url} is not an odefit service")
        content: Json = response.json()
        return content


def _media_type(response: httpx.Response) -> str:
    media_type: str = response.headers.get("content-type", "").partition(";")[0]
    return media_type


def _problem(response: httpx.Response) -> Json:
    """Return the RFC 9457 problem, empty if another server or a proxy responded."""
    if _media_type(response) != "application/problem+json":
        return {}
    problem: Json = response.json()
    return problem


def _detail(response: httpx.Response) -> str:
    problem = _problem(response)
    if "errors" in problem:
        return f"{response.status_code}: {problem['title']}"
    return f"{response.status_code}: {problem.get('detail', response.reason_phrase)}"


def _mistakes(response: httpx.Response) -> list[FieldError]:
    return [
        FieldError(entry.get("pointer", entry.get("parameter", "")), entry["detail"])
        for entry in _problem(response).get("errors", [])
    ]
