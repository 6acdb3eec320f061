"""The one place where an error becomes `application/problem+json` (RFC 9457).

Routes raise `ServiceError` with a code of `ERRORS`, which decides status, `type` and title. The handlers at the end
render it, and every other exception that can leave a route.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from odelib.errors import FieldError, ProblemError
from odelib.problem.checks.form import in_our_words
from service.strict_json import MalformedJsonError
from worker import errors as queue_errors

MEDIA_TYPE = "application/problem+json"
# In place of the exception's message, which may hold Redis's address or other internals.
_STORE_UNAVAILABLE = "Redis does not respond; try again, with an Idempotency-Key so that no fit is submitted twice"

# code → status and title. The code is part of `type`, urn:odefit:error:CODE, and never changes.
ERRORS: Mapping[str, tuple[int, str]] = {
    "malformed_json": (400, "Malformed JSON"),
    "bad_request": (400, "Malformed HTTP request"),
    "unauthorized": (401, "Missing or wrong API key"),
    "forbidden": (403, "The key does not permit this"),
    "not_found": (404, "No such path"),
    "fit_not_found": (404, "No such fit"),
    "system_not_found": (404, "No such system"),
    "batch_not_found": (404, "No such batch"),
    "method_not_allowed": (405, "Method not allowed"),
    "not_acceptable": (406, "No such format"),
    "fit_ended": (409, "The fit has already ended"),
    "no_result": (409, "The fit has no result"),
    "fit_not_finished": (409, "The fit has not finished"),
    "batch_ended": (409, "The batch has already ended"),
    "batch_not_finished": (409, "The batch has not finished"),
    "request_timeout": (408, "The request took too long to arrive"),
    "body_too_large": (413, "The body is too large"),
    "unsupported_media_type": (415, "Unsupported media type"),
    "invalid_request": (422, "Invalid fit request"),
    "invalid_parameter": (422, "Invalid query parameter or header"),
    "idempotency_conflict": (422, "Idempotency key already used"),
    "queue_full": (429, "The queue is full"),
    "batches_full": (429, "Too many batches are unfinished"),
    "headers_too_large": (431, "The headers are too large"),
    "key_limit": (429, "The key has reached its limit"),
    "internal": (500, "Internal error"),
    "simulations_full": (429, "Too many simulations are waiting"),
    "simulation_failed": (422, "The simulation cannot succeed"),
    "too_busy": (503, "The service is busy"),
    "no_worker": (503, "No worker is running"),
    "store_unavailable": (503, "The store is unavailable"),
    "store_full": (503, "The store is full"),
    "simulation_timeout": (504, "The simulation took too long"),
}


@dataclass(frozen=True)
class ParameterError:
    """One mistake in a query parameter or header."""

    parameter: str
    detail: str


class ServiceError(Exception):
    """An error response.

    code: one of `ERRORS`. errors: the mistakes, each with its place. headers: sent with the response.
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
    """Return the error of a body that is JSON but not a valid fit request."""
    return ServiceError("invalid_request", _summary(errors), errors=errors)


def invalid_parameters(errors: Sequence[ParameterError]) -> ServiceError:
    """Return the error of invalid or unknown query parameters or headers."""
    return ServiceError("invalid_parameter", _summary(errors), errors=errors)


def problem_response(error: ServiceError) -> Response:
    """Return the error as `application/problem+json`."""
    body: dict[str, Any] = {
        "type": f"urn:odefit:error:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
    }
    if error.errors:
        body["errors"] = [vars(entry) for entry in error.errors]
    return Response(json.dumps(body), error.status, error.headers, MEDIA_TYPE)


