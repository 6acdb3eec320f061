"""The trajectories of a request at its guesses, as a result has them."""

from __future__ import annotations

import math

import torch

from odelib.arrays import Reals
from odelib.engines.base import StopCheck, never
from odelib.errors import SolveError
from odelib.objective.unknowns import Unknowns
from odelib.problem.request import FitProblem
from odelib.problem.resolved import ResolvedProblem, resolve
from odelib.result import Dense, Estimate, PredictionError, SimulatedTrajectory, SimulationResult, SolverUsed
from odelib.simulation.series_solver import SeriesSolver


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
    series, solver = problem.series[index], SeriesSolver(problem, unknowns, index, stop)
    try:
        dense = solver.dense()
        start, at_data = solver.at_data()
    except SolveError as error:
        failure = PredictionError(code=error.code, detail=str(error))
        return SimulatedTrajectory(name=series.name, times=series.times, error=failure)
    methods.update(dict.fromkeys(solver.methods))
    return SimulatedTrajectory(
        name=series.name,
        initial_state={name: Estimate(value=value) for name, value in start.items()},
        times=series.times,
        states={name: column.tolist() for name, column in at_data.states.items()},
        values={name: _finite(column) for name, column in at_data.observables.items()},
        dense=Dense(
            times=dense.times.tolist(),
            states={name: column.tolist() for name, column in dense.states.items()},
            values={name: _finite(column) for name, column in dense.observables.items()},
            inputs={name: column.tolist() for name, column in dense.inputs.items()} or None,
            events=list(dense.events) or None,
        ),
    )


def _finite(column: Reals) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in column.tolist()]
