"""The fitted trajectories: at the times of the data, with residuals, and on a fine grid for plots."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from odelib.arrays import Reals
from odelib.engines.base import Happened
from odelib.errors import SolveError, StopRequested
from odelib.likelihood.measurements import sigma_of
from odelib.problem.data_split import SeriesSlice
from odelib.problem.solver import AUTO
from odelib.report.best_point import BestPoint
from odelib.report.estimates import initial_state, own_derived, own_parameters
from odelib.report.intervals import Intervals
from odelib.result import Dense, Estimate, Trajectory

DENSE_POINTS = 401


def fitted_trajectories(
    best: BestPoint,
    intervals: Intervals,
    dense: Sequence[Dense | None],
    start_states: Mapping[int, Mapping[str, Estimate]],
) -> list[Trajectory]:
    """Return the trajectory of each fitted series.

    dense: of each fitted series; where it is None, the trajectory at the data's times takes its place. start_states: of
    the series that start at a steady state.
    """
    objective, output = best.objective, best.output
    residuals = objective.measurements.residuals(output.model)
    found = []
    for place, (series, rows) in enumerate(zip(objective.fitted, objective.trajectories.slices, strict=True)):
        states = lists(_by_state(best, best.evaluation.states[rows]))
        values = lists_with_null({name: column[rows] for name, column in output.observables.items()})
        sigma = {name: output.model[sigma_of(name)][rows] for name in best.problem.sigma_expressions}
        found.append(
            Trajectory(
                name=series.name,
                initial_state=dict(start_states.get(series.index) or initial_state(best, intervals, series.index)),
                parameters=own_parameters(best, intervals, series.index) or None,
                derived=own_derived(best, intervals, series.index) or None,
                times=series.times,
                states=states,
                values=values,
                residuals=residuals[place],
                sigma=lists_with_null(sigma) or None,
                dense=dense[place] or Dense(times=series.times, states=states, values=values),
            )
        )
    return found


def steady_start_states(best: BestPoint) -> dict[int, dict[str, Estimate]]:
    """The initial state of each series that starts at a steady state, as that comes of the unknowns."""
    try:
        found = best.objective.trajectories.start_states(*best.unknowns.values(best.coordinates))
    except SolveError:  # it could be solved in the fit, perhaps with another engine
        return {}
    names = best.layer.system.states
    return {
        index: {name: Estimate(value=value) for name, value in zip(names, state.tolist(), strict=True)}
        for index, state in found.items()
    }


class DenseTrajectories(NamedTuple):
    """The solutions of the fitted series at many times.

    trajectories: see `_dense_trajectory`. atol: the largest absolute tolerance of each state, (n,), if tolerances are
    automatic and the engine tells them. grazing_events, unlocated_jumps: see `Engine`. happened: in each series.
    """

    trajectories: Sequence[Dense | None]
    atol: Reals | None
    grazing_events: Sequence[str]
    unlocated_jumps: Sequence[str]
    happened: Sequence[Sequence[Happened]] = ()


def dense_trajectories(best: BestPoint) -> DenseTrajectories:
    """Solve each fitted series at many times."""
    found: list[tuple[Dense | None, Sequence[Happened]]] = []
    used: list[Reals] = []
    engine = best.layer.engine
    engine.grazing_events.clear()
    engine.unlocated_jumps.clear()
    for series in best.objective.fitted:
        found.append(_dense_trajectory(best, series))
        if best.layer.options.atol == AUTO and engine.atol_used is not None:
            used.append(engine.atol_used.max(axis=0))
    grazing = [event.name for event in best.layer.system.events if event.name in engine.grazing_events]
    grazing += sorted(engine.grazing_events.difference(grazing))  # comparisons at which rates jump
    atol = np.max(used, axis=0) if used else None
    happened = [events for _, events in found]
    return DenseTrajectories([dense for dense, _ in found], atol, grazing, sorted(engine.unlocated_jumps), happened)


def _dense_trajectory(best: BestPoint, series: SeriesSlice) -> tuple[Dense | None, Sequence[Happened]]:
    """Solve a series at `DENSE_POINTS` times, and twice at each dose, change and event, before and after it.

    Returns None if that fails or the time limit is reached; and the events that happened.
    """
    parameters, start = (values[series.index] for values in best.unknowns.values(best.coordinates))
    constants, protocols = best.unknowns.constants[series.index], best.objective.protocols
    grid, done = protocols.dense_grid(series.index, series.start, series.times[-1], DENSE_POINTS, parameters, constants)
    try:
        with torch.enable_grad():  # with the sensitivities, so that the solver takes the same steps as in the fit
            of_member = start.requires_grad_(), parameters.requires_grad_(), constants
            solution = best.layer.solve(grid, *of_member, done)
    except SolveError:  # max_steps was enough for the data's times, and is a little too low for these
        return None, ()
    except StopRequested as request:
        if request.reason != "time_limit":
            raise
        return None, ()
    drawn = protocols.drawn(grid, done, solution)
    inputs = best.layer.system.inputs
    seen = best.layer.seen_in_one(None, drawn.times, parameters.detach(), constants, drawn.done)
    model = best.layer.observe(drawn.times, drawn.states, parameters.detach(), constants, seen)
    dense = Dense(
        times=drawn.times.tolist(),
        states=lists(_by_state(best, drawn.states)),
        values=lists_with_null(model),
        inputs=lists({name: seen[name] for name in inputs}) if inputs else None,
        events=drawn.events or None,
    )
    return dense, drawn.happened


def _by_state(best: BestPoint, states: Tensor) -> dict[str, Tensor]:
    return dict(zip(best.layer.system.states, states.unbind(-1), strict=True))


def lists(tensors: Mapping[str, Tensor]) -> dict[str, list[float]]:
    """Return tensors as lists of numbers."""
    return {name: tensor.tolist() for name, tensor in tensors.items()}


def lists_with_null(tensors: Mapping[str, Tensor]) -> dict[str, list[float | None]]:
    """Return tensors as lists of numbers, with None for each number that is not finite."""
    return {
        name: [value if math.isfinite(value) else None for value in tensor.tolist()] for name, tensor in tensors.items()
    }
