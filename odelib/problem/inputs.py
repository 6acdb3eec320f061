"""Inputs: known functions of time that the equations use, such as a temperature, a feed or a current."""

from __future__ import annotations

from typing import Annotated

from pydantic import Discriminator, Field, Tag
from typing_extensions import TypeAliasType

from odelib.problem.fields import Key, Number, Numbers, Quantity, Request, Text, json_type
from odelib.problem.protocol import Interpolation, Outside


class InputKnots(Request):
    """An input by its values at some times."""

    times: Annotated[Numbers, Field(min_length=1, description="Increasing.")]
    values: Annotated[
        list[Quantity],
        Field(
            min_length=1,
            strict=True,
            fail_fast=True,
            description="One for each time: numbers, or expressions of parameters, constants and definitions of these.",
        ),
    ]
    interpolation: Annotated[
        Interpolation,
        Field(
            description="`previous` and `next` have the knot's own value at a knot; `cubic` is the natural spline, "
            "`pchip` keeps the shape of the values."
        ),
    ] = "linear"
    outside: Annotated[
        Outside,
        Field(
            description="Before the first and after the last time: `hold` the nearest value, `zero`, or `repeat` with "
            "the period from first to last. With `refuse`, all times of the series must lie between them."
        ),
    ] = "refuse"


InputEntry = TypeAliasType(
    "InputEntry",
    Annotated[
        Annotated[Number, Tag("~number")] | Annotated[Text, Tag("~text")] | Annotated[InputKnots, Tag("~object")],
        Discriminator(lambda value: "~number" if json_type(value) == "~list" else json_type(value)),
    ],
)
Inputs = dict[Key, InputEntry]
