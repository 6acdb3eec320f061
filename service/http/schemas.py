"""The responses of the service as models, which describe them in the OpenAPI document.

Routes assemble responses from what is stored, without parsing results again; tests check that both agree. Fields that
do not exist yet are absent, never null.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field
from typing_extensions import TypeAliasType

from odelib.result import FitResult
from service.http.errors import ERRORS, MEDIA_TYPE
from worker.states import Status

# Named, so that generated clients have one type for it in responses and in queries.
FitStatus = TypeAliasType("FitStatus", Status)


class FitProgress(BaseModel):
    """The progress of a running fit."""

    stage: Annotated[str, Field(description="The kind of the running stage.")]
    step: Annotated[int, Field(description="Completed steps of this stage.")]
    steps: Annotated[int, Field(description="Maximum number of steps of this stage.")]
    loss: Annotated[float, Field(description="The best loss so far.")]
    fraction: Annotated[float, Field(description="Completed fraction of all planned steps, 0 to 1.")]


class FitFailure(BaseModel):
    """Why a fit failed: what happened, at which stage, and what you can change."""

    type: Annotated[str, Field(description="Stable identifier; more may be added.")]
    title: str
    detail: str


class Fit(BaseModel):
    """A fit. Fields that do not exist yet are absent."""

    id: str
    status: Annotated[
        FitStatus, Field(description="State of the job; `result.outcome` says whether the fit converged.")
    ]
    system: Annotated[str, Field(description="Name of the catalogue system, or `custom` for your own definition.")]
    created_at: datetime
    started_at: Annotated[datetime | None, Field(description="Start of the first attempt.")] = None
    finished_at: datetime | None = None
    expires_at: Annotated[datetime | None, Field(description="When the fit will be deleted.")] = None
    labels: dict[str, str]
    attempts: Annotated[int, Field(description="Number of times a worker has started the fit; 0 while queued.")]
    progress: FitProgress | None = None
    error: FitFailure | None = None
    result: Annotated[
        FitResult | None,
        Field(description="Present in every final state if at least one point was evaluated; never in lists."),
    ] = None


class PartialFit(Fit):
    """A fit, of whose result `fields` may leave out parts."""


class ValidRequest(BaseModel):
    """A request is valid; nothing was stored."""

    status: Annotated[Literal["valid"], Field(description="Tells it from a fit.")]
    valid: Literal[True]
    request: Annotated[dict[str, Any], Field(description="The request with all defaults filled in.")]


class FitList(BaseModel):
    """A page of fits, newest first, without results."""

    fits: list[Fit]
    next_cursor: Annotated[str | None, Field(description="Absent on the last page.")] = None


class FitProblemAnswer(BaseModel):
    """The request with all defaults filled in, and the software versions that accepted it."""

    request: Annotated[dict[str, Any], Field(description="Can be sent to `POST /fits` unchanged.")]
    versions: dict[str, str]


class BatchCounts(BaseModel):
    """How many series of a batch have which status and outcome."""

    status: Annotated[
        dict[str, int],
        Field(description="`queued`, `running`, `succeeded`, `failed` and `cancelled`, where there are any."),
    ]
    outcome: Annotated[dict[str, int], Field(description="The outcomes of the series that have a result.")]


class BatchProgress(BaseModel):
    """How far a batch has come."""

    done: Annotated[int, Field(description="Series that have ended.")]
    series: Annotated[int, Field(description="All series.")]
    fraction: Annotated[float, Field(description="done / series.")]


class Batch(BaseModel):
    """A batch. Fields that do not exist yet are absent."""

    id: str
    status: Annotated[
        str,
        Field(
            description="`queued`, `running`, `succeeded` when all series have ended, failed or not, or `cancelled`; "
            "more may be added."
        ),
    ]
    system: Annotated[str, Field(description="Name of the catalogue system, or `custom` for your own definition.")]
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: Annotated[datetime | None, Field(description="When the batch will be deleted.")] = None
    labels: dict[str, str]
    series: Annotated[int, Field(description="How many series it has.")]
    counts: BatchCounts
    progress: BatchProgress


class BatchList(BaseModel):
    """A page of batches, newest first."""

    batches: list[Batch]
    next_cursor: Annotated[str | None, Field(description="Absent on the last page.")] = None


class SystemExample(BaseModel):
    """Values for which a system shows its typical behaviour."""

    parameters: dict[str, float]
    initial_state: dict[str, float]
    times: list[float]


class SystemDescription(BaseModel):
    """A system of the catalogue."""

    name: str
    title: str
    states: list[str]
    parameters: list[str]
    constants: dict[str, float]
    equations: Annotated[dict[str, str], Field(description="The time derivative of each state.")]
    observables: Annotated[dict[str, str], Field(description="Measurable quantities, as expressions.")]
    example: SystemExample


class SystemList(BaseModel):
    """The catalogue."""

    systems: list[SystemDescription]


class Liveness(BaseModel):
    """The process responds."""

    status: Literal["live"]


class Readiness(BaseModel):
    """Redis responds, so fits are accepted."""

    status: Literal["ready"]
    workers: Annotated[int, Field(description="Number of live worker processes.")]


class ProblemDetail(BaseModel):
    """One mistake: its `pointer` (RFC 6901) into the body, or the query or header `parameter`."""

    pointer: str | None = None
    parameter: str | None = None
    detail: str


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: Annotated[str, Field(description="Stable identifier; more may be added.")]
    title: str
    status: int
    detail: str
    errors: list[ProblemDetail] | None = None


def error_responses(*codes: str) -> dict[int | str, dict[str, Any]]:
    """Return the error responses of a route for the OpenAPI document; `internal` is always among them.

    codes: of `service.http.errors.ERRORS`.
    """
    titles: dict[int, list[str]] = {}
    if "unauthorized" in codes:  # where a key is needed, it may not permit this
        codes = (*codes, "forbidden")
    for status, title in [*sorted(ERRORS[code] for code in codes), ERRORS["internal"]]:
        titles.setdefault(status, []).append(title)
    schema = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    return {
        status: {"description": " · ".join(of_status), "content": {MEDIA_TYPE: {"schema": schema}}}
        for status, of_status in titles.items()
    }
