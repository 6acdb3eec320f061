"""What was done in an experiment → the periods of PEtab: times at which values are set, from the values before."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from odelib.formats.errors import UnsupportedError
from odelib.formats.expression_text import folded, names_of, replace_names
from odelib.problem.expressions.parser import TIME, Expression, Name, Node, Number, Operation
from odelib.problem.protocol import Dose, Knots, Protocol
from odelib.problem.resolved import ResolvedProblem

INFUSION = "infusion_into_"  # of the constant that is the rate of infusions into a state


@dataclass(frozen=True)
class Period:
    """A time from which values hold; targets: what is set there, by name."""

    time: float
    targets: dict[str, Node]


class Periods:
    """The periods of each series.

    constants: further constants of the model: rates of infusions. rates: what they add to the equations, by state.
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
        self.constants = dict.fromkeys((INFUSION + state for state in self.rates), 0.0)

    def of(self, index: int, first: Mapping[str, Node]) -> list[Period]:
        """The periods of a series; first: what is set at its start besides."""
        series, protocol = self._problem.series[index], self._problem.protocols[index]
        if protocol.observed == "before":
            raise UnsupportedError(f"{series.name} is observed before doses and changes, which PEtab cannot express")
        start: dict[str, Node] = {**self._constants(index), **first}
        found: dict[float, dict[str, Node]] = {}
        self._add_changes(protocol, found)
        for dose in protocol.doses:
            self._add_dose(series.name, dose, found)
        periods = [Period(time, targets) for time, targets in sorted(found.items())]
        self._check_inputs(series.name, protocol)
        at_start = [period for period in periods if period.time <= series.start]
        for period in at_start:  # computed from the initial values
            start |= {name: replace_names(tree, self._known(start, tree)) for name, tree in period.targets.items()}
        later = [period for period in periods if period.time > series.start]
        if protocol.steady_state is None:
            return [Period(series.start, start), *later]
        return [*self._steady(index, protocol, start, first), *later]

    def _known(self, start: Mapping[str, Node], tree: Node) -> dict[str, Node]:
        """Initial values that stand for states in what happens at the start."""
        known: dict[str, Node] = {}
        for name in names_of(tree):
            if name in self._problem.system.states:
                entry = self._problem.request.initial_state.get(name)
                shared = self._problem.expressions[entry].tree if isinstance(entry, str) else None
                known[name] = start.get(name) or shared or Name(name)
        return known

    def _constants(self, index: int) -> dict[str, Node]:
        given = self._problem.constants[index]
        return {name: v.tree if isinstance(v, Expression) else Number(v) for name, v in given.items()}

    def _add_changes(self, protocol: Protocol, found: dict[float, dict[str, Node]]) -> None:
        for change in protocol.changes:
            if change.inputs:
                raise UnsupportedError("a change of inputs cannot be expressed in PEtab")
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

    def _check_inputs(self, series: str, protocol: Protocol) -> None:
        for name, value in protocol.inputs.items():
            what = "knots" if isinstance(value, Knots) else "an expression"
            raise UnsupportedError(f"the input {name} of {series}, {what}, cannot be expressed in PEtab")

    def _steady(
        self, index: int, protocol: Protocol, start: dict[str, Node], first: Mapping[str, Node]
    ) -> list[Period]:
        """The period that ends in a steady state, and the one that begins with it."""
        steady = protocol.steady_state
        assert steady is not None
        constants = self._constants(index)
        before = {**constants, **{name: value.tree for name, value in steady.constants.items()}, **first}
        after = {name: tree for name, tree in start.items() if name not in first or name in steady.set}
        for name in steady.constants:
            after.setdefault(name, Number(self._problem.system.constants[name]))
        after |= {name: value.tree for name, value in steady.set.items()}
        return [Period(-math.inf, before), Period(self._problem.series[index].start, after)]


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
