"""The files of a fit: its trajectories as a table, and plots.

A worker makes each once; it is then kept with the result.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from odelib.problem.plot_kinds import PlotKind
from service.http.disconnects import while_connected
from service.http.errors import ParameterError, invalid_parameters
from service.http.parameters import NO_PARAMETERS
from service.http.schemas import error_responses
from service.http.state import state_of
from worker.errors import SimulationFailed

_ERRORS = error_responses(
    *("unauthorized", "fit_not_found", "no_result", "invalid_parameter", "simulation_failed", "simulations_full"),
    *("no_worker", "store_unavailable", "store_full", "simulation_timeout"),
)
_TEXT = {"schema": {"type": "string"}}

router = APIRouter(tags=["fits"])


class PlotQuery(BaseModel):
    """The query parameters of `GET /fits/{id}/plot.svg`."""

    model_config = ConfigDict(extra="forbid")

    kind: Annotated[
        PlotKind,
        Field(
            description="`time`: data and trajectories; `phase`: phase planes; `polar`: angles and radii; `residuals`; "
            "`starts`: the losses that the starts reached; `profiles`: profile likelihoods."
        ),
    ] = "time"


@router.get(
    "/fits/{fit_id}/result.csv",
    response_class=Response,
    responses={200: {"description": "The table", "content": {"text/csv": _TEXT}}, **_ERRORS},
    dependencies=NO_PARAMETERS,
)
async def get_fit_table(request: Request, fit_id: str) -> Response:
    """Return the fitted trajectories, measurements and residuals as a table, a row for each time of each series."""
    return Response(await _file(request, fit_id, "result.csv", None), media_type="text/csv")


@router.get(
    "/fits/{fit_id}/plot.svg",
    response_class=Response,
    # Without a content type, because generators of clients reject those that they do not know.
    responses={200: {"description": "The plot, as image/svg+xml"}, **_ERRORS},
)
async def get_fit_plot(request: Request, fit_id: str, query: Annotated[PlotQuery, Query()]) -> Response:
    """Draw a plot of a fit."""
    try:
        plot = await _file(request, fit_id, f"{query.kind}.svg", query.kind)
    except SimulationFailed as error:
        raise invalid_parameters([ParameterError("kind", str(error))]) from None
    # A picture runs no scripts, wherever it is opened.
    return Response(plot, media_type="image/svg+xml", headers={"Content-Security-Policy": "default-src 'none'"})


async def _file(request: Request, fit_id: str, name: str, plot: PlotKind | None) -> bytes:
    state = state_of(request)
    kept = await state.in_thread(state.queue.file, fit_id, name)
    return kept or await while_connected(request, state.simulations.make_file(fit_id, name, plot))
