"""A system → the source of its kernels for Numba: right-hand side, Jacobian, right-hand side with sensitivities.

The kernels read and write flat arrays. `z` is the state, padded (see `simd.py`), then the sensitivities row by row:
z[start + i·width + j] is the derivative of state i by unknown j. `width` is the number of unknowns and `start` that of
states, both padded; the padding of the state is not written. `q` holds the parameters, then the constants.
`column_of[k]` is the sensitivity column of parameter k, negative if it has none. `work` is working space.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from odelib.engines.compiled import primitives, simd
from odelib.engines.compiled.event_source import EventSource, Target
from odelib.engines.compiled.simd import padded
from odelib.engines.discontinuities import Discontinuities
from odelib.engines.symbolic import borders
from odelib.engines.symbolic.graph import MAX_OPERATIONS, Graph, too_many_operations
from odelib.problem.expressions.definitions import needed
from odelib.problem.expressions.parser import TIME, Expression
from odelib.problem.system import System

# A larger system is written as functions of about this size, so that the time to compile grows in proportion to the
# code. Measured for a chain of 100 states with 100 parameters: 22 s with every row's sum written out, 7 s with loops
# over the entries of the derivatives and functions that the kernels share; nearly all of it in Numba, 4 ms an
# operation. Functions repeat the subexpressions that they have in common.
PIECE_OPERATIONS = 400

_INFIX = ("+", "-", "*", "/", "<", "<=", ">", ">=", "==", "!=", "and", "or")
_CALLS = {
    "abs": "abs({0})",
    "exp": "math.exp({0})",
    "log": "math.log({0})",
    "log10": "math.log10({0})",
    "log2": "math.log2({0})",
    "sqrt": "math.sqrt({0})",
    "sin": "math.sin({0})",
    "cos": "math.cos({0})",
    "tan": "math.tan({0})",
    "asin": "math.asin({0})",
    "acos": "math.acos({0})",
    "atan": "math.atan({0})",
    "sinh": "math.sinh({0})",
    "cosh": "math.cosh({0})",
    "tanh": "math.tanh({0})",
    "asinh": "math.asinh({0})",
    "acosh": "math.acosh({0})",
    "atanh": "math.atanh({0})",
    "erf": "math.erf({0})",
    "floor": "floor({0})",
    "neg": "-{0}",
    "not": "not {0}",
    "where": "({1} if {0} else {2})",
    "min": "minimum({0}, {1})",
    "max": "maximum({0}, {1})",
    "sign": "sign({0})",
    "power_by_base": "power_by_base({0}, {1})",
    "power_by_exponent": "power_by_exponent({0}, {1}, {2})",
    "guarded_product": "guarded_product({0}, {1})",
    "minimum_weight": "minimum_weight({0}, {1})",
    "maximum_weight": "minimum_weight({1}, {0})",
    "not_negative": "not_negative({0}, {1})",
    "not_negative_if_broken": "not_negative_if_broken({0}, {1}, {2})",
    "up_to_one": "up_to_one({0}, {1})",
    "from_one": "from_one({0}, {1})",
}

# A kernel contains the machine code of the functions it calls. The cache finds it by its text, so that the text must
# change with them.
_CALLED = hashlib.sha256((inspect.getsource(simd) + inspect.getsource(primitives)).encode()).hexdigest()[:16]

PREAMBLE = f'''"""Generated from the equations of a system by odelib/engines/compiled/codegen.py."""

# calls {_CALLED}

import math

import numpy as np
from numba import cfunc, njit, types

from odelib.engines.compiled.simd import add_to_lane, load, multiply_add, splat, store
from odelib.engines.compiled.primitives import (
    floor,
    from_one,
    guarded_product,
    maximum,
    minimum,
    minimum_weight,
    not_negative,
    not_negative_if_broken,
    power_by_base,
    power_by_exponent,
    sign,
    slope,
    up_to_one,
)

reals = types.CPointer(types.float64)
integers = types.CPointer(types.int64)
piece = njit(error_model="numpy", fastmath={{"contract"}}, inline="never")
'''

ARGUMENTS = "t, z, q, width, column_of, work, out"
# For a system in pieces. The Jacobian from its entries; then dS/dt = J·S + ∂f/∂p.
STORE_JACOBIAN = """\
for e in range(STATE_COUNT):
    out[STATE_ROW[e]*{n} + STATE_COLUMN[e]] = work[e]"""
MULTIPLY_SENSITIVITIES = """\
for k in range({start}, {start} + {n}*width, 4):
    store(out, k, splat(0.0))
for e in range(STATE_COUNT):
    to, at = {start} + STATE_ROW[e]*width, {start} + STATE_COLUMN[e]*width
    entry = {entry}
    for j in range(0, width, 4):
        store(out, to + j, multiply_add(load(out, to + j), entry, load(z, at + j)))
