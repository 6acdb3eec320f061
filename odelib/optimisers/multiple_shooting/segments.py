"""The fitted series in segments with an initial state each: the initial value problems of multiple shooting.

Between the end of a segment and the start of the next there is a gap, which the optimiser closes. All segments of all
series are solved as one batch.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from odelib.arrays import Integers, Reals
from odelib.engines.base import DifferentiateBy
from odelib.engines.layer import ODELayer, ProtocolSettings
from odelib.errors import SolveError
from odelib.objective.chain_rule import chain
from odelib.objective.objective import Objective
from odelib.objective.observable_sensitivities import NOTHING_SEEN, Seen, observable_sensitivities
from odelib.optimisers.multiple_shooting.state_estimates import StateEstimates
from odelib.problem.data_split import SeriesSlice

MAX_CORRECTIONS = 10  # within a segment, on the way to the start of the next


@dataclass(frozen=True)
class _Segment:
    """A stretch of a fitted series, with the times of its measurements. slice_index: of the series' slice."""

    slice_index: int
    start: float
    end: float
    times: list[float]
    is_first: bool


@dataclass(frozen=True)
class Linearisation:
    """The segments' trajectories at a point, and their derivatives.

    Those of a segment are by the coordinates of the unknowns, then by the segment's own initial state if it is an inner
    one; these columns are 0 in the first segment of a series. They are (…, count + n), however many segments there are.

    observables: (N,) each, over the rows of all fitted series. jacobians: theirs, (N, count + n) each. gaps:
    (inner segments, n), the end of the segment before minus the start of this one. end_jacobian: of the ends,
    (inner segments, n, count + n).
    """

    observables: dict[str, Reals]
    jacobians: dict[str, Reals]
    gaps: Reals
    end_jacobian: Reals


