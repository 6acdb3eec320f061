"""When a right-hand side may jump or bend by its own clock: a dose that begins, a lockdown that ends.

A solver sees the equations at its stages alone. What is long at rest it follows in long steps, and an input that is
short beside them lies between two stages: it would be passed over, with no error to be seen. So a solve ends a step at
each of these times and begins the next one behind it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from odelib.arrays import Reals
from odelib.engines.torch_program import BoundProgram, TorchProgram
from odelib.problem.expressions.parser import TIME, Expression, Name, Node, Number, Operation, walk
from odelib.problem.system import System

_COMPARISONS, _EXTREMES, _OF_ONE = ("<", "<=", ">", ">="), ("min", "max"), ("abs", "sign")
_LOOKED_AT = (0.0, 1.0, 3.25)  # what lies on one line at these is taken for linear


class Discontinuities:
    """The comparisons of a system's equations in which time meets what does not change along a solve.

    These are `<`, `<=`, `>`, `>=`, `min`, `max`, `abs` and `sign` whose two sides, of parameters, constants and time
    alone, differ by something linear in time.
    """

    def __init__(self, system: System) -> None:
        self._names = (*system.parameters, *system.constants)
        fixed, self._moving = [np.zeros((1, 0))], []
        for a, b in (pair for equation in system.equations.values() for pair in _pairs(equation.tree)):
            names = _names(a) | _names(b)
            if TIME in names and names <= {TIME, *self._names}:
                program = TorchProgram([Expression("", side, _names(side)) for side in (a, b)], [TIME])
                if names == {TIME}:
                    fixed.append(_when_equal(program.bind({}), 1))
                else:
                    self._moving.append(program)
        self._fixed = np.sort(np.concatenate(fixed, axis=1))

    def times(self, values: Reals) -> Reals:
        """When the two sides are equal, in order, infinite where they never are: (B, K), or (1, K), shared by all.

        values: (B, p + c), parameters, then constants.
        """
        if not self._moving:
            return self._fixed
        by_name = dict(zip(self._names, torch.from_numpy(values).unbind(-1), strict=True))
        moving = [_when_equal(program.bind(by_name), len(values)) for program in self._moving]
        return np.sort(np.concatenate([np.repeat(self._fixed, len(values), axis=0), *moving], axis=1))


def _when_equal(sides: BoundProgram, count: int) -> Reals:
    """When two sides that differ by something linear in time are equal, (count, 1); else infinity."""

    def difference(times: Reals) -> Reals:
        a, b = (side.expand(count).numpy() for side in sides(torch.from_numpy(times)))
        return np.asarray(a - b)

    first, second, third = (difference(np.full(count, t)) for t in _LOOKED_AT)
    (_, t, u) = _LOOKED_AT
    with np.errstate(all="ignore"):
        slope = (second - first) / t
        bent = np.abs(third - first - u * slope) > 1e-9 * (np.abs(first) + np.abs(third))
        when = -first / slope
        when = np.where(bent | ~np.isfinite(when), np.inf, when)
        refined = when - difference(when) / slope  # free of rounding
    return np.where(np.isfinite(refined), refined, when)[:, None]


def _pairs(tree: Node) -> Iterator[tuple[Node, Node]]:
    """What is compared with what, in all of an expression; |a| beside b as a beside b and beside −b."""
    for node in walk(tree):
        if not isinstance(node, Operation):
            continue
        if node.operator in _OF_ONE:
            yield node.operands[0], Number(0.0)
        elif node.operator in _COMPARISONS or node.operator in _EXTREMES:
            for a, b in zip(node.operands, node.operands[1:], strict=False):
                yield from _signed(a, b) if _is_size(a) else _signed(b, a) if _is_size(b) else [(a, b)]


def _is_size(node: Node) -> bool:
    return isinstance(node, Operation) and node.operator == "abs"


def _signed(size: Node, other: Node) -> list[tuple[Node, Node]]:
    assert isinstance(size, Operation)
    return [(size.operands[0], other), (size.operands[0], Operation("neg", (other,)))]


def _names(node: Node) -> frozenset[str]:
    return frozenset(part.name for part in walk(node) if isinstance(part, Name))
