"""Doses: amounts given into a state, at once or as infusions, once or repeatedly."""

from __future__ import annotations

from typing import Annotated

from pydantic import Discriminator, Field, Tag
from typing_extensions import TypeAliasType

from odelib.problem.fields import Count, Number, Omittable, Quantity, Request, Text, json_type

DoseTimes = TypeAliasType(
    "DoseTimes",
    Annotated[
        Annotated[Number, Tag("~number")]
        | Annotated[Text, Tag("~text")]
        | Annotated[list[Quantity], Tag("~list"), Field(min_length=1, strict=True, fail_fast=True)],
        Discriminator(lambda value: "~number" if json_type(value) == "~object" else json_type(value)),
    ],
)


class Dose(Request):
    """An amount given into a state. Quantities may be expressions of parameters, constants and definitions of these."""

    into: Annotated[Text, Field(description="The state.")]
    amount: Annotated[Quantity, Field(description="In the state's units; all at once without `duration` and `rate`.")]
    at: Annotated[DoseTimes, Field(description="A time, or a list of times.")]
    every: Annotated[Omittable[Quantity], Field(description="Interval between repeated doses.")] = None
    count: Annotated[Omittable[Count], Field(description="Number of all repeated doses.")] = None
    duration: Annotated[Omittable[Quantity], Field(description="Of an infusion at a constant rate.")] = None
    rate: Annotated[Omittable[Quantity], Field(description="Of an infusion, which then lasts for amount/rate.")] = None
    lag: Annotated[Omittable[Quantity], Field(description="Time from `at` until the dose acts.")] = None
    fraction: Annotated[
        Omittable[Quantity],
        Field(
            description="Scales the amount: for an infusion the rate if `duration` is given, the duration if `rate` is."
        ),
    ] = None
    steady: Annotated[
        bool,
        Field(
            strict=True,
            description="As if given so for ever before `at`, which is the start. The state just before this dose is "
            "then the periodic one, whatever `initial_state` is. Needs `every`.",
        ),
    ] = False
