"""The borders of roots, logarithms and broken powers, in torch: see `symbolic/borders.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from odelib.engines.symbolic import borders
from odelib.engines.symbolic.graph import Graph
from odelib.engines.torch_functions import BEYOND, BORDER, FUNCTIONS
from odelib.errors import FitError
from odelib.problem.expressions.definitions import Definitions
from odelib.problem.expressions.parser import Expression, Node


class Border:
    """Moves an argument to the border of its domain if it is beyond it by no more than the solver's error.

    kind: an operator of `borders`. names: what the tolerance depends on; a call takes their values.
    """

    def __init__(self, kind: str, graph: Graph, tolerance: int) -> None:
        self.kind = kind
        self._graph, self._tolerance = graph, tolerance
        entries = [graph.entries[node] for node in graph.needed([tolerance])]
        self.names = tuple(str(entry.value) for entry in entries if entry.operator == "name")

    @classmethod
    def of(cls, kind: str, argument: Node, states: Sequence[str], definitions: Definitions) -> Border | None:
        """The border of an argument; None if it depends on no state, and so has no error of the solver.

        An argument that is too long to be differentiated has none either.
        """
        graph = Graph(definitions, states)
        try:
            tolerance = graph.tolerance(graph.add(Expression("", argument, frozenset())))
        except FitError:
            return None
        return None if tolerance is None else cls(kind, graph, tolerance)

    def __call__(self, argument: Tensor, *more: Tensor) -> Tensor:
        """The argument, moved. more: the exponent, if the border depends on it; then the values of the names."""
        values = more[1:] if self.kind == borders.IF_BROKEN else more
        beyond = BEYOND[self.kind](argument)
        is_beyond = beyond > 0
        if self.kind == borders.IF_BROKEN:
            is_beyond = is_beyond & (more[0] != more[0].floor())
        if not bool(is_beyond.any()):  # nearly always
            return argument
        with torch.no_grad():
            border = BORDER[self.kind](argument)
            is_near = beyond <= self._evaluate(dict(zip(self.names, values, strict=True)))
            moved = torch.where(is_near, border, torch.nan)
        return torch.where(is_beyond, moved, argument)

    def _evaluate(self, values: Mapping[str, Tensor]) -> Tensor:
        known: dict[int, Any] = {}
        for node in self._graph.needed([self._tolerance]):
            entry = self._graph.entries[node]
            if entry.operator == "name":
                known[node] = values[str(entry.value)]
            elif isinstance(entry.value, float):
                known[node] = torch.tensor(entry.value, dtype=torch.float64, device=next(iter(values.values())).device)
            else:
                known[node] = FUNCTIONS[entry.operator](*(known[operand] for operand in entry.operands))
        result: Tensor = known[self._tolerance]
        return result
