"""The source of the kernels of events and changes: conditions, and what resets write to the states.

They have the arguments of the other kernels (see `codegen`), some with another meaning: `width` is the number of a
condition or a reset, and `work` the states' rates. A condition is the sign of a function: see
`odelib.engines.condition_functions`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from odelib.arrays import Integers
from odelib.engines.condition_functions import event_function
from odelib.engines.schedules.modes import ModeEvent
from odelib.engines.symbolic.graph import Graph
from odelib.problem.expressions.parser import TIME, Expression
from odelib.problem.system import Event, System

NO_RESET = -1
SET, ADD = 0, 1
# columns of `EventSource.events`
RESET_NUMBER, START, STOP, MOST = range(4)
# values of START: whether what is true at the start has happened, happens there, or happens wherever a solve begins
BEFORE_START, AT_START, MODE = range(3)
ARGUMENTS = "t, z, q, width, column_of, work, out"
Assignment = tuple[str, int]  # a target, and the node of its value
Writer = Callable[[Sequence[Assignment]], list[str]]


@dataclass(frozen=True)
class Target:
    """One state that a reset sets (or adds to), and the expression, of the values before."""

    state: int
    how: int
    expression: Expression


def targets_of(
    states: Sequence[str], to_set: Mapping[str, Expression], to_add: Mapping[str, Expression]
) -> list[Target]:
    """The targets of a reset: what is set, then what is added to."""
    found = [Target(states.index(state), SET, expression) for state, expression in to_set.items()]
    return found + [Target(states.index(state), ADD, expression) for state, expression in to_add.items()]


class EventSource:
    """Writes the kernels of a system's conditions and resets, those of changes first.

    A row of an expression has its value, its derivative by time, those by the n states and those by the p parameters.

    conditions: by condition its function, then whether it is true (1 or 0). condition_rates: by condition the rate of
    its function. condition_rows: the row of a condition's function. resets: the rows of a reset's targets. The last two
    write only what is not always 0.
    """

    def __init__(self, system: System, resets: Sequence[Sequence[Target]], graph: Graph) -> None:
        self._graph, self._system = graph, system
        of_events = [targets_of(system.states, event.set, event.add) for event in system.events]
        self._resets = [*resets, *of_events]
        self._values = [[graph.add(target.expression) for target in targets] for targets in self._resets]
        self._functions = [graph.add(event_function(event)) for event in system.events]
        self._truths = [self._truth(event.when) for event in system.events]
        self.row_size = 2 + len(system.states) + len(system.parameters)
        self.events = np.array(
            [self._numbers(event, len(resets) + number) for number, event in enumerate(system.events)], dtype=np.int64
        ).reshape(-1, 4)

    @staticmethod
    def _numbers(event: Event, reset: int) -> list[int]:
        number = reset if event.set or event.add else NO_RESET
        start = MODE if isinstance(event, ModeEvent) else AT_START if event.at_start else BEFORE_START
        return [number, start, int(event.stop), event.most]

    @property
    def reset_layout(self) -> Integers:
        """Where the targets of each reset begin, (R + 1,), then each target's state and whether it is added to."""
        starts = np.cumsum([0, *(len(targets) for targets in self._resets)])
        pairs = [number for targets in self._resets for target in targets for number in (target.state, target.how)]
        return np.array([*starts, *pairs], dtype=np.int64)

    @property
    def reset_count(self) -> int:
        """How many resets there are, those of events included."""
        return len(self._resets)

    @property
    def most_targets(self) -> int:
        """The most targets of one reset, or 1."""
        return max([1, *(len(targets) for targets in self._resets)])

    @property
    def names(self) -> dict[str, str]:
        """What the kernels read beside states, parameters and constants: the states' rates."""
        return {_rate(state): f"work[{i}]" for i, state in enumerate(self._system.states)}

    def text(self, write: Writer, kernel: Callable[[str, list[str]], list[str]]) -> list[str]:
        """The lines of the kernels. write: statements as lines. kernel: a C function from its name and its lines."""
        count = len(self._functions)
        values = [(f"out[{e}]", node) for e, node in enumerate([*self._functions, *self._truths])]
        rates = [(f"out[{e}]", self._function_rate(node)) for e, node in enumerate(self._functions)]
        rows = [self._row(0, node) for node in self._functions]
        resets = [
            [part for place, node in enumerate(nodes) for part in self._row(place, node)] for nodes in self._values
        ]
        return [
            *self._one_by_one("conditions", [[values[e], values[count + e]] for e in range(count)], write, kernel),
            *self._one_by_one("condition_rates", [[rate] for rate in rates], write, kernel),
            *self._by_number("condition_rows", rows, write, kernel),
            *self._by_number("resets", resets, write, kernel),
        ]

    def _truth(self, condition: Expression) -> int:
        one, zero = self._graph.number(1.0), self._graph.number(0.0)
        return self._graph.operation("where", [self._graph.add(condition), one, zero])

    def _function_rate(self, function: int) -> int:
        """Σ ∂g/∂x·f + ∂g/∂t."""
        graph, total = self._graph, self._graph.number(0.0)
        for state in self._system.states:
            for derivative in graph.derivatives([function], state).values():
                total = graph.operation("+", [total, graph.operation("*", [derivative, graph.name(_rate(state))])])
        for derivative in graph.derivatives([function], TIME).values():
            total = graph.operation("+", [total, derivative])
        return total

    def _row(self, place: int, node: int) -> list[Assignment]:
        start = place * self.row_size
        row = [(f"out[{start}]", node)]
        for column, name in enumerate((TIME, *self._system.states, *self._system.parameters)):
            for derivative in self._graph.derivatives([node], name).values():
                row.append((f"out[{start + 1 + column}]", derivative))
        return row

    @staticmethod
    def _functions_of(name: str, parts: Sequence[Sequence[Assignment]], write: Writer) -> list[str]:
        lines: list[str] = []
        for number, part in enumerate(parts):
            lines += ["", "", "@piece", f"def {name}_{number}({ARGUMENTS}):"]
            lines += [f"    {line}" for line in write(part) or ["pass"]]
        return lines

    def _one_by_one(
        self, name: str, parts: Sequence[Sequence[Assignment]], write: Writer,
        kernel: Callable[[str, list[str]], list[str]],
    ) -> list[str]:  # fmt: skip
        """A kernel that computes all parts."""
        calls = [f"{name}_{number}({ARGUMENTS})" for number in range(len(parts))]
        return [*self._functions_of(name, parts, write), *kernel(name, calls)]

    def _by_number(
        self, name: str, parts: Sequence[Sequence[Assignment]], write: Writer,
        kernel: Callable[[str, list[str]], list[str]],
    ) -> list[str]:  # fmt: skip
        """A kernel that computes the part with the number `width`."""
        choices = [
            line
            for number in range(len(parts))
            for line in (f"if width == {number}:", f"    {name}_{number}({ARGUMENTS})")
        ]
        return [*self._functions_of(name, parts, write), *kernel(name, choices)]


def _rate(state: str) -> str:
    return f"rate of {state}"  # no name of a caller's has a space
