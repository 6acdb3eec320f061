"""The routes of health: whether the service is running, and whether it accepts fits."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from service.http.parameters import NO_PARAMETERS
from service.http.schemas import Liveness, Readiness, error_responses
from service.http.state import state_of

router = APIRouter(tags=["health"], dependencies=NO_PARAMETERS)


@router.get(
    "/health/live",
    response_model=Liveness,
    response_description="The process responds",
    responses=error_responses("invalid_parameter"),
)
async def get_liveness() -> Response:
    """Check that the process responds."""
    return Response(Liveness(status="live").model_dump_json(), media_type="application/json")


@router.get(
    "/health/ready",
    response_model=Readiness,
    response_description="Redis responds",
    responses=error_responses("invalid_parameter", "store_unavailable"),
)
async def get_readiness(request: Request) -> Response:
    """Check that Redis responds. Fits are accepted even if `workers` is 0, and then wait for a worker."""
    state = state_of(request)
    workers = await state.in_thread(state.queue.workers)
    return Response(Readiness(status="ready", workers=workers).model_dump_json(), media_type="application/json")
