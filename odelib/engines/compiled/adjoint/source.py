"""A system → the source of its kernels for the adjoint: products of its Jacobians with a vector, from the left.

`pull_back` reads v from `work`, (n,), and writes v·∂f/∂y to `out`, (n,) padded; it adds v·∂f/∂p to the numbers after
these, one for each parameter. A system with networks has its other kernels from here too, with loops over layers.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from odelib.engines.compiled.adjoint import activations
from odelib.engines.compiled.adjoint.perceptrons import NetworkText
from odelib.engines.compiled.codegen import (
    ARGUMENTS,
    MULTIPLY_SENSITIVITIES,
    PIECE_OPERATIONS,
    PREAMBLE,
    kernel_text,
    written_nodes,
)
from odelib.engines.compiled.simd import padded
from odelib.engines.discontinuities import Discontinuities
from odelib.engines.symbolic import borders
from odelib.engines.symbolic.graph import MAX_OPERATIONS, Graph, too_many_operations
from odelib.problem.expressions.definitions import needed
from odelib.problem.expressions.parser import TIME
from odelib.problem.system import System

_CALLED = hashlib.sha256(inspect.getsource(activations).encode()).hexdigest()[:16]
_MORE = f"""
# calls {_CALLED}
from odelib.engines.compiled.adjoint.activations import tanh
from odelib.engines.compiled.simd import multiply

layers = njit(error_model="numpy", fastmath={{"contract", "reassoc"}}, inline="never")
"""
# Of each weight by each output of the network; then, through this output, of the rows that depend on it.
_ADD_WEIGHTS = """\
for k in range({count}):
    work[{memory} + k] = 0.0
