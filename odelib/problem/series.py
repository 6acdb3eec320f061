"""Measured series: times, values and standard deviations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Discriminator, Field, Tag
from typing_extensions import TypeAliasType

from odelib.problem.changes import Change
from odelib.problem.doses import Dose
from odelib.problem.fields import (
    Key,
    Label,
    Number,
    Numbers,
    NumbersOrNull,
    Omittable,
    PositiveNumber,
    PositiveNumbers,
    Quantity,
    Request,
)
from odelib.problem.inputs import Inputs
from odelib.problem.protocol import Observed
from odelib.problem.steady_state import SteadyStateChoice
from odelib.problem.unknowns import InitialStateEntry

Measurements = dict[Key, NumbersOrNull]  # by observable
SigmaEntry = TypeAliasType(
    "SigmaEntry",
    Annotated[
        Annotated[PositiveNumber, Tag("~number")] | Annotated[PositiveNumbers, Tag("~list")],
        Discriminator(lambda value: "~list" if isinstance(value, list) else "~number"),
    ],
)


def earliest(measured: float, done: Sequence[float | str | Sequence[float | str]]) -> float:
    """Return when a series without `start_time` starts: at its first measurement, or the first `at` that is a number.

    done: each `at` of its doses and changes.

    >>> earliest(2.0, [[3.0, 1.0], "lag"])
    1.0
    """
    listed = [one for at in done for one in (at if isinstance(at, list) else [at])]
    return min([measured, *(at for at in listed if isinstance(at, int | float))])


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
        Omittable[Number],
        Field(
            description="Time at which the initial state holds. If omitted, the earliest of the first of `times` and "
            "all `at` that are numbers."
        ),
    ] = None
    sigma: Annotated[
        dict[Key, SigmaEntry],
        Field(description="For each observable its standard deviation: one number, or one per time."),
    ] = {}
    initial_state: Annotated[
        dict[Key, InitialStateEntry],
        Field(description="Replaces entries of the request's `initial_state`, name by name."),
    ] = {}
    constants: Annotated[
        dict[Key, Quantity],
        Field(
            description="Replaces constants of the system, name by name: numbers, or expressions of parameters, "
            "constants and definitions of these."
        ),
    ] = {}
    inputs: Annotated[
        Inputs,
        Field(
            description="For each input of the system a number, an expression of time, parameters, constants and "
            "definitions of these, or knots."
        ),
    ] = {}
    doses: Annotated[list[Dose], Field(description="Amounts given into states.")] = []
    changes: Annotated[list[Change], Field(description="What is changed at given times.")] = []
    steady_state: Annotated[
        SteadyStateChoice, Field(description="Whether the series starts at a steady state, and under which conditions.")
    ] = False
    observed: Annotated[
        Observed, Field(description="What a measurement at the very time of a dose, change or event sees.")
    ] = "after"

    @property
    def start(self) -> float:
        """The time at which the initial state holds."""
        if self.start_time is not None:
            return self.start_time
        return earliest(self.times[0], [*(dose.at for dose in self.doses), *(change.at for change in self.changes)])


class Series(MeasuredSeries):
    """A single measured series."""

    name: Annotated[Label, Field(description="Name of this series in the result.")] = "data"


class Experiment(MeasuredSeries):
    """One of several measured series."""

    name: Annotated[Label, Field(description="Unique name of this experiment in predictions and the result.")]
