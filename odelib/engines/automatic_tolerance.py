"""Automatic absolute tolerances for an engine whose steps run in Python, by the rules of `compiled.tolerances`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from odelib.arrays import Booleans, Reals
from odelib.problem.solver import AUTO_ATOL

FED = 1e-6  # see `compiled.tolerances.feed_from_outside`
EMERGED, FALLEN = 0.01, 0.5  # see `compiled.tolerances.follow_size`
TINY = 1e-300  # 0/0 would be NaN
# Of time and states (…, n): the rates (…, n) and their derivatives by the states (…, n, n).
Linearise = Callable[[float, Reals], tuple[Reals, Reals]]


class AutomaticTolerance:
    """The absolute tolerances of a solution, which follow the sizes that it has had.

    absolute: as the solution, changed in place. The solution is (n,), (B, n) for a batch, or (1 + m, n) for states and
    their sensitivities by m unknowns of these sizes. A row of sensitivities by an unknown that is 0 has a size of its
    own, like the states.
    """

    def __init__(
        self, start: Tensor, times: Tensor, rtol: float, max_atol: float | tuple[float, ...],
        linearise: Linearise,
        unknowns: Tensor | None = None,
    ) -> None:  # fmt: skip
        self.absolute = torch.full_like(start, TINY, requires_grad=False)
        self._rtol, self._max_atol, self._linearise = rtol, max_atol, linearise
        self._start, self._next_update = float(times[0]), float(times[0])
        self._span = float(times[-1] - times[0])
        rows = start.numel() // start.shape[-1]
        self._magnitudes = np.zeros(rows) if unknowns is None else np.array([0.0, *unknowns.tolist()])
        self._has_one_jacobian = unknowns is not None
        self._follows = self._magnitudes == 0.0  # rows with a size of their own
        own = self._rows(start)[self._follows]
        self._sizes, self._atol = np.abs(own), np.zeros(own.shape)
        self._is_from_zero, self._is_at_rest = own == 0.0, own == 0.0

    def update(self, time: float, solution: Tensor, step: float) -> None:
        """Follow the solution at a new point, from which a step is about to be tried."""
        rows = self._rows(solution)
        own, largest = rows[self._follows], self._sizes
        self._sizes = np.maximum(np.abs(own), largest)
        automatic = AUTO_ATOL * self._rtol * self._sizes
        expected = EMERGED * AUTO_ATOL * self._atol
        has_fallen = self._is_from_zero & (np.abs(own) <= FALLEN * largest) & (automatic > expected)
        self._is_from_zero &= ~has_fallen
        self._atol = np.maximum(automatic, np.where(has_fallen, 0, self._atol))
        if time >= self._next_update:
            elapsed = time - self._start + step
            if self._is_from_zero.any():
                self._allow_inherited_errors(time, rows, elapsed)
            self._next_update = time + elapsed
        self._is_at_rest = (self._atol == 0.0) & (own == 0.0)
        self._write(self._atol)

    def of_states(self) -> Reals:
        """The tolerances of the states now, (1, n), or (B, n) for a batch."""
        rows = self._rows(self.absolute)
        return rows[:1].copy() if self._has_one_jacobian else rows.copy()

    def allow_for_rest(self, rates: Tensor) -> None:
        """Let what is 0 and has no tolerance err by rtol of what this rate gives over the whole solve."""
        if self._is_at_rest.any():
            rising = self._rtol * self._span * np.abs(self._rows(rates)[self._follows])
            self._write(np.where(self._is_at_rest, rising, self._atol))

    def _allow_inherited_errors(self, time: float, rows: Reals, elapsed: float) -> None:
        """See `compiled.tolerances.allow_inherited_errors`."""
        states = rows[:1] if self._has_one_jacobian else rows
        rates, found = self._linearise(time, states)
        fed = feed_from_outside(states, rates, found)
        if self._has_one_jacobian:  # what feeds the states is no part of the sensitivities
            fed = np.vstack([fed[:1], np.zeros((len(self._atol) - 1, fed.shape[-1]))])
        jacobians = np.broadcast_to(found, (len(self._atol), *states.shape[1:] * 2))
        for row, jacobian in enumerate(jacobians):
            is_from_zero = self._is_from_zero[row]
            sizes = np.where(is_from_zero, 0.0, self._sizes[row])
            expected = inherited_sizes(sizes, elapsed, np.abs(jacobian), np.where(is_from_zero, fed[row], 0.0))
            allowed = np.where(is_from_zero, self._rtol * expected, 0.0)
            self._atol[row] = np.maximum(self._atol[row], allowed)

    def _write(self, atol: Reals) -> None:
        """Write the tolerances of the rows that follow, and of the sensitivities, which count in the states' units."""
        found = np.empty((len(self._magnitudes), atol.shape[-1]))
        limited = np.minimum(atol, self._max_atol)
        found[self._follows] = limited
        given = ~self._follows
        found[given] = limited[0] / self._magnitudes[given, None]
        self.absolute.copy_(torch.from_numpy(np.maximum(found, TINY)).reshape(self.absolute.shape))

    @staticmethod
    def _rows(values: Tensor) -> Reals:
        rows: Reals = values.detach().cpu().numpy().reshape(-1, values.shape[-1])
        return rows