pull_back_{number}(q, work, work, {memory})
for e in range({first}, {last}):
    factor, to = work[{by_output} + e], {start} + OUTPUT_ROW[e]*width
    for k in range({count}):
        j = column_of[{weights} + k]
        if j >= 0:
            out[to + j] += factor*work[{memory} + k]"""
_Entries = list[tuple[int, int, int]]  # row, column and node of a matrix's entries that are not structurally zero


@dataclass(frozen=True)
class _Assignment:
    """`target` = the value of `node`, or += it."""

    target: str
    node: int
    adds: bool = False


_Section = list[_Assignment] | str  # nodes to compute, or lines between them


@dataclass(frozen=True)
class _Derivatives:
    """Of the equations: by states, by parameters that are no weights, and by outputs of networks, in a row."""

    by_state: _Entries
    by_parameter: _Entries
    by_output: _Entries


def _cotangent(i: int) -> str:
    return f"cotangent {i}"  # no name of a caller's has a space


def _by_input(network: NetworkText, i: int) -> str:
    return f"by input {i} of network {network.number}"


def _entry(network: NetworkText, output: int, i: int) -> str:
    return f"by input {i} of output {output} of network {network.number}"


class AdjointSource:
    """Writes the kernels of one system. Raises `FitError` if they would take more than `MAX_OPERATIONS`.

    It has the attributes of `KernelSource`.
    """

    events = None

    def __init__(self, system: System) -> None:
        self._system = system
        self.size = len(system.states)
        of_networks = {name for network in system.perceptrons for name in (*network.units, *network.outputs)}
        own = {name: definition for name, definition in system.definitions.items() if name not in of_networks}
        inputs = {name for network in system.perceptrons for name in network.inputs}
        used = frozenset[str]().union(*(equation.names for equation in system.equations.values()), inputs)
        self.discontinuities = Discontinuities(replace(system, definitions=own), with_conditions=True)
        if self.discontinuities.shifts and inputs:
            raise ValueError("a network cannot be a loop where times depend on parameters")
        definitions = self.discontinuities.definitions if self.discontinuities.shifts else needed(used, own)
        self._graph = graph = Graph(definitions, system.states)
        self._outputs = [graph.add(self.discontinuities.equations[state]) for state in system.states]
        self.has_borders = graph.has_borders
        self._names = {TIME: "t"} | {state: f"z[{i}]" for i, state in enumerate(system.states)}
        named = [*system.parameters, *system.constants, *self.discontinuities.shifts]
        if self.has_borders:
            named += [borders.RTOL, *map(borders.atol_of, system.states)]
        self._names |= {name: f"q[{i}]" for i, name in enumerate(named)}
        self._names |= {_cotangent(i): f"work[{i}]" for i in range(self.size)}
        self._memory = padded(self.size)
        self._networks: list[NetworkText] = []
        order = list(system.definitions)
        for number, network in enumerate(sorted(system.perceptrons, key=lambda each: order.index(each.outputs[0]))):
            weights = system.parameters.index(network.weights[0])
            if system.parameters[weights : weights + len(network.weights)] != network.weights:
                raise ValueError("the weights of a network must be parameters in a row")
            text = NetworkText(network, number, weights, self._memory)
            self._memory += text.size
            self._names |= {name: f"work[{text.outputs + i}]" for i, name in enumerate(network.outputs)}
            self._names |= {_by_input(text, i): f"work[{text.by_inputs + i}]" for i in range(network.widths[0])}
            for k in range(network.widths[-1]):
                row = text.jacobian + k * network.widths[0]
                self._names |= {_entry(text, k, i): f"work[{row + i}]" for i in range(network.widths[0])}
            self._networks.append(text)
        self._inputs = [[graph.add(own[name]) for name in each.network.inputs] for each in self._networks]
        self._operations = 0

    @property
    def is_able(self) -> bool:
        """Whether these kernels can take the place of those with an operation for each weight of a network.

        They know of no time at which the equations change, and of no border that depends on a network.
        """
        system, constant = self._system, self.discontinuities.constant
        changes = constant is None or constant.times.size > 0 or bool(system.events) or bool(system.held)
        return not changes and not self.has_borders

    def text(self) -> str:
        """The source of a module with the C function `pull_back`; with networks, all other kernels too."""
        lines = [line for network in self._networks for line in network.text()]
        if self._networks:
            derivatives = self._derivatives()
            lines += self._indices(derivatives)
            lines += self._kernel("rates", [*self._compute(), self._rates()])
            lines += self._kernel("jacobian", [*self._compute(), *self._jacobians(), self._matrix(derivatives)])
            lines += self._kernel("rates_with_sensitivities", self._with_sensitivities(derivatives))
        lines += self._kernel("pull_back", self._pull_back())
        return "\n".join([PREAMBLE + _MORE, *lines]) + "\n"

    @property
    def work_size(self) -> int:
        """How many numbers of working space the kernels need; known once `text` has been called."""
        return self._memory

    def _rates(self) -> _Section:
        return [_Assignment(f"out[{i}]", node) for i, node in enumerate(self._outputs)]

    def _compute(self) -> list[_Section]:
        """Of each network, its inputs and what it makes of them."""
        found: list[_Section] = []
        for network, inputs in zip(self._networks, self._inputs, strict=True):
            found.append([_Assignment(f"work[{network.inputs + i}]", node) for i, node in enumerate(inputs)])
            found.append(f"compute_{network.number}(q, work)")
        return found

    def _jacobians(self) -> list[_Section]:
        """The derivatives of each network's outputs by its inputs."""
        found: list[_Section] = []
        for network in self._networks:
            width, outputs = network.network.widths[0], network.network.widths[-1]
            for i in range(outputs):
                found.append(self._by_one_output(network, i) + f"\npull_back_inputs_{network.number}(q, work)")
                to = network.jacobian + i * width
                found.append(f"for j in range({width}):\n    work[{to} + j] = work[{network.by_inputs} + j]")
        return found

    @staticmethod
    def _by_one_output(network: NetworkText, i: int) -> str:
        count = network.network.widths[-1]
        return "\n".join(f"work[{network.by_outputs + k}] = {1.0 if k == i else 0.0}" for k in range(count))

    def _pull_back(self) -> list[_Section]:
        """v·∂f, through the equations, then through networks, the last first."""
        graph, given = self._graph, range(self.size)
        sections = self._compute()
        sections.append(self._passed_on(self._outputs, [graph.name(_cotangent(i)) for i in given], is_first=True))
        for network, inputs in zip(reversed(self._networks), reversed(self._inputs), strict=True):
            sections.append(f"pull_back_{network.number}(q, work, out, {padded(self.size) + network.weights})")
            cotangents = [graph.name(_by_input(network, i)) for i in range(len(inputs))]
            sections.append(self._passed_on(inputs, cotangents, is_first=False))
        return sections

    def _passed_on(self, outputs: Sequence[int], cotangents: Sequence[int], *, is_first: bool) -> _Section:
        """Add Σ cotangentᵢ·∂outputᵢ to the derivatives by everything; is_first: write those by states and outputs."""
        graph, system, start = self._graph, self._system, padded(self.size)
        targets = {state: f"out[{i}]" for i, state in enumerate(system.states)}
        for network in self._networks:
            targets |= {name: f"work[{network.by_outputs + i}]" for i, name in enumerate(network.network.outputs)}
        added = {} if is_first else targets
        added = added | {name: f"out[{start + i}]" for i, name in enumerate(system.parameters)}
        found = graph.pull_back(outputs, cotangents, [*targets, *system.parameters])
        assignments = [_Assignment(target, found[name], adds=True) for name, target in added.items() if name in found]
        if is_first:
            zero = graph.number(0.0)
            assignments += [_Assignment(target, found.get(name, zero)) for name, target in targets.items()]
        return assignments

    def _derivatives(self) -> _Derivatives:
        """Row by row, backwards through the equations and then through networks."""
        graph, system = self._graph, self._system
        output_names = [name for network in self._networks for name in network.network.outputs]
        names = [*system.states, *system.parameters, *output_names]
        found: dict[str, _Entries] = {name: [] for name in names}
        for row, output in enumerate(self._outputs):
            by = graph.pull_back([output], [graph.number(1.0)], names)
            for network, inputs in zip(reversed(self._networks), reversed(self._inputs), strict=True):
                for name, node in graph.pull_back(inputs, self._by_inputs(network, by), names).items():
                    by[name] = graph.operation("+", [by[name], node]) if name in by else node
            for name, node in by.items():
                found[name].append((row, 0, node))

        def entries(of: Sequence[str]) -> _Entries:
            return [(row, column, node) for column, name in enumerate(of) for row, _, node in found[name]]

        return _Derivatives(entries(system.states), entries(system.parameters), entries(output_names))

    def _by_inputs(self, network: NetworkText, by: Mapping[str, int]) -> list[int]:
        """The derivatives of something by a network's inputs, from those by its outputs."""
        graph, found = self._graph, []
        for i in range(network.network.widths[0]):
            total = graph.number(0.0)
            for k, name in enumerate(network.network.outputs):
                if name in by:
                    product = graph.operation("*", [by[name], graph.name(_entry(network, k, i))])
                    total = graph.operation("+", [total, product])
            found.append(total)
        return found

    def _matrix(self, derivatives: _Derivatives) -> _Section:
        return [_Assignment(f"out[{row * self.size + column}]", node) for row, column, node in derivatives.by_state]

    def _with_sensitivities(self, derivatives: _Derivatives) -> list[_Section]:
        """dS/dt = J·S + ∂f/∂p, with f."""
        groups = derivatives.by_state, derivatives.by_parameter, derivatives.by_output
        nodes = [node for group in groups for *_, node in group]
        first = self._reserve(len(nodes))
        memory = self._reserve(max(len(network.network.weights) for network in self._networks))
        stored = [_Assignment(f"work[{first + i}]", node) for i, node in enumerate(nodes)]
        by_parameter = first + len(derivatives.by_state)
        by_output, start = by_parameter + len(derivatives.by_parameter), padded(self.size)
        sections = [*self._compute(), self._rates(), *self._jacobians(), stored]
        sections.append(
            MULTIPLY_SENSITIVITIES.format(
                start=start, n=self.size, entry=f"slope(work[{first} + e], z, at, width)", border=by_parameter
            )
        )
        column = 0
        for network in self._networks:
            for i in range(len(network.network.outputs)):
                own = [e for e, entry in enumerate(derivatives.by_output) if entry[1] == column]
                column += 1
                if not own:
                    continue
                adding = _ADD_WEIGHTS.format(
                    count=len(network.network.weights), memory=memory, number=network.number, first=own[0],
                    last=own[-1] + 1, by_output=by_output, start=start, weights=network.weights,
                )  # fmt: skip
                sections.append(self._by_one_output(network, i) + "\n" + adding)
        return sections

    @staticmethod
    def _indices(derivatives: _Derivatives) -> list[str]:
        lines = []
        for name, entries in (
            ("STATE", derivatives.by_state), ("PARAMETER", derivatives.by_parameter), ("OUTPUT", derivatives.by_output),
        ):  # fmt: skip
            for axis, index in (("ROW", 0), ("COLUMN", 1)):
                # at least one entry: a loop over an empty array must still compile
                lines.append(f"{name}_{axis} = np.array({[entry[index] for entry in entries] or [0]}, dtype=np.int64)")
            lines.append(f"{name}_COUNT = {len(entries)}")
        return lines

    def _reserve(self, count: int) -> int:
        """A place for so many numbers in `work`."""
        first = self._memory
        self._memory += count
        return first

    def _kernel(self, name: str, sections: Sequence[_Section]) -> list[str]:
        """A kernel that computes every node once; a large one in functions, which hand nodes on through `work`."""
        parts = list(self._parts(sections))
        operations = sum(len(part.nodes) for part in parts)
        self._operations += operations
        if self._operations > MAX_OPERATIONS:
            raise too_many_operations()
        body: list[str] = []
        if operations <= PIECE_OPERATIONS:
            known: dict[int, str] = {}
            for part in parts:
                lines, known = written_nodes(self._graph, self._with_leaves(part, known), self._names, known)
                body += [*lines, *part.assigned(known), *part.lines]
            return kernel_text(name, body)
        texts, handed_on = [], self._handed_on(parts)
        known = {}
        for number, part in enumerate(parts):
            lines, written = written_nodes(self._graph, self._with_leaves(part, known), self._names, known)
            kept = {node: handed_on[node] for node in part.nodes if node in handed_on}
            stored = [f"{place} = {written[node]}" for node, place in kept.items()]
            known |= kept
            body += [f"{name}_{number}({ARGUMENTS})", *part.lines]
            texts += ["", "", "@piece", f"def {name}_{number}({ARGUMENTS}):"]
            texts += [f"    {line}" for line in [*lines, *stored, *part.assigned(written)] or ["pass"]]
        return [*texts, *kernel_text(name, body)]

    def _parts(self, sections: Sequence[_Section]) -> Iterable[_Part]:
        computed: set[int] = set()
        for section in sections:
            if isinstance(section, str):
                yield _Part([], [], section.splitlines())
                continue
            left = [*section]
            needed = self._graph.needed([assignment.node for assignment in section])
            fresh = [node for node in needed if self._graph.entries[node].operands and node not in computed]
            for first in range(0, max(len(fresh), 1), PIECE_OPERATIONS):
                nodes = fresh[first : first + PIECE_OPERATIONS]
                computed.update(nodes)
                is_last = first + PIECE_OPERATIONS >= len(fresh)
                ready = [a for a in left if is_last or a.node in computed]
                left = [a for a in left if not (is_last or a.node in computed)]
                yield _Part(nodes, ready, [])

    def _with_leaves(self, part: _Part, known: Mapping[int, str]) -> list[int]:
        """The nodes of a part and the names and numbers that they and its assignments use, but for those known."""
        entries = self._graph.entries
        used = {operand for node in part.nodes for operand in entries[node].operands}
        used |= {assignment.node for assignment in part.assignments}
        leaves = sorted(node for node in used if not entries[node].operands and node not in known)
        return [*leaves, *part.nodes]

    def _handed_on(self, parts: Sequence[_Part]) -> dict[int, str]:
        """Where in `work` nodes are kept that other parts use than those which compute them."""
        part_of = {node: number for number, part in enumerate(parts) for node in part.nodes}
        places: dict[int, str] = {}
        for number, part in enumerate(parts):
            used = [operand for node in part.nodes for operand in self._graph.entries[node].operands]
            for node in (*used, *(assignment.node for assignment in part.assignments)):
                if part_of.get(node, number) != number and node not in places:
                    places[node] = f"work[{self._reserve(1)}]"
        return places


@dataclass(frozen=True)
class _Part:
    """Nodes to compute, what is then assigned, and lines to be run after that."""

    nodes: list[int]
    assignments: list[_Assignment]
    lines: list[str]

    def assigned(self, written: Mapping[int, str]) -> list[str]:
        """The assignments, with what the nodes are called."""
        return [f"{a.target} {'+=' if a.adds else '='} {written[a.node]}" for a in self.assignments]
