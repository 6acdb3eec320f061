"""A system with all that a schedule changes in its equations: held states, held numbers, and inputs as expressions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce

from odelib.engines.schedules.interpolation import DEGREES
from odelib.engines.schedules.schedule import PIECE_SIZE
from odelib.problem.expressions.definitions import in_order, underlying
from odelib.problem.expressions.parser import TIME, Expression, Name, Node, Number, Operation, walk
from odelib.problem.protocol import Change, Dose, InputValue, Knots, Protocol
from odelib.problem.system import System


@dataclass(frozen=True)
class Reset:
    """What a change does to states, as far as it depends on states, inputs or time; by state, of the values before."""

    set: Mapping[str, Expression] = field(default_factory=dict)
    add: Mapping[str, Expression] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """Where a held value is: the index of a state of the extended system, or of a constant."""

    is_state: bool
    index: int


@dataclass(frozen=True)
class InputPlan:
    """How the equations see an input.

    knot: the index of the constant that holds t₀ of its polynomial. coefficients: the places of the polynomial's
    coefficients; numbers in a row after t₀, if no value depends on parameters. choice: the index of the constant that
    chooses between polynomial, 0, and expressions; None if there are no expressions. expressions: by text, the number
    that chooses it.
    """

    knot: int
    coefficients: tuple[Place, ...]
    choice: int | None
    expressions: Mapping[str, int]

    @property
    def is_numeric(self) -> bool:
        """Whether all coefficients are numbers."""
        return not self.coefficients[0].is_state


@dataclass(frozen=True)
class Extension:
    """The system that an engine solves in place of another, for any of some protocols.

    system: its states are the original ones, then held ones with rate 0; its parameters are the original ones; its
    constants are the original ones, then held numbers. It has no inputs: each is a definition. `System.held` names the
    constants that change during a solve. resets: those of changes, by the number that a RESET entry has.

    inputs, rates, constants: the plan of each input, the place of the total rate of infusions into a state, and the
    place of each constant that is changed.
    """

    original: System
    system: System
    resets: tuple[Reset, ...]
    inputs: Mapping[str, InputPlan]
    rates: Mapping[str, Place]
    constants: Mapping[str, Place]

    @property
    def held_count(self) -> int:
        """The number of held states."""
        return len(self.system.states) - len(self.original.states)


def extend(system: System, protocols: Sequence[Protocol]) -> Extension:
    """The extended system of a system and all protocols that it is solved under."""
    return _Extending(system, protocols).extended()


def merged_changes(protocol: Protocol) -> list[tuple[Expression, list[Change]]]:
    """The changes of a protocol at each time; those with the same text of `at` happen at one instant."""
    found: dict[str, tuple[Expression, list[Change]]] = {}
    for change in protocol.changes:
        found.setdefault(_key(change.at), (change.at, []))[1].append(change)
    return list(found.values())


def _key(at: Expression) -> str:
    return repr(at.tree.value) if isinstance(at.tree, Number) else at.text


class _Extending:
    """What an extended system is made of, collected step by step."""

    def __init__(self, system: System, protocols: Sequence[Protocol]) -> None:
        self._system, self._protocols = system, protocols
        self._parameters = frozenset(system.parameters)
        self._states = list(system.states)
        self._equations = dict(system.equations)
        self._constants = dict(system.constants)
        self._names = {name: name for name in (*system.parameters, *system.constants)}  # as they are called now
        self._definitions = dict(system.definitions)

    def extended(self) -> Extension:
        """Make it."""
        constants = {name: self._changed_constant(name, values) for name, values in self._changed().items()}
        inputs = {name: self._input(name) for name in self._system.inputs}
        rates = {state: self._rate(state, doses) for state, doses in self._infusions().items()}
        held = {*self._constants} - {*self._system.constants} | {
            name for name, place in constants.items() if not place.is_state
        }
        own = self._names
        parameters = tuple(own[name] for name in self._system.parameters)
        renamed = {own.get(name, name): value for name, value in self._constants.items()}
        system = replace(
            self._system, states=tuple(self._states), parameters=parameters, constants=renamed, inputs=(),
            equations=self._equations, definitions=in_order(self._definitions)[0], held=frozenset(held),
        )  # fmt: skip
        resets = tuple(self._resets(frozenset(constants)))
        return Extension(self._system, system, resets, inputs, rates, constants)

    def _state(self, name: str) -> Place:
        self._states.append(name)
        self._equations[name] = Expression("0", Number(0.0), frozenset())
        return Place(True, len(self._states) - 1)

    def _number(self, name: str) -> Place:
        self._constants[name] = 0.0
        return Place(False, len(self._constants) - 1)

    def _is_moving(self, expression: Expression) -> bool:
        return bool(underlying(expression.names, self._system.definitions) & self._parameters)

    def _changed(self) -> dict[str, list[Expression]]:
        """The values of each constant that changes."""
        found: dict[str, list[Expression]] = {}
        for protocol in self._protocols:
            given = [change.constants for change in protocol.changes]
            if protocol.steady_state is not None:
                given.append(protocol.steady_state.constants)
            for constants in given:
                for name, value in constants.items():
                    found.setdefault(name, []).append(value)
        return found

    def _changed_constant(self, name: str, values: Sequence[Expression]) -> Place:
        """Where a constant is that changes: its own place if it never depends on parameters, else a held state."""
        if name in self._system.constants and not any(self._is_moving(value) for value in values):
            return Place(False, list(self._system.constants).index(name))
        self._names[name] = f"initial {name}"
        self._definitions[name] = _expression(Name(f"held {name}"), f"held {name}")
        return self._state(f"held {name}")

    def _input(self, name: str) -> InputPlan:
        values = list(input_values(self._protocols, name))
        knots = [value for value in values if isinstance(value, Knots)]
        texts = dict.fromkeys(value.text for value in values if isinstance(value, Expression) and value.names)
        expressions = {value.text: value for value in values if isinstance(value, Expression)}
        degree = max((DEGREES[each.interpolation] for each in knots), default=0)
        is_moving = any(
            isinstance(value, Expression) and self._is_moving(value) for each in knots for value in each.values
        )
        knot = self._number(f"{name} knot").index
        # a numeric piece always has all coefficients, so that it is copied as it is
        numbers = [self._number(f"{name} c{k}") for k in range(0 if is_moving else PIECE_SIZE - 1)]
        places = [self._state(f"{name} c{k}") for k in range(degree + 1)] if is_moving else numbers
        tree = _polynomial(name, degree)
        if not texts:
            self._definitions[name] = _expression(tree, f"{name} of degree {degree}")
            return InputPlan(knot, tuple(places), None, {})
        choice = self._number(f"{name} choice").index
        for number, text in enumerate(texts):  # from the inside: 0 chooses the polynomial, 1 the first expression
            is_chosen = Operation(">", (Name(f"{name} choice"), Number(number + 0.5)))
            tree = Operation("where", (is_chosen, expressions[text].tree, tree))
        self._definitions[name] = _expression(tree, "; ".join([f"{name} of degree {degree}", *texts]))
        return InputPlan(knot, tuple(places), choice, {text: number + 1 for number, text in enumerate(texts)})

    def _infusions(self) -> dict[str, list[Dose]]:
        """The infusions into each state."""
        found: dict[str, list[Dose]] = {}
        for protocol in self._protocols:
            for dose in protocol.doses:
                if dose.duration is not None or dose.rate is not None:
                    found.setdefault(dose.into, []).append(dose)
        return found

    def _rate(self, state: str, doses: Iterable[Dose]) -> Place:
        """Where the total rate of the infusions into a state is; adds it to the state's equation."""
        name = f"rate into {state}"
        is_moving = any(self._is_moving(value) for dose in doses for value in rate_parts(dose))
        equation = self._equations[state]
        self._equations[state] = _expression(Operation("+", (equation.tree, Name(name))), f"({equation.text}) + {name}")
        return self._state(name) if is_moving else self._number(name)

    def _resets(self, changed: frozenset[str]) -> Iterator[Reset]:
        """Every distinct reset."""
        seen: set[object] = set()
        for protocol in self._protocols:
            for _, changes in merged_changes(protocol):
                reset = reset_of(changes, self._system, changed)
                if reset is not None and (key := reset_key(reset)) not in seen:
                    seen.add(key)
                    yield reset


