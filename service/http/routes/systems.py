"""The routes of the catalogue of systems."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from odelib.problem.catalogue import CATALOGUE
from odelib.problem.system import System
from service.http.errors import ServiceError
from service.http.parameters import NO_PARAMETERS
from service.http.schemas import SystemDescription, SystemExample, SystemList, error_responses

router = APIRouter(tags=["systems"], dependencies=NO_PARAMETERS)


def describe(system: System) -> SystemDescription:
    """Return a catalogue system as a response."""
    if system.example is None:
        raise ValueError(f"the catalogue system {system.name!r} has no example")
    return SystemDescription(
        name=system.name,
        title=system.title,
        states=list(system.states),
        parameters=list(system.parameters),
        constants=dict(system.constants),
        equations={name: expression.text for name, expression in system.equations.items()},
        observables={name: expression.text for name, expression in system.observables.items()},
        example=SystemExample(
            parameters=dict(system.example.parameters),
            initial_state=dict(system.example.initial_state),
            times=list(system.example.times),
        ),
    )


@router.get(
    "/systems",
    response_model=SystemList,
    response_description="The catalogue",
    responses=error_responses("unauthorized", "invalid_parameter"),
)
async def list_systems() -> Response:
    """List all catalogue systems."""
    catalogue = SystemList(systems=[describe(system) for system in CATALOGUE.values()])
    return Response(catalogue.model_dump_json(), media_type="application/json")


@router.get(
    "/systems/{name}",
    response_model=SystemDescription,
    response_description="The system",
    responses=error_responses("unauthorized", "system_not_found", "invalid_parameter"),
)
async def get_system(name: str) -> Response:
    """Describe one catalogue system."""
    if name not in CATALOGUE:
        raise ServiceError("system_not_found", f"no system {name!r:.80}; choose one of {', '.join(CATALOGUE)}")
    return Response(describe(CATALOGUE[name]).model_dump_json(), media_type="application/json")
