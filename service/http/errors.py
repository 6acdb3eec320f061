"""The one place where an error becomes `application/problem+json` (RFC 9457).

Everything that goes wrong on the way of a request ends in `ServiceError`, whose code decides status, `type` and
title; the handlers at the end render it. Exceptions of the worker's queue have their code in one table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from odelib.errors import FieldError, ProblemError
from worker import errors as queue_errors

MEDIA_TYPE = "application/problem+json"
# The exception itself may tell more of the inside than a caller should know, such as Redis's address.
_STORE_SILENT = "Redis does not answer; try again, with an Idempotency-Key where a fit must not be submitted twice"

# code → status and title. The code stands in `type`, as urn:odefit:error:CODE, and never changes.
ERRORS: Mapping[str, tuple[int, str]] = {
    "malformed_json": (400, "The body is not JSON in UTF-8"),
    "bad_request": (400, "The request cannot be understood"),
    "unauthorized": (401, "A key is needed"),
    "not_found": (404, "There is nothing at this address"),
    "fit_not_found": (404, "No such fit"),
    "system_not_found": (404, "No such system"),
    "method_not_allowed": (405, "The address does not have this method"),
    "fit_ended": (409, "The fit has ended"),
    "fit_not_finished": (409, "The fit has not finished"),
    "request_timeout": (408, "The request did not come in time"),
    "body_too_large": (413, "The body is too large"),
    "unsupported_media_type": (415, "The body is not of a media type that is accepted"),
    "invalid_request": (422, "The request is not a fit problem"),
    "invalid_parameter": (422, "A query parameter or header is wrong"),
    "idempotency_conflict": (422, "The idempotency key belongs to another request"),
    "queue_full": (429, "The queue is full"),
    "headers_too_large": (431, "The head of the request is too large"),
    "internal": (500, "The service has made a mistake"),
    "too_busy": (503, "The service is busy"),
    "store_unavailable": (503, "The store does not answer"),
    "store_full": (503, "The store is full"),
}


@dataclass(frozen=True)
class ParameterError:
    """One mistake in a query parameter or header."""

    parameter: str
    detail: str


class ServiceError(Exception):
    """An answer that is an error.

    `code` is one of `ERRORS`; `errors` says what is wrong where; `headers` go out with the answer.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        errors: Sequence[FieldError | ParameterError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.status, self.title = ERRORS[code]
        super().__init__(detail)


def invalid_request(errors: Sequence[FieldError]) -> ServiceError:
    """A body that is JSON but not a fit problem."""
    return ServiceError("invalid_request", _summary(errors), errors=errors)


def invalid_parameters(errors: Sequence[ParameterError]) -> ServiceError:
    """Query parameters or headers that are wrong or unknown."""
    return ServiceError("invalid_parameter", _summary(errors), errors=errors)


def problem_response(error: ServiceError) -> Response:
    """The answer as `application/problem+json`."""
    body: dict[str, Any] = {
        "type": f"urn:odefit:error:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
    }
    if error.errors:
        body["errors"] = [vars(entry) for entry in error.errors]
    return Response(json.dumps(body), error.status, error.headers, MEDIA_TYPE)


# What the worker's queue raises → code, and after how many seconds it is worth to try again.
_QUEUE_ERRORS: Mapping[type[queue_errors.WorkerError], tuple[str, int | None]] = {
    queue_errors.StoreUnavailable: ("store_unavailable", 5),
    queue_errors.StoreFull: ("store_full", 60),
    queue_errors.QueueFull: ("queue_full", 30),
    queue_errors.FitNotFound: ("fit_not_found", None),
    queue_errors.FitNotFinished: ("fit_not_finished", None),
    queue_errors.FitEnded: ("fit_ended", None),
    queue_errors.IdempotencyConflict: ("idempotency_conflict", None),
}


def install_handlers(app: FastAPI) -> None:
    """Render every exception that can leave a route."""
    app.add_exception_handler(ServiceError, _service_error)
    app.add_exception_handler(ProblemError, _problem_error)
    app.add_exception_handler(queue_errors.WorkerError, _queue_error)
    app.add_exception_handler(RequestValidationError, _framework_validation)
    app.add_exception_handler(HTTPException, _framework_error)
    app.add_exception_handler(Exception, _mistake)


def _service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    return problem_response(error)


def _problem_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return problem_response(invalid_request(error.errors))


def _queue_error(request: Request, error: Exception) -> Response:
    for kind, (code, seconds) in _QUEUE_ERRORS.items():
        if isinstance(error, kind):
            headers = {} if seconds is None else {"Retry-After": str(seconds)}
            where = [ParameterError("Idempotency-Key", str(error))] if code == "idempotency_conflict" else []
            detail = _STORE_SILENT if code == "store_unavailable" else str(error)
            return problem_response(ServiceError(code, detail, errors=where, headers=headers))
    raise error


def _framework_validation(request: Request, error: Exception) -> Response:
    """Only query parameters are left to the framework; the body is read by hand."""
    assert isinstance(error, RequestValidationError)
    wrong = [ParameterError(str(details["loc"][-1]), _parameter_detail(details)) for details in error.errors()]
    return problem_response(invalid_parameters(wrong))


def _parameter_detail(details: Mapping[str, Any]) -> str:
    if details["type"] == "extra_forbidden":
        return f"there is no query parameter {details['loc'][-1]!r:.80} here"
    return str(details["msg"])


def _framework_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        methods = _methods_at(request)
        detail = f"{request.method} is not available here; available are {', '.join(methods)}"
        return problem_response(ServiceError("method_not_allowed", detail, headers={"Allow": ", ".join(methods)}))
    if error.status_code == 404:
        return problem_response(ServiceError("not_found", "no route has this path; /docs lists all of them"))
    return problem_response(ServiceError("bad_request", str(error.detail)))


def _methods_at(request: Request) -> list[str]:
    """All methods of all routes that have the request's path."""
    scope = dict(request.scope)
    found: set[str] = set()
    for method in ("GET", "POST", "DELETE"):
        scope["method"] = method
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.routes):
            found.add(method)
    return sorted(found)


def _mistake(request: Request, error: Exception) -> Response:
    # The framework raises the exception again after this answer, so that the server logs it in full.
    return problem_response(
        ServiceError("internal", "an error that the service did not expect; its log has the details")
    )


def _summary(errors: Sequence[FieldError | ParameterError]) -> str:
    first = errors[0]
    where = first.pointer or "the whole body" if isinstance(first, FieldError) else first.parameter
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{where}: {first.detail}{more}"
