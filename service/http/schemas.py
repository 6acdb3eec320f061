"""What the service answers, as models: they are the answers' description in the OpenAPI document.

Answers are put together from what stands in the store, whose results are not parsed again; tests hold that both
agree. What does not exist yet is absent, never null.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field
from typing_extensions import TypeAliasType

from odelib.result import FitResult
from worker.states import Status

# Named, so that generated clients have one type for it, whether it stands in an answer or in a query.
FitStatus = TypeAliasType("FitStatus", Status)


class FitProgress(BaseModel):
    """Where a running fit stands."""

    stage: Annotated[str, Field(description="The kind of the stage that runs.")]
    step: Annotated[int, Field(description="Steps this stage has done.")]
    steps: Annotated[int, Field(description="Steps this stage may do.")]
    loss: Annotated[float, Field(description="The best loss so far.")]
    fraction: Annotated[float, Field(description="Part of all steps planned, 0 to 1.")]


class FitFailure(BaseModel):
    """Why a fit could not succeed: what happened, at which stage, and what can be changed."""

    type: Annotated[str, Field(description="Stable; further ones may come.")]
    title: str
    detail: str


class Fit(BaseModel):
    """A fit. What does not exist yet is absent."""

    id: str
    status: Annotated[
        FitStatus, Field(description="The job's state; whether the fit converged stands in `result.outcome`.")
    ]
    system: Annotated[str, Field(description="The catalogue's name, or `custom` for your own definition.")]
    created_at: datetime
    started_at: Annotated[datetime | None, Field(description="When the first attempt began.")] = None
    finished_at: datetime | None = None
    expires_at: Annotated[datetime | None, Field(description="When the fit will be forgotten.")] = None
    labels: dict[str, str]
    attempts: Annotated[int, Field(description="How often a worker took the fit up; 0 while it is queued.")]
    progress: FitProgress | None = None
    error: FitFailure | None = None
    result: Annotated[
        FitResult | None,
        Field(description="There in every end state in which a point had been evaluated; never in lists."),
    ] = None


class FitList(BaseModel):
    """A page of fits, newest first, without results."""

    fits: list[Fit]
    next_cursor: Annotated[str | None, Field(description="Absent on the last page.")] = None


class FitProblemAnswer(BaseModel):
    """What was asked, with all defaults filled in, and by which versions it was taken."""

    request: Annotated[dict[str, Any], Field(description="Can be sent to `POST /fits` as it stands.")]
    versions: dict[str, str]


class SystemExample(BaseModel):
    """Values with which a system shows its typical behaviour."""

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
    equations: Annotated[dict[str, str], Field(description="Each state's derivative.")]
    observables: Annotated[dict[str, str], Field(description="What can be measured, as expressions.")]
    example: SystemExample


class SystemList(BaseModel):
    """The catalogue."""

    systems: list[SystemDescription]


class Liveness(BaseModel):
    """The process answers."""

    status: Literal["live"]


class Readiness(BaseModel):
    """Redis answers; fits are accepted."""

    status: Literal["ready"]
    workers: Annotated[int, Field(description="Worker processes that are alive.")]


class ProblemDetail(BaseModel):
    """One mistake: `pointer` (RFC 6901) where it stands in the body, or `parameter` of query or headers."""

    pointer: str | None = None
    parameter: str | None = None
    detail: str


class Problem(BaseModel):
    """An error, after RFC 9457."""

    type: Annotated[str, Field(description="Stable; further ones may come.")]
    title: str
    status: int
    detail: str
    errors: list[ProblemDetail] | None = None