for e in range(PARAMETER_COUNT):
    j = column_of[PARAMETER_COLUMN[e]]
    if j >= 0:
        out[{start} + PARAMETER_ROW[e]*width + j] += work[{border} + e]"""


@dataclass(frozen=True)
class Statement:
    """An assignment in a kernel: `target` = the value of `node`."""

    target: str
    node: int


class KernelSource:
    """Writes the kernels of one system. Raises `FitError` if they would take more than `MAX_OPERATIONS`.

    resets: the targets of each reset of a change.events: the source
    of conditions and resets, None if there are none.
    """

    def __init__(self, system: System, resets: Sequence[Sequence[Target]] = ()) -> None:
        self._system = system
        self.discontinuities = Discontinuities(system, with_conditions=True)
        self._operations = 0
        self._graph = Graph(_definitions(system, resets, self.discontinuities), system.states)
        self._outputs = [self._graph.add(self.discontinuities.equations[state]) for state in system.states]
        self.events = EventSource(system, resets, self._graph) if system.events or resets else None
        states, parameters = system.states, system.parameters
        self.size = len(states)
        self._names = {TIME: "t"}
        self._names |= {state: f"z[{i}]" for i, state in enumerate(states)}
        self._names |= {
            name: f"q[{i}]" for i, name in enumerate((*parameters, *system.constants, *self.discontinuities.shifts))
        }
        # after the others: the tolerances that decide whether an argument counts as at the border of its domain
        self.has_borders = self._graph.has_borders
        if self.has_borders:
            tolerances = [borders.RTOL, *map(borders.atol_of, states)]
            first = len(self._names) - 1 - len(states)
            self._names |= {name: f"q[{first + i}]" for i, name in enumerate(tolerances)}
        # entries (row, column, node) of ∂f/∂y and ∂f/∂p that are not structurally zero
        self._by_state = self._graph.jacobian_entries(self._outputs, states)
        self._by_parameter = self._graph.jacobian_entries(self._outputs, parameters)
        if self.events:
            self._names |= self.events.names

    def text(self) -> str:
        """The source of a module with the C functions `rates`, `jacobian` and `rates_with_sensitivities`."""
        derivatives = [node for _, _, node in (*self._by_state, *self._by_parameter)]
        self._singular = [i for i, (*_, node) in enumerate(self._by_state) if self._graph.is_singular(node)]
        is_large = len(self._graph.needed([*self._outputs, *derivatives])) > PIECE_OPERATIONS
        lines = self._in_pieces(derivatives) if is_large else self._in_one_piece(derivatives)
        if self.events:
            of_events = self.events.text
            lines += of_events(lambda part: self._lines([Statement(*assigned) for assigned in part]), kernel_text)
        return "\n".join([PREAMBLE, *lines]) + "\n"

    @property
    def work_size(self) -> int:
        """How many numbers of working space the kernels need."""
        return max(len(self._by_state) + len(self._by_parameter), 1)

    def _rates(self) -> list[Statement]:
        return [Statement(f"out[{i}]", node) for i, node in enumerate(self._outputs)]

    def _in_one_piece(self, derivatives: list[int]) -> list[str]:
        """Derivatives as local variables, which stay in registers."""
        matrix = [Statement(f"out[{row * self.size + column}]", node) for row, column, node in self._by_state]
        local = [Statement(f"s{i}", node) for i, node in enumerate(derivatives)]
        return [
            *kernel_text("rates", self._lines(self._rates())),
            *kernel_text("jacobian", self._lines(matrix)),
            *kernel_text("rates_with_sensitivities", [*self._lines(self._rates() + local), *self._sensitivities()]),
        ]

    def _in_pieces(self, derivatives: list[int]) -> list[str]:
        """Derivatives in `work`, computed by functions that the kernels share; loops over their indices."""
        n, border = self.size, len(self._by_state)
        entry = "slope(work[e], z, at, width)" if self._singular else "work[e]"
        stored = [Statement(f"work[{i}]", node) for i, node in enumerate(derivatives)]
        texts: list[str] = []
        calls: dict[str, list[str]] = {}
        for name, group in (("f", self._rates()), ("by_state", stored[:border]), ("by_parameter", stored[border:])):
            calls[name] = []
            for number, statements in enumerate(self._pieces(group)):
                calls[name].append(f"{name}_{number}({ARGUMENTS})")
                texts += ["", "", "@piece", f"def {name}_{number}({ARGUMENTS}):"]
                texts += [f"    {line}" for line in self._lines(statements)]
        return [
            *self._indices(),
            *texts,
            *kernel_text("rates", calls["f"]),
            *kernel_text("jacobian", [*calls["by_state"], *STORE_JACOBIAN.format(n=n).splitlines()]),
            *kernel_text(
                "rates_with_sensitivities",
                [
                    *chain(*calls.values()),
                    *MULTIPLY_SENSITIVITIES.format(n=n, start=padded(n), border=border, entry=entry).splitlines(),
                ],
            ),
        ]

    def _indices(self) -> list[str]:
        lines = []
        for name, entries in (("STATE", self._by_state), ("PARAMETER", self._by_parameter)):
            for axis, index in (("ROW", 0), ("COLUMN", 1)):
                # at least one entry: a loop over an empty array must still compile
                lines.append(f"{name}_{axis} = np.array({[e[index] for e in entries] or [0]}, dtype=np.int64)")
            lines.append(f"{name}_COUNT = {len(entries)}")
        return lines

    def _sensitivities(self) -> list[str]:
        """dS/dt = J·S + ∂f/∂p, four columns at a time."""
        n, start, border = self.size, padded(self.size), len(self._by_state)
        slopes = [f"s{i} = slope(s{i}, z, {start} + {self._by_state[i][1]}*width, width)" for i in self._singular]
        lines = [f"r{c} = load(z, {start} + {c}*width + j)" for c in sorted({c for _, c, _ in self._by_state})]
        for row in range(n):
            lines.append("total = splat(0.0)")
            for i, column in self._of_row(self._by_state, row):
                lines.append(f"total = multiply_add(total, s{i}, r{column})")
            for i, column in self._of_row(self._by_parameter, row):
                lines.append(f"total = add_to_lane(total, s{border + i}, column_of[{column}] - j)")
            lines.append(f"store(out, {start} + {row}*width + j, total)")
        return [*slopes, "for j in range(0, width, 4):", *(f"    {line}" for line in lines)]

    @staticmethod
    def _of_row(entries: list[tuple[int, int, int]], row: int) -> list[tuple[int, int]]:
        """The numbers and columns of the entries in this row."""
        return [(i, column) for i, (entry_row, column, _) in enumerate(entries) if entry_row == row]

    def _pieces(self, statements: list[Statement]) -> Iterable[list[Statement]]:
        group: list[Statement] = []
        nodes: set[int] = set()
        for statement in statements:
            needed = set(self._graph.needed([statement.node]))
            if group and len(nodes | needed) > PIECE_OPERATIONS:
                yield group
                group, nodes = [], set()
            group.append(statement)
            nodes |= needed
        if group:
            yield group

    def _lines(self, statements: list[Statement]) -> list[str]:
        needed = self._graph.needed([statement.node for statement in statements])
        self._operations += len(needed)  # pieces repeat common subexpressions
        if self._operations > MAX_OPERATIONS:
            raise too_many_operations()
        lines, written = written_nodes(self._graph, needed, self._names)
        return lines + [f"{statement.target} = {written[statement.node]}" for statement in statements]


def written_nodes(
    graph: Graph, needed: Iterable[int], names: Mapping[str, str], known: Mapping[int, str] | None = None
) -> tuple[list[str], dict[int, str]]:
    """The lines that compute nodes, each after its operands, and what each node is called after them.

    names: what the graph's names are called. known: what nodes are called that have been computed before.
    """
    written = dict(known or {})
    lines = []
    for node in needed:
        entry = graph.entries[node]
        if entry.operator == "number":
            written[node] = f"({entry.value!r})" if entry.value != float("inf") else "math.inf"
        elif entry.operator == "name":
            written[node] = f"x{node}"
            lines.append(f"x{node} = {names[str(entry.value)]}")
        else:
            written[node] = f"v{node}"
            lines.append(f"v{node} = {_operation(entry.operator, [written[o] for o in entry.operands])}")
    return lines, written


def _operation(operator: str, operands: list[str]) -> str:
    if operator in _INFIX:
        return f"{operands[0]} {operator} {operands[1]}"
    if operator == "**":
        return _power(*operands)
    return _CALLS[operator].format(*operands)


def _definitions(
    system: System, resets: Sequence[Sequence[Target]], discontinuities: Discontinuities
) -> Mapping[str, Expression]:
    """Those of the equations, which may have shifts, and then those that only events and resets use."""
    used = [target.expression for targets in resets for target in targets]
    for event in system.events:
        used += [event.when, *event.set.values(), *event.add.values()]
    names = frozenset[str]().union(*(expression.names for expression in used))
    others = needed(names, system.definitions)
    return {**discontinuities.definitions, **{n: e for n, e in others.items() if n not in discontinuities.definitions}}


def kernel_text(name: str, body: list[str]) -> list[str]:
    """The lines of a C function with these arguments and this body."""
    signature = "types.void(types.float64, reals, reals, types.int64, integers, reals, reals)"
    head = [
        f'@cfunc({signature}, cache=True, error_model="numpy", fastmath={{"contract"}})',
        f"def {name}({ARGUMENTS}):",
    ]
    return ["", "", *head, *(f"    {line}" for line in body or ["pass"])]


def _power(base: str, exponent: str) -> str:
    products = {"(2.0)": 2, "(3.0)": 3, "(4.0)": 4}
    if exponent in products:
        return "*".join([base] * products[exponent])
    if exponent == "(0.5)":
        return f"math.sqrt({base})"
    return f"float({base})**float({exponent})"
