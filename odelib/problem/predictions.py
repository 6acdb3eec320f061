"""Trajectories to compute from the fitted values."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from odelib.problem.changes import Change
from odelib.problem.doses import Dose
from odelib.problem.fields import Key, Label, Number, Numbers, Omittable, Request
from odelib.problem.inputs import Inputs
from odelib.problem.protocol import Observed
from odelib.problem.series import Measurements
from odelib.problem.steady_state import SteadyStateChoice

PROTOCOL_FIELDS = ("inputs", "doses", "changes", "steady_state", "observed")  # a prediction may replace the series'


class Prediction(Request):
    """A trajectory to compute from the fitted values. It is scored if `values` are given."""

    name: Annotated[Label, Field(description="Name of this prediction in the result.")]
    times: Annotated[Numbers, Field(min_length=1, description="Non-decreasing, in the unit of the data's times.")]
    experiment: Annotated[
        Omittable[Label],
        Field(
            description="Name of the series that the prediction continues. Required if there are several and the "
            "prediction depends on the choice."
        ),
    ] = None
    initial_state: Annotated[
        Omittable[dict[Key, Number]],
        Field(
            description="State at the first of `times`; omitted states start from their fitted initial values, and "
            "doses and changes before that time are left out. Without this field, the fitted state at the start of the "
            "data is integrated to `times`."
        ),
    ] = None
    parameters: Annotated[
        dict[Key, Number], Field(description="Values that replace fitted parameters, name by name.")
    ] = {}
    inputs: Annotated[
        Omittable[Inputs], Field(description="In place of the `inputs` of the series that the prediction continues.")
    ] = None
    doses: Annotated[
        Omittable[list[Dose]], Field(description="In place of the `doses` of the series; `[]` for none.")
    ] = None
    changes: Annotated[
        Omittable[list[Change]], Field(description="In place of the `changes` of the series; `[]` for none.")
    ] = None
    steady_state: Annotated[
        Omittable[SteadyStateChoice],
        Field(description="In place of the `steady_state` of the series; not beside `initial_state`."),
    ] = None
    observed: Annotated[Omittable[Observed], Field(description="In place of the `observed` of the series.")] = None
    values: Annotated[
        Omittable[Annotated[Measurements, Field(min_length=1)]],
        Field(description="Measurements to score the prediction with, in the form of a series' `values`."),
    ] = None
