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

Measurements = dict[Key, NumbersOrNull]  # by observable
SigmaEntry = TypeAliasType(
    "SigmaEntry",
    Annotated[
        Annotated[PositiveNumber, Tag("~number")] | Annotated[PositiveNumbers, Tag("~list")],
        Discriminator(lambda value: "~list" if isinstance(value, list) else "~number"),
    ],
)


class MeasuredSeries(Request):
    """The fields that all measured series have in common."""

    name: str
    times: Annotated[
        Numbers,
        Field(min_length=1, description="Non-decreasing, in any unit; equal times are replicates."),
    ]
    values: Annotated[
        Measurements,
        Field(min_length=1, description="For each observable one number per time, null if the measurement is missing."),
    ]
    start_time: Annotated[
        Omittable[Number], Field(description="Time at which the initial state holds; the first time if omitted.")
    ] = None
    sigma: Annotated[
        dict[Key, SigmaEntry],
        Field(description="For each observable its standard deviation: one number, or one per time."),
    ] = {}
    initial_state: Annotated[
        dict[Key, InitialStateEntry],
        Field(description="Replaces entries of the request's `initial_state`, name by name."),
    ] = {}
    constants: Annotated[dict[Key, Number], Field(description="Replaces constants of the system, name by name.")] = {}

    @property
    def start(self) -> float:
        """The time at which the initial state holds."""
        return self.times[0] if self.start_time is None else self.start_time


class Series(MeasuredSeries):
    """A single measured series."""

    name: Annotated[Label, Field(description="Name of this series in the result.")] = "data"


class Experiment(MeasuredSeries):
    """One of several measured series."""

    name: Annotated[Label, Field(description="Unique name of this experiment in predictions and the result.")]
