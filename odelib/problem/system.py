"""A system: states, parameters, constants, equations and observables.

A caller writes a `SystemDefinition`. `odelib.problem.checks.system` checks it, parses its expressions and makes a
`System`, from which every engine generates its functions. Catalogue systems are made in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Discriminator, Field, Tag
from typing_extensions import TypeAliasType

from odelib.problem import fields
from odelib.problem.events import EventDefinition
from odelib.problem.expressions.parser import Expression, Number
from odelib.problem.fields import Key, Request, Text, json_type
from odelib.problem.networks import NetworkDefinition, Perceptron


class SystemDefinition(Request):
    """A system defined by the caller."""

    states: Annotated[list[Text], Field(min_length=1, description="Names of the states, in order.")]
    parameters: Annotated[list[Text], Field(description="Names of the parameters, in order.")] = []
    constants: Annotated[
        dict[Key, fields.Number], Field(description="Numbers that are never fitted; a series may replace them.")
    ] = {}
    inputs: Annotated[list[Text], Field(description="Names of known functions of time, which each series gives.")] = []
    definitions: Annotated[
        dict[Key, Text], Field(description="Expressions that other expressions can use by name.")
    ] = {}
    equations: Annotated[
        dict[Key, Text], Field(description="For each state its derivative with respect to time, as an expression.")
    ]
    observables: Annotated[
        dict[Key, Text],
        Field(description="The measured quantities, as expressions; by default each state is observed."),
    ] = {}
    derived: Annotated[
        dict[Key, Text],
        Field(description="Expressions of parameters and constants, reported in the result like parameters."),
    ] = {}
    events: Annotated[list[EventDefinition], Field(description="What happens when conditions become true.")] = []
    networks: Annotated[
        dict[Key, NetworkDefinition],
        Field(description="Trainable networks, whose outputs other expressions can use by name."),
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
    """Values at which a catalogue system shows its typical behaviour."""

    parameters: Mapping[str, float]
    initial_state: Mapping[str, float]
    times: tuple[float, ...]


def _quantity(expression: Expression) -> float | str:
    tree = expression.tree
    return tree.value if isinstance(tree, Number) else expression.text


@dataclass(frozen=True)
class Event:
    """Something that happens when a condition becomes true.

    when: a condition. set, add: by state, expressions of the values just before. at_start: it also happens where the
    condition is true at the start. stop: the state stays as it is from then on. most: in one trajectory.
    """

    name: str
    when: Expression
    set: Mapping[str, Expression] = field(default_factory=dict)
    add: Mapping[str, Expression] = field(default_factory=dict)
    at_start: bool = False
    stop: bool = False
    most: int = 1000

    def definition(self) -> EventDefinition:
        """Return the event as a caller would write it."""
        return EventDefinition(
            name=self.name,
            when=self.when.text,
            set={n: _quantity(e) for n, e in self.set.items()},
            add={n: _quantity(e) for n, e in self.add.items()},
            at_start=self.at_start,
            stop=self.stop,
            most=self.most,
        )


@dataclass(frozen=True)
class System:
    """A checked system with its expressions parsed.

    equations: in the order of `states`. angles: maps a state that is an angle to the state that is its radius, for
    polar plots. definitions: expressions that others use by name, each after those that it uses. inputs: the names of
    known functions of time, which each experiment gives: see `odelib.problem.protocol`. held: names of constants that
    change during a solve; only engines make such systems. networks: by name; `definitions` then has each output as a
    stand-in that shows what it depends on, and no engine can solve the system: see `odelib.problem.weights`.
    perceptrons: what definitions say of networks, for engines that compute these layer by layer.
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
    definitions: Mapping[str, Expression] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    events: tuple[Event, ...] = ()
    held: frozenset[str] = frozenset()
    networks: Mapping[str, NetworkDefinition] = field(default_factory=dict)
    perceptrons: tuple[Perceptron, ...] = ()

    @property
    def network_outputs(self) -> frozenset[str]:
        """The names of the outputs of all networks."""
        return frozenset(name for network in self.networks.values() for name in network.outputs)

    def definition(self) -> SystemDefinition:
        """Return the definition that a caller would write for this system."""
        own = {n: e.text for n, e in self.observables.items()}
        return SystemDefinition(
            states=list(self.states),
            parameters=list(self.parameters),
            constants=dict(self.constants),
            inputs=list(self.inputs),
            definitions={n: e.text for n, e in self.definitions.items() if n not in self.network_outputs},
            equations={n: e.text for n, e in self.equations.items()},
            observables={} if own == {s: s for s in self.states} else own,
            derived={n: e.text for n, e in self.derived.items()},
            events=[event.definition() for event in self.events],
            networks=dict(self.networks),
        )
