"""The routes of batches: submit, read, list, cancel, delete, and their results as rows."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from odelib.result import BatchRow
from service.http.batch_intake import BatchIntake
from service.http.callers import caller_of
from service.http.disconnects import while_connected
from service.http.errors import ParameterError, ServiceError, invalid_parameters
from service.http.parameters import NO_PARAMETERS, idempotency_key
from service.http.request_body import JSON, LINES, check_headers, read_body, read_lines
from service.http.schemas import Batch, BatchList, error_responses
from service.http.state import State, state_of
from worker.batches.columns import csv_text
from worker.errors import BatchNotFinished
from worker.states import ENDED
from worker.store.batches import BatchRecord, ReadyRows, Rows

CSV, PARQUET = "text/csv", "application/vnd.apache.parquet"
_RETRY_AFTER = "1"
_ERRORS_OF_ONE = ("unauthorized", "batch_not_found", "invalid_parameter", "store_unavailable")

log = structlog.get_logger(__name__)
router = APIRouter(tags=["batches"])


@router.post(
    "/batches",
    status_code=202,
    response_model=Batch,
    response_description="The batch was accepted",
    responses={
        200: {"model": Batch, "description": "An earlier request with this idempotency key submitted the batch"},
        **error_responses(
            *("malformed_json", "bad_request", "unauthorized", "request_timeout", "body_too_large"),
            *("unsupported_media_type", "invalid_request", "invalid_parameter", "idempotency_conflict"),
            *("batches_full", "key_limit", "too_busy", "store_unavailable", "store_full"),
        ),
    },
    dependencies=NO_PARAMETERS,
)
async def submit_batch(request: Request) -> Response:
    """Submit a batch: many series of one model, each fitted by itself.

    The body is one JSON object, or lines of JSON: the request, then a series a line. Lines are taken in as they arrive.
    """
    state, caller = state_of(request), caller_of(request)
    key = idempotency_key(request.headers.get("idempotency-key"))
    media_type = check_headers(
        request.headers.get("content-type"), request.headers.get("content-encoding"), (JSON, LINES)
    )
    await state.admit(caller)
    settings = state.settings
    intake = BatchIntake(
        state.batches,
        state.limits,
        max_depth=settings.max_json_depth,
        max_series=settings.max_batch_series,
        idempotency_key=key,
    )
    try:
        await (_take_body if media_type == JSON else _take_lines)(state, request, intake)
        accepted = await state.in_thread(intake.accept, owner=caller.owner)
    except BaseException:
        await state.in_thread(intake.discard)
        raise
    log.info("batch_submitted", batch=accepted.record.id, series=accepted.record.series, created=accepted.created)
    response = _batch_response(accepted.record, 202 if accepted.record.status not in ENDED else 200)
    response.headers["Location"] = f"/batches/{accepted.record.id}"
    if not accepted.created:
        response.headers["Idempotency-Replayed"] = "true"
    return response


async def _take_body(state: State, request: Request, intake: BatchIntake) -> None:
    settings, length = state.settings, request.headers.get("content-length")
    with state.body_budget.body() as reserve:
        body = await read_body(request.stream(), length, settings.max_body_bytes, settings.receive_seconds, reserve)
        async with state.parsing:
            await state.in_thread(intake.take_body, body)


async def _take_lines(state: State, request: Request, intake: BatchIntake) -> None:
    settings, length = state.settings, request.headers.get("content-length")
    groups = read_lines(
        request.stream(), length, settings.max_batch_bytes, settings.max_body_bytes, settings.receive_seconds
    )
    async for lines in groups:
        with state.body_budget.body() as reserve:
            reserve(sum(map(len, lines)))
            async with state.parsing:
                await state.in_thread(intake.take_lines, lines)


class BatchListQuery(BaseModel):
    """The query parameters of `GET /batches`."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=100, description="Maximum number of batches on a page.")] = 20
    cursor: Annotated[
        str | None, Field(pattern="^[0-9]{1,15}$", description="The `next_cursor` of the previous page.")
    ] = None


@router.get(
    "/batches",
    response_model=BatchList,
    response_description="A page of batches",
    responses=error_responses("unauthorized", "invalid_parameter", "store_unavailable"),
)
async def list_batches(request: Request, query: Annotated[BatchListQuery, Query()]) -> Response:
    """List batches, newest first."""
    state, owner = state_of(request), caller_of(request).owner
    page = await state.in_thread(state.batches.list, owner, limit=query.limit, cursor=query.cursor)
    answer: dict[str, Any] = {"batches": [_fields(record) for record in page.batches]}
    if page.next_cursor is not None:
        answer["next_cursor"] = page.next_cursor
    return Response(json.dumps(answer), media_type="application/json")


@router.get(
    "/batches/{batch_id}",
    response_model=Batch,
    response_description="The batch",
    responses=error_responses(*_ERRORS_OF_ONE),
    dependencies=NO_PARAMETERS,
)
async def get_batch(request: Request, batch_id: str) -> Response:
    """Return how far a batch is."""
    state = state_of(request)
    return _batch_response(await state.in_thread(state.batches.get, batch_id), 200)


@router.post(
    "/batches/{batch_id}/cancel",
    status_code=202,
    response_model=Batch,
    response_description="The cancellation was requested",
    responses={
        200: {"model": Batch, "description": "The batch was already cancelled"},
        **error_responses(*_ERRORS_OF_ONE, "batch_ended"),
    },
    dependencies=NO_PARAMETERS,
)
async def cancel_batch(request: Request, batch_id: str) -> Response:
    """Cancel a batch. The rows of series that are done stay; the others become `cancelled`."""
    state = state_of(request)
    cancellation = await state.in_thread(state.batches.cancel, batch_id)
    return _batch_response(cancellation.record, 202 if cancellation.accepted else 200)