class Segments:
    """The segments of all fitted series, at most `max_segments` of each.

    inner: the number of inner segments, which have an initial state among the variables. The first segment of a series
    starts from the initial state of the series instead. rows: of each segment, among the rows of all fitted series.
    inner_index: the index of each segment among the inner ones; None for the first of a series.
    """

    def __init__(self, objective: Objective, max_segments: int) -> None:
        self._objective = objective
        self._unknowns = objective.unknowns
        self._segments = [
            segment
            for index, series in enumerate(objective.fitted)
            for segment in _divide_into_segments(index, series, max_segments)
        ]
        self._series = np.array([objective.fitted[segment.slice_index].index for segment in self._segments])
        self._is_inner = np.array([not segment.is_first for segment in self._segments])
        indices = (np.cumsum(self._is_inner) - 1).tolist()
        self.inner_index = [
            index if is_inner else None for index, is_inner in zip(indices, self._is_inner, strict=True)
        ]
        self.inner = int(self._is_inner.sum())
        # Each row of times: the start, the measurements, and the end as often as makes all rows equally long.
        longest = max(len(s.times) for s in self._segments)
        self._times = torch.tensor(
            [[s.start, *s.times, *[s.end] * (longest - len(s.times) + 1)] for s in self._segments], dtype=torch.float64
        )
        width = longest + 2
        rows = [b * width + 1 + k for b, s in enumerate(self._segments) for k in range(len(s.times))]
        self._rows = np.array(rows)  # of the measurements, in the flattened (segments, times)
        self._batches = [np.arange(len(self._segments))]
        if objective.protocols.happens and self.inner:  # what happens at the start has happened in inner segments
            self._batches = [np.flatnonzero(self._is_inner), np.flatnonzero(~self._is_inner)]
        borders = np.cumsum([0, *(len(s.times) for s in self._segments)]).tolist()
        self.rows = [slice(first, end) for first, end in pairwise(borders)]

    @cached_property
    def _layer(self) -> ODELayer:
        """Solves the segments, by the engine that computes sensitivities; made on first use, which may compile."""
        layer = self._objective.layer
        own = ODELayer(layer.system, engine=layer.sensitivity_engine.name)
        own.options = replace(layer.options, method=own.options.method)
        own.stop = layer.stop
        own.differentiate_by = DifferentiateBy(tuple(range(len(layer.system.states))), self._unknowns.moving_parameters)
        return own

    @property
    def derivative_count(self) -> int:
        """How many numbers the derivatives of all trajectories take."""
        n = self.state_count
        return self._times.numel() * n * (n + max(self._unknowns.count, len(self._unknowns.moving_parameters)))

    @property
    def relative_cost(self) -> float:
        """The work of a linearisation relative to that of a gradient: the columns that are solved beside the states.

        Shooting needs the derivatives by all states, a gradient only those by the free initial values and parameters.
        """
        columns = self.state_count + len(self._unknowns.moving_parameters)
        return (1 + columns) / (1 + self._objective.layer.differentiate_by.count)

    @property
    def series(self) -> list[int]:
        """The indices of the fitted series, in order."""
        return [series.index for series in self._objective.fitted]

    @property
    def state_count(self) -> int:
        """The number of states of the system."""
        return len(self._unknowns.system.states)

    def linearise(self, coordinates: Reals, inner_states: Reals) -> Linearisation:
        """Solve all segments at coordinates, (count,), and inner states, (inner, n). Raises `SolveError`."""
        n = self.state_count
        parameters, starts = self._parameters_and_starts(coordinates, inner_states)
        constants = self._unknowns.constants.cpu()[self._series]
        states, by_own = self._solve(starts, parameters, constants)
        observables, observables_by_own = self._observe(states, by_own, parameters, constants)
        parameter_jacobian, start_jacobian = self._unknowns.jacobians(coordinates)
        parameter_jacobian = parameter_jacobian[:, list(self._layer.differentiate_by.parameters)]
        width = self._unknowns.count + n
        jacobians = {name: np.zeros((len(self._rows), width)) for name in observables}
        end_jacobian = np.zeros((len(self._segments), n, width))
        for b, rows in enumerate(self.rows):
            series = self._series[b]
            own_jacobians = parameter_jacobian[series], start_jacobian[series]
            for name, derivatives in observables_by_own.items():
                jacobians[name][rows] = self._chain(b, derivatives[rows], *own_jacobians)
            end_jacobian[b] = self._chain(b, by_own[b, -1], *own_jacobians)
        before = np.flatnonzero(self._is_inner) - 1
        return Linearisation(observables, jacobians, states[before, -1] - inner_states, end_jacobian[before])

    def _solve(self, starts: Tensor, parameters: Tensor, constants: Tensor) -> tuple[Reals, Reals]:
        """The states (segments, T, n), and their derivatives by each segment's own start and parameters, (…, n + p).

        These are far fewer than the variables of all segments. Raises `SolveError`.
        """
        states, by_own = [], []
        for members in self._batches:
            solved = self._layer.sensitivities(
                self._times[members], starts[members], parameters[members], constants[members], self._done(members)
            )
            if solved.failures:
                raise next(iter(solved.failures.values()))
            states.append(solved.states)
            by_own.append(np.concatenate([solved.by_initial_state, solved.by_parameters], axis=-1))
        order = np.argsort(np.concatenate(self._batches))
        return np.concatenate(states)[order], np.concatenate(by_own)[order]

    def _done(self, members: Integers) -> ProtocolSettings:
        """What was done in some segments, either all of them first ones or none, unless nothing happens."""
        series, times = self._series[members].tolist(), self._times.shape[1]
        done = self._objective.protocols.settings(series, times, is_start=not self._is_inner[members[0]])
        if done.before is None:
            return done
        is_measured = torch.zeros(self._times.shape, dtype=torch.bool)  # at its end a segment sees what happens there
        is_measured.view(-1)[torch.from_numpy(self._rows)] = True
        return replace(done, before=done.before.cpu() & is_measured[members])

    def _chain(self, b: int, by_own: Reals, parameter_jacobian: Reals, start_jacobian: Reals) -> Reals:
        """Derivatives as in `Linearisation`, (k, count + n), from those by start and parameters, (k, n + p).

        parameter_jacobian, start_jacobian: of the segment's series, by the coordinates, (p, count) and (n, count).
        """
        n = self.state_count
        by_coordinates, by_start = chain(by_own[:, n:], parameter_jacobian), by_own[:, :n]
        if self._is_inner[b]:
            return np.concatenate([by_coordinates, by_start], axis=1)
        return np.concatenate([by_coordinates + chain(by_start, start_jacobian), np.zeros(by_start.shape)], axis=1)

    def start_states(self, coordinates: Reals, estimates: StateEstimates) -> tuple[list[Reals], list[Reals]]:
        """Initial states of all segments: predicted by the model from the segment before, corrected by the data.

        Returns each series' initial state and the inner states, (n,) each. Where the model cannot be solved, the
        prediction is the state before.
        """
        parameters, initial = self._unknowns.values(coordinates)
        constants = self._unknowns.constants.cpu()
        first: list[Reals] = []
        inner: list[Reals] = []
        state = np.zeros(self.state_count)
        for b, segment in enumerate(self._segments):
            series = int(self._series[b])
            if segment.is_first:
                state = estimates.at(segment.slice_index, segment.start, initial[series].numpy())
                first.append(state)
            else:
                last = self._segments[b - 1]
                # An angle that is measured by its cosine may turn round in a segment, but not in a small part of it.
                corrections = min(len(set(last.times)), MAX_CORRECTIONS) if estimates.is_ambiguous else 1
                for now, then in pairwise(np.linspace(last.start, last.end, corrections + 1).tolist()):
                    is_start = last.is_first and now == last.start
                    done = self._objective.protocols.settings([series], 2, is_start=is_start)
                    state = self._predict(state, (now, then), parameters[series], constants[series], done)
                    state = estimates.at(segment.slice_index, then, state)
                inner.append(state)
        return first, inner

    def _predict(
        self, state: Reals, between: tuple[float, float], parameters: Tensor, constants: Tensor, done: ProtocolSettings
    ) -> Reals:
        times = torch.tensor(between, dtype=torch.float64)
        done = replace(done, before=None)
        try:
            with torch.no_grad():
                solved = self._layer.solve(times, torch.from_numpy(state), parameters, constants, done)
        except SolveError:
            return state
        found: Reals = solved.states[-1].numpy()
        return found

    def _parameters_and_starts(self, coordinates: Reals, inner_states: Reals) -> tuple[Tensor, Tensor]:
        """The parameters (segments, p) and initial states (segments, n)."""
        parameters, initial = self._unknowns.values(coordinates)
        starts = initial[self._series].clone()
        starts[torch.from_numpy(self._is_inner)] = torch.from_numpy(inner_states)
        return parameters[self._series], starts

    def _observe(
        self, states: Reals, by_own: Reals, parameters: Tensor, constants: Tensor
    ) -> tuple[dict[str, Reals], dict[str, Reals]]:
        """The observables, (N,) each, and their derivatives by the segments' own starts and parameters, (N, n + p)."""
        n, segment = self.state_count, self._rows // self._times.shape[1]
        differentiate_by = list(self._layer.differentiate_by.parameters)
        of_parameters = np.zeros((len(self._layer.system.parameters), by_own.shape[-1]))
        of_parameters[differentiate_by, n + np.arange(len(differentiate_by))] = 1.0
        seen = NOTHING_SEEN
        if self._objective.protocols.happens:
            with torch.enable_grad():
                own = parameters.detach().requires_grad_()
                done = self._objective.protocols.settings(self._series.tolist(), self._times.shape[1])
                values = self._objective.columns.seen(self._times, own, constants, done)
                seen = Seen.of({name: column.reshape(-1)[self._rows] for name, column in values.items()}, own)
        observables, derivatives = observable_sensitivities(
            self._layer.observe,
            self._times.reshape(-1)[self._rows],
            torch.from_numpy(states.reshape(-1, n)[self._rows]),
            parameters[segment],
            constants[segment],
            by_own.reshape(-1, n, by_own.shape[-1])[self._rows],
            [(slice(None), of_parameters)],
            seen,
        )
        return {name: column.numpy() for name, column in observables.items()}, derivatives


def _divide_into_segments(index: int, series: SeriesSlice, max_segments: int) -> list[_Segment]:
    """Segments with about equally many times each; a time on a border belongs to the segment before it."""
    grid = sorted({series.start, *series.times})
    intervals = len(grid) - 1
    count = max(1, min(max_segments, intervals))
    borders = [grid[round(k * intervals / count)] for k in range(count + 1)]
    segments = []
    for k, (start, end) in enumerate(pairwise(borders)):
        first = bisect_right(series.times, start) if k else 0
        inside = series.times[first : bisect_right(series.times, end)]
        segments.append(_Segment(index, start, end, inside, is_first=k == 0))
    return segments
