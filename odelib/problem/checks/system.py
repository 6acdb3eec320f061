"""A system definition: names are unique, every state has an equation, expressions use names that exist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

from odelib.errors import ProblemError
from odelib.problem.checks.events import check_events, well_formed_events
from odelib.problem.checks.expressions import check_expression
from odelib.problem.checks.networks import check_networks, well_formed_networks
from odelib.problem.checks.raw import MAX_NAMES, MistakeReport
from odelib.problem.expressions.definitions import in_order
from odelib.problem.expressions.names import name_error
from odelib.problem.expressions.parser import Expression, Name
from odelib.problem.expressions.vocabulary import TIME
from odelib.problem.limits import Limits
from odelib.problem.noise import ESTIMATE
from odelib.problem.pointers import join
from odelib.problem.system import Example, System, SystemDefinition

Parsed = dict[str, Expression | None]  # None in place of an expression that is wrong


@dataclass(frozen=True)
class DeclaredNames:
    """The names of a system, in order.

    definitions: with the outputs of networks. value_definitions: those made of parameters and constants alone; all of
    them if some are invalid.
    """

    states: Mapping[str, None]
    parameters: Mapping[str, None]
    constants: Mapping[str, None]
    observables: Mapping[str, None]
    inputs: Mapping[str, None]
    definitions: Mapping[str, None]
    value_definitions: Mapping[str, None]

    @classmethod
    def of(cls, system: System | SystemDefinition) -> DeclaredNames:
        """Return the names in `system`, whether or not its expressions are valid."""
        outputs = (name for network in system.networks.values() for name in network.outputs)
        definitions = dict.fromkeys((*system.definitions, *outputs))
        return cls(
            dict.fromkeys(system.states),
            dict.fromkeys(system.parameters),
            dict.fromkeys(system.constants),
            dict.fromkeys(system.observables or system.states),
            dict.fromkeys(system.inputs),
            definitions,
            dict.fromkeys(_value_definitions(system)) if isinstance(system, System) else definitions,
        )

    @cached_property
    def of_values(self) -> dict[str, None]:
        """What an expression whose value does not change during a solve can use."""
        return {**self.parameters, **self.constants, **self.value_definitions}

    @cached_property
    def of_model(self) -> dict[str, None]:
        """What equations, observables, definitions and events can use."""
        lists = (self.states, self.parameters, self.constants, self.inputs, self.definitions)
        return dict.fromkeys((*chain.from_iterable(lists), TIME))

    @property
    def in_sigma(self) -> Mapping[str, None]:
        """The names that the expression of a noise's sigma can use."""
        return {**self.of_model, **self.observables}


def _value_definitions(system: System) -> list[str]:
    """The definitions made of parameters and constants alone."""
    found: set[str] = {*system.parameters, *system.constants}
    for name, expression in system.definitions.items():
        if expression.names <= found:
            found.add(name)
    return [name for name in system.definitions if name in found]


def well_formed_definition(raw: Mapping[str, Any]) -> SystemDefinition | None:
    """Return the well-formed parts of the definition `raw`, or None if not even its names can be read.

    The expressions in it can then be checked beside the errors of form, which report the parts left out here.
    """
    states, parameters, inputs = raw.get("states"), raw.get("parameters", []), raw.get("inputs", [])
    named = [raw.get(field, {}) for field in ("constants", "equations", "observables", "derived", "definitions")]
    are_names = all(map(_is_names, (states, parameters, inputs)))
    if not (are_names and states and all(isinstance(each, Mapping) for each in named)):
        return None
    constants, equations, observables, derived, definitions = named
    return SystemDefinition.model_construct(
        states=states,
        parameters=parameters,
        constants=dict(constants),
        equations={name: text for name, text in equations.items() if isinstance(text, str)},
        observables=dict(observables),
        derived=dict(derived),
        definitions=dict(definitions),
        inputs=inputs,
        events=well_formed_events(raw.get("events")),
        networks=well_formed_networks(raw.get("networks")),
    )


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def build_system(
    definition: SystemDefinition,
    *,
    name: str = "custom",
    title: str = "",
    example: Example | None = None,
    angles: Mapping[str, str] | None = None,
    limits: Limits | None = None,
) -> System:
    """Check a definition and parse its expressions.

    Raises `ProblemError` with every mistake. Pointers are relative to the definition (`/equations/x`).
    """
    limits = limits or Limits()
    report = MistakeReport()
    _check_names(definition, limits, report)
    known = DeclaredNames.of(definition).of_model
    networks = check_networks(definition.networks, known, limits, report)
    definitions = _definitions(definition, networks, known, limits, report)
    equations = _equations(definition, known, limits, report)
    observables = _observables(definition, known, limits, report)
    events = check_events(definition.events, definition.states, known, limits, report)
    derived = _derived(definition, limits, report)
    if report.errors:
        raise ProblemError(report.errors)
    return System(
        name=name,
        states=tuple(definition.states),
        parameters=tuple(definition.parameters),
        constants=dict(definition.constants),
        equations={n: e for n, e in equations.items() if e},
        observables={n: e for n, e in observables.items() if e},
        title=title,
        example=example,
        angles=angles or {},
        derived={n: e for n, e in derived.items() if e},
        definitions=definitions,
        inputs=tuple(definition.inputs),
        events=events,
        networks=dict(definition.networks),
    )