@router.delete(
    "/batches/{batch_id}",
    summary="Delete Batch",
    status_code=204,
    response_class=Response,
    response_description="The batch was deleted",
    responses=error_responses(*_ERRORS_OF_ONE, "batch_not_finished"),
    dependencies=NO_PARAMETERS,
)
async def forget_batch(request: Request, batch_id: str) -> Response:
    """Delete a finished batch with its results."""
    state = state_of(request)
    await state.in_thread(state.batches.forget, batch_id)
    return Response(status_code=204)


class ResultsQuery(BaseModel):
    """The query parameters of `GET /batches/{batch_id}/results`."""

    model_config = ConfigDict(extra="forbid")

    cursor: Annotated[
        int, Field(ge=0, le=10**9, description="The `Next-Cursor` of the previous response; 0 at first.")
    ] = 0
    limit: Annotated[int | None, Field(ge=1, le=10**9, description="Maximum number of rows; all by default.")] = None


@router.get(
    "/batches/{batch_id}/results",
    response_class=Response,
    responses={
        200: {
            "description": "The rows in the order of the series, as far as they are ready without a gap. `Next-Cursor` "
            "is absent after the last row of a batch. The format is that of `Accept`: a `BatchRow` a line by default, "
            "a table as `text/csv`, or once the batch has ended one as `application/vnd.apache.parquet`.",
            "model": BatchRow,
        },
        **error_responses(
            *(*_ERRORS_OF_ONE, "not_acceptable", "batch_not_finished", "simulation_failed", "simulations_full"),
            *("no_worker", "store_full", "simulation_timeout"),
        ),
    },
)
async def get_batch_results(request: Request, batch_id: str, query: Annotated[ResultsQuery, Query()]) -> Response:
    """Return the rows of a batch that are ready."""
    state, media_type = state_of(request), _accepted(request.headers.get("accept"))
    ready = await state.in_thread(state.batches.ready_rows, batch_id, query.cursor, query.limit)
    if query.cursor > ready.series:
        detail = f"the batch has {ready.series} series; use the Next-Cursor of the previous response"
        raise invalid_parameters([ParameterError("cursor", detail)])
    if media_type == PARQUET:
        if ready.status not in ENDED:
            raise BatchNotFinished(batch_id, f"{PARQUET} is made when it has; {LINES} and {CSV} can be read meanwhile")
        if query.cursor or query.limit is not None:
            raise invalid_parameters([ParameterError("cursor", f"{PARQUET} has all rows; leave out cursor and limit")])
        table = await while_connected(request, state.simulations.make_batch_table(batch_id))
        return Response(table, media_type=PARQUET)
    headers = {} if ready.has_all and ready.status in ENDED else {"Next-Cursor": str(ready.stop)}
    render = _csv_text(ready) if media_type == CSV else _lines_text
    return StreamingResponse(_stream(state, ready, render), media_type=media_type, headers=headers)


def _accepted(accept: str | None) -> str:
    """Return the format that the client prefers among those that there are."""
    wanted: list[tuple[float, str]] = []
    for entry in (accept or "*/*").lower().split(","):
        media_range, *parameters = (part.strip() for part in entry.split(";"))
        quality = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        try:
            wanted.append((float(quality), media_range))
        except ValueError:
            continue
    ranges = {LINES: LINES, CSV: CSV, PARQUET: PARQUET, "*/*": LINES, "application/*": LINES, "text/*": CSV}
    for weight, media_range in sorted(wanted, key=lambda entry: -entry[0]):
        if weight > 0 and media_range in ranges:
            return ranges[media_range]
    raise ServiceError("not_acceptable", f"results come as {LINES}, {CSV} or {PARQUET}; send one of these as Accept")


async def _stream(state: State, ready: ReadyRows, render: Callable[[Rows], str]) -> AsyncIterator[bytes]:
    """Yield the rows chunk by chunk, so that a batch of any size takes little memory."""
    chunks: Iterator[Rows] = state.batches.rows(ready)
    yield render([]).encode()
    while (rows := await state.in_thread(next, chunks, None)) is not None:
        yield render(rows).encode()


def _lines_text(rows: Rows) -> str:
    return "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)


def _csv_text(ready: ReadyRows) -> Callable[[Rows], str]:
    """Return what renders rows as a table; the first call gives the header too."""
    request = json.loads(ready.problem)["request"]
    is_first = True

    def render(rows: Rows) -> str:
        nonlocal is_first
        header, is_first = is_first, False
        return csv_text(request, rows, header=header)

    return render


def _fields(record: BatchRecord) -> dict[str, Any]:
    times = ("started_at", "finished_at", "expires_at")
    return {
        "id": record.id,
        "status": record.status,
        "system": record.system,
        "created_at": record.created_at,
        **{name: value for name in times if (value := getattr(record, name)) is not None},
        "labels": record.labels,
        "series": record.series,
        "counts": {"status": record.statuses, "outcome": record.outcomes},
        "progress": {"done": record.done, "series": record.series, "fraction": record.done / record.series},
    }


def _batch_response(record: BatchRecord, status: int) -> Response:
    response = Response(json.dumps(_fields(record)), status, media_type="application/json")
    if record.status not in ENDED:
        response.headers["Retry-After"] = _RETRY_AFTER
    return response
