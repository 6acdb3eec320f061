"""Trajectories to compute from the fitted values."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from odelib.problem.fields import Key, Label, Number, Numbers, Omittable, Request
from odelib.problem.series import Measurements


class Prediction(Request):
    """A trajectory to compute from the fitted values, and to score where `values` are given."""

    name: Label
    times: Annotated[Numbers, Field(min_length=1)]
    experiment: Omittable[Label] = None
    initial_state: Annotated[
        Omittable[dict[Key, Number]],
        Field(description="Holds at the first of `times`; states left out start from their fitted initial value."),
    ] = None
    parameters: Annotated[dict[Key, Number], Field(description="Those left out are the fitted ones.")] = {}
    values: Annotated[
        Omittable[Annotated[Measurements, Field(min_length=1)]],
        Field(description="Measurements to score the prediction with."),
    ] = None
