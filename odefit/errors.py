"""The errors of a service as exceptions.

ServiceError
├── InvalidRequest        422 (and 400, 413, 415): the request has mistakes, each with its pointer
├── Unauthorized          401, 403: no key, a wrong one, or one without the scope
├── NotFound              404: no such fit or system
├── TooManyRequests       429: the queue is full, or the key's limit is reached
└── ServiceUnavailable    no answer, 502, 503, 504
FitFailed                 the fit ended `failed` or `cancelled`
ClientClosed              the client was closed, so it sends nothing
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

Json = dict[str, Any]


@dataclass(frozen=True)
class Mistake:
    """A mistake in a request. place: a JSON pointer into the body, or the name of a query parameter or header."""

    place: str
    detail: str


class ServiceError(Exception):
    """The service refused a request or did not answer.

    status: of the response, None without one. code: the last part of the problem's `type`, such as `queue_full`.
    retry_after: seconds, if the service names them.
    """

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        code: str = "",
        mistakes: Sequence[Mistake] = (),
        retry_after: float | None = None,
    ) -> None:
        self.detail = detail
        self.status = status
        self.code = code
        self.mistakes = tuple(mistakes)
        self.retry_after = retry_after
        lines = [detail, *(f"  {mistake.place or '(whole request)'}: {mistake.detail}" for mistake in self.mistakes)]
        super().__init__("\n".join(lines))


class InvalidRequest(ServiceError):
    """The request has mistakes; `mistakes` has all of them."""

    @property
    def pointers(self) -> list[str]:
        """The places of the mistakes."""
        return [mistake.place for mistake in self.mistakes]


class Unauthorized(ServiceError):
    """The service needs a key, or another one."""


class NotFound(ServiceError):
    """There is no such fit or system; a fit may have expired."""


class TooManyRequests(ServiceError):
    """The queue is full, or the key has reached its limit."""


class ServiceUnavailable(ServiceError):
    """The service does not answer, or cannot now."""


class FitFailed(Exception):
    """A fit ended without success. fit: as it ended; its result, if any, is the best point so far."""

    def __init__(self, fit: Json) -> None:
        self.fit = fit
        error = fit.get("error") or {}
        self.code = str(error.get("type", "")).rpartition(":")[2]
        super().__init__(error.get("detail") or f"the fit was {fit['status']}")


class ClientClosed(RuntimeError):
    """The client was closed, so it sends nothing."""

    def __init__(self) -> None:
        super().__init__("this client is closed; ask inside its `with` block, or make another Client")


_KINDS: dict[int, type[ServiceError]] = {
    400: InvalidRequest,
    401: Unauthorized,
    403: Unauthorized,
    404: NotFound,
    413: InvalidRequest,
    415: InvalidRequest,
    422: InvalidRequest,
    429: TooManyRequests,
    502: ServiceUnavailable,
    503: ServiceUnavailable,
    504: ServiceUnavailable,
}


def error_of(response: httpx.Response) -> ServiceError:
    """Return the exception for an error response whose body has been read."""
    is_problem = response.headers.get("content-type", "").startswith("application/problem+json")
    problem: Json = response.json() if is_problem else {}
    mistakes = [
        Mistake(entry.get("pointer", entry.get("parameter", "")), entry["detail"])
        for entry in problem.get("errors", [])
    ]
    retry_after = response.headers.get("retry-after", "")
    return _KINDS.get(response.status_code, ServiceError)(
        problem.get("detail", f"the service answered {response.status_code} {response.reason_phrase}"),
        status=response.status_code,
        code=str(problem.get("type", "")).rpartition(":")[2],
        mistakes=mistakes,
        retry_after=float(retry_after) if retry_after.isdecimal() else None,
    )


def unavailable(error: httpx.TransportError, url: str) -> ServiceUnavailable:
    """Return the exception for a service that did not answer."""
    return ServiceUnavailable(f"no service responds at {url} ({type(error).__name__}: {error})")