def feed_from_outside(states: Reals, rates: Reals, jacobians: Reals) -> Reals:
    """Return the rates (…, n) that depend on no state; see `compiled.tolerances.feed_from_outside`."""
    terms = np.multiply(jacobians, states[..., None, :], where=states[..., None, :] != 0, out=np.zeros_like(jacobians))
    left = np.abs(rates - terms.sum(axis=-1))
    return np.where(np.isfinite(left) & (left > FED * np.abs(terms).sum(axis=-1)), left, 0.0)


def inherited_sizes(sizes: Reals, elapsed: float, magnitudes: Reals, fed: Reals) -> Reals:
    """Return the sizes (n,), those that are 0 from what feeds them; see `compiled.tolerances.inherited_sizes`.

    magnitudes: (n, n), |J|. fed: the rates that depend on no state, (n,).
    """
    found = np.where(sizes == 0, fed / np.maximum(1 / elapsed, np.diag(magnitudes)), sizes)
    missing: Booleans = found == 0.0
    while missing.any():
        passed_on = np.multiply(magnitudes, found, where=found > 0, out=np.zeros_like(magnitudes))  # infinity·0 is 0
        expected = passed_on.max(axis=1) / np.maximum(1 / elapsed, np.diag(magnitudes))
        is_new = missing & (expected > 0) & np.isfinite(expected)
        if not is_new.any():
            break
        found[is_new] = expected[is_new]
        missing &= ~is_new
    return found


def first_step(
    rates: Callable[[Tensor, Tensor], Tensor], time: Tensor, start: Tensor, span: float, order: int,
    norm: Callable[[Tensor, Tensor], float],
) -> float:  # fmt: skip
    """The size of the first step: see `compiled.step_control.first_step`. norm: of a change, at the larger of sizes."""
    rate = rates(time, start)
    size, moving = start.abs(), torch.where(start == 0, 0.0, rate)
    d0, d1 = norm(start, size), norm(moving, size)
    relative_rate = d1 / d0 if d0 >= 1e-5 and d1 * span >= 1e-5 else 0.0
    h = min(0.01 / relative_rate if relative_rate > 0 else 1e-6 * span, span)
    trial = start + h * rate
    change = torch.where((trial == 0) & (start == 0), 0.0, rates(time + h, trial) - rate)
    size = torch.maximum(size, trial.abs())
    d1, d2 = norm(rate, size), norm(change, size) / h
    if not np.isfinite(d2):
        return h * 1e-3
    inverse_scale = max(relative_rate, d2 / d1 if d1 > 0 else 0.0)
    if inverse_scale * span <= 1e-15:
        return min(100 * h, span)
    h1 = (0.01 * inverse_scale / d1) ** (1 / order) / inverse_scale if d1 > 0 else span
    return min(100 * h, h1, span)
