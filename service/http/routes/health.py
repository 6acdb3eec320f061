"""The routes of health: whether the service is running, and whether it accepts fits."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from service.http.parameters import NO_PARAMETERS
from service.http.schemas import Liveness, Readiness, error_responses
from service.http.state import state_of

router = APIRouter(tags=["health"], dependencies=NO_PARAMETERS)


@router.get("/health/live", response_model=Liveness, responses=error_responses(422))
async def get_liveness() -> Response:
    """Check that the process responds."""
    return Response(Liveness(status="live").model_dump_json(), media_type="application/json")


@router.get("/health/ready", response_model=Readiness, responses=error_responses(422, 503))
async def get_readiness(request: Request) -> Response:
    """Check that Redis responds. Fits are accepted even if `workers` is 0, and then wait for a worker."""
    state = state_of(request)
    workers = await state.in_thread(state.queue.workers)
    return Response(Readiness(status="ready", workers=workers).model_dump_json(), media_type="application/json")
