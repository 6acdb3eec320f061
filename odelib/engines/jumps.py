"""When a right-hand side may jump or bend by its own clock: a dose that begins, a lockdown that ends.

A solver sees the equations at its stages alone. What is long at rest it follows in long steps, and an input that is
short beside them lies between two stages: it would be passed over, with no error to be seen. So a solve ends a step at
each of these times and begins the next one behind it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from odelib.problem.expressions import TIME, Expression, Name, Node, Number, Operation, walk
from odelib.problem.system import System
from odelib.program import BoundProgram, Program

Reals = NDArray[np.float64]
_COMPARISONS, _EXTREMES, _OF_ONE = ("<", "<=", ">", ">="), ("min", "max"), ("abs", "sign")
_LOOKED_AT = (0.0, 1.0, 3.25)  # what lies on one line at these is taken for linear


class Jumps:
    """The comparisons of a system's equations in which time meets what does not change along a solve.

    These are `<`, `<=`, `>`, `>=`, `min`, `max`, `abs` and `sign` whose two sides, of parameters, constants and time
    alone, differ by something linear in time. False where there are none.
    """

    def __init__(self, system: System) -> None:
        self._names = (*system.parameters, *system.constants)
        still = frozenset(self._names)
        pairs = {
            pair: None
            for equation in system.equations.values()
            for pair in _pairs(equation.tree)
            if TIME in (names := _names(pair)) and names <= still | {TIME}
        }
        sides = [Expression("", side, _names((side,))) for pair in pairs for side in pair]
        self._program = Program(sides, [TIME]) if sides else None

    def __bool__(self) -> bool:
        return self._program is not None

    def times(self, values: Reals) -> Reals:
        """When the two sides are equal: (B, K), in order, infinite where they never are.

        values: (B, p + c), parameters, then constants.
        """
        if self._program is None:
            return np.zeros((len(values), 0))
        columns = torch.from_numpy(values).unsqueeze(-1).unbind(1)  # (B, 1) beside times (B, K)
        program = self._program.bind(dict(zip(self._names, columns, strict=True)))
        first, second, third = (_differences(program, np.full((len(values), 1), t))[:, 0] for t in _LOOKED_AT)
        (_, t, u) = _LOOKED_AT
        with np.errstate(all="ignore"):
            slope = (second - first) / t
            bent = np.abs(third - first - u * slope) > 1e-9 * (np.abs(first) + np.abs(third))
            when = -first / slope
            when = np.where(bent | ~np.isfinite(when), np.inf, when)
            refined = when - np.diagonal(_differences(program, when), axis1=1, axis2=2) / slope  # free of rounding
        return np.sort(np.where(np.isfinite(refined), refined, when), axis=1)


def _differences(program: BoundProgram, times: Reals) -> Reals:
    """Of the two sides of each of P pairs, (B, K, P), at times (B, K)."""
    sides = [side.expand(times.shape) for side in program(torch.from_numpy(times))]
    rows = torch.stack(sides, -1).numpy()
    difference: Reals = rows[..., ::2] - rows[..., 1::2]
    return difference


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


def _names(nodes: tuple[Node, ...]) -> frozenset[str]:
    return frozenset(part.name for node in nodes for part in walk(node) if isinstance(part, Name))
