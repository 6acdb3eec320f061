"""A system is data: states, parameters, constants, equations and observables.

`SystemDefinition` is what a caller writes; `System` is the same with its expressions parsed, from which every
engine makes its functions. The catalogue's systems take the same path as a caller's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Discriminator, Field, Tag
from typing_extensions import TypeAliasType

from odelib.problem.expressions.parser import Expression
from odelib.problem.fields import Key, Number, Request, Text, json_type


class SystemDefinition(Request):
    """A system written by the caller."""

    states: Annotated[list[Text], Field(min_length=1, description="Names of the states, in order.")]
    parameters: Annotated[list[Text], Field(description="Names of the parameters, in order.")] = []
    constants: Annotated[
        dict[Key, Number], Field(description="Numbers that are never fitted; a series may override them.")
    ] = {}
    equations: Annotated[dict[Key, Text], Field(description="For each state the expression of its derivative.")]
    observables: Annotated[
        dict[Key, Text],
        Field(description="What is measured, as expressions. Without any, each state is observed."),
    ] = {}
    derived: Annotated[
        dict[Key, Text], Field(description="Functions of parameters and constants, reported like parameters.")
    ] = {}


SystemChoice = TypeAliasType(
    "SystemChoice",
    Annotated[
        Annotated[Text, Tag("~text")] | Annotated[SystemDefinition, Tag("~object")],
        Discriminator(lambda value: "~object" if json_type(value) == "~object" else "~text"),
    ],
)


@dataclass(frozen=True)
class Example:
    """Values with which a catalogue system shows its typical behaviour."""

    parameters: Mapping[str, float]
    initial_state: Mapping[str, float]
    times: tuple[float, ...]


@dataclass(frozen=True)
class System:
    """A checked system: names in order, expressions parsed.

    `equations` is in the order of `states`. `angles` maps a state that is an angle to the state that is its
    radius, for polar plots.
    """

    name: str
    states: tuple[str, ...]
    parameters: tuple[str, ...]
    constants: Mapping[str, float]
    equations: Mapping[str, Expression]
    observables: Mapping[str, Expression]
    title: str = ""
    example: Example | None = None
    angles: Mapping[str, str] = field(default_factory=dict)
    derived: Mapping[str, Expression] = field(default_factory=dict)

    def definition(self) -> SystemDefinition:
        """The system as a caller would write it."""
        own = {n: e.text for n, e in self.observables.items()}
        return SystemDefinition(
            states=list(self.states),
            parameters=list(self.parameters),
            constants=dict(self.constants),
            equations={n: e.text for n, e in self.equations.items()},
            observables={} if own == {s: s for s in self.states} else own,
            derived={n: e.text for n, e in self.derived.items()},
        )
