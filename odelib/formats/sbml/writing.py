"""A system → SBML (level 3, version 2). States are parameters with rate rules: they need no compartments or amounts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import libsbml

from odelib.formats.errors import UnsupportedError
from odelib.formats.infix import RESERVED, SBML, infix
from odelib.problem.expressions.parser import Expression, Name, Node, Operation
from odelib.problem.system import Event, System

LEVEL, VERSION = 3, 2


@dataclass(frozen=True)
class SbmlContent:
    """What a model consists of.

    values: of parameters and constants. initial_state: of each state, a number or an expression. rates: further terms
    of equations, by state. changing: constants that something changes during a simulation. inputs: their formulas.
    """

    system: System
    values: Mapping[str, float]
    initial_state: Mapping[str, float | Expression]
    rates: Mapping[str, Node] = field(default_factory=dict)
    changing: frozenset[str] = frozenset()
    inputs: Mapping[str, Node] = field(default_factory=dict)


def write_sbml(content: SbmlContent, path: Path) -> None:
    """Write a model. Raises `UnsupportedError` for what SBML cannot express."""
    document = libsbml.SBMLDocument(LEVEL, VERSION)
    _Writer(document.createModel(), content).write()
    if not libsbml.writeSBMLToFile(document, str(path)):
        raise UnsupportedError(f"{path} cannot be written")


class _Writer:
    """Writes one model."""

    def __init__(self, model: Any, content: SbmlContent) -> None:
        self._model, self._content = model, content
        settings = libsbml.L3ParserSettings()
        settings.setModel(model)  # a name of the model's comes before a word of the parser's
        self._settings = settings

    def write(self) -> None:
        """Add everything to the model."""
        content, system = self._content, self._content.system
        if reserved := RESERVED & {*content.values, *system.states, *system.definitions, *content.inputs}:
            raise UnsupportedError(f"{', '.join(sorted(reserved))} means something else in SBML; rename it")
        self._model.setId(system.name.replace("-", "_") or "model")
        for name, value in content.values.items():
            self._add_parameter(name, value, is_constant=name not in content.changing)
        formulas = {**content.inputs, **{name: each.tree for name, each in system.definitions.items()}}
        for name, tree in formulas.items():
            self._add_parameter(name, None, is_constant=False)
            self._set_rule(self._model.createAssignmentRule(), name, tree)
        for state, equation in system.equations.items():
            tree = equation.tree
            if state in content.rates:
                tree = Operation("+", (tree, content.rates[state]))
            self._add_state(state, content.initial_state[state])
            self._set_rule(self._model.createRateRule(), state, tree)
        for event in system.events:
            self._add_event(event)

    def _add_parameter(self, name: str, value: float | None, *, is_constant: bool) -> None:
        parameter = self._model.createParameter()
        parameter.setId(name)
        parameter.setConstant(is_constant)
        if value is not None:
            parameter.setValue(value)

    def _add_state(self, name: str, start: float | Expression) -> None:
        if isinstance(start, float):
            self._add_parameter(name, start, is_constant=False)
            return
        self._add_parameter(name, None, is_constant=False)
        assignment = self._model.createInitialAssignment()
        assignment.setSymbol(name)
        assignment.setMath(self._math(start.tree))

    def _set_rule(self, rule: Any, name: str, tree: Node) -> None:
        rule.setVariable(name)
        rule.setMath(self._math(tree))

    def _math(self, tree: Node) -> Any:
        text = infix(tree, SBML)
        math = libsbml.parseL3FormulaWithSettings(text, self._settings)
        if math is None:
            raise UnsupportedError(f"SBML cannot express {text}: {libsbml.getLastParseL3Error()}")
        return math

    def _add_event(self, definition: Event) -> None:
        if definition.stop:
            raise UnsupportedError(f"event {definition.name} stops the simulation, which SBML cannot express")
        event = self._model.createEvent()
        event.setId(definition.name)
        event.setUseValuesFromTriggerTime(True)
        trigger = event.createTrigger()
        trigger.setInitialValue(not definition.at_start)
        trigger.setPersistent(True)
        trigger.setMath(self._math(definition.when.tree))
        added = {name: Operation("+", (Name(name), value.tree)) for name, value in definition.add.items()}
        for name, tree in {**{n: value.tree for n, value in definition.set.items()}, **added}.items():
            assignment = event.createEventAssignment()
            assignment.setVariable(name)
            assignment.setMath(self._math(tree))
