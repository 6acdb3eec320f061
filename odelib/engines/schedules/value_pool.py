"""Numbers and expressions of parameters and constants, evaluated with their derivatives for all members at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from odelib.arrays import Reals
from odelib.engines.torch_program import TorchProgram
from odelib.problem.expressions.definitions import underlying
from odelib.problem.expressions.parser import Expression, Name, Number
from odelib.problem.system import System


@dataclass(frozen=True)
class PoolValues:
    """The values of a pool in B members.

    values: (B, N). jacobians: (B, N, u), by those parameters that any expression uses; None if no derivatives are
    wanted, or all are 0.
    """

    values: Reals
    jacobians: Reals | None


class ValuePool:
    """Every number and every distinct expression once, known by its place.

    system: its parameters, constants and definitions are the names that an expression can use. `close` ends adding.
    """

    def __init__(self, system: System) -> None:
        self._system = system
        self._places: dict[object, int] = {}
        self._numbers: list[float] = []
        self._expressions: dict[int, Expression] = {}
        self._moving: set[int] = set()
        self.used: tuple[int, ...] = ()

    def add(self, value: float | Expression) -> int:
        """The place of a number or expression."""
        if isinstance(value, Expression) and not value.names:
            value = _number_of(value)
        key = value.text if isinstance(value, Expression) else value
        if key in self._places:
            return self._places[key]
        place = self._places[key] = len(self._numbers)
        self._numbers.append(np.nan if isinstance(value, Expression) else value)
        if isinstance(value, Expression):
            self._expressions[place] = value
            if self._names(value) & set(self._system.parameters):
                self._moving.add(place)
        return place

    def is_number(self, places: Iterable[int]) -> bool:
        """Whether the values at these places are the same in every solve."""
        return not any(place in self._expressions for place in places)

    def is_moving(self, places: Iterable[int]) -> bool:
        """Whether any of the values at these places depends on parameters."""
        return any(place in self._moving for place in places)

    def close(self) -> None:
        """Make the program that evaluates the expressions; nothing can be added afterwards."""
        self._base = np.array(self._numbers)
        self._order = list(self._expressions)
        expressions = [self._expressions[place] for place in self._order]
        self._program = TorchProgram(expressions, [], self._system.definitions)
        names = frozenset[str]().union(*(self._names(expression) for expression in expressions))
        self.used = tuple(i for i, name in enumerate(self._system.parameters) if name in names)
        columns = {self._system.parameters[index]: column for column, index in enumerate(self.used)}
        self._column_of = {  # an expression that is but a parameter has its derivative without torch
            place: columns[expression.tree.name]
            for place, expression in self._expressions.items()
            if isinstance(expression.tree, Name) and expression.tree.name in columns
        }

    def number(self, place: int) -> float:
        """The number at a place."""
        return self._numbers[place]

    def evaluate(self, values: Reals, *, with_jacobian: bool) -> PoolValues:
        """The values in all members. values: (B, p + c), parameters, then constants."""
        count, size = len(values), len(self._base)
        found = np.broadcast_to(self._base, (count, size))
        if not self._order:
            return PoolValues(found, None)
        found = found.copy()
        names = (*self._system.parameters, *self._system.constants)
        if not (with_jacobian and self.used):
            named = dict(zip(names, torch.from_numpy(values).unbind(1), strict=True))
            outputs = self._program.bind(named)()
            found[:, self._order] = torch.stack([o.expand(count) for o in outputs], 1).numpy()
            return PoolValues(found, None)
        jacobians = np.zeros((count, size, len(self.used)))
        with torch.enable_grad():  # torch switches it off within an autograd function
            point = torch.from_numpy(values)[:, self.used].requires_grad_()
            named = dict(zip(names, torch.from_numpy(values).unbind(1), strict=True))
            named |= zip([names[index] for index in self.used], point.unbind(1), strict=True)
            outputs = self._program.bind(named)()
        for place, output in zip(self._order, outputs, strict=True):
            found[:, place] = output.detach().numpy()
            if (column := self._column_of.get(place)) is not None:
                jacobians[:, place, column] = 1.0
            elif output.requires_grad:
                (by_used,) = torch.autograd.grad(output, point, torch.ones_like(output), retain_graph=True)
                jacobians[:, place] = by_used.numpy()
        return PoolValues(found, jacobians)

    def _names(self, expression: Expression) -> frozenset[str]:
        return underlying(expression.names, self._system.definitions)


def _number_of(expression: Expression) -> float:
    """The value of an expression without names."""
    if isinstance(expression.tree, Number):
        return expression.tree.value
    return float(TorchProgram([expression], []).bind({})()[0])
