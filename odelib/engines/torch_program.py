"""Expressions → one list of torch operations, in which common subexpressions are shared.

No Python text is generated, and nothing recurses: one loop runs the list, however deep an expression is. Operations
that depend on no variable run once per solve.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from odelib.problem.expressions.definitions import Definitions, needed
from odelib.problem.expressions.parser import TIME, Expression, Name, Number, Operation, reduce_pairwise, walk

_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": operator.pow,
    "neg": operator.neg,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "and": torch.logical_and,
    "or": torch.logical_or,
    "not": torch.logical_not,
    "where": torch.where,
    "abs": torch.abs,
    "min": torch.minimum,
    "max": torch.maximum,
    "exp": torch.exp,
    "log": torch.log,
    "log2": torch.log2,
    "log10": torch.log10,
    "sqrt": torch.sqrt,
    "sin": torch.sin,
    "cos": torch.cos,
    "tan": torch.tan,
    "asin": torch.asin,
    "acos": torch.acos,
    "atan": torch.atan,
    "sinh": torch.sinh,
    "cosh": torch.cosh,
    "tanh": torch.tanh,
    "asinh": torch.asinh,
    "acosh": torch.acosh,
    "atanh": torch.atanh,
    "erf": torch.erf,
    "floor": torch.floor,
    "sign": torch.sign,
}
_TAKE_NUMBERS = frozenset(
    ["+", "-", "*", "/", "**", "<", "<=", ">", ">=", "==", "!="]
)  # these take a tensor and a plain number

_Instruction = tuple[Callable[..., Any], tuple[int, ...], int]


class TorchProgram:
    """Several expressions as one list of operations on torch tensors.

    variables: the names that change during a solve (`t` and states), in the order of a call's arguments. definitions:
    what a name of one of them stands for. `bind` gives all other names their values.
    """

    def __init__(
        self, expressions: Sequence[Expression], variables: Sequence[str], definitions: Definitions | None = None
    ) -> None:
        self._variables = list(variables)
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
        self._defined: dict[str, int] = {}
        names = frozenset[str]().union(*(expression.names for expression in expressions))
        for name, expression in needed(names, definitions or {}).items():
            self._defined[name] = self._add(expression)
        self._outputs = [self._add(expression) for expression in expressions]
        self._tensor_numbers.update(slot for slot in self._outputs if slot in self._numbers)

    def bind(self, values: Mapping[str, Tensor | float], device: torch.device | str = "cpu") -> BoundProgram:
        """Give the names that are not variables their values: tensors of one shape, or numbers."""
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

    @staticmethod
    def _tensor(number: float, device: torch.device | str) -> Tensor:
        return torch.tensor(number, dtype=torch.float64, device=device)

    def _slot(self, key: object) -> int:
        return self._slots.setdefault(key, len(self._slots))

    def _add(self, expression: Expression) -> int:
        stack: list[int] = []  # operands come before their operation
        for node in walk(expression.tree):
            if isinstance(node, Number):
                slot = self._slot(("number", node.value))
                self._numbers[slot] = node.value
            elif isinstance(node, Name) and node.name in self._defined:
                slot = self._defined[node.name]
            elif isinstance(node, Name):
                slot = self._slot(("name", node.name))
                self._names[node.name] = slot
            else:
                count = len(node.operands)
                operands = tuple(stack[-count:])
                del stack[-count:]
                slot = self._operation(node, operands)
            stack.append(slot)
        return stack.pop()

    def _operation(self, node: Operation, operands: tuple[int, ...]) -> int:
        if node.operator in ("min", "max", "and", "or"):  # torch takes two operands
            return reduce_pairwise(operands, lambda a, b: self._instruction(node.operator, (a, b)))
        return self._instruction(node.operator, operands)

    def _instruction(self, name: str, operands: tuple[int, ...]) -> int:
        key = (name, operands)
        if key in self._slots:
            return self._slots[key]
        target = self._slot(key)
        literal = [operand for operand in operands if operand in self._numbers]
        if literal and (name not in _TAKE_NUMBERS or len(literal) == len(operands)):
            operands = tuple(self._as_tensor(operand) for operand in operands)
        varies = any(operand in self._varying for operand in operands)
        if varies:
            self._varying.add(target)
        (self._each_call if varies else self._once).append((_FUNCTIONS[name], operands, target))
        return target

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
