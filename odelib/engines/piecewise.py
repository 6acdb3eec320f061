"""A solve in pieces between discontinuities, for an engine whose solver knows nothing of their derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from odelib.arrays import Reals
from odelib.engines.switching_times import GAP


def solve_in_pieces(
    start: Tensor,
    times: Tensor,
    discontinuities: Reals,
    solve: Callable[[Tensor, Tensor], Tensor],
    jump: Callable[[Tensor, Sequence[int], float], Tensor],
) -> Tensor:
    """A solution (T, …, n) from pieces between discontinuities, (K,) in order, at which its derivatives jump.

    solve: the solution at times (T,) from a state (…, n) at the first. jump: a state after those discontinuities, by
    their places, which lie on one side of `time + shift` for a shift of −side and on the other for one of +side.
    At the very time of a discontinuity the mean of both sides counts: see `compiled.batch_loop.pass_discontinuity`.
    """
    first, last = float(times[0]), float(times[-1])
    gap = GAP * max(abs(first), abs(last))
    side, state, at, rows = 8 * gap, start, first, [start]
    groups = _coinciding(discontinuities, first - gap, last + gap, 2 * gap)
    asked = times[1:].tolist()
    for places in groups:
        when = float(discontinuities[places[0]])
        if when - gap > at:
            inside = [t for t in asked if at < t <= when - gap]
            end = last if when + gap >= last else when - gap
            piece = [at, *[t for t in inside if t < end], end]
            solved = solve(state, times.new_tensor(piece))
            rows += list(solved[1 : 1 + len(inside)])
            state = solved[-1]
            asked = asked[len(inside) :]
        jumped = jump(state, places, side)
        coinciding = [t for t in asked if t <= when + gap]
        rows += [(state + jumped) / 2] * len(coinciding)
        asked = asked[len(coinciding) :]
        state = jumped if when - gap > first else (state + jumped) / 2
        at = max(when + gap, at)
    if asked:
        rows += list(solve(state, times.new_tensor([at, *asked]))[1:])
    return torch.stack(rows)


def _coinciding(times: Reals, first: float, last: float, distance: float) -> list[list[int]]:
    """The places of times between two, those that lie together in one list."""
    groups: list[list[int]] = []
    for place in np.flatnonzero((times >= first) & (times <= last)).tolist():
        if groups and times[place] <= times[groups[-1][0]] + distance:
            groups[-1].append(place)
        else:
            groups.append([place])
    return groups
