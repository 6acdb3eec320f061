"""Solves a series of a request at its guesses, at the times of its data and on a fine grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from odelib.arrays import Reals
from odelib.engines.base import Solution, StopCheck, never
from odelib.engines.layer import ODELayer, ProtocolSettings
from odelib.objective.series_protocols import SeriesProtocols
from odelib.objective.unknowns import Unknowns
from odelib.problem.resolved import ResolvedProblem
from odelib.result import EventTime

DENSE_POINTS = 401


@dataclass(frozen=True)
class SolvedSeries:
    """The states and the observables of a series, (T,) each, at times (T,).

    inputs: the system's, (T,) each. events: those that happened, if it is for drawing.
    """

    times: Reals
    states: Mapping[str, Reals]
    observables: Mapping[str, Reals]
    inputs: Mapping[str, Reals] = field(default_factory=dict)
    events: Sequence[EventTime] = ()


class SeriesSolver:
    """Solves a series at the guesses. stop: returns why to stop, or None.

    Its methods raise `SolveError` if the equations cannot be solved, and `StopRequested`.
    """

    def __init__(self, problem: ResolvedProblem, unknowns: Unknowns, index: int, stop: StopCheck = never) -> None:
        solver = problem.request.solver
        self._series, self._index = problem.series[index], index
        self._layer = ODELayer(
            problem.solved_system,
            engine=problem.engine,
            rtol=solver.rtol,
            atol=solver.atol,
            max_steps=solver.max_steps,
        )
        self._layer.options = self._layer.options.tightened()
        self._layer.stop = stop
        self._protocols = SeriesProtocols(problem, torch.device("cpu"))
        self._parameters, self._initial_state = (values[index] for values in unknowns.values(unknowns.start))
        self._constants = unknowns.constants[index]

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods of the solves so far."""
        return self._layer.engine.methods_used

    def at_data(self) -> tuple[dict[str, float], SolvedSeries]:
        """The initial state, and the series at the times of its data."""
        times = torch.tensor([self._series.start, *self._series.times], dtype=torch.float64)
        done = self._protocols.settings([self._index], len(times), starts=True)
        solved = self._observed(times, self._solved(times, done).states, done)
        start = dict(zip(self._layer.system.states, self._initial_state.tolist(), strict=True))
        if self._protocols.has_steady_states[self._index]:
            start = {name: float(column[0]) for name, column in solved.states.items()}
        states, observables, inputs = (
            {name: column[1:] for name, column in columns.items()}
            for columns in (solved.states, solved.observables, solved.inputs)
        )
        return start, SolvedSeries(solved.times[1:], states, observables, inputs)

    def dense(self) -> SolvedSeries:
        """The series on a fine grid of times, in which those of doses, changes and events are twice."""
        last = self._series.times[-1]
        times, done = self._protocols.dense_grid(
            self._index, self._series.start, last, DENSE_POINTS, self._parameters, self._constants
        )
        drawn = self._protocols.drawn(times, done, self._solved(times, done))
        return replace(self._observed(drawn.times, drawn.states, drawn.done), events=drawn.events)

    def _solved(self, times: Tensor, done: ProtocolSettings) -> Solution:
        with torch.no_grad():
            return self._layer.solve(times, self._initial_state, self._parameters, self._constants, done)

    def _observed(self, times: Tensor, states: Tensor, done: ProtocolSettings) -> SolvedSeries:
        layer, parameters, constants = self._layer, self._parameters, self._constants
        with torch.no_grad():
            seen = layer.seen_in_one(None, times, parameters, constants, done)
            observed = layer.observe(times, states, parameters, constants, seen)
        return SolvedSeries(
            times.numpy(),
            dict(zip(layer.system.states, states.numpy().T, strict=True)),
            {name: column.numpy() for name, column in observed.items()},
            {name: seen[name].numpy() for name in layer.system.inputs},
        )
