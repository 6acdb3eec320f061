"""Expressions → one list of torch operations, in which common subexpressions are shared.

No Python text is generated, and nothing recurses: one loop runs the list, however deep an expression is. Operations
that depend on no variable run once per solve.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from odelib.engines.borders_in_torch import Border
from odelib.engines.steep_functions import power
from odelib.engines.symbolic import borders
from odelib.engines.torch_functions import FUNCTIONS
from odelib.problem.expressions.definitions import Definitions, needed
from odelib.problem.expressions.parser import TIME, Expression, Name, Node, Number, Operation, reduce_pairwise, walk

_TAKE_NUMBERS = frozenset(
    ["+", "-", "*", "/", "**", "<", "<=", ">", ">=", "==", "!="]
)  # these take a tensor and a plain number

_Instruction = tuple[Callable[..., Any], tuple[int, ...], int]


class TorchProgram:
    """Several expressions as one list of operations on torch tensors.

    variables: the names that change during a solve (`t` and states), in the order of a call's arguments. definitions:
    what a name of one of them stands for. `bind` gives all other names their values. Roots, logarithms and broken
    powers of states end at a border: see `symbolic/borders.py`.
    """

    def __init__(
        self, expressions: Sequence[Expression], variables: Sequence[str], definitions: Definitions | None = None
    ) -> None:
        self._variables = list(variables)
        self._states = [name for name in variables if name != TIME]
        self._slots: dict[object, int] = {}
        self._numbers: dict[int, float] = {}
        self._tensor_numbers: set[int] = set()
        self._names: dict[str, int] = {}
        self._varying: set[int] = set()
        self._once: list[_Instruction] = []
        self._each_call: list[_Instruction] = []
        for name in self._variables:
            self._varying.add(self._slot(("name", name)))
            self._names[name] = self._slots["name", name]
        self._definitions = definitions or {}
        self._defined: dict[str, int] = {}
        names = frozenset[str]().union(*(expression.names for expression in expressions))
        for name, expression in needed(names, self._definitions).items():
            self._defined[name] = self._add(expression)
        self._outputs = [self._add(expression) for expression in expressions]
        self._tensor_numbers.update(slot for slot in self._outputs if slot in self._numbers)

    def bind(
        self,
        values: Mapping[str, Tensor | float],
        device: torch.device | str = "cpu",
        tolerances: Mapping[str, float] | None = None,
    ) -> BoundProgram:
        """Give the names that are not variables their values: tensors of one shape, or numbers.

        tolerances: see `borders.tolerances`; without, an argument beyond a border has no value.
        """
        values = {**values, **borders.tolerances(0.0, dict.fromkeys(self._states, 0.0)), **(tolerances or {})}
        slots: list[Any] = [None] * len(self._slots)
        for slot, number in self._numbers.items():
            slots[slot] = self._tensor(number, device) if slot in self._tensor_numbers else number
        for name, slot in self._names.items():
            if name not in self._variables:
                value = values[name]
                slots[slot] = value if isinstance(value, Tensor) else self._tensor(value, device)
        _run(self._once, slots)
        variables = [self._names[name] for name in self._variables]
        return BoundProgram(slots, self._each_call, variables, self._outputs)

    @property
    def names(self) -> frozenset[str]:
        """The names that the expressions use, also through definitions."""
        return frozenset(self._names)

    @staticmethod
    def _tensor(number: float, device: torch.device | str) -> Tensor:
        return torch.tensor(number, dtype=torch.float64, device=device)

    @property
    def count(self) -> int:
        """The number of expressions."""
        return len(self._outputs)

    def _slot(self, key: object) -> int:
        return self._slots.setdefault(key, len(self._slots))

    def _add(self, expression: Expression) -> int:
        stack: list[tuple[Node, int]] = []  # operands come before their operation
        for node in walk(expression.tree):
            if isinstance(node, Number):
                slot = self._slot(("number", node.value))
                self._numbers[slot] = node.value
            elif isinstance(node, Name) and node.name in self._defined:
                slot = self._defined[node.name]
            elif isinstance(node, Name):
                slot = self._name(node.name)
            else:
                count = len(node.operands)
                operands = tuple(slot for _, slot in stack[-count:])
                argument = stack[-count][0]
                del stack[-count:]
                slot = self._operation(node.operator, self._within_border(node, argument, operands))
            stack.append((node, slot))
        return stack.pop()[1]

    def _name(self, name: str) -> int:
        slot = self._slot(("name", name))
        self._names[name] = slot
        return slot

    def _operation(self, operator: str, operands: tuple[int, ...]) -> int:
        if operator in ("min", "max", "and", "or"):  # torch takes two operands
            return reduce_pairwise(operands, lambda a, b: self._instruction(operator, (a, b)))
        return self._instruction(operator, operands)

    def _within_border(self, node: Operation, argument: Node, operands: tuple[int, ...]) -> tuple[int, ...]:
        """The operands of an operation, the first moved to the operation's border if it is just beyond it."""
        kind = borders.border_of(node.operator, self._numbers.get(operands[1]) if node.operator == "**" else None)
        border = Border.of(kind, argument, self._states, self._definitions) if kind else None
        if border is None:
            return operands
        exponent = (self._as_tensor(operands[1]),) if kind == borders.IF_BROKEN else ()
        names = tuple(self._name(name) for name in border.names)
        return self._instruction(border, (operands[0], *exponent, *names)), *operands[1:]

    def _instruction(self, name: str | Border, operands: tuple[int, ...]) -> int:
        key = (name.kind if isinstance(name, Border) else name, operands)
        if key in self._slots:
            return self._slots[key]
        target = self._slot(key)
        literal = [operand for operand in operands if operand in self._numbers]
        function = name if isinstance(name, Border) else self._function(name, operands)
        if literal and (name not in _TAKE_NUMBERS or function is power or len(literal) == len(operands)):
            operands = tuple(self._as_tensor(operand) for operand in operands)
        varies = any(operand in self._varying for operand in operands)
        if varies:
            self._varying.add(target)
        (self._each_call if varies else self._once).append((function, operands, target))
        return target

    def _function(self, name: str, operands: tuple[int, ...]) -> Callable[..., Any]:
        """The function of an operator; powers that may have an infinite slope need one of their own."""
        if name != "**" or operands[0] in self._numbers:
            return FUNCTIONS[name]
        exponent = self._numbers.get(operands[1])
        return FUNCTIONS[name] if exponent is not None and exponent >= 1 else power

    def _as_tensor(self, operand: int) -> int:
        if operand not in self._numbers:
            return operand
        slot = self._slot(("tensor", self._numbers[operand]))
        self._numbers[slot] = self._numbers[operand]
        self._tensor_numbers.add(slot)
        return slot


class BoundProgram:
    """A program in which all names but the variables have their values."""

    def __init__(
        self, slots: list[Any], instructions: list[_Instruction], variables: list[int], outputs: list[int]
    ) -> None:
        self._slots = slots
        self._instructions = instructions
        self._variables = variables
        self._outputs = outputs

    def __call__(self, *variables: Tensor) -> list[Tensor]:
        """The values of the expressions; one that depends on no variable may have a smaller shape."""
        slots = self._slots.copy()
        for slot, value in zip(self._variables, variables, strict=True):
            slots[slot] = value
        _run(self._instructions, slots)
        return [slots[slot] for slot in self._outputs]


def _run(instructions: list[_Instruction], slots: list[Any]) -> None:
    for function, operands, target in instructions:
        slots[target] = function(*[slots[operand] for operand in operands])


def variables_of(states: Sequence[str]) -> list[str]:
    """The names that change during a solve: time, then the states."""
    return [TIME, *states]
