"""Comparisons at which a rate jumps, as modes that a solve switches at the very instant.

In `where(x > level, a, b)` the rate jumps where x passes the level, at a time τ that all unknowns move that move x or
the level. A step across would lose the method's order, and the sensitivities would lack −(f⁺ − f⁻)·dτ/dp. So the
comparison's outcome becomes a held state, its mode: 1 where it is true, else 0. The equations have the mode in place of
the comparison, so that they are smooth within a step, and an event switches the mode where the comparison disagrees
with it. What engines do for events gives the jump. The mode of `floor(u)` is a whole number.

A comparison at which the rates have only a kink stays as it is: sensitivities do not jump there, and
`where(h > 0, sqrt(h), 0)` has no value on the other side. So does `max(x, 0)`. Whether a rate jumps is found at random
points where the two sides are equal, with all other comparisons true and false in turn.

Where the rates on both sides lead back to the comparison, the solution slides along it, and neither mode holds: such a
solve fails with the code `sliding`, and engines solve again with the comparisons as they were written. So they do where
a step cannot end because an equation has no value beyond its comparison, as in `where(x > 1, log(x - 1), 1)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from odelib.engines.discontinuities import tree_key
from odelib.engines.torch_program import BoundProgram, TorchProgram
from odelib.errors import SolveError
from odelib.problem.expressions.definitions import needed, underlying
from odelib.problem.expressions.parser import TIME, Expression, Name, Node, Number, Operation, walk
from odelib.problem.expressions.text import text_of
from odelib.problem.system import Event, System

_COMPARISONS = ("<", "<=", ">", ">=")
_STEPS = (*_COMPARISONS, "sign", "floor")
ZERO, HALF, ONE = Number(0.0), Number(0.5), Number(1.0)
NOTHING, NEVER = Expression("0", ZERO, frozenset()), Operation("<", (ZERO, ZERO))
POINTS, NEWTON_STEPS = 64, 20
NEAR, NEARER = 1e-5, 1e-10  # distances from the surface on which two sides are equal
JUMPS = 0.05  # the part of a difference that is left nearer to the surface, where it is a jump
ROUNDING = 1e-12  # of a rate's size
UNLIMITED = 2**62
SLIDING = "sliding"  # the code of a solve that slides
_NO_STEP = ("not_finite", "step_too_small")  # the codes of solves that could not end a step


@dataclass(frozen=True)
class ModeEvent(Event):
    """Switches a mode; named after the comparison. function: it crosses 0 upwards where the outcome changes.

    comparison: as it was written, of which other comparisons may be part.
    """

    function: Expression = NOTHING
    comparison: Operation = NEVER


def with_modes(system: System, states: Sequence[str]) -> System:
    """The system with modes after its states, and the events that switch them after its own.

    states: those that are not held. The system itself if no comparison of states makes a rate jump.
    """
    jumping = jumping_comparisons(system, states)
    if not jumping:
        return system
    modes = {tree_key(node): f"mode {number}" for number, node in enumerate(jumping)}
    definitions = {name: _replaced(definition, modes) for name, definition in system.definitions.items()}
    return replace(
        system,
        states=(*system.states, *modes.values()),
        equations={
            **{state: _replaced(equation, modes) for state, equation in system.equations.items()},
            **dict.fromkeys(modes.values(), NOTHING),
        },
        definitions=definitions,
        events=(*system.events, *(_event(node, modes) for node in jumping)),
    )


def solvable_without_modes(failures: Mapping[int, SolveError]) -> list[int]:
    """The members among those that failed with modes that may be solved without, in order."""
    return sorted(member for member, error in failures.items() if error.code in (SLIDING, *_NO_STEP))


def left_to_fail(
    failures: Mapping[int, SolveError], places: Sequence[int], again: Mapping[int, SolveError]
) -> dict[int, SolveError]:
    """The failures that are left after the members at `places` were solved again, in which those of `again` failed.

    Without modes, a solution that slides takes all its steps: that it slides says more.
    """
    left = {member: error for member, error in failures.items() if member not in places}
    for member, error in again.items():
        first = failures[places[member]]
        left[places[member]] = first if first.code == SLIDING and error.code != "not_finite" else error
    return left


def comparisons_of(system: System) -> dict[str, Operation]:
    """By mode the comparison that it is in place of."""
    return {next(iter(event.set)): event.comparison for event in system.events if isinstance(event, ModeEvent)}


def mode_count(system: System) -> int:
    """How many modes a system has."""
    return sum(isinstance(event, ModeEvent) for event in system.events)


def jumping_comparisons(system: System, states: Sequence[str]) -> list[Operation]:
    """The comparisons (and `sign`, `floor`) at which a rate jumps, at times that are not known beforehand.

    Those that compare states, or time with what is held between instants of a schedule.
    """
    definitions = needed(
        frozenset[str]().union(*(equation.names for equation in system.equations.values())), system.definitions
    )
    steps: dict[object, Operation] = {}
    for expression in (*definitions.values(), *system.equations.values()):
        for node in walk(expression.tree):
            if isinstance(node, Operation) and node.operator in _STEPS:
                steps.setdefault(tree_key(node), node)
    held = {*system.states, *system.held} - {*states}
    unknown = [node for node in steps.values() if _has_unknown_time(_names(node, definitions), set(states), held)]
    if not unknown:
        return []
    surfaces = _Surfaces(system, states, definitions, list(steps.values()))
    return [node for node in unknown if surfaces.jumps(node)]


def _has_unknown_time(names: frozenset[str], states: set[str], held: set[str]) -> bool:
    return bool(names & states) or (TIME in names and bool(names & held))


def _names(node: Node, definitions: Mapping[str, Expression]) -> frozenset[str]:
    return underlying({part.name for part in walk(node) if isinstance(part, Name)}, definitions)


def _difference(node: Operation) -> Node:
    """What is positive where a comparison is true; what `sign` and `floor` are of."""
    if node.operator in ("sign", "floor"):
        return node.operands[0]
    a, b = node.operands
    return Operation("-", (a, b) if node.operator in (">", ">=") else (b, a))


def _in_mode(node: Operation, mode: str) -> Node:
    """What the equations have in place of a comparison."""
    if node.operator == "floor":
        return Name(mode)
    is_on = Operation(">", (Name(mode), HALF))
    return Operation("where", (is_on, ONE, Number(-1.0))) if node.operator == "sign" else is_on


def as_written(node: Node, comparisons: Mapping[str, Operation]) -> Node:
    """The inverse of what modes do to a part of an equation. comparisons: by mode, as the caller wrote them."""
    in_place = {tree_key(_in_mode(comparison, mode)): comparison for mode, comparison in comparisons.items()}
    stack: list[Node] = []
    for part in walk(node):
        new: Node = part
        if isinstance(part, Operation):
            new = Operation(part.operator, tuple(stack[-len(part.operands) :]))
            del stack[-len(part.operands) :]
        stack.append(in_place.get(tree_key(part), new))
    return stack.pop()


def _replaced(expression: Expression, modes: Mapping[object, str]) -> Expression:
    tree = _replaced_tree(expression.tree, modes)
    text = f"{expression.text} by modes"  # the text decides whether two are equal
    return Expression(text, tree, frozenset(part.name for part in walk(tree) if isinstance(part, Name)))


def _replaced_tree(tree: Node, modes: Mapping[object, str]) -> Node:
    stack: list[tuple[Node, Node]] = []  # each part, and what replaces it
    for node in walk(tree):
        new: Node = node
        if isinstance(node, Operation):
            operands = tuple(replaced for _, replaced in stack[-len(node.operands) :])
            del stack[-len(node.operands) :]
            mode = modes.get(tree_key(node)) if node.operator in _STEPS else None
            new = Operation(node.operator, operands) if mode is None else _in_mode(node, mode)
        stack.append((node, new))
    return stack.pop()[1]


def _event(node: Operation, modes: Mapping[object, str]) -> ModeEvent:
    """Switches the mode of a comparison."""
    mode, name = Name(modes[tree_key(node)]), text_of(node)
    own = Operation(node.operator, tuple(_replaced_tree(operand, modes) for operand in node.operands))
    when, function, value = (_of_floor if node.operator == "floor" else _of_comparison)(own, mode)
    return ModeEvent(
        name, _expression(when, f"switch of {name}"), {mode.name: _expression(value, f"other mode of {name}")},
        at_start=True, most=UNLIMITED, function=_expression(function, f"crossing of {name}"), comparison=node,
    )  # fmt: skip


def _of_comparison(node: Operation, mode: Name) -> tuple[Node, Node, Node]:
    """When a mode disagrees with its comparison, the function of this condition, and the other mode."""
    difference, is_on = _difference(node), Operation(">", (mode, HALF))
    truth = Operation(">", (difference, ZERO)) if node.operator == "sign" else node
    to_true, to_false = ((truth, Operation("not", (is_on,))), (Operation("not", (truth,)), is_on))
    when = Operation("or", (Operation("and", to_true), Operation("and", to_false)))
    direction = Operation("-", (ONE, Operation("*", (Number(2.0), mode))))
    return when, Operation("*", (direction, difference)), Operation("-", (ONE, mode))


def _of_floor(node: Operation, mode: Name) -> tuple[Node, Node, Node]:
    """As `_of_comparison` for a mode that is a whole number, which rounding may say is not reached yet."""
    value = _difference(node)
    above = Operation("-", (value, Operation("+", (mode, ONE))))
    below = Operation("-", (mode, value))
    when = Operation("or", (Operation(">=", (above, ZERO)), Operation(">", (below, ZERO))))
    is_up = Operation(">", (value, Operation("+", (mode, HALF))))
    up = Operation("max", (Operation("+", (mode, ONE)), node))
    down = Operation("min", (Operation("-", (mode, ONE)), node))
    return when, Operation("max", (above, below)), Operation("where", (is_up, up, down))


def _expression(tree: Node, text: str) -> Expression:
    return Expression(text, tree, frozenset(part.name for part in walk(tree) if isinstance(part, Name)))


class _Surfaces:
    """Random points at which the two sides of a comparison are equal, and the rates on both sides of it."""

    def __init__(
        self, system: System, states: Sequence[str], definitions: Mapping[str, Expression], steps: list[Operation]
    ) -> None:
        self._states, self._definitions, self._steps = states, definitions, steps
        self._outcomes = {tree_key(node): f"outcome {number}" for number, node in enumerate(steps)}
        self._variables = (TIME, *system.states)
        random = np.random.default_rng(0)
        names = (*self._variables, *system.parameters, *system.constants)
        self._values = {name: torch.from_numpy(random.uniform(0.3, 3.0, POINTS)) for name in names}
        forced = {name: _replaced(definition, self._outcomes) for name, definition in definitions.items()}
        equations = [_replaced(system.equations[state], self._outcomes) for state in states]
        self._rates = TorchProgram(equations, self._variables, forced)
        self._differences = TorchProgram(
            [_expression(_difference(node), text_of(node)) for node in steps], self._variables, definitions
        )
        self._chosen = torch.from_numpy(random.integers(0, 2, (len(steps), POINTS)).astype(float))
        self._chosen[:, : POINTS // 4] = 0.0
        self._chosen[:, POINTS // 4 : POINTS // 2] = 1.0

    def jumps(self, node: Operation) -> bool:
        """Whether a rate jumps where the outcome changes; also if no point was found there."""
        number = list(self._outcomes).index(tree_key(node))
        names = _names(node, self._definitions)
        for moved in [*(state for state in self._states if state in names), *([TIME] if TIME in names else [])]:
            found = self._found(number, node, moved)
            if found is not None:
                return found
        return True

    def _found(self, number: int, node: Operation, moved: str) -> bool | None:
        """As `jumps`, at points on the surface that are reached by changing one variable; None if there are none."""
        differences = self._differences.bind(self._values)

        def at(place: Tensor) -> Tensor:
            return self._called(differences, {moved: place})[number]

        place = self._values[moved].clone()
        target = at(place).round() if node.operator == "floor" else torch.zeros(POINTS, dtype=torch.float64)
        for _ in range(NEWTON_STEPS):
            reach = 1e-7 * (1 + place.abs())
            slope = (at(place + reach) - at(place - reach)) / (2 * reach)
            step = (at(place) - target) / slope
            place = torch.where(step.isfinite(), place - step, place)
        size = 1 + place.abs()
        above, below = at(place + NEARER * size) > target, at(place - NEARER * size) > target
        valid = above != below
        if not bool(valid.any()):
            return None
        towards = torch.where(above, size, -size)  # the true side
        far, near = (self._jump(number, node, target, moved, place, distance * towards) for distance in (NEAR, NEARER))
        size = self._sizes(number, moved, place)
        is_jump = ~(near <= JUMPS * far) & ~(near <= ROUNDING * size)  # NaN counts as one
        return bool((is_jump & valid).any())

    def _called(self, program: BoundProgram, given: Mapping[str, Tensor]) -> Tensor:
        arguments = [given.get(name, self._values[name]) for name in self._variables]
        return torch.stack([output.expand(POINTS) for output in program(*arguments)])

    def _jump(
        self, number: int, node: Operation, target: Tensor, moved: str, place: Tensor, distance: Tensor
    ) -> Tensor:
        """|f⁺ − f⁻| (E, POINTS), each side at its distance from the surface."""
        is_floor = node.operator == "floor"
        on, off = (target, target - 1) if is_floor else (torch.ones_like(target), torch.zeros_like(target))
        sides = [
            self._called(self._bound(number, outcome), {moved: place + sign * distance})
            for outcome, sign in ((on, 1.0), (off, -1.0))
        ]
        return (sides[0] - sides[1]).abs()

    def _sizes(self, number: int, moved: str, place: Tensor) -> Tensor:
        return self._called(self._bound(number, torch.ones_like(place)), {moved: place}).abs()

    def _bound(self, number: int, outcome: Tensor) -> BoundProgram:
        outcomes = dict(zip(self._outcomes.values(), self._chosen, strict=True))
        outcomes[f"outcome {number}"] = outcome
        return self._rates.bind({**self._values, **outcomes})
