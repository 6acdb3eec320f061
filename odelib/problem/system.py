"""A system is data: states, parameters, constants, equations and observables.

`SystemDefinition` is what a caller writes; `System` is the same with its expressions parsed, from which every
engine makes its functions. The catalogue's systems take the same path as a caller's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from odelib.errors import ExpressionError, FieldError, ProblemError
from odelib.problem.expressions import TIME, Expression, Name, name_error, parse_expression, unknown_names
from odelib.problem.fields import Number, Request, Text
from odelib.problem.limits import Limits
from odelib.problem.pointers import join


class SystemDefinition(Request):
    """A system written by the caller."""

    states: Annotated[list[Text], Field(min_length=1, description="Names of the states, in order.")]
    parameters: Annotated[list[Text], Field(description="Names of the parameters, in order.")] = []
    constants: Annotated[
        dict[str, Number], Field(description="Numbers that are never fitted; a series may override them.")
    ] = {}
    equations: Annotated[dict[str, Text], Field(description="For each state the expression of its derivative.")]
    observables: Annotated[
        dict[str, Text],
        Field(description="What is measured, as expressions. Without any, each state is observed."),
    ] = {}


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

    def definition(self) -> SystemDefinition:
        """The system as a caller would write it."""
        own = {n: e.text for n, e in self.observables.items()}
        return SystemDefinition(
            states=list(self.states),
            parameters=list(self.parameters),
            constants=dict(self.constants),
            equations={n: e.text for n, e in self.equations.items()},
            observables={} if own == {s: s for s in self.states} else own,
        )


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

    Raises `ProblemError` with every mistake, pointers relative to the definition (`/equations/x`).
    """
    limits = limits or Limits()
    parsed = _Parser(limits)
    parsed.errors = _name_errors(definition, limits)
    known = {*definition.states, *definition.parameters, *definition.constants, TIME}
    equations = {}
    for state in definition.states:
        if state not in definition.equations:
            parsed.errors.append(FieldError(join("/equations", state), f"the state {state!r} has no equation"))
        else:
            equations[state] = parsed.expression(definition.equations[state], join("/equations", state), known)
    for extra in definition.equations.keys() - set(definition.states):
        parsed.errors.append(
            FieldError(join("/equations", extra), f"{extra!r} is not a state; it stands in no list of states")
        )
    observables = {
        observable: parsed.expression(text, join("/observables", observable), known)
        for observable, text in (definition.observables or {s: s for s in definition.states}).items()
    }
    for observable, expression in observables.items():
        if observable in definition.states and expression and expression.tree != Name(observable):
            parsed.errors.append(
                FieldError(
                    join("/observables", observable),
                    f"an observable may bear the state's name {observable!r} only if it is that state; "
                    "rename the observable",
                )
            )
    if parsed.errors:
        raise ProblemError(parsed.errors)
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
    )


class _Parser:
    """Parses expressions and gathers what is wrong with them."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.errors: list[FieldError] = []

    def expression(self, text: str, pointer: str, known: set[str]) -> Expression | None:
        try:
            expression = parse_expression(
                text,
                max_characters=self.limits.expression_characters,
                max_levels=self.limits.expression_levels,
            )
        except ExpressionError as error:
            self.errors.append(FieldError(pointer, str(error)))
            return None
        unknown = unknown_names(expression, known)
        self.errors.extend(FieldError(pointer, sentence) for sentence in unknown)
        return None if unknown else expression


def _name_errors(definition: SystemDefinition, limits: Limits) -> list[FieldError]:
    lists: dict[str, list[tuple[str, str]]] = {
        "states": [(f"/states/{i}", name) for i, name in enumerate(definition.states)],
        "parameters": [(f"/parameters/{i}", name) for i, name in enumerate(definition.parameters)],
        "constants": [(join("/constants", name), name) for name in definition.constants],
        "observables": [(join("/observables", name), name) for name in definition.observables],
    }
    errors = []
    for kind, entries in lists.items():
        most = limits.states if kind == "states" else limits.names
        if len(entries) > most:
            errors.append(FieldError(f"/{kind}", f"at most {most} {kind} are allowed, here are {len(entries)}"))
    if errors:
        return errors
    seen: dict[str, str] = {}
    for kind, entries in lists.items():
        for pointer, name in entries:
            if problem := name_error(name):
                errors.append(FieldError(pointer, problem))
            elif name in seen and not (kind == "observables" and seen[name] == "states"):
                errors.append(FieldError(pointer, f"{name!r} stands among the {seen[name]} already; names are unique"))
            else:
                seen.setdefault(name, kind)
    return errors
