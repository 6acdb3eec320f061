"""Which part of an expression has no value, for messages: the root of a negative number, a division by zero.

An engine may solve another system than the caller's, with held states and modes: `Terms` lead back to what was written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from odelib.engines.torch_program import TorchProgram
from odelib.problem.expressions.definitions import Definitions, needed, underlying
from odelib.problem.expressions.parser import TIME, Expression, Name, Node, Operation, walk
from odelib.problem.expressions.text import text_of
from odelib.problem.system import System

MAX_NAMES = 4  # whose values a message gives
MAX_CHARACTERS = 80  # of a subexpression in a message
AHEAD = tuple(10.0**-k for k in range(16, 2, -1))  # of the duration: how far a failed solve is continued, tangentially

_ROOT = "if the process stops there, write max({argument}, 0) in place of {argument}; else keep it positive by bounds"
_LOGARITHM = "keep {argument} positive by bounds, or write max({argument}, SMALL) in its place, with a small number"
_POLE = "keep {argument} away from 0 by bounds, or add a small positive number to it"
_FROM_ONE = "write max({argument}, 1) in place of {argument}"
_ARC = "write min(max({argument}, -1), 1) in place of {argument}"


def _unchanged(node: Node) -> Node:
    return node


@dataclass(frozen=True)
class Terms:
    """What the caller calls the parts of a system that an engine solves in place of another.

    written: from a part of an equation to what the caller wrote. held: what is held during a solve, in words, by name.
    set_by: what sets or adds to a state during a solve, in words, by name.
    """

    written: Callable[[Node], Node] = _unchanged
    held: Mapping[str, str] = field(default_factory=dict)
    set_by: Mapping[str, str] = field(default_factory=dict)


PLAIN = Terms()


@dataclass(frozen=True)
class MissingValue:
    """A part of an expression that has no finite value. argument: that of its operands that is to blame."""

    operation: Operation
    argument: Node
    values: Mapping[str, float]

    def in_terms(self, terms: Terms) -> MissingValue:
        """The same in the caller's terms."""
        operation = terms.written(self.operation)
        assert isinstance(operation, Operation)  # arithmetic or a function, and these are as they were written
        return replace(self, operation=operation, argument=terms.written(self.argument))

    def describe(self) -> str:
        """What has no value, for which values of which names, and what helps."""
        names = dict.fromkeys(part.name for part in walk(self.operation) if isinstance(part, Name))
        known = [f"{name} = {self.values[name]:.6g}" for name in names if name in self.values][:MAX_NAMES]
        where = f" for {', '.join(known)}" if known else ""
        argument = _shortened(self.argument)
        advice = _advice(self.operation).format(argument=argument)
        return f"{_shortened(self.operation)} has no finite value{where}; {advice}"


def missing_value(expression: Expression, values: Mapping[str, float], definitions: Definitions) -> MissingValue | None:
    """The first part of an expression that has no value although its operands have; None if the whole has one.

    values: of all names but the definitions'. Branches that `where` does not take do not count.
    """
    named, in_definitions = dict(values), None
    for name, definition in needed(expression.names, definitions).items():
        named[name], found = _examined(definition, named)
        in_definitions = in_definitions or found
    value, found = _examined(expression, named)
    return None if math.isfinite(value) else found or in_definitions


def _examined(expression: Expression, values: Mapping[str, float]) -> tuple[float, MissingValue | None]:
    """The value of an expression, and the first part of it that has none."""
    nodes = list(walk(expression.tree))
    program = TorchProgram([Expression("", node, frozenset()) for node in nodes], [])
    found = {id(node): float(value) for node, value in zip(nodes, program.bind(values)(), strict=True)}
    taken = _taken(expression.tree, found)
    for node in nodes:
        if id(node) in taken and isinstance(node, Operation):
            argument = _to_blame(node, [found[id(operand)] for operand in node.operands])
            if argument is not None:
                return found[id(expression.tree)], MissingValue(node, argument, values)
    return found[id(expression.tree)], None


