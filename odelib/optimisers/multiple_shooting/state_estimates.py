"""States from measurements: what multiple shooting starts its segments from."""

from __future__ import annotations

import numpy as np
import torch

from odelib.arrays import Reals
from odelib.objective.objective import Objective
from odelib.problem.data_split import SeriesSlice

ITERATIONS = 20
DIFFERENCE = 1e-7  # of a state's size, for derivatives
CLOSE = 1e-3  # of the spread of what was measured: far below its noise


class StateEstimates:
    """Moves a predicted state as little as need be, until the observables are what was measured at that time.

    Where the observables determine the state they give it, and the prediction only says which of several it is, as the
    turn of an angle; what they leave open stays as predicted. Between two measurements the line between them counts.
    """

    def __init__(self, objective: Objective, coordinates: Reals) -> None:
        self._layer = objective.layer
        self._parameters = objective.unknowns.values(coordinates)[0]
        self._constants = objective.unknowns.constants.cpu()
        self._parts = objective.fitted
        self._curves = [{name: _curve(part, name) for name in part.values} for part in self._parts]

    @property
    def is_ambiguous(self) -> bool:
        """Whether some observable is more than a state: as the cosine of an angle is, several states may give it."""
        system = self._layer.system
        return any(system.observables[name].text not in system.states for name in self._curves[0])

    def __call__(self, part: int, predicted: Reals, time: float) -> Reals:
        """The state (n,) at a time of a part, from the predicted one."""
        targets = {name: curve.at(time) for name, curve in self._curves[part].items()}
        wanted = {name: value for name, value in targets.items() if value is not None}
        if not wanted:
            return predicted
        sizes = np.array([self._curves[part][name].size for name in wanted])
        state = predicted.copy()
        units = np.maximum(np.abs(predicted), 1e-3 * max(float(np.abs(predicted).max()), 1e-6))
        best, least = state, np.inf
        for _ in range(ITERATIONS):
            values, slopes = self._observe(part, state, time, units, list(wanted))
            misses = (np.array(list(wanted.values())) - values) / sizes
            if not np.isfinite(misses).all() or not np.isfinite(slopes).all():
                break
            if (miss := float(np.abs(misses).max())) < least:
                best, least = state, miss
            move = np.linalg.lstsq(slopes / sizes[:, None] * units, misses, rcond=1e-8)[0] * units
            if least < CLOSE or not np.isfinite(move).all():
                break
            state = state + move
        return best

    def _observe(self, part: int, state: Reals, time: float, units: Reals, names: list[str]) -> tuple[Reals, Reals]:
        """Some observables and their derivatives by the state, to as many digits as a correction needs."""
        series, steps = self._parts[part].index, DIFFERENCE * units
        states = torch.from_numpy(np.vstack([state, state + np.diag(steps)]))
        times = torch.full((len(states),), time, dtype=torch.float64)
        with torch.no_grad():
            model = self._layer.observe(times, states, self._parameters[series], self._constants[series])
        values = np.array([model[name].numpy() for name in names])
        return values[:, 0], (values[:, 1:] - values[:, :1]) / steps


class _Curve:
    """The measurements of one observable in one part, replicates averaged, as a line from each to the next."""

    def __init__(self, times: Reals, values: Reals) -> None:
        self._times, self._values = times, values
        spread = float(values.std()) if len(values) else 0.0
        self.size = spread or float(np.abs(values).max(initial=0.0)) or 1.0

    def at(self, time: float) -> float | None:
        """The value at a time; None before the first and after the last measurement."""
        if not len(self._times) or not self._times[0] <= time <= self._times[-1]:
            return None
        return float(np.interp(time, self._times, self._values))


def _curve(part: SeriesSlice, name: str) -> _Curve:
    pairs = [(t, v) for t, v in zip(part.times, part.values[name], strict=True) if v is not None]
    times, place = np.unique([t for t, _ in pairs], return_inverse=True)
    values = np.zeros(len(times))
    np.add.at(values, place, [v for _, v in pairs])
    return _Curve(times, values / np.maximum(np.bincount(place, minlength=len(times)), 1))
