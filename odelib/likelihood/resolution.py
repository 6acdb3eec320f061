"""What the solver resolves of an observable: the size below which its values are errors.

An absolute tolerance that is automatic follows the size of a trajectory, which is taken to be that of its measurements:
floors of estimated scales depend on it, so it must not change during a fit. Noise that is relative to the value tells
besides how small a state may become and still count.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from odelib.arrays import Reals
from odelib.problem.data_split import SeriesSlice
from odelib.problem.noise import AnyNoise
from odelib.problem.solver import AUTO, AUTO_ATOL, AbsoluteTolerance

RELATIVE = 1e-3  # of the smallest measurement: well below the noise, since the errors of steps add up


def tolerance_limits(
    slices: Sequence[SeriesSlice], noise: Mapping[str, AnyNoise] | None, states: Collection[str]
) -> dict[str, float]:
    """Return how large the absolute tolerance may be of the states that are measured with relative noise."""
    limits = {}
    for name in noise or {}:
        if noise is not None and noise[name].is_relative and name in states:
            sizes = [size for column in _sizes(slices, name) for size in column if size > 0]
            settings = noise[name]  # beside a proportional part sigma is in the units of the values
            additive = settings.given_scales.get("sigma", 0.0) if "proportional" in settings.scales else 0.0
            if sizes:
                limits[name] = RELATIVE * max(min(sizes), additive)
    return limits


def resolution(
    slices: Sequence[SeriesSlice], name: str, rtol: float, atol: AbsoluteTolerance, limit: float = math.inf
) -> Reals:
    """Return the absolute tolerance at each measurement of an observable, (n,).

    limit: of an automatic one, see `tolerance_limits`.
    """
    columns = _sizes(slices, name)
    if atol != AUTO:
        return np.full(sum(len(column) for column in columns), atol)
    largest = max(size for column in columns for size in column) or 1.0
    sizes = [max(column, default=0.0) or largest for column in columns]
    automatic = AUTO_ATOL * rtol * np.repeat(sizes, [len(column) for column in columns])
    return np.minimum(automatic, limit)


def _sizes(slices: Sequence[SeriesSlice], name: str) -> list[list[float]]:
    """The absolute values measured in each slice."""
    return [[abs(value) for value in each.values.get(name, ()) if value is not None] for each in slices]
