"""Whether the service lives, and whether it can take fits."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from service.http.parameters import NO_PARAMETERS, problems
from service.http.schemas import Liveness, Readiness
from service.http.state import state_of

router = APIRouter(tags=["health"], dependencies=NO_PARAMETERS)


@router.get("/health/live", response_model=Liveness, responses=problems(422))
async def get_liveness() -> Response:
    """The process answers."""
    return Response(Liveness(status="live").model_dump_json(), media_type="application/json")


@router.get("/health/ready", response_model=Readiness, responses=problems(422, 503))
async def get_readiness(request: Request) -> Response:
    """Redis answers. Fits are accepted also while `workers` is 0, and wait."""
    state = state_of(request)
    workers = await state.in_thread(state.queue.workers)
    return Response(Readiness(status="ready", workers=workers).model_dump_json(), media_type="application/json")
