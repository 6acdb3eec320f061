"""Measured series: times, values and standard deviations."""

from __future__ import annotations

from typing import Annotated

from pydantic import Discriminator, Field, Tag
from typing_extensions import TypeAliasType

from odelib.problem.fields import (
    Key,
    Label,
    Number,
    Numbers,
    NumbersOrNull,
    Omittable,
    PositiveNumber,
    PositiveNumbers,
    Request,
)
from odelib.problem.unknowns import InitialStateEntry

Measurements = dict[Key, NumbersOrNull]
SigmaEntry = TypeAliasType(
    "SigmaEntry",
    Annotated[
        Annotated[PositiveNumber, Tag("~number")] | Annotated[PositiveNumbers, Tag("~list")],
        Discriminator(lambda value: "~list" if isinstance(value, list) else "~number"),
    ],
)


class MeasuredSeries(Request):
    """What one measured series holds, whatever its name."""

    name: str
    times: Annotated[
        Numbers,
        Field(min_length=1, description="Non-decreasing, in your own unit; equal times are replicates."),
    ]
    values: Annotated[
        Measurements,
        Field(min_length=1, description="Per observable one number per time, null where missing."),
    ]
    start_time: Annotated[
        Omittable[Number], Field(description="When the initial state holds; the first time if left out.")
    ] = None
    sigma: Annotated[
        dict[Key, SigmaEntry],
        Field(description="Per observable the standard deviation: one, or one per time."),
    ] = {}
    initial_state: Annotated[
        dict[Key, InitialStateEntry], Field(description="Replaces the request's entries name by name.")
    ] = {}
    constants: Annotated[dict[Key, Number], Field(description="Override the system's constants.")] = {}

    @property
    def start(self) -> float:
        """The time at which the initial state holds."""
        return self.times[0] if self.start_time is None else self.start_time


class Series(MeasuredSeries):
    """The only measured series."""

    name: Annotated[Label, Field(description="By which the result names this series.")] = "data"


class Experiment(MeasuredSeries):
    """One of several measured series."""

    name: Annotated[Label, Field(description="Unique; by which the result and predictions name this experiment.")]
