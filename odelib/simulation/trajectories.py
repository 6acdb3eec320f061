"""The trajectories of a request at its guesses, as a result has them."""

from __future__ import annotations

import math

import numpy as np
import torch

from odelib.arrays import Reals
from odelib.engines.base import StopCheck, never
from odelib.errors import SolveError
from odelib.objective.unknowns import Unknowns
from odelib.problem.request import FitProblem
from odelib.problem.resolved import ResolvedProblem, resolve
from odelib.result import Dense, Estimate, PredictionError, SimulatedTrajectory, SimulationResult, SolverUsed
from odelib.simulation.simulated_data import dense_grid, solve_series


def simulate_trajectories(problem: FitProblem, stop: StopCheck = never) -> SimulationResult:
    """Solve all series of a request at its guesses. A series that cannot be solved has an error in place of values.

    problem: from `parse_simulation`. stop: returns why to stop, or None. Raises `StopRequested`.

    >>> from odelib.problem.simulation import parse_simulation
    >>> decay = {"states": ["x"], "parameters": ["k"], "equations": {"x": "-k*x"}}
    >>> request = {"system": decay, "data": {"times": [0, 1]}, "parameters": {"k": 1.0}, "initial_state": {"x": 2.0}}
    >>> round(simulate_trajectories(parse_simulation(request)).trajectories[0].states["x"][1], 4)
    0.7358
    """
    resolved = resolve(problem)
    unknowns = Unknowns(resolved, torch.device("cpu"))
    methods: dict[str, None] = {}
    trajectories = [_trajectory(resolved, unknowns, index, stop, methods) for index in range(len(resolved.series))]
    used = SolverUsed(engine=resolved.engine, method="+".join(methods) or resolved.method, device="cpu")
    return SimulationResult(trajectories=trajectories, solver=used)


def _trajectory(
    problem: ResolvedProblem, unknowns: Unknowns, index: int, stop: StopCheck, methods: dict[str, None]
) -> SimulatedTrajectory:
    """Return the trajectory of a series, and add the methods that solved it to `methods`."""
    series = problem.series[index]
    dense_times = dense_grid(series)
    grid = np.union1d(dense_times, series.times)
    try:
        solved = solve_series(problem, unknowns, index, grid, stop)
    except SolveError as error:
        failure = PredictionError(code=error.code, detail=str(error))
        return SimulatedTrajectory(name=series.name, times=series.times, error=failure)
    methods.update(dict.fromkeys(solved.methods))
    at_data, at_dense = np.searchsorted(grid, series.times), np.searchsorted(grid, np.unique(dense_times))
    return SimulatedTrajectory(
        name=series.name,
        initial_state={name: Estimate(value=value) for name, value in solved.initial_state.items()},
        times=series.times,
        states={name: column[at_data].tolist() for name, column in solved.states.items()},
        values={name: _finite(column[at_data]) for name, column in solved.observables.items()},
        dense=Dense(
            times=grid[at_dense].tolist(),
            states={name: column[at_dense].tolist() for name, column in solved.states.items()},
            values={name: _finite(column[at_dense]) for name, column in solved.observables.items()},
        ),
    )


def _finite(column: Reals) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in column.tolist()]
