"""Events: what happens in a system when a condition becomes true."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from odelib.problem.changes import AddedToStates, NewStates
from odelib.problem.fields import Count, Request, Text


class EventDefinition(Request):
    """Something that happens whenever a condition becomes true."""

    name: Annotated[Text, Field(description="Unique name; no expression can use it.")]
    when: Annotated[
        Text,
        Field(description="A condition: comparisons with <, <=, > or >=, combined with `and`, `or` and `not`."),
    ]
    set: NewStates = {}
    add: AddedToStates = {}
    at_start: Annotated[
        bool, Field(strict=True, description="Whether the event also happens if the condition is true at the start.")
    ] = False
    stop: Annotated[bool, Field(strict=True, description="The state stays as it is from then on.")] = False
    most: Annotated[
        Count, Field(description="The solve fails if the event happens more often than this in one trajectory.")
    ] = 1000