def describe_failure(
    system: System, time: float, state: Sequence[float], values: Sequence[float], duration: float, terms: Terms = PLAIN
) -> str | None:
    """Which part of which equation has no value where a solve failed; None if that is not the reason.

    system: the one that was solved; terms: what the caller calls its parts. state: (n,), at the time. values: of
    parameters and constants. The solver stops just before the place: the search goes on from there along the tangent,
    by fractions of the solve's `duration`.
    """
    named = dict(zip((*system.parameters, *system.constants), values, strict=False))
    for name, value in (*zip(system.states, state, strict=True), *named.items()):
        if not math.isfinite(value) and (name in system.states or name in terms.held):
            return _not_finite(name, value, terms)
    equations = list(system.equations.values())
    if underlying((n for e in equations for n in e.names), system.definitions) - {TIME, *system.states, *named}:
        return None  # an input, whose value is not known here
    program = TorchProgram(equations, [], system.definitions)
    rates = [
        float(rate) for rate in program.bind({**named, **dict(zip(system.states, state, strict=True)), TIME: time})()
    ]
    for step in (0.0, *AHEAD) if all(map(math.isfinite, rates)) else (0.0,):
        ahead = [y + step * duration * rate if step else y for y, rate in zip(state, rates, strict=True)]
        at = {**named, **dict(zip(system.states, ahead, strict=True)), TIME: time + step * duration}
        for name, equation in system.equations.items():
            if found := missing_value(equation, at, system.definitions):
                return f"in the equation of {name!r}, {found.in_terms(terms).describe()}"
    return None


def _not_finite(name: str, value: float, terms: Terms) -> str:
    if name in terms.held:
        return f"{terms.held[name]} is {value} there"
    set_by = terms.set_by.get(name)
    return f"the value of the state {name!r} is {value} there" + (f"; it is set by {set_by}" if set_by else "")


def describe_observable(
    system: System, name: str, time: float, state: Sequence[float], values: Sequence[float]
) -> str | None:
    """Which part of an observable has no value at a time; None if all parts have one."""
    named = dict(zip((*system.states, *system.parameters, *system.constants), (*state, *values), strict=False))
    observable, at = system.observables[name], {**named, TIME: time}
    if underlying(observable.names, system.definitions) - at.keys():
        return None  # an input, whose value is not known here
    found = missing_value(observable, at, system.definitions)
    return found.describe() if found else None


def _taken(tree: Node, found: Mapping[int, float]) -> set[int]:
    """The parts that take part in the value."""
    taken: set[int] = set()
    stack = [tree]
    while stack:
        node = stack.pop()
        taken.add(id(node))
        if isinstance(node, Operation):
            stack.extend(_operands_taken(node, found))
    return taken


def _operands_taken(node: Operation, found: Mapping[int, float]) -> Iterator[Node]:
    if node.operator != "where":
        yield from node.operands
        return
    condition, first, second = node.operands
    yield condition
    yield first if found[id(condition)] else second


def _to_blame(node: Operation, operands: Sequence[float]) -> Node | None:
    """The operand for which an operation has no value."""
    if not all(map(math.isfinite, operands)):
        return None
    first = operands[0]
    match node.operator:
        case "sqrt":
            has_value = first >= 0
        case "log" | "log2" | "log10":
            has_value = first > 0
        case "asin" | "acos":
            has_value = abs(first) <= 1
        case "atanh":
            has_value = abs(first) < 1
        case "acosh":
            has_value = first >= 1
        case "/":
            return node.operands[1] if operands[1] == 0 else None
        case "**":
            has_value = (first > 0 or operands[1].is_integer() or first == 0 < operands[1]) and not (
                first == 0 > operands[1]
            )
        case _:
            return None
    return None if has_value else node.operands[0]


def _advice(operation: Operation) -> str:
    if operation.operator == "/":
        return _POLE
    if operation.operator in ("log", "log2", "log10"):
        return _LOGARITHM
    if operation.operator == "acosh":
        return _FROM_ONE
    return _ARC if operation.operator in ("asin", "acos", "atanh") else _ROOT


def _shortened(node: Node) -> str:
    text = text_of(node)
    return text if len(text) <= MAX_CHARACTERS else f"{text[: MAX_CHARACTERS - 1]}…"
