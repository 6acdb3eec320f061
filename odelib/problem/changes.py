"""Changes at given times: of states, constants and inputs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from odelib.problem.fields import Key, Quantity, Request
from odelib.problem.inputs import Inputs

NewStates = Annotated[
    dict[Key, Quantity], Field(description="New values of states, which may use all values just before.")
]
AddedToStates = Annotated[
    dict[Key, Quantity], Field(description="What is added to states, which may use all values just before.")
]


class Change(Request):
    """What is changed at a time; it stays so until it is changed again."""

    at: Annotated[
        Quantity, Field(description="A time, or an expression of parameters, constants and definitions of these.")
    ]
    set: NewStates = {}
    add: AddedToStates = {}
    constants: Annotated[
        dict[Key, Quantity], Field(description="New values of constants: numbers, or expressions as for `at`.")
    ] = {}
    inputs: Annotated[Inputs, Field(description="New values of inputs.")] = {}
