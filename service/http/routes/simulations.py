"""The route of simulations: trajectories at the guesses, at once."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from odelib.problem.request import request_of
from odelib.problem.simulation import parse_simulation
from odelib.result import SimulationResult
from service.http.callers import caller_of
from service.http.disconnects import while_connected
from service.http.parameters import NO_PARAMETERS
from service.http.schemas import error_responses
from service.http.state import State, read_and_process, state_of
from service.strict_json import parse_json

router = APIRouter(tags=["simulations"], dependencies=NO_PARAMETERS)


@router.post(
    "/simulations",
    response_model=SimulationResult,
    response_description="The trajectories",
    responses=error_responses(
        *("malformed_json", "bad_request", "unauthorized", "request_timeout", "body_too_large"),
        *("unsupported_media_type", "invalid_request", "invalid_parameter", "simulation_failed"),
        *(
            "simulations_full",
            "key_limit",
            "too_busy",
            "no_worker",
            "store_unavailable",
            "store_full",
            "simulation_timeout",
        ),
    ),
)
async def run_simulation(request: Request) -> Response:
    """Solve a request at its guesses, and return the trajectories. Its series need no `values`."""
    state = state_of(request)
    await state.admit(caller_of(request))
    simulation = await read_and_process(state, request, lambda body: _parse(state, body))
    answer = await while_connected(request, state.simulations.simulate(simulation))
    return Response(answer, media_type="application/json")


def _parse(state: State, body: bytes) -> bytes:
    return to_json(request_of(parse_simulation(parse_json(body, state.settings.max_json_depth), state.limits)))
