"""The fitted series cut into segments, each with an initial state of its own: what multiple shooting solves.

Between the end of a segment and the start of the next there is a gap, which the method closes. All segments of all
series are one batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from odelib.engines.base import Carried
from odelib.errors import SolveError
from odelib.layer import ODELayer
from odelib.objective import Objective
from odelib.parts import Part
from odelib.slopes import observable_slopes

Reals = NDArray[np.float64]
Places = NDArray[np.int64]
# a fitted part's index, the predicted state and its time → the state corrected by what was measured then
Corrector = Callable[[int, Reals, float], Reals]


@dataclass(frozen=True)
class _Segment:
    """One stretch of a part, from `start` to `end`: which of the part's times lie in it."""

    part: int
    start: float
    end: float
    times: list[float]
    is_first: bool


@dataclass(frozen=True)
class Linearised:
    """The segments' trajectories at a point, and their derivatives by coordinates and inner states together.

    model: the observables in the order of all fitted rows, by name, with slopes (N, variables). gaps: (inner
    segments, n), the end of the segment before each minus its start, with slopes (inner segments, n, variables).
    """

    model: dict[str, Reals]
    model_slopes: dict[str, Reals]
    gaps: Reals
    gap_slopes: Reals


class Segments:
    """The segments of all fitted series.

    inner: how many have a state of their own: all but each series' first, whose state is the series' initial one.
    """

    def __init__(self, objective: Objective, most: int) -> None:
        self._objective = objective
        self._unknowns = objective.unknowns
        parts = objective.fitted
        self._segments = [segment for i, part in enumerate(parts) for segment in _cut(i, part, most)]
        self._series = np.array([parts[s.part].index for s in self._segments])
        self._is_inner = np.array([not s.is_first for s in self._segments])
        self.inner = int(self._is_inner.sum())
        longest = max(len(s.times) for s in self._segments)
        self._times = torch.tensor(
            [[s.start, *s.times, *[s.end] * (longest - len(s.times) + 1)] for s in self._segments], dtype=torch.float64
        )
        width = longest + 2
        rows = [b * width + 1 + k for b, s in enumerate(self._segments) for k in range(len(s.times))]
        self._rows = np.array(rows)  # of the data, in a flattened (segments, times)
        self._layer = self._make_layer(objective.layer)

    def _make_layer(self, layer: ODELayer) -> ODELayer:
        own = ODELayer(
            layer.system,
            engine="compiled",
            rtol=layer.options.rtol,
            atol=layer.options.atol,
            max_steps=layer.options.max_steps,
        )
        own.stop = layer.stop
        own.carried = Carried(tuple(range(len(layer.system.states))), layer.carried.parameters)
        return own

    @property
    def numbers(self) -> int:
        """How many the derivatives of all trajectories by all variables are."""
        n = self.state_count
        return self._times.numel() * n * max(self._unknowns.count + self.inner * n, n + self._unknowns.count)

    @property
    def series(self) -> list[int]:
        """The indices of the fitted series, in order."""
        return [part.index for part in self._objective.fitted]

    @property
    def state_count(self) -> int:
        """How many states the system has."""
        return len(self._layer.system.states)

    def linearise(self, coordinates: Reals, inner_states: Reals) -> Linearised:
        """At the unknowns' coordinates and the inner states (inner, n). Raises `SolveError`."""
        n, count = self.state_count, self._unknowns.count
        parameters, starts = self._points(coordinates, inner_states)
        constants = self._unknowns.constants.cpu()[self._series]
        found = self._layer.sensitivities(self._times, starts, parameters, constants)
        if found.failures:
            raise next(iter(found.failures.values()))
        by_parameter, by_start = self._unknowns.slopes(coordinates)
        carried = list(self._layer.carried.parameters)
        along = np.zeros((*found.states.shape, count + self.inner * n))
        along[..., :count] = np.einsum("btnp,bpc->btnc", found.by_parameters, by_parameter[self._series][:, carried])
        for b, place in enumerate(self._inner_places()):
            if place < 0:
                along[b, :, :, :count] += found.by_initial_state[b] @ by_start[self._series[b]]
            else:
                columns = slice(count + place * n, count + (place + 1) * n)
                along[b, :, :, columns] = found.by_initial_state[b]
        model, slopes = self._observe(found.states, along, parameters, constants, by_parameter)
        before = np.flatnonzero(self._is_inner) - 1
        gaps = found.states[before, -1] - inner_states
        gap_slopes = along[before, -1]
        for place in range(self.inner):
            diagonal = range(count + place * n, count + (place + 1) * n)
            gap_slopes[place, range(n), diagonal] -= 1.0
        return Linearised(model, slopes, gaps, gap_slopes)

    def follow(self, coordinates: Reals, correct: Corrector) -> tuple[list[Reals], list[Reals]]:
        """Start states for all segments: each predicted by the model from the one before, corrected by the data.

        Returns each series' corrected initial state, and the inner states. A stretch that the model cannot be
        followed along keeps the state it began with.
        """
        parameters, initial = self._unknowns.values(coordinates)
        constants = self._unknowns.constants.cpu()
        first: list[Reals] = []
        inner: list[Reals] = []
        state = np.zeros(self.state_count)
        for b, segment in enumerate(self._segments):
            series = int(self._series[b])
            if segment.is_first:
                state = correct(segment.part, initial[series].numpy(), segment.start)
                first.append(state)
            else:
                last = self._segments[b - 1]
                times = torch.tensor([last.start, last.end], dtype=torch.float64)
                try:
                    with torch.no_grad():
                        state = self._layer(times, torch.from_numpy(state), parameters[series], constants[series])[
                            -1
                        ].numpy()
                except SolveError:
                    pass
                state = correct(segment.part, state, segment.start)
                inner.append(state)
        return first, inner

    def _points(self, coordinates: Reals, inner_states: Reals) -> tuple[Tensor, Tensor]:
        parameters, initial = self._unknowns.values(coordinates)
        starts = initial[self._series].clone()
        starts[torch.from_numpy(self._is_inner)] = torch.from_numpy(inner_states)
        return parameters[self._series], starts

    def _inner_places(self) -> Places:
        return np.where(self._is_inner, np.cumsum(self._is_inner) - 1, -1)

    def _observe(
        self, states: Reals, along: Reals, parameters: Tensor, constants: Tensor, by_parameter: Reals
    ) -> tuple[dict[str, Reals], dict[str, Reals]]:
        n = self.state_count
        owner = self._rows // self._times.shape[1]
        flat = torch.from_numpy(states.reshape(-1, n)[self._rows])
        times = self._times.reshape(-1)[self._rows]
        slopes_of_states = along.reshape(-1, n, along.shape[-1])[self._rows]
        padded = np.zeros((*by_parameter.shape[:2], along.shape[-1]))
        padded[:, :, : by_parameter.shape[2]] = by_parameter
        pieces = [(owner == b, padded[self._series[b]]) for b in range(len(self._segments))]
        model, slopes = observable_slopes(
            self._layer, times, flat, parameters[owner], constants[owner], slopes_of_states, pieces
        )
        return {name: column.numpy() for name, column in model.items()}, slopes


def _cut(index: int, part: Part, most: int) -> list[_Segment]:
    grid = sorted({part.start, *part.times})
    intervals = len(grid) - 1
    count = max(1, min(most, intervals))
    borders = [grid[round(k * intervals / count)] for k in range(count + 1)]
    segments = []
    for k in range(count):
        low, high = borders[k], borders[min(k + 1, len(borders) - 1)]
        inside = [t for t in part.times if (low < t <= high) or (k == 0 and t == low)]
        segments.append(_Segment(index, low, high, inside, is_first=k == 0))
    return segments