# Exception of the queue → code, and the Retry-After in seconds where another try may succeed.
_QUEUE_ERRORS: Mapping[type[queue_errors.WorkerError], tuple[str, int | None]] = {
    queue_errors.StoreUnavailable: ("store_unavailable", 5),
    queue_errors.StoreFull: ("store_full", 60),
    queue_errors.QueueFull: ("queue_full", 30),
    queue_errors.SimulationsFull: ("simulations_full", 1),
    queue_errors.NoWorker: ("no_worker", 5),
    queue_errors.SimulationTimeout: ("simulation_timeout", None),
    queue_errors.SimulationBroke: ("internal", None),
    queue_errors.SimulationFailed: ("simulation_failed", None),
    queue_errors.FitNotFound: ("fit_not_found", None),
    queue_errors.FitNotFinished: ("fit_not_finished", None),
    queue_errors.NoResult: ("no_result", None),
    queue_errors.FitEnded: ("fit_ended", None),
    queue_errors.BatchNotFound: ("batch_not_found", None),
    queue_errors.BatchNotFinished: ("batch_not_finished", None),
    queue_errors.BatchEnded: ("batch_ended", None),
    queue_errors.BatchesFull: ("batches_full", 30),
    queue_errors.IdempotencyConflict: ("idempotency_conflict", None),
}


def install_handlers(app: FastAPI) -> None:
    """Render every exception that can leave a route."""
    app.add_exception_handler(ServiceError, _service_error)
    app.add_exception_handler(MalformedJsonError, _malformed_json)
    app.add_exception_handler(ProblemError, _problem_error)
    app.add_exception_handler(queue_errors.WorkerError, _queue_error)
    app.add_exception_handler(RequestValidationError, _framework_validation)
    app.add_exception_handler(HTTPException, _framework_error)
    app.add_exception_handler(Exception, _internal_error)


def _service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    return problem_response(error)


def _malformed_json(request: Request, error: Exception) -> Response:
    return problem_response(ServiceError("malformed_json", str(error)))


def _problem_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return problem_response(invalid_request(error.errors))


def _queue_error(request: Request, error: Exception) -> Response:
    return queue_error(error)


def queue_error(error: Exception) -> Response:
    """Return the response for an exception of the queue; raises any other one."""
    if isinstance(error, queue_errors.KeyLimitReached):
        return problem_response(ServiceError("key_limit", str(error), headers={"Retry-After": str(error.seconds)}))
    for kind, (code, seconds) in _QUEUE_ERRORS.items():
        if isinstance(error, kind):
            headers = {} if seconds is None else {"Retry-After": str(seconds)}
            where = [ParameterError("Idempotency-Key", str(error))] if code == "idempotency_conflict" else []
            detail = _STORE_UNAVAILABLE if code == "store_unavailable" else str(error)
            return problem_response(ServiceError(code, detail, errors=where, headers=headers))
    raise error


def _framework_validation(request: Request, error: Exception) -> Response:
    """Render FastAPI's errors, all of them about query parameters: the service reads bodies itself."""
    assert isinstance(error, RequestValidationError)
    mistakes = [ParameterError(str(details["loc"][1]), _parameter_detail(details)) for details in error.errors()]
    return problem_response(invalid_parameters(mistakes))


def _parameter_detail(details: ErrorDetails) -> str:
    return "unknown query parameter" if details["type"] == "extra_forbidden" else in_our_words(details)


def _framework_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allowed = ", ".join(_methods_at(request))
        detail = f"this path does not support {request.method}; use {allowed}"
        return problem_response(ServiceError("method_not_allowed", detail, headers={"Allow": allowed}))
    if error.status_code == 404:
        path = request.url.path
        hint = "leave out the slash at the end" if path != "/" and path.endswith("/") else "/docs lists all routes"
        return problem_response(ServiceError("not_found", f"no route has this path; {hint}"))
    return problem_response(ServiceError("bad_request", str(error.detail)))


def _methods_at(request: Request) -> list[str]:
    """Return the methods of all routes that have the request's path."""
    scope = dict(request.scope)
    methods: set[str] = set()
    for method in ("GET", "POST", "DELETE"):
        scope["method"] = method
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.routes):
            methods.add(method)
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


def _internal_error(request: Request, error: Exception) -> Response:
    # Starlette raises the exception again after this response, so that the server logs it in full.
    return problem_response(ServiceError("internal", "an unexpected error occurred; the service's log has the details"))


def _summary(errors: Sequence[FieldError | ParameterError]) -> str:
    first = errors[0]
    where = first.pointer or "the whole request" if isinstance(first, FieldError) else first.parameter
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{where}: {first.detail}{more}"
