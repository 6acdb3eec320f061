"""The fitted series cut into segments, each with an initial state of its own: what multiple shooting solves.

Between the end of a segment and the start of the next there is a gap, which the method closes. All segments of all
series are one batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from odelib.arrays import Reals
from odelib.engines.base import DifferentiateBy
from odelib.engines.layer import ODELayer
from odelib.errors import SolveError
from odelib.objective.objective import Objective
from odelib.objective.observable_sensitivities import observable_sensitivities
from odelib.problem.data_split import SeriesSlice

MAX_STEPS = 10  # in which a segment is followed where what is measured is ambiguous


class Corrector(Protocol):
    """Corrects predicted states by what was measured."""

    @property
    def is_ambiguous(self) -> bool:
        """Whether several states may give the same measurements, so that the prediction decides between them."""
        ...

    def __call__(self, part: int, predicted: Reals, time: float) -> Reals:
        """The state (n,) at a time of a fitted part, by its index, from the predicted one."""
        ...


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
        self._places = (np.cumsum(self._is_inner) - 1).tolist()  # of an inner segment, among the inner ones
        longest = max(len(s.times) for s in self._segments)
        self._times = torch.tensor(
            [[s.start, *s.times, *[s.end] * (longest - len(s.times) + 1)] for s in self._segments], dtype=torch.float64
        )
        width = longest + 2
        rows = [b * width + 1 + k for b, s in enumerate(self._segments) for k in range(len(s.times))]
        self._rows = np.array(rows)  # of the data, in a flattened (segments, times)
        borders = np.cumsum([0, *(len(s.times) for s in self._segments)]).tolist()
        self._rows_of = [slice(first, end) for first, end in pairwise(borders)]  # of each segment, among all the data's

    @cached_property
    def _layer(self) -> ODELayer:
        """Solves the segments, by the engine that computes sensitivities; made on first use, which may compile."""
        layer = self._objective.layer
        own = ODELayer(
            layer.system,
            engine=layer.sensitivity_engine.name,
            rtol=layer.options.rtol,
            atol=layer.options.atol,
            max_steps=layer.options.max_steps,
        )
        own.stop = layer.stop
        own.differentiate_by = DifferentiateBy(
            tuple(range(len(layer.system.states))), layer.differentiate_by.parameters
        )
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
        return len(self._unknowns.system.states)

    def linearise(self, coordinates: Reals, inner_states: Reals) -> Linearised:
        """At the unknowns' coordinates and the inner states (inner, n). Raises `SolveError`."""
        n, count = self.state_count, self._unknowns.count
        parameters, starts = self._points(coordinates, inner_states)
        constants = self._unknowns.constants.cpu()[self._series]
        found = self._layer.sensitivities(self._times, starts, parameters, constants)
        if found.failures:
            raise next(iter(found.failures.values()))
        by_parameter, by_start = self._unknowns.jacobians(coordinates)
        # what follows is by a segment's own start and parameters first: few beside the variables of all segments
        along = np.concatenate([found.by_initial_state, found.by_parameters], axis=-1)
        model, slopes = self._observe(found.states, along, parameters, constants)
        by_own = by_parameter[self._series][:, list(self._layer.differentiate_by.parameters)]  # (segments, p, count)
        model_slopes = {name: np.zeros((len(self._rows), count + self.inner * n)) for name in model}
        ends = np.zeros((len(self._segments), n, count + self.inner * n))
        ends[..., :count] = along[:, -1, :, n:] @ by_own
        for b, (rows, place) in enumerate(zip(self._rows_of, self._places, strict=True)):
            own = slice(count + place * n, count + (place + 1) * n)
            for name, column in slopes.items():
                model_slopes[name][rows, :count] = column[rows, n:] @ by_own[b]
                if self._is_inner[b]:
                    model_slopes[name][rows, own] = column[rows, :n]
                else:
                    model_slopes[name][rows, :count] += column[rows, :n] @ by_start[self._series[b]]
            if self._is_inner[b]:
                ends[b, :, own] = along[b, -1, :, :n]
            else:
                ends[b, :, :count] += along[b, -1, :, :n] @ by_start[self._series[b]]
        before = np.flatnonzero(self._is_inner) - 1
        gap_slopes = ends[before]
        gap_slopes[..., count:] -= np.eye(self.inner * n).reshape(self.inner, n, self.inner * n)
        return Linearised(model, model_slopes, found.states[before, -1] - inner_states, gap_slopes)

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
                # in a short step an angle turns little, over a whole segment it may turn round
                steps = min(len(set(last.times)), MAX_STEPS) if correct.is_ambiguous else 1
                for now, then in pairwise(np.linspace(last.start, last.end, steps + 1).tolist()):
                    state = self._predicted(state, now, then, parameters[series], constants[series])
                    state = correct(segment.part, state, then)
                inner.append(state)
        return first, inner

    def _predicted(self, state: Reals, now: float, then: float, parameters: Tensor, constants: Tensor) -> Reals:
        """The state that the model leads to; as it is where the model cannot be solved."""
        times = torch.tensor([now, then], dtype=torch.float64)
        try:
            with torch.no_grad():
                found: Reals = self._layer(times, torch.from_numpy(state), parameters, constants)[-1].numpy()
        except SolveError:
            return state
        return found

    def _points(self, coordinates: Reals, inner_states: Reals) -> tuple[Tensor, Tensor]:
        parameters, initial = self._unknowns.values(coordinates)
        starts = initial[self._series].clone()
        starts[torch.from_numpy(self._is_inner)] = torch.from_numpy(inner_states)
        return parameters[self._series], starts

    def _observe(
        self, states: Reals, along: Reals, parameters: Tensor, constants: Tensor
    ) -> tuple[dict[str, Reals], dict[str, Reals]]:
        """The observables (N,), and their derivatives by what the states' derivatives `along` are by."""
        n, owner = self.state_count, self._rows // self._times.shape[1]
        differentiate_by = list(self._layer.differentiate_by.parameters)
        direct = np.zeros((len(self._layer.system.parameters), along.shape[-1]))
        direct[differentiate_by, n + np.arange(len(differentiate_by))] = 1.0
        model, slopes = observable_sensitivities(
            self._layer,
            self._times.reshape(-1)[self._rows],
            torch.from_numpy(states.reshape(-1, n)[self._rows]),
            parameters[owner],
            constants[owner],
            along.reshape(-1, n, along.shape[-1])[self._rows],
            [(slice(None), direct)],
        )
        return {name: column.numpy() for name, column in model.items()}, slopes


def _cut(index: int, part: SeriesSlice, most: int) -> list[_Segment]:
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
