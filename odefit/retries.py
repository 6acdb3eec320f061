"""When a request is sent again."""

from __future__ import annotations

import time

import httpx

from odefit.errors import ServiceError, error_of, unavailable

_RETRIED = frozenset({429, 502, 503, 504})
RETRY_PAUSE = 0.5


class Attempts:
    """The attempts of one request. url: of the service. seconds: for how long it is repeated."""

    def __init__(self, url: str, seconds: float) -> None:
        self._url = url
        self._deadline = time.monotonic() + seconds

    def pause_after(self, failed: httpx.Response | httpx.TransportError) -> float:
        """Return how long to wait for the next attempt. failed: an error response that was read, or no response.

        Raises the `ServiceError` if another attempt makes no sense, or would come too late.
        """
        pause, error = RETRY_PAUSE, self._error(failed)
        if isinstance(failed, httpx.Response):
            if failed.status_code not in _RETRIED:
                raise error
            pause = max(RETRY_PAUSE, error.retry_after or 0.0)
        if time.monotonic() + pause > self._deadline:
            raise error
        return pause

    def _error(self, failed: httpx.Response | httpx.TransportError) -> ServiceError:
        return error_of(failed) if isinstance(failed, httpx.Response) else unavailable(failed, self._url)
