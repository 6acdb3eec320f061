"""The times at which a right-hand side may have a jump or a kink: a dose that begins, a lockdown that ends.

A solver evaluates the equations at its stages only. While a system is at rest its steps are long, and a short input
between two stages would be missed without any sign of an error. So a solve ends a step at each of these times and
begins the next one just after it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from odelib.arrays import Reals
from odelib.engines.torch_program import BoundProgram, TorchProgram
from odelib.problem.expressions.parser import TIME, Expression, Name, Node, Number, Operation, walk
from odelib.problem.system import System

_COMPARISONS, _EXTREMES, _UNARY = ("<", "<=", ">", ">="), ("min", "max"), ("abs", "sign")
_SAMPLES = (0.0, 1.0, 3.25)  # times; a difference whose values there lie on a line counts as linear


class Discontinuities:
    """The comparisons in a system's equations between time and values that do not change during a solve.

    These are `<`, `<=`, `>`, `>=`, `min`, `max`, `abs` and `sign` whose two sides contain only time, parameters and
    constants, and differ by a linear function of time.
    """

    def __init__(self, system: System) -> None:
        self._names = (*system.parameters, *system.constants)
        fixed, self._parametric = [np.zeros((1, 0))], []
        for a, b in (pair for equation in system.equations.values() for pair in _pairs(equation.tree)):
            names = _names(a) | _names(b)
            if TIME in names and names <= {TIME, *self._names}:
                program = TorchProgram([Expression("", side, _names(side)) for side in (a, b)], [TIME])
                if names == {TIME}:
                    fixed.append(_when_equal(program.bind({}), 1))
                else:
                    self._parametric.append(program)
        self._fixed = np.sort(np.concatenate(fixed, axis=1))

    def times(self, values: Reals) -> Reals:
        """The times at which two sides are equal, in order, infinite if they never are: (B, K), or (1, K), shared.

        values: (B, p + c), parameters, then constants.
        """
        if not self._parametric:
            return self._fixed
        by_name = dict(zip(self._names, torch.from_numpy(values).unbind(-1), strict=True))
        parametric = [_when_equal(program.bind(by_name), len(values)) for program in self._parametric]
        return np.sort(np.concatenate([np.repeat(self._fixed, len(values), axis=0), *parametric], axis=1))


def _when_equal(sides: BoundProgram, count: int) -> Reals:
    """The time at which two sides are equal, (count, 1); infinite unless they differ by a linear function of time."""

    def difference(times: Reals) -> Reals:
        a, b = (side.expand(count).numpy() for side in sides(torch.from_numpy(times)))
        return np.asarray(a - b)

    first, second, third = (difference(np.full(count, t)) for t in _SAMPLES)
    (_, t, u) = _SAMPLES
    with np.errstate(all="ignore"):
        slope = (second - first) / t
        is_curved = np.abs(third - first - u * slope) > 1e-9 * (np.abs(first) + np.abs(third))
        when = -first / slope
        when = np.where(is_curved | ~np.isfinite(when), np.inf, when)
        refined = when - difference(when) / slope  # one Newton step removes the rounding
    return np.where(np.isfinite(refined), refined, when)[:, None]


def _pairs(tree: Node) -> Iterator[tuple[Node, Node]]:
    """The pairs of sides compared anywhere in an expression; |a| and b give the pairs a, b and a, −b."""
    for node in walk(tree):
        if not isinstance(node, Operation):
            continue
        if node.operator in _UNARY:
            yield node.operands[0], Number(0.0)
        elif node.operator in _COMPARISONS or node.operator in _EXTREMES:
            for a, b in zip(node.operands, node.operands[1:], strict=False):
                yield from _both_signs(a, b) if _is_abs(a) else _both_signs(b, a) if _is_abs(b) else [(a, b)]


def _is_abs(node: Node) -> bool:
    return isinstance(node, Operation) and node.operator == "abs"


def _both_signs(absolute: Node, other: Node) -> list[tuple[Node, Node]]:
    assert isinstance(absolute, Operation)
    return [(absolute.operands[0], other), (absolute.operands[0], Operation("neg", (other,)))]


def _names(node: Node) -> frozenset[str]:
    return frozenset(each.name for each in walk(node) if isinstance(each, Name))
