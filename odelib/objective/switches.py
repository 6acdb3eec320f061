"""Switching times that meet a measurement: there the loss has a kink.

A state is continuous at a switching time τ, but the state at a measurement t changes with τ only while τ < t. So the
gradient of the loss jumps where τ passes t, and the loss may be least there without a zero gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from odelib.arrays import Reals
from odelib.engines.discontinuities import Discontinuities
from odelib.objective.unknowns import Unknowns
from odelib.problem.data_split import SeriesSlice
from odelib.problem.system import System

MEETS = 1e-6  # of a series' duration: times that are this close meet


class Switches:
    """The switching times of the equations in the fitted series."""

    def __init__(self, system: System, fitted: Sequence[SeriesSlice], unknowns: Unknowns) -> None:
        self._system, self._fitted, self._unknowns = system, fitted, unknowns

    @cached_property
    def _discontinuities(self) -> Discontinuities:
        return Discontinuities(self._system)

    def at_measurements(self, coordinates: Reals) -> Reals:
        """The derivatives dτ/dx of the times that meet a measurement and that unknowns move, (times, count).

        In units of the duration of the series.
        """
        rows: list[Reals] = []
        if not self._discontinuities.is_moving:
            return np.zeros((0, self._unknowns.count))
        parameters, by_coordinates = self._unknowns.values(coordinates)[0], self._unknowns.jacobians(coordinates)[0]
        for series in self._fitted:
            first, last = series.start, series.times[-1]
            if first == last:
                continue
            own = [parameters[series.index], self._unknowns.constants[series.index]]
            values = np.concatenate([each.detach().cpu().numpy() for each in own])
            found = self._discontinuities.find(values[None], first, last, with_jacobian=True)
            distances = np.abs(found.times[0][:, None] - np.array(series.times)).min(axis=1)
            meets = distances <= MEETS * (last - first)
            if meets.any():
                rows += list(found.jacobian[0][meets] @ by_coordinates[series.index] / (last - first))
        moved = [row for row in rows if row.any()]
        return np.array(moved).reshape(len(moved), self._unknowns.count)
