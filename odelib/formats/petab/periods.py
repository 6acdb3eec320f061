"""What was done in an experiment → the periods of PEtab: times at which values are set, from the values before."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from odelib.formats.errors import UnsupportedError
from odelib.formats.expression_text import folded, replace_names
from odelib.formats.petab.inputs import Inputs
from odelib.problem.expressions.parser import TIME, Expression, Name, Node, Number, Operation
from odelib.problem.protocol import Dose, Protocol, SteadyState
from odelib.problem.resolved import ResolvedProblem

INFUSION = "infusion_into_"  # of the constant that is the rate of infusions into a state


@dataclass(frozen=True)
class Period:
    """A time from which values hold; targets: what is set there, by name."""

    time: float
    targets: dict[str, Node]


class Periods:
    """The periods of each series.

    constants: further constants of the model: rates of infusions, and what inputs consist of. definitions: inputs that
    are formulas. rates: what infusions add to the equations, by state.
    """

    def __init__(self, problem: ResolvedProblem) -> None:
        self._problem = problem
        infused = [
            dose.into
            for protocol in problem.protocols[: len(problem.series)]
            for dose in protocol.doses
            if dose.duration is not None or dose.rate is not None
        ]
        self.rates: dict[str, Node] = {state: Name(INFUSION + state) for state in dict.fromkeys(infused)}
        self._inputs = Inputs(problem)
        self.constants = dict.fromkeys((INFUSION + state for state in self.rates), 0.0) | self._inputs.constants
        self.definitions = self._inputs.definitions

    def of(self, index: int, first: Mapping[str, Node], initial_state: Mapping[str, Node]) -> list[Period]:
        """The periods of a series.

        first: what is set at its start besides; initial_state: the values that the model has for states.
        """
        series, protocol = self._problem.series[index], self._problem.protocols[index]
        if protocol.observed == "before":
            raise UnsupportedError(f"{series.name} is observed before doses and changes, which PEtab cannot express")
        constants = self._known_constants(index)
        first = {name: replace_names(tree, constants) for name, tree in first.items()}
        found = self._inputs.of(index, {**constants, **first})
        self._add_changes(protocol, found)
        for dose in protocol.doses:
            self._add_dose(series.name, dose, found)
        at_start = [found.pop(time) for time in sorted(found) if time <= series.start]
        later = [Period(time, targets) for time, targets in sorted(found.items())]
        if protocol.steady_state is not None:
            return [*self._steady(index, protocol.steady_state, first, at_start), *later]
        starts = {name: replace_names(tree, constants) for name, tree in initial_state.items()}
        known = {**constants, **starts, **first}
        return [Period(series.start, {**self._constants(index), **first, **_in_turn(at_start, known)}), *later]

    def _constants(self, index: int) -> dict[str, Node]:
        given = self._problem.constants[index]
        return {name: v.tree if isinstance(v, Expression) else Number(v) for name, v in given.items()}

    def _known_constants(self, index: int) -> dict[str, Node]:
        """What each constant is at the start of a series: what is set there may name parameters alone."""
        of_model = {**self._problem.system.constants, **self.constants}
        return {name: Number(value) for name, value in of_model.items()} | self._constants(index)

    def _add_changes(self, protocol: Protocol, found: dict[float, dict[str, Node]]) -> None:
        for change in protocol.changes:
            if not (change.set or change.add or change.constants):
                continue  # of inputs alone
            targets = found.setdefault(_number(change.at, "a change"), {})
            targets |= {name: value.tree for name, value in {**change.constants, **change.set}.items()}
            for name, value in change.add.items():
                targets[name] = Operation("+", (targets.get(name, Name(name)), value.tree))

    def _add_dose(self, series: str, dose: Dose, found: dict[float, dict[str, Node]]) -> None:
        what = f"a dose into {dose.into} in {series}"
        if dose.steady:
            raise UnsupportedError(f"{what} is steady, which PEtab cannot express")
        lag = _number(dose.lag, f"the lag of {what}") if dose.lag else 0.0
        every = _number(dose.every, f"the interval of {what}") if dose.every else 0.0
        times = [_number(at, f"the time of {what}") + lag + k * every for at in dose.at for k in range(dose.count)]
        amount = dose.amount.tree
        if dose.duration is None and dose.rate is None:
            scaled = Operation("*", (dose.fraction.tree, amount)) if dose.fraction else amount
            for time in times:
                _raise(found.setdefault(time, {}), dose.into, scaled)
            return
        rate, duration = _infusion(dose, what)
        for time in times:
            _raise(found.setdefault(time, {}), INFUSION + dose.into, rate)
            _raise(found.setdefault(time + duration, {}), INFUSION + dose.into, Operation("neg", (rate,)))

    def _steady(
        self, index: int, steady: SteadyState, first: Mapping[str, Node], at_start: list[dict[str, Node]]
    ) -> list[Period]:
        """The period that ends in a steady state, and the one that begins with it."""
        known, constants = self._known_constants(index), self._constants(index)
        settling = {name: replace_names(value.tree, known) for name, value in steady.constants.items()}
        before = {**constants, **settling, **first}
        before |= self._inputs.settled(index, {**known, **before})
        again = {name: Number(self._problem.system.constants[name]) for name in steady.constants}
        set_then = {name: value.tree for name, value in steady.set.items()}
        after = {**again, **constants, **set_then, **_in_turn(at_start, {**known, **set_then})}
        return [Period(-math.inf, before), Period(self._problem.series[index].start, after)]


def _in_turn(at_start: list[dict[str, Node]], known: Mapping[str, Node]) -> dict[str, Node]:
    """What is set at the start in all, each of it computed from the values before; known: what they are there."""
    values = dict(known)
    found: dict[str, Node] = {}
    for targets in at_start:
        found |= {name: folded(replace_names(tree, values)) for name, tree in targets.items()}
        values |= found
    return found


def _raise(targets: dict[str, Node], name: str, amount: Node) -> None:
    targets[name] = Operation("+", (targets.get(name, Name(name)), amount))


def _infusion(dose: Dose, what: str) -> tuple[Node, float]:
    """The rate of an infusion, and how long it lasts."""
    if dose.duration is not None:
        duration = _number(dose.duration, f"the duration of {what}")
        amount = Operation("*", (dose.fraction.tree, dose.amount.tree)) if dose.fraction else dose.amount.tree
        return Operation("/", (amount, Number(duration))), duration
    assert dose.rate is not None
    amount_given = _number(dose.amount, f"the amount of {what}")
    fraction = _number(dose.fraction, f"the fraction of {what}") if dose.fraction else 1.0
    return dose.rate.tree, fraction * amount_given / _number(dose.rate, f"the rate of {what}")


def _number(expression: Expression, what: str) -> float:
    """A time, which PEtab wants as a number."""
    tree = folded(expression.tree)
    if not isinstance(tree, Number) or TIME in expression.names:
        raise UnsupportedError(f"{what} is an expression, {expression.text!r}, which PEtab cannot express as a time")
    return tree.value