def rate_parts(dose: Dose) -> list[Expression]:
    """What the rate of an infusion is made of."""
    if dose.rate is not None:
        return [dose.rate]
    return [value for value in (dose.amount, dose.fraction, dose.duration) if value is not None]


def input_values(protocols: Iterable[Protocol], name: str) -> Iterator[InputValue]:
    """Every value that an input is given."""
    for protocol in protocols:
        given = [protocol.inputs, *(change.inputs for change in protocol.changes)]
        if protocol.steady_state is not None:
            given.append(protocol.steady_state.inputs)
        yield from (inputs[name] for inputs in given if name in inputs)


def reset_of(changes: Sequence[Change], system: System, changed: Iterable[str]) -> Reset | None:
    """What simultaneous changes do to those states whose new value depends on more than parameters and constants."""
    known = {*system.parameters, *system.constants} - {*changed}
    set_to = {state: value for change in changes for state, value in change.set.items()}
    added: dict[str, list[Expression]] = {}
    for change in changes:
        for state, value in change.add.items():
            added.setdefault(state, []).append(value)
    states = {
        state
        for state, values in [*((state, [value]) for state, value in set_to.items()), *added.items()]
        if any(underlying(value.names, system.definitions) - known for value in values)
    }
    if not states:
        return None
    return Reset(
        {state: value for state, value in set_to.items() if state in states},
        {state: reduce(_sum, values) for state, values in added.items() if state in states},
    )


def reset_key(reset: Reset) -> object:
    """Equal for equal resets."""
    return tuple(tuple(sorted((state, value.text) for state, value in part.items())) for part in (reset.set, reset.add))


def _sum(a: Expression, b: Expression) -> Expression:
    return _expression(Operation("+", (a.tree, b.tree)), f"({a.text}) + ({b.text})")


def _polynomial(name: str, degree: int) -> Node:
    tree: Node = Name(f"{name} c{degree}")
    since = Operation("-", (Name(TIME), Name(f"{name} knot")))
    for k in reversed(range(degree)):
        tree = Operation("+", (Name(f"{name} c{k}"), Operation("*", (since, tree))))
    return tree


def _expression(tree: Node, text: str) -> Expression:
    """An expression from a tree. Its text decides whether two are equal."""
    return Expression(text, tree, frozenset(node.name for node in walk(tree) if isinstance(node, Name)))
