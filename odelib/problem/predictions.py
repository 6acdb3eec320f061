"""Trajectories to compute from the fitted values."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from odelib.problem.fields import Key, Label, Number, Numbers, Omittable, Request
from odelib.problem.series import Measurements


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
            description="State at the first of `times`; omitted states start from their fitted initial values. "
            "Without this field, the fitted state at the start of the data is integrated to `times`."
        ),
    ] = None
    parameters: Annotated[
        dict[Key, Number], Field(description="Values that replace fitted parameters, name by name.")
    ] = {}
    values: Annotated[
        Omittable[Annotated[Measurements, Field(min_length=1)]],
        Field(description="Measurements to score the prediction with, in the form of a series' `values`."),
    ] = None
