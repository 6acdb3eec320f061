"""A definition: names are unique, every state has an equation, expressions use names that exist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from odelib.errors import ExpressionError, FieldError, ProblemError
from odelib.problem.expressions.names import FEW_ERRORS, name_error, unknown_names
from odelib.problem.expressions.parser import Expression, Name, parse_expression
from odelib.problem.expressions.vocabulary import TIME
from odelib.problem.limits import Limits
from odelib.problem.pointers import join
from odelib.problem.system import Example, System, SystemDefinition


@dataclass(frozen=True)
class DeclaredNames:
    """The names of a system, in order."""

    states: Mapping[str, None]
    parameters: Mapping[str, None]
    constants: Mapping[str, None]
    observables: Mapping[str, None]

    @classmethod
    def of(cls, system: System | SystemDefinition) -> DeclaredNames:
        """The names in `system`, whether or not its expressions are well."""
        return cls(
            dict.fromkeys(system.states),
            dict.fromkeys(system.parameters),
            dict.fromkeys(system.constants),
            dict.fromkeys(system.observables or system.states),
        )


def well_formed_definition(raw: Mapping[str, Any]) -> SystemDefinition | None:
    """The definition in `raw` as far as it has the right form; None where not even its names are certain.

    With it the expressions can be checked beside the errors of form. What is left out here has such an error.
    """
    states, parameters = raw.get("states"), raw.get("parameters", [])
    named = [raw.get(field, {}) for field in ("constants", "equations", "observables", "derived")]
    if not (_is_names(states) and states and _is_names(parameters) and all(isinstance(n, Mapping) for n in named)):
        return None
    constants, equations, observables, derived = named
    return SystemDefinition.model_construct(
        states=states,
        parameters=parameters,
        constants=dict(constants),
        equations={name: text for name, text in equations.items() if isinstance(text, str)},
        observables=dict(observables),
        derived=dict(derived),
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

    Raises `ProblemError` with every mistake, pointers relative to the definition (`/equations/x`).
    """
    parser = _Parser(limits or Limits())
    parser.errors = _name_errors(definition, parser.limits)
    known = dict.fromkeys((*definition.states, *definition.parameters, *definition.constants, TIME))
    equations = _equations(definition, parser, known)
    observables = {
        observable: parser.expression(text, join("/observables", observable), known)
        for observable, text in definition.observables.items()
    }
    if not definition.observables:
        observables = {state: Expression(state, Name(state), frozenset({state})) for state in definition.states}
    for observable, expression in observables.items():
        if observable in equations and expression and expression.tree != Name(observable):
            parser.add(
                join("/observables", observable),
                f"an observable may bear the state's name {observable!r:.80} only if it is that state; "
                "rename the observable",
            )
    constant = dict.fromkeys((*definition.parameters, *definition.constants))
    derived = {
        name: parser.expression(text, join("/derived", name), constant, hint=" (derived: of parameters and constants)")
        for name, text in definition.derived.items()
    }
    if parser.errors:
        raise ProblemError(parser.errors)
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
    )


def _equations(
    definition: SystemDefinition, parser: _Parser, known: Mapping[str, None]
) -> dict[str, Expression | None]:
    equations: dict[str, Expression | None] = {}
    for state in dict.fromkeys(definition.states):
        pointer = join("/equations", state)
        if state in definition.equations:
            equations[state] = parser.expression(definition.equations[state], pointer, known)
        else:
            equations[state] = None
            parser.add(pointer, f"the state {state!r:.80} has no equation")
    for extra in definition.equations:
        if extra not in equations:
            parser.add(join("/equations", extra), f"{extra!r:.80} is not a state; it stands in no list of states")
    return equations


class _Parser:
    """Parses expressions and gathers what is wrong with them."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.errors: list[FieldError] = []

    def add(self, pointer: str, detail: str) -> None:
        self.errors.append(FieldError(pointer, detail))

    def expression(self, text: Any, pointer: str, known: Mapping[str, None], hint: str = "") -> Expression | None:
        if not isinstance(text, str):
            return None  # not in a definition that was validated
        try:
            expression = parse_expression(
                text,
                max_characters=self.limits.expression_characters,
                max_levels=self.limits.expression_levels,
            )
        except ExpressionError as error:
            self.add(pointer, str(error))
            return None
        unknown = unknown_names(expression, known, hints=len(self.errors) < FEW_ERRORS)
        for sentence in unknown:
            self.add(pointer, sentence + hint)
        return None if unknown else expression


def _name_errors(definition: SystemDefinition, limits: Limits) -> list[FieldError]:
    lists: dict[str, list[tuple[str, str]]] = {
        "states": [(f"/states/{i}", name) for i, name in enumerate(definition.states)],
        "parameters": [(f"/parameters/{i}", name) for i, name in enumerate(definition.parameters)],
        "constants": [(join("/constants", name), name) for name in definition.constants],
        "observables": [(join("/observables", name), name) for name in definition.observables],
        "derived": [(join("/derived", name), name) for name in definition.derived],
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
                errors.append(
                    FieldError(pointer, f"{name!r:.80} stands among the {seen[name]} already; names are unique")
                )
            else:
                seen.setdefault(name, kind)
    return errors
