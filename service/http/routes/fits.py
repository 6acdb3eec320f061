"""The routes of fits: submit, read, list, cancel, delete."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Annotated, Any
from urllib.parse import urlsplit

import structlog
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from odelib.errors import FieldError, ProblemError
from odelib.problem.catalogue import CATALOGUE
from odelib.problem.continuation import continued
from odelib.problem.request import FitProblem, parse_problem, request_of
from odelib.result import FitResult
from service.http.callers import Caller, caller_of
from service.http.errors import ParameterError, invalid_parameters
from service.http.parameters import NO_PARAMETERS, Instant, idempotency_key, matches, seconds_to_wait
from service.http.request_body import digest
from service.http.schemas import Fit, FitList, FitProblemAnswer, FitStatus, PartialFit, ValidRequest, error_responses
from service.http.state import State, read_and_process, state_of
from service.strict_json import parse_json
from worker.costs import estimated_seconds
from worker.errors import FitNotFound, NoResult, StoreUnavailable
from worker.queue import FitFilter, FitRecord, Submission
from worker.states import ENDED
from worker.webhooks.delivery import is_public

CUSTOM = "custom"
_RETRY_AFTER = "1"  # seconds, which suffice for a small fit
_FIELDS = (
    "id", "status", "system", "created_at", "started_at", "finished_at", "expires_at", "labels", "attempts",
    "progress", "error",
)  # fmt: skip
_ERRORS_OF_ONE_FIT = ("unauthorized", "fit_not_found", "invalid_parameter", "store_unavailable")

log = structlog.get_logger(__name__)
router = APIRouter(tags=["fits"])


class SubmitQuery(BaseModel):
    """The query parameters of `POST /fits`."""

    model_config = ConfigDict(extra="forbid")

    validate_only: Annotated[
        bool, Field(description="Only validate: return the request with all defaults filled in, and store nothing.")
    ] = False


@router.post(
    "/fits",
    status_code=202,
    response_model=Fit,
    response_description="The fit was accepted",
    responses={
        200: {
            "model": Fit | ValidRequest,
            "description": "The fit has ended; with `validate_only`: it is valid",
        },
        **error_responses(
            *("malformed_json", "bad_request", "unauthorized", "request_timeout", "body_too_large"),
            *("unsupported_media_type", "invalid_request", "invalid_parameter", "idempotency_conflict"),
            *("queue_full", "key_limit", "too_busy", "store_unavailable", "store_full"),
        ),
    },
)
async def submit_fit(request: Request, query: Annotated[SubmitQuery, Query()]) -> Response:
    """Submit a fit.

    The service validates it immediately and runs it later. With `Prefer: wait=SECONDS` it responds when the fit ends.
    """
    state, caller = state_of(request), caller_of(request)
    seconds = _seconds_to_wait(state, request)
    key = idempotency_key(request.headers.get("idempotency-key"))
    if query.validate_only:
        answer = await read_and_process(state, request, lambda body: _valid(state, body, caller))
        return Response(answer, media_type="application/json")
    await state.admit(caller)
    about = {"idempotency_key": key, "request_id": request.state.request_id}
    submission = await read_and_process(
        state, request, lambda body: _submit(state, _parse(state, body, caller), body, caller, about)
    )
    log.info("submitted", fit=submission.record.id, created=submission.created)
    record = await _wait_for_end(state, submission.record, seconds)
    response = _fit_response(record, 200 if record.status in ENDED else 202, seconds)
    response.headers["Location"] = f"/fits/{record.id}"
    if not submission.created:
        response.headers["Idempotency-Replayed"] = "true"
    return response


def _parse(state: State, body: bytes, caller: Caller) -> FitProblem:
    raw = parse_json(body, state.settings.max_json_depth)
    if isinstance(raw, dict) and isinstance(raw.get("continue_from"), str):
        raw = _continued(state, raw, caller)
    problem = parse_problem(raw, state.limits)
    _check_webhook(state, problem)
    return problem


def _continued(state: State, raw: dict[str, Any], caller: Caller) -> dict[str, Any]:
    """Return the request with the guesses of the fit that it continues from."""
    fit_id = raw["continue_from"]
    try:
        record = state.queue.get(fit_id)
        if caller.owner not in ("", record.owner):
            raise FitNotFound(fit_id)
    except FitNotFound:
        raise ProblemError([FieldError("/continue_from", str(FitNotFound(fit_id)))]) from None
    if record.status not in ENDED or record.result is None:
        raise ProblemError([FieldError("/continue_from", str(NoResult(fit_id)))])
    earlier = json.loads(state.queue.problem(fit_id))["request"]
    return continued(raw, earlier, json.loads(record.result))


def _check_webhook(state: State, problem: FitProblem) -> None:
    """Refuse an address that is known not to be public; names are resolved and checked when the webhook is called."""
    if problem.webhook is None or state.private_webhooks:
        return
    host = urlsplit(problem.webhook.url).hostname or ""
    try:
        is_refused = not is_public(host)
    except ValueError:
        is_refused = host == "localhost" or host.endswith(".localhost")
    if is_refused:
        raise ProblemError([FieldError("/webhook/url", f"the address {host} is not public")])


def _valid(state: State, body: bytes, caller: Caller) -> bytes:
    request = request_of(_parse(state, body, caller))
    if "webhook" in request:
        request["webhook"].pop("secret", None)
    return b'{"status": "valid", "valid": true, "request": ' + to_json(request) + b"}"


def _submit(state: State, problem: FitProblem, body: bytes, caller: Caller, about: dict[str, str | None]) -> Submission:
    key = about["idempotency_key"]
    request = request_of(problem)
    webhook = request.get("webhook")
    if webhook is not None:
        request["webhook"] = {"url": webhook["url"]}  # the secret is never shown again
    return state.queue.submit(
        request,
        system=problem.system if isinstance(problem.system, str) else CUSTOM,
        labels=problem.labels,
        queue="gpu" if problem.solver.device == "cuda" else "cpu",
        idempotency_key=key,
        body_digest=None if key is None else digest(body),
        webhook=webhook,
        request_id=about["request_id"] or "",
        owner=caller.owner,
        owner_limit=caller.max_fits,
        seconds=estimated_seconds(problem),
    )


def _seconds_to_wait(state: State, request: Request) -> int | None:
    return seconds_to_wait(request.headers.getlist("prefer"), state.settings.max_wait_seconds)


async def _wait_for_end(state: State, record: FitRecord, seconds: int | None) -> FitRecord:
    """Return the fit once it has ended, or as it is after `seconds`."""
    if not seconds or record.status in ENDED:
        return record
    await state.wait_for_end(record.id, seconds)
    try:
        return await state.in_thread(state.queue.get, record.id)
    except (FitNotFound, StoreUnavailable):  # it was accepted all the same
        return record


class ListQuery(BaseModel):
    """The query parameters of `GET /fits`."""

    model_config = ConfigDict(extra="forbid")

    status: Annotated[FitStatus | None, Field(description="Only fits with this status.")] = None
    system: Annotated[str | None, Field(description="Only fits of this catalogue system, or `custom`.")] = None
    limit: Annotated[int, Field(ge=1, le=100, description="Maximum number of fits on a page.")] = 20
    cursor: Annotated[
        str | None, Field(pattern="^[0-9]{1,15}$", description="The `next_cursor` of the previous page.")
    ] = None
    label: Annotated[
        list[Annotated[str, Field(pattern=r"^[^:]*:.*$")]],
        Field(description="`KEY:VALUE`: only fits with this label. Repeat it for fits that have several."),
    ] = []
    created_after: Annotated[Instant | None, Field(description="Only fits submitted at this time or later.")] = None
    created_before: Annotated[Instant | None, Field(description="Only fits submitted before this time.")] = None


@router.get(
    "/fits",
    response_model=FitList,
    response_description="A page of fits",
    responses=error_responses("unauthorized", "invalid_parameter", "store_unavailable"),
)
async def list_fits(request: Request, query: Annotated[ListQuery, Query()]) -> Response:
    """List fits, newest first, without their results."""
    if query.system is not None and query.system not in {*CATALOGUE, CUSTOM}:
        known = ", ".join([*CATALOGUE, CUSTOM])
        raise invalid_parameters([ParameterError("system", f"no system {query.system!r:.80}; choose one of {known}")])
    state = state_of(request)
    try:
        wanted = _filter_of(query, caller_of(request).owner)
        page = await state.in_thread(state.queue.list, wanted, limit=query.limit, cursor=query.cursor)
    except ValueError:
        detail = "not a cursor; use the next_cursor of the previous page unchanged"
        raise invalid_parameters([ParameterError("cursor", detail)]) from None
    fits = b", ".join(fit_json(record) for record in page.fits)
    after = b"" if page.next_cursor is None else b', "next_cursor": ' + json.dumps(page.next_cursor).encode()
    return Response(b'{"fits": [' + fits + b"]" + after + b"}", media_type="application/json")


def _filter_of(query: ListQuery, owner: str) -> FitFilter:
    labels = dict(entry.split(":", 1) for entry in query.label)
    return FitFilter(query.status, query.system, labels, query.created_after, query.created_before, owner)


class FitQuery(BaseModel):
    """The query parameters of `GET /fits/{fit_id}`."""

    model_config = ConfigDict(extra="forbid")

    fields: Annotated[
        list[str] | None,
        Field(description="Names of the parts of the result to return, separated by commas; all by default."),
    ] = None

    @property
    def parts(self) -> frozenset[str] | None:
        """The parts of the result to return, None for all. Raises `ServiceError` for unknown ones."""
        if self.fields is None:
            return None
        names = [name.strip() for entry in self.fields for name in entry.split(",")]
        if unknown := [name for name in names if name not in FitResult.model_fields]:
            detail = f"a result has no part {unknown[0]!r:.80}; choose from {', '.join(FitResult.model_fields)}"
            raise invalid_parameters([ParameterError("fields", detail)])
        return frozenset(names)


@router.get(
    "/fits/{fit_id}",
    response_model=PartialFit,  # with `fields`, parts of the result are missing
    response_description="The fit",
    responses={304: {"description": "The fit has not changed"}, **error_responses(*_ERRORS_OF_ONE_FIT)},
)
async def get_fit(request: Request, fit_id: str, query: Annotated[FitQuery, Query()]) -> Response:
    """Return a fit in its current state, with its result if it has one.

    With `Prefer: wait=SECONDS` it responds when the fit ends.
    """
    state = state_of(request)
    parts, seconds = query.parts, _seconds_to_wait(state, request)
    record = await _wait_for_end(state, await state.in_thread(state.queue.get, fit_id), seconds)
    if parts is not None and record.result is not None:
        record = await state.in_thread(_with_parts, record, parts)
    response = _fit_response(record, 200, seconds)
    tag = f'W/"{hashlib.blake2b(response.body, digest_size=16).hexdigest()}"'
    response.headers["ETag"] = tag
    if matches(request.headers.get("if-none-match"), tag):
        unchanged = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
        return Response(status_code=304, headers=unchanged)
    return response


def _with_parts(record: FitRecord, parts: frozenset[str]) -> FitRecord:
    result = json.loads(record.result or b"{}")
    return replace(record, result=to_json({name: value for name, value in result.items() if name in parts}))


@router.post(
    "/fits/{fit_id}/cancel",
    status_code=202,
    response_model=Fit,
    response_description="The cancellation was requested",
    responses={
        200: {"model": Fit, "description": "The fit was already cancelled"},
        **error_responses(*_ERRORS_OF_ONE_FIT, "fit_ended"),
    },
    dependencies=NO_PARAMETERS,
)
async def cancel_fit(request: Request, fit_id: str) -> Response:
    """Cancel a fit. A queued fit ends at once; a running fit ends shortly afterwards and keeps its best point."""
    state = state_of(request)
    cancellation = await state.in_thread(state.queue.cancel, fit_id)
    return _fit_response(cancellation.record, 202 if cancellation.accepted else 200)


@router.delete(
    "/fits/{fit_id}",
    summary="Delete Fit",
    status_code=204,
    response_class=Response,
    response_description="The fit was deleted",
    responses=error_responses(*_ERRORS_OF_ONE_FIT, "fit_not_finished"),
    dependencies=NO_PARAMETERS,
)
async def forget_fit(request: Request, fit_id: str) -> Response:
    """Delete a finished fit with its result and its idempotency key."""
    state = state_of(request)
    await state.in_thread(state.queue.forget, fit_id)
    return Response(status_code=204)


@router.get(
    "/fits/{fit_id}/problem",
    response_model=FitProblemAnswer,
    response_description="The request and the software versions",
    responses=error_responses(*_ERRORS_OF_ONE_FIT),
    dependencies=NO_PARAMETERS,
)
async def get_fit_problem(request: Request, fit_id: str) -> Response:
    """Return the request of a fit with all defaults filled in."""
    state = state_of(request)
    return Response(await state.in_thread(state.queue.problem, fit_id), media_type="application/json")


def fit_json(record: FitRecord) -> bytes:
    """Return a fit as JSON. The stored text of its result is inserted unchanged."""
    fields = {name: value for name in _FIELDS if (value := getattr(record, name)) is not None}
    text = json.dumps(fields, allow_nan=False).encode()
    return text if record.result is None else text[:-1] + b', "result": ' + record.result + b"}"


def _fit_response(record: FitRecord, status: int = 200, seconds: int | None = None) -> Response:
    """Return the response with a fit. seconds: the `wait` that the request preferred."""
    response = Response(fit_json(record), status, media_type="application/json")
    if record.status not in ENDED:
        response.headers["Retry-After"] = _RETRY_AFTER
    if seconds is not None:
        response.headers["Preference-Applied"] = f"wait={seconds}"
    return response
