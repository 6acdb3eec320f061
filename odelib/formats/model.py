"""A model as files describe it: quantities with initial values, rates, definitions and events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from odelib.formats.errors import UnsupportedError
from odelib.formats.expression_text import ZERO, folded, names_of, replace_names, text_of
from odelib.problem.expressions.names import name_error
from odelib.problem.expressions.parser import TIME, Name, Node, Number


@dataclass(frozen=True)
class ModelEvent:
    """An event: see `odelib.problem.system.Event`."""

    name: str
    when: Node
    set: Mapping[str, Node]
    at_start: bool

    def replace_names(self, values: Mapping[str, Node]) -> ModelEvent:
        """The event with these trees in place of the names."""
        to_set = {name: replace_names(tree, values) for name, tree in self.set.items()}
        return ModelEvent(self.name, replace_names(self.when, values), to_set, self.at_start)


@dataclass
class Model:
    """Quantities by their names in a request.

    values: of what is constant, None if the file gives none. rates: the derivative of each state. starts: the initial
    value of each state, and of each constant that a formula gives, possibly with names of anything. definitions: what
    follows from other quantities at every time. defaults: the formulas of constants that are given elsewhere, for where
    they are not. notes: what the reader should know.
    """

    values: dict[str, float | None] = field(default_factory=dict)
    parameters: list[str] = field(default_factory=list)
    rates: dict[str, Node] = field(default_factory=dict)
    starts: dict[str, Node] = field(default_factory=dict)
    definitions: dict[str, Node] = field(default_factory=dict)
    defaults: dict[str, Node] = field(default_factory=dict)
    events: list[ModelEvent] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    title: str = ""

    def start_of(self, name: str) -> Node:
        """The value of a quantity at the start, as an expression of constants that have a number.

        Raises `UnsupportedError` if it has none, or depends on itself.
        """
        return self._resolve(Name(name), ())

    def initial_state(self) -> dict[str, Node]:
        """The initial value of each state."""
        return {state: self.start_of(state) for state in self.rates}

    def _start_formula(self, name: str) -> Node | None:
        if name in self.starts:
            return self.starts[name]
        if name in self.definitions:
            return self.definitions[name]
        if name == TIME:
            return ZERO
        if name in self.rates:
            raise UnsupportedError(f"{name} has no initial value")
        return None

    def _resolve(self, tree: Node, path: tuple[str, ...]) -> Node:
        found: dict[str, Node] = {}
        for name in names_of(tree):
            if name in path:
                raise UnsupportedError(f"the initial value of {name} depends on itself")
            formula = self._start_formula(name)
            if formula is not None:
                found[name] = self._resolve(formula, (*path, name))
        return replace_names(tree, found) if found else tree

    def settle_constants(self) -> None:
        """Turn constants that a formula gives into numbers or definitions, and drop what nothing uses."""
        for name in [n for n in self.starts if n not in self.rates]:
            start = self.start_of(name)
            if isinstance(start, Number):
                self.values[name] = start.value
            else:
                self.values.pop(name, None)
                self.definitions[name] = start
            del self.starts[name]
        self.parameters = [name for name in self.parameters if name in self.values]

    def used_names(self) -> set[str]:
        """All names in formulas."""
        trees = [*self.rates.values(), *self.starts.values(), *self.definitions.values()]
        trees += [tree for event in self.events for tree in (event.when, *event.set.values())]
        return {name for tree in trees for name in names_of(tree)}


def system_of(model: Model, parameters: list[str], constants: Mapping[str, float]) -> dict[str, Any]:
    """The definition of a system in a request."""
    system: dict[str, Any] = {"states": list(model.rates), "parameters": parameters}
    if constants:
        system["constants"] = dict(constants)
    if model.definitions:
        system["definitions"] = {name: text_of(tree) for name, tree in model.definitions.items()}
    system["equations"] = {name: text_of(tree) for name, tree in model.rates.items()}
    if model.events:
        system["events"] = [
            {
                "name": event.name,
                "when": text_of(event.when),
                "set": {name: text_of(tree) for name, tree in event.set.items()},
                **({"at_start": True} if event.at_start else {}),
            }
            for event in model.events
        ]
    return system


def request_name(name: str) -> str:
    """A name that may stand in a request."""
    return name + "_" if name_error(name) is not None else name


def number_or_text(tree: Node) -> float | str:
    """A number or an expression, as a request has it."""
    tree = folded(tree)
    return tree.value if isinstance(tree, Number) else text_of(tree)


def initial_value(tree: Node) -> dict[str, Any] | str:
    """An initial value that is not fitted: a number alone would be a guess."""
    tree = folded(tree)
    return {"guess": tree.value, "fixed": True} if isinstance(tree, Number) else text_of(tree)
