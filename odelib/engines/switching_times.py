"""When a comparison between time and values that do not change during a solve changes its outcome.

If the two sides differ by something linear in time, as they usually do, the time is the root of a line. Else it is
looked for between the points of a grid, where two changes between neighbours are missed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from odelib.arrays import Reals
from odelib.engines.torch_program import TorchProgram

GAP = 2.0**-50  # around a discontinuity, relative to the largest time: a few roundings
INSTANT = 1e-12  # times that differ by no more, relative to the largest, are one instant
# An event grazes if the rate of its condition's function is below this, times √rtol, of the largest in the step: then
# the function's extremum is near 0 within the solver's error.
GRAZING = 10.0
SLIDES = 1000.0  # times INSTANT: a solution that crosses a surface back so soon slides along it
MAX_FLOORS = 100_000  # steps of one floor(…) in a solve
GRID, BISECTIONS = 1025, 60  # points over a solve, and halvings between two of them
_SAMPLES = (0.0, 1.0, 3.25)  # times; a difference whose values there lie on a line counts as linear


@dataclass(frozen=True)
class Comparison:
    """Two sides, and when they are equal; those of `floor` differ by a whole number.

    sides: their values at a time. is_moving: whether the time depends on parameters.
    """

    sides: TorchProgram
    shift: int
    is_floor: bool
    depends_on_values: bool
    is_moving: bool

    def difference(self, named: Mapping[str, Tensor], count: int) -> Callable[[Tensor], Tensor]:
        """One side minus the other, (…, count), as a function of times (…, count) or (…, 1)."""
        sides = self.sides.bind(named)

        def at(times: Tensor) -> Tensor:
            a, b = sides(times)
            return torch.as_tensor(a - b).expand(*times.shape[:-1], count)

        return at

    def has_constant_time(self) -> bool:
        """Whether its time is the same in every solve."""
        if self.depends_on_values or self.is_floor:
            return False
        _, _, is_linear = _line(self.difference({}, 1), 1)
        return is_linear


@dataclass(frozen=True)
class Window:
    """The time of a solve, and the discontinuities found in it so far."""

    first: float
    last: float
    known: Sequence[Reals] = ()

    @property
    def is_finite(self) -> bool:
        """Whether both ends are known."""
        return math.isfinite(self.first) and math.isfinite(self.last)

    def grid(self) -> Tensor:
        """Times between which a comparison is taken to change at most once."""
        known = np.concatenate([np.zeros(0), *self.known])
        known = np.unique(known[(known > self.first) & (known < self.last)])
        uniform = np.linspace(self.first, self.last, GRID)
        ends = np.concatenate([[self.first], known, [self.last]])
        gap = GAP * max(abs(self.first), abs(self.last))
        points = [uniform, known - 8 * gap, known + 8 * gap, (ends[1:] + ends[:-1]) / 2]
        return torch.from_numpy(np.unique(np.concatenate(points)))


def switching_times(
    comparison: Comparison, named: Mapping[str, Tensor], count: int, window: Window
) -> Iterator[Tensor]:
    """When a comparison changes, (count,) each, infinite where it does not."""
    difference = comparison.difference(named, count)
    start, slope, is_linear = _line(difference, count)
    if is_linear:
        for target in _targets(comparison, start, slope, window):
            when = (target - start) / slope
            when = torch.where(when.isfinite(), when, torch.inf)
            refined = (
                when - (difference(when) - target) / slope
            )  # one Newton step removes the rounding, and has the derivative dτ/dp
            yield torch.where(refined.isfinite(), refined, when.detach())
    elif window.is_finite:
        yield from _roots(comparison, difference, window, count)


def _line(difference: Callable[[Tensor], Tensor], count: int) -> tuple[Tensor, Tensor, bool]:
    """Value at t = 0 and slope of the line on which a difference lies, (count,) each, and whether it lies on one."""
    at = [difference(torch.full((count,), t, dtype=torch.float64)) for t in _SAMPLES]
    (_, t, u) = _SAMPLES
    slope = (at[1] - at[0]) / t
    distance = (at[2] - at[0] - u * slope).abs()
    is_curved = bool((distance > 1e-9 * (at[0].abs() + at[2].abs())).any())
    return at[0], slope, not is_curved


def _targets(comparison: Comparison, start: Tensor, slope: Tensor, window: Window) -> Iterator[float]:
    """The differences of the sides at which a comparison changes: 0; for `floor` each whole number in the window."""
    if not comparison.is_floor:
        yield 0.0
        return
    with torch.no_grad():
        ends = torch.stack([start + slope * window.first, start + slope * window.last])
    yield from _whole_numbers(ends)


def _whole_numbers(values: Tensor) -> Iterator[float]:
    """Those that lie between the least and the largest of the values."""
    finite = values.detach()[values.isfinite()]
    if finite.numel():
        low, high = float(finite.min().ceil()), float(finite.max().floor())
        yield from (low + k for k in range(min(int(high - low) + 1, MAX_FLOORS)))


def _roots(
    comparison: Comparison, difference: Callable[[Tensor], Tensor], window: Window, count: int
) -> Iterator[Tensor]:
    """When a difference that is not linear in time changes its sign, by bisection between the points of a grid."""
    grid = window.grid()
    with torch.no_grad():
        on_grid = difference(grid.unsqueeze(-1))
    for target in _whole_numbers(on_grid) if comparison.is_floor else (0.0,):
        signs = torch.sign(on_grid - target)
        changes = signs[1:] != signs[:-1]
        for k in range(int(changes.sum(0).max())):
            is_kth = changes & (changes.cumsum(0) == k + 1)
            place = is_kth.to(torch.int8).argmax(0)
            left, right, sign = grid[place], grid[place + 1], signs.gather(0, place.unsqueeze(0))[0]
            with torch.no_grad():
                for _ in range(BISECTIONS):
                    middle = (left + right) / 2
                    stays = torch.sign(difference(middle) - target) == sign
                    left, right = torch.where(stays, middle, left), torch.where(stays, right, middle)
                jump = (difference(right) - difference(left)).abs()
            # Where the difference jumps itself, a comparison inside it changes, whose time is found for that one.
            found = is_kth.any(0) & (jump <= 1e-6 * on_grid.abs().amax(0).clamp(min=1e-300))
            yield torch.where(found, _with_derivative(right, difference, window), torch.inf)


def _with_derivative(root: Tensor, difference: Callable[[Tensor], Tensor], window: Window) -> Tensor:
    """The roots (count,) with their derivatives dτ/dp = −(∂g/∂p)/(∂g/∂t), on that side on which g is steeper."""
    reach = 1e-7 * (window.last - window.first)
    here = difference(root)
    with torch.no_grad():
        before, after = (here - difference(root - reach)) / reach, (difference(root + reach) - here) / reach
        steeper = torch.where(after.abs() >= before.abs(), reach, -reach)
        slope = torch.where(after.abs() >= before.abs(), after, before)
    beside = difference(root + 1e-3 * steeper)  # just off a kink
    derivative = (beside - beside.detach()) / slope
    return torch.where(slope != 0, root - derivative, root)
