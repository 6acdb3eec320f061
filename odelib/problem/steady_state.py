"""A steady state before the start of a series."""

from __future__ import annotations

from typing import Annotated

from pydantic import Discriminator, Field, Tag
from typing_extensions import TypeAliasType

from odelib.problem.fields import Key, Quantity, Request, json_type
from odelib.problem.inputs import Inputs


class SteadyState(Request):
    """The steady state at which a series starts, approached from `initial_state`."""

    constants: Annotated[
        dict[Key, Quantity], Field(description="Constants before the start, where they differ from the series'.")
    ] = {}
    inputs: Annotated[Inputs, Field(description="Inputs before the start; they must be constant.")] = {}
    set: Annotated[
        dict[Key, Quantity],
        Field(description="New values of states at the start, which may use all values of the steady state."),
    ] = {}


SteadyStateChoice = TypeAliasType(
    "SteadyStateChoice",
    Annotated[
        Annotated[bool, Field(strict=True), Tag("~boolean")] | Annotated[SteadyState, Tag("~object")],
        Discriminator(lambda value: "~object" if json_type(value) == "~object" else "~boolean"),
    ],
)