def _check_names(definition: SystemDefinition, limits: Limits, report: MistakeReport) -> None:
    """Report too many names, or else names that are invalid or occur twice."""
    names: dict[str, list[tuple[str, str]]] = {
        "states": [(f"/states/{i}", name) for i, name in enumerate(definition.states)],
        "parameters": [(f"/parameters/{i}", name) for i, name in enumerate(definition.parameters)],
        "constants": [(join("/constants", name), name) for name in definition.constants],
        "inputs": [(f"/inputs/{i}", name) for i, name in enumerate(definition.inputs)],
        "definitions": [(join("/definitions", name), name) for name in definition.definitions],
        "observables": [(join("/observables", name), name) for name in definition.observables],
        "derived": [(join("/derived", name), name) for name in definition.derived],
        "events": [(f"/events/{i}/name", event.name) for i, event in enumerate(definition.events)],
        "networks": [
            (pointer, name)
            for network, fields in definition.networks.items()
            for pointer, name in (
                (join("/networks", network), network),
                *((join("/networks", network, "outputs", i), output) for i, output in enumerate(fields.outputs)),
            )
        ],
    }
    for field, entries in names.items():
        limit = limits.states if field == "states" else limits.names
        if len(entries) > limit:
            report.add(f"/{field}", f"at most {limit} {field} are allowed, but there are {len(entries)}")
    if report.errors:
        return
    seen: dict[str, str] = {}
    for field, entries in names.items():
        for pointer, name in entries:
            if error := name_error(name):
                report.add(pointer, error)
            elif field == "parameters" and name == ESTIMATE:
                report.add(
                    pointer, f"a sigma of {name!r} is estimated, so no parameter can be named so; try 'estimate_'"
                )
            elif name in seen and not (field == "observables" and seen[name] == "states"):
                report.add(pointer, f"{name!r:.80} is already in {seen[name]!r}; names must be unique")
            else:
                seen.setdefault(name, field)


def _definitions(
    definition: SystemDefinition,
    outputs: Mapping[str, Expression],
    known: Mapping[str, None],
    limits: Limits,
    report: MistakeReport,
) -> dict[str, Expression]:
    """Return the definitions, and the stand-ins for the outputs of networks, each after those that it uses."""
    found = _expressions(definition.definitions, "/definitions", known, limits, report)
    valid = {**{name: expression for name, expression in found.items() if expression}, **outputs}
    of_network = {name: network for network, fields in definition.networks.items() for name in fields.outputs}
    ordered, circle = in_order(valid)
    while circle:
        valid = {name: expression for name, expression in valid.items() if name not in circle}
        ordered, next_circle = in_order(valid)
        way = " → ".join(name[:80] for name in (*circle[:MAX_NAMES], circle[0]))
        place = join("/networks", of_network[circle[0]]) if circle[0] in of_network else join("/definitions", circle[0])
        report.add(place, f"the {'network' if circle[0] in of_network else 'definition'} uses itself: {way}")
        circle = next_circle
    return ordered


def _equations(
    definition: SystemDefinition, known: Mapping[str, None], limits: Limits, report: MistakeReport
) -> Parsed:
    equations: Parsed = {}
    for state in dict.fromkeys(definition.states):
        pointer = join("/equations", state)
        text = definition.equations.get(state)
        if text is not None:
            equations[state] = check_expression(text, known, pointer, limits, report)
        else:
            equations[state] = None
            report.add(pointer, f"the state {state!r:.80} has no equation")
    for name in definition.equations:
        if name not in equations:
            report.add(join("/equations", name), f"{name!r:.80} has an equation but is not in 'states'")
    return equations


def _observables(
    definition: SystemDefinition, known: Mapping[str, None], limits: Limits, report: MistakeReport
) -> Parsed:
    if not definition.observables:
        return {state: Expression(state, Name(state), frozenset({state})) for state in definition.states}
    states = set(definition.states)
    observables = _expressions(definition.observables, "/observables", known, limits, report)
    for name, expression in observables.items():
        if name in states and expression and expression.tree != Name(name):
            report.add(
                join("/observables", name),
                f"an observable can be named after the state {name!r:.80} only if it is that state; rename it",
            )
    return observables


def _derived(definition: SystemDefinition, limits: Limits, report: MistakeReport) -> Parsed:
    known = dict.fromkeys((*definition.parameters, *definition.constants))
    scope = "'derived' can use only parameters and constants"
    return _expressions(definition.derived, "/derived", known, limits, report, scope=scope)


def _expressions(
    texts: Mapping[str, Any],
    base: str,
    known: Mapping[str, None],
    limits: Limits,
    report: MistakeReport,
    scope: str = "",
) -> Parsed:
    return {
        name: check_expression(text, known, join(base, name), limits, report, scope=scope)
        for name, text in texts.items()
        if isinstance(text, str)  # always, unless this is what `well_formed_definition` returned
    }
