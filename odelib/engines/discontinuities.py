"""The times at which a right-hand side may have a jump or a kink: a dose begins, a lockdown ends, a lag is over.

A solver evaluates the equations at its stages only. While a system is at rest its steps are long, and a short input
between two stages would be missed without any sign of an error. So a solve ends a step at each of these times and
begins the next one just after it.

If such a time τ depends on parameters p, the sensitivities S = ∂y/∂p jump there. The state is continuous at τ, and both
sides of it are differentiable, so that (Hairer, Nørsett and Wanner, Solving ODEs I, II.6)

    S⁺ = S⁻ − (f⁺ − f⁻)·dτ/dp.

f⁻ and f⁺ differ only in the comparison that changes at τ. To evaluate both at one instant, each comparison has
t + shift for t, with a shift of its own that is 0 but for such evaluations: a negative one gives the side before τ, a
positive one that after. So comparisons that change at the same time can be switched one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from odelib.arrays import Integers, Reals
from odelib.engines.switching_times import Comparison, Window, switching_times
from odelib.engines.symbolic.graph import MAX_OPERATIONS, too_many_operations
from odelib.engines.torch_program import TorchProgram
from odelib.problem.expressions.definitions import Definitions, needed
from odelib.problem.expressions.parser import TIME, Expression, Name, Node, Number, Operation, walk
from odelib.problem.system import System

_COMPARISONS, _EXTREMES, _UNARY = ("<", "<=", ">", ">="), ("min", "max"), ("abs", "sign")
_OPERATORS = (*_COMPARISONS, *_EXTREMES, *_UNARY, "floor")
_STEPS = (*_COMPARISONS, "floor", "sign")  # constant between their own discontinuities


@dataclass(frozen=True)
class Found:
    """The discontinuities of a batch of solves; B is 1 if all members share them.

    times: (B, K), in order, infinite where there are none. shifts: (B, K), the number of the shift of each one's
    comparison. jacobian: (B, K, p), dτ/dp by the parameters, or (B, K, 0) if no time depends on any.
    """

    times: Reals
    shifts: Integers
    jacobian: Reals

    def of_members(self, members: slice) -> Found:
        """Those of some members."""
        if len(self.times) == 1:
            return self
        return Found(self.times[members], self.shifts[members], self.jacobian[members])


class Discontinuities:
    """The comparisons in a system's equations between time and values that do not change during a solve.

    with_conditions: those in the conditions of its events as well, for an engine whose events happen at such times.

    These are `<`, `<=`, `>`, `>=`, `min`, `max`, `abs`, `sign` and `floor` of parameters, constants and time only. If
    the two sides differ by something linear in time, as they usually do, their time is found exactly; else by a search
    that may miss two changes between neighbours of its grid.

    shifts: the names of the shifts. equations, definitions: the system's, with the shifts; without, if no time depends
    on parameters.
    """

    def __init__(self, system: System, *, with_conditions: bool = False) -> None:
        self._names = (*system.parameters, *system.constants)
        self._parameter_count = len(system.parameters)
        self._unchanging = {TIME, *self._names} - system.held
        self._comparisons: list[Comparison] = []
        equations = system.equations
        watched = [*equations.values(), *(event.when for event in system.events if with_conditions)]
        self.definitions: Definitions = needed(
            frozenset[str]().union(*(expression.names for expression in watched)), system.definitions
        )
        self._underlying: dict[str, frozenset[str]] = {}  # the names behind each definition
        for name, definition in self.definitions.items():
            self._underlying[name] = self._resolved(definition.names)
        numbers: dict[object, int] = {}
        for expression in (*self.definitions.values(), *watched):
            for node in walk(expression.tree):
                self._add(node, set(system.parameters), numbers)
        self.is_moving = any(comparison.is_moving for comparison in self._comparisons)
        # found once if every solve has the same: a small solve takes no longer than the search
        self.constant: Found | None = None
        if all(comparison.has_constant_time() for comparison in self._comparisons):
            self.constant = self._search(np.zeros((1, len(self._names))), -np.inf, np.inf, with_jacobian=False)
        self.shifts: tuple[str, ...] = ()
        self.equations: Mapping[str, Expression] = equations
        if self.is_moving:
            self.shifts = tuple(f"shift {number}" for number in numbers.values())  # no name of a caller's has a space
            shifting = _Shifting(numbers, {name for name, names in self._underlying.items() if TIME in names})
            for name, definition in self.definitions.items():
                shifting.define(name, definition)
            self.equations = {state: shifting.shifted(equation) for state, equation in equations.items()}
            self.definitions = shifting.definitions

    def _add(self, node: Node, parameters: set[str], numbers: dict[object, int]) -> None:
        if not isinstance(node, Operation) or node.operator not in _OPERATORS:
            return
        pairs = [pair for pair in self._pairs(node) if self._meets_time(pair)]
        key = tree_key(node)
        if not pairs or key in numbers:
            return
        numbers[key] = len(numbers)
        for pair in pairs:
            names = self._resolved(_names(pair[0]) | _names(pair[1]))
            sides = TorchProgram([Expression("", side, _names(side)) for side in pair], [TIME], self.definitions)
            self._comparisons.append(
                Comparison(sides, numbers[key], node.operator == "floor", names != {TIME}, bool(names & parameters))
            )

    def _meets_time(self, pair: tuple[Node, Node]) -> bool:
        names = self._resolved(_names(pair[0]) | _names(pair[1]))
        return TIME in names and names <= self._unchanging

    def _resolved(self, names: frozenset[str]) -> frozenset[str]:
        """The names, with those that a definition uses in place of its own."""
        return frozenset().union(*(self._underlying.get(name, {name}) for name in names))

    def _pairs(self, node: Operation) -> Iterator[tuple[Node, Node]]:
        """The pairs of sides that an operation compares; |a| and b give the pairs a, b and a, −b."""
        if node.operator in (*_UNARY, "floor"):
            yield node.operands[0], Number(0.0)
            return
        for a, b in combinations([self._definition_of(operand) for operand in node.operands], 2):
            yield from _both_signs(a, b) if _is_abs(a) else _both_signs(b, a) if _is_abs(b) else [(a, b)]

    def _definition_of(self, node: Node) -> Node:
        while isinstance(node, Name) and node.name in self.definitions:
            node = self.definitions[node.name].tree
        return node

    def find(self, values: Reals, first: float, last: float, *, with_jacobian: bool) -> Found:
        """When the sides are equal, between two times, for a batch of solves.

        values: (B, p + constants), parameters, then constants. with_jacobian: whether dτ/dp is wanted.
        """
        return self.constant or self._search(values, first, last, with_jacobian=with_jacobian)

    def _search(self, values: Reals, first: float, last: float, *, with_jacobian: bool) -> Found:
        count = len(values) if any(comparison.depends_on_values for comparison in self._comparisons) else 1
        given = torch.from_numpy(values[:count])
        differentiates = with_jacobian and self.is_moving
        width = self._parameter_count if differentiates else 0
        found: list[tuple[Reals, int, Reals]] = []
        with torch.enable_grad():  # torch switches it off within an autograd function
            for comparison in self._comparisons:
                point = given.clone().requires_grad_(differentiates and comparison.is_moving)
                named = dict(zip(self._names, point.unbind(-1), strict=True))
                window = Window(first, last, [times for times, _, _ in found])
                for when in switching_times(comparison, named, count, window):
                    found.append((when.detach().numpy(), comparison.shift, _jacobian(when, point, width)))
        return _in_order(found, count, width)


def _jacobian(times: Tensor, point: Tensor, width: int) -> Reals:
    """The derivatives (count, width) of times (count,) by the first entries of the point (count, ·) of each."""
    if not times.requires_grad:
        return np.zeros((len(times), width))
    (gradient,) = torch.autograd.grad(times[times.isfinite()].sum(), point, retain_graph=True)
    jacobian: Reals = gradient[:, :width].nan_to_num(posinf=0.0, neginf=0.0).numpy()
    return jacobian


def _in_order(found: Sequence[tuple[Reals, int, Reals]], count: int, width: int) -> Found:
    if not found:
        return Found(np.zeros((count, 0)), np.zeros((count, 0), dtype=np.int64), np.zeros((count, 0, width)))
    times = np.stack([when for when, _, _ in found], axis=1)
    order = np.argsort(times, axis=1, kind="stable")
    shifts = np.array([shift for _, shift, _ in found], dtype=np.int64)[order]
    jacobian = np.stack([rows for _, _, rows in found], axis=1)
    return Found(
        np.take_along_axis(times, order, axis=1), shifts, np.take_along_axis(jacobian, order[:, :, None], axis=1)
    )


def _is_abs(node: Node) -> bool:
    return isinstance(node, Operation) and node.operator == "abs"


def _both_signs(absolute: Node, other: Node) -> list[tuple[Node, Node]]:
    assert isinstance(absolute, Operation)
    return [(absolute.operands[0], other), (absolute.operands[0], Operation("neg", (other,)))]


def _names(node: Node) -> frozenset[str]:
    return frozenset(part.name for part in walk(node) if isinstance(part, Name))


def tree_key(node: Node) -> object:
    """Equal for equal trees. Comparing the trees themselves would recurse."""
    return tuple(
        part.value if isinstance(part, Number) else part.name if isinstance(part, Name)
        else (part.operator, len(part.operands))
        for part in walk(node)
    )  # fmt: skip


class _Shifting:
    """Puts t + shift for t in each comparison, also in the definitions that a comparison uses.

    numbers: the number of the shift of each comparison, by its key. moving: the definitions that depend on time. One
    that a comparison uses is needed with t and with t + shift, so that it gets a copy named after the shift.
    """

    def __init__(self, numbers: Mapping[object, int], moving: set[str]) -> None:
        self.definitions: dict[str, Expression] = {}
        self._numbers, self._moving = numbers, moving
        self._size = 0

    def define(self, name: str, definition: Expression) -> None:
        """Add a definition; those that it uses have been added before."""
        self.definitions[name] = self.shifted(definition)

    def shifted(self, expression: Expression) -> Expression:
        """The expression with the shift of each comparison in it."""
        stack: list[tuple[Node, Node]] = []  # each operand as it was and as it has become
        for node in walk(expression.tree):
            if not isinstance(node, Operation):
                stack.append((node, node))
                continue
            count = len(node.operands)
            operands = [new for _, new in stack[-count:]]
            del stack[-count:]
            number = self._numbers.get(tree_key(node)) if node.operator in _OPERATORS else None
            if number is not None:
                operands = [self._with_shift(operand, f"shift {number}") for operand in operands]
            stack.append((node, Operation(node.operator, tuple(operands))))
        tree = stack.pop()[1]
        return Expression(expression.text, tree, _names(tree))

    def _with_shift(self, tree: Node, shift: str) -> Node:
        """The tree with t + shift for t, but for comparisons inside it: these have their own shifts."""
        wanted = _names_outside_steps(tree)
        for name in reversed(list(self.definitions)):
            if name in wanted and name in self._moving:
                wanted |= _names_outside_steps(self.definitions[name].tree)
        for name in [name for name in self.definitions if name in wanted and name in self._moving]:
            self._copy(name, shift)
        return self._replaced(tree, shift)

    def _copy(self, name: str, shift: str) -> None:
        """Add the copy of a definition; those of the definitions that it uses have been added before."""
        copy = f"{name} {shift}"
        if copy not in self.definitions:
            tree = self._replaced(self.definitions[name].tree, shift)
            self._size += sum(1 for _ in walk(tree))
            if self._size > MAX_OPERATIONS:
                raise too_many_operations()
            self._moving.add(copy)
            self.definitions[copy] = Expression(self.definitions[name].text, tree, _names(tree))

    def _replaced(self, tree: Node, shift: str) -> Node:
        stack: list[Node] = []
        for node in _walk_outside_steps(tree):
            if isinstance(node, Operation) and node.operator not in _STEPS:
                count = len(node.operands)
                operands = tuple(stack[-count:])
                del stack[-count:]
                stack.append(Operation(node.operator, operands))
            elif node == Name(TIME):
                stack.append(Operation("+", (node, Name(shift))))
            elif isinstance(node, Name) and node.name in self._moving:
                stack.append(Name(f"{node.name} {shift}"))
            else:
                stack.append(node)
        return stack.pop()


def _names_outside_steps(tree: Node) -> set[str]:
    return {node.name for node in _walk_outside_steps(tree) if isinstance(node, Name)}


def _walk_outside_steps(tree: Node) -> Iterator[Node]:
    """Yield as `walk`, but a comparison, `floor` or `sign` in place of what is in it."""
    stack: list[tuple[Node, bool]] = [(tree, False)]
    while stack:
        node, is_expanded = stack.pop()
        if isinstance(node, Operation) and node.operator not in _STEPS and not is_expanded:
            stack.append((node, True))
            stack.extend((operand, False) for operand in reversed(node.operands))
        else:
            yield node
