"""States from measurements, from which multiple shooting starts its segments."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from odelib.arrays import Reals
from odelib.objective.objective import Objective
from odelib.problem.data_split import SeriesSlice

MAX_ITERATIONS = 20
RELATIVE_DIFFERENCE = 1e-7  # of a state, for its derivatives
TOLERANCE = 1e-3  # of the spread of the measurements, which is far below their noise


class StateEstimates:
    """Corrects a predicted state by the measurements at that time, and changes it as little as possible.

    What the observables determine comes from the measurements, interpolated between two of them. What they leave open
    stays as predicted. If several states give the same observables, as turns of an angle do, the nearest one is taken.
    """

    def __init__(self, objective: Objective, coordinates: Reals) -> None:
        self._objective, self._layer = objective, objective.layer
        self._parameters = objective.unknowns.values(coordinates)[0]
        self._constants = objective.unknowns.constants.cpu()
        self._slices = objective.fitted
        self._sizes = np.zeros(len(self._layer.system.states))  # the largest so far: states have units of their own
        self._measured = [{name: _interpolation(series, name) for name in series.values} for series in self._slices]

    @property
    def is_ambiguous(self) -> bool:
        """Whether some observable is not simply a state, so that several states may give the same observables."""
        system = self._layer.system
        return any(system.observables[name].text not in system.states for name in self._measured[0])

    def at(self, index: int, time: float, predicted: Reals) -> Reals:
        """The state at a time of a fitted slice, (n,), near a predicted one.

        Gauss–Newton on the observables' equations, which are fewer than the states if these are not all observed:
        least squares by singular values then takes the shortest of all steps that solve them. States count in units of
        their predicted size. The iterate that fits best is kept, because a step may overshoot.
        """
        values = {name: measured.at(time) for name, measured in self._measured[index].items()}
        targets = {name: value for name, value in values.items() if value is not None}
        if not targets:
            return predicted
        spreads = np.array([self._measured[index][name].spread for name in targets])
        self._sizes = np.maximum(self._sizes, np.abs(predicted))
        sizes = np.where(self._sizes > 0, self._sizes, max(float(self._sizes.max()), 1e-6))
        units = np.maximum(np.abs(predicted), 1e-3 * sizes)
        seen = self._seen(index, time)
        state = best = predicted.copy()
        smallest = np.inf
        for _ in range(MAX_ITERATIONS):
            model, jacobian = self._observe(index, state, time, units, list(targets), seen)
            residuals = (np.array(list(targets.values())) - model) / spreads
            if not np.isfinite(residuals).all() or not np.isfinite(jacobian).all():
                break
            if (largest := float(np.abs(residuals).max())) < smallest:
                best, smallest = state, largest
            step = np.linalg.lstsq(jacobian / spreads[:, None] * units, residuals, rcond=1e-8)[0] * units
            if smallest < TOLERANCE or not np.isfinite(step).all():
                break
            state = state + step
        return best

    def _seen(self, index: int, time: float) -> dict[str, Tensor]:
        """The inputs and changing constants that observables see at a time, (1,) each."""
        series, objective = self._slices[index].index, self._objective
        times = torch.tensor([[time]], dtype=torch.float64)
        done = objective.protocols.settings([series], 1)
        found = objective.columns.seen(times, self._parameters[[series]], self._constants[[series]], done)
        return {name: column[0] for name, column in found.items()}

    def _observe(
        self, index: int, state: Reals, time: float, units: Reals, names: list[str], seen: Mapping[str, Tensor]
    ) -> tuple[Reals, Reals]:
        """Some observables, (m,), and their Jacobian by the state, (m, n), by forward differences."""
        series, steps = self._slices[index].index, RELATIVE_DIFFERENCE * units
        states = torch.from_numpy(np.vstack([state, state + np.diag(steps)]))
        times = torch.full((len(states),), time, dtype=torch.float64)
        with torch.no_grad():
            model = self._layer.observe(times, states, self._parameters[series], self._constants[series], seen)
        values = np.array([model[name].numpy() for name in names])
        return values[:, 0], (values[:, 1:] - values[:, :1]) / steps


class _Interpolation:
    """The measurements of one observable in a slice, linearly interpolated. spread: their standard deviation."""

    def __init__(self, times: Reals, values: Reals) -> None:
        self._times, self._values = times, values
        self.spread = float(values.std() if len(values) else 0.0) or float(np.abs(values).max(initial=0.0)) or 1.0

    def at(self, time: float) -> float | None:
        """The value at a time; None before the first measurement and after the last."""
        if not len(self._times) or not self._times[0] <= time <= self._times[-1]:
            return None
        return float(np.interp(time, self._times, self._values))


def _interpolation(series: SeriesSlice, name: str) -> _Interpolation:
    """Interpolate the measurements of an observable; replicates are averaged."""
    pairs = [(time, value) for time, value in zip(series.times, series.values[name], strict=True) if value is not None]
    times, place = np.unique([time for time, _ in pairs], return_inverse=True)
    sums = np.zeros(len(times))
    np.add.at(sums, place, [value for _, value in pairs])
    return _Interpolation(times, sums / np.maximum(np.bincount(place, minlength=len(times)), 1))
