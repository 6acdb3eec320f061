"""Inputs → what the periods of PEtab set.

An input that stays the same between its knots is a constant of the model. Any other with knots is a polynomial in the
time since the period began, whose coefficients are constants: each knot begins a period that sets them, so that every
simulator stops there. An expression of time is a formula of the model, and the same in all experiments.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from odelib.engines.schedules.interpolation import DEGREES, pieces_between
from odelib.formats.errors import UnsupportedError
from odelib.formats.expression_text import ZERO, folded, names_of, replace_names, total
from odelib.problem.expressions.parser import TIME, Expression, Name, Node, Number, Operation
from odelib.problem.protocol import InputValue, Knots, Protocol
from odelib.problem.resolved import ResolvedProblem

Coefficients = tuple[Node, ...]  # of the powers from 0 on
Piece = tuple[float, float, Coefficients]  # from when it holds, the time that its powers are of, and coefficients


class Inputs:
    """The inputs of all series.

    constants: constants of the model that periods set, with the values they have where none does. definitions: the
    inputs that are formulas.
    """

    def __init__(self, problem: ResolvedProblem) -> None:
        self._problem = problem
        self._protocols = problem.protocols[: len(problem.series)]
        self.constants: dict[str, float] = {}
        self.definitions: dict[str, Node] = {}
        self._degrees: dict[str, int] = {}
        for name in problem.system.inputs:
            self._add(name)

    def _add(self, name: str) -> None:
        values = [value for protocol in self._protocols for value in _values_of(protocol, name)]
        if any(isinstance(value, Expression) and TIME in value.names for value in values):
            self.definitions[name] = self._formula(name, values)
            return
        degree = max((DEGREES[value.interpolation] for value in values if isinstance(value, Knots)), default=0)
        self._degrees[name] = degree
        if degree == 0:
            self.constants[name] = 0.0
            return
        names = self._names(name)
        self.constants |= dict.fromkeys(names, 0.0)
        elapsed = Operation("-", (Name(TIME), Name(names[0])))
        tree: Node = Name(names[-1])
        for coefficient in reversed(names[1:-1]):  # Horner's scheme
            tree = Operation("+", (Name(coefficient), Operation("*", (elapsed, tree))))
        self.definitions[name] = tree

    def _names(self, name: str) -> list[str]:
        """The constants of a polynomial: when its period began, and its coefficients."""
        system = self._problem.system
        taken = {*system.states, *system.parameters, *system.constants, *system.definitions, *system.inputs,
                 *system.observables}  # fmt: skip
        found = [f"{name}_since", *(f"{name}_{power}" for power in range(self._degrees[name] + 1))]
        return [_free(candidate, taken) for candidate in found]

    def _formula(self, name: str, values: Sequence[InputValue]) -> Node:
        trees = {value.tree if isinstance(value, Expression) else None for value in values}
        (tree,) = trees if len(trees) == 1 else (None,)
        if tree is None:
            raise UnsupportedError(
                f"the input {name} is an expression of time in one place and something else in another, which PEtab "
                "cannot express"
            )
        for index in range(len(self._protocols)):
            self._refuse_changed(name, tree, index)
        return tree

    def settled(self, index: int, known: Mapping[str, Node]) -> dict[str, Node]:
        """What is set while a series settles before its start; known: what stands for names there."""
        protocol = self._protocols[index]
        assert protocol.steady_state is not None
        given = {**protocol.inputs, **protocol.steady_state.inputs}
        start = self._problem.series[index].start
        targets: dict[str, Node] = {}
        for name in self._degrees:
            for _, origin, coefficients in self._pieces(name, given[name], index, (start, start), known):
                targets |= self._targets(name, origin, coefficients)
        return targets

    def of(self, index: int, known: Mapping[str, Node]) -> dict[float, dict[str, Node]]:
        """What is set in a series from its start on, by time; known: what stands for names there."""
        series, protocol = self._problem.series[index], self._protocols[index]
        found: dict[float, dict[str, Node]] = {}
        for name in self._degrees:
            given = [(series.start, protocol.inputs[name])]
            given += sorted((_time(c.at, name), c.inputs[name]) for c in protocol.changes if name in c.inputs)
            ends = [*(time for time, _ in given[1:]), math.nextafter(series.times[-1], math.inf)]
            for (begin, value), end in zip(given, ends, strict=True):
                for time, origin, coefficients in self._pieces(name, value, index, (begin, end), known):
                    if time < end:
                        found.setdefault(time, {}).update(self._targets(name, origin, coefficients))
        return found

    def _targets(self, name: str, origin: float, coefficients: Coefficients) -> dict[str, Node]:
        degree = self._degrees[name]
        if degree == 0:
            return {name: coefficients[0]}
        padded = [*coefficients, *[ZERO] * degree][: degree + 1]
        return dict(zip(self._names(name), [Number(origin), *padded], strict=True))

    def _pieces(
        self, name: str, value: InputValue, index: int, span: tuple[float, float], known: Mapping[str, Node]
    ) -> Iterator[Piece]:
        """The polynomials of an input between two times."""
        first, last = span
        if isinstance(value, Expression):
            self._refuse_changed(name, value.tree, index)
            yield first, first, (folded(replace_names(value.tree, known)),)
            return
        if value.interpolation == "next":
            raise UnsupportedError(f"the input {name}: PEtab cannot express that a value holds until its knot")
        numbers, trees = self._values(name, value, index, known)
        pieces = pieces_between(value, numbers, first, last)
        earliest = max(int(np.searchsorted(pieces.starts, first, side="right")) - 1, 0)
        for place in range(earliest, len(pieces.starts)):
            weights = pieces.coefficients[place]
            coefficients = tuple(_combined(row, trees) for row in weights)
            yield max(float(pieces.starts[place]), first), float(pieces.origins[place]), coefficients

    def _values(
        self, name: str, knots: Knots, index: int, known: Mapping[str, Node]
    ) -> tuple[np.ndarray, Sequence[Node] | None]:
        """Numbers to interpolate, (K, 1); or unit vectors, (K, K), and the expressions that they stand for."""
        values = knots.values
        if not any(isinstance(value, Expression) for value in values):
            return np.array(values, dtype=np.float64)[:, None], None
        if knots.interpolation == "pchip":
            raise UnsupportedError(f"the input {name}: PEtab cannot express pchip through values that are expressions")
        trees = [value.tree if isinstance(value, Expression) else Number(value) for value in values]
        for tree in trees:
            self._refuse_changed(name, tree, index)
        return np.eye(len(values)), [folded(replace_names(tree, known)) for tree in trees]

    def _refuse_changed(self, name: str, tree: Node, index: int) -> None:
        """A value is computed from the constants at the start; PEtab would take them as they are then."""
        changed = {constant for change in self._protocols[index].changes for constant in change.constants}
        if found := sorted(changed & names_of(tree)):
            raise UnsupportedError(f"the input {name} depends on {found[0]}, which changes; PEtab cannot express that")


def _values_of(protocol: Protocol, name: str) -> list[InputValue]:
    steady = protocol.steady_state
    places = [protocol.inputs, *(change.inputs for change in protocol.changes), *([steady.inputs] if steady else [])]
    return [place[name] for place in places if name in place]


def _combined(weights: np.ndarray, trees: Sequence[Node] | None) -> Node:
    """A coefficient: a number, or the weighted sum of expressions."""
    if trees is None:
        return Number(float(weights[0]))
    return total([(float(weight), tree) for weight, tree in zip(weights, trees, strict=True) if weight != 0.0])


def _time(at: Expression, name: str) -> float:
    tree = folded(at.tree)
    if not isinstance(tree, Number):
        raise UnsupportedError(f"the input {name} changes at {at.text!r}, which PEtab cannot express as a time")
    return tree.value


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name
