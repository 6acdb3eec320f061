"""Simulated data: what would be observed of a system, with noise where wanted, as the `data` of a request."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from odelib.arrays import Reals
from odelib.engines.layer import ODELayer
from odelib.errors import FieldError, ProblemError, SolveError
from odelib.objective.unknowns import Unknowns
from odelib.problem.catalogue import CATALOGUE, resolve_system
from odelib.problem.limits import Limits
from odelib.problem.request import FitProblem, parse_problem
from odelib.problem.resolved import resolve
from odelib.problem.series import MeasuredSeries
from odelib.problem.system import System
from odelib.result import Dense

RTOL, ATOL = 1e-10, 1e-12
DENSE_POINTS = 401


@dataclass(frozen=True)
class Simulation:
    """`data`: the series of a request, as JSON. `dense`: the solution itself on a fine grid, for drawing."""

    system: System
    data: dict[str, Any]
    dense: Dense


def simulate(request: Mapping[str, Any] | str, *, noise: float = 0.0, seed: int = 0) -> dict[str, Any]:
    """The `data` of `run_simulation`, ready to stand in a request."""
    return run_simulation(request, noise=noise, seed=seed).data


def run_simulation(request: Mapping[str, Any] | str, *, noise: float = 0.0, seed: int = 0) -> Simulation:
    """The only series of `run_simulations`; raises what that does, and `ProblemError` for experiments."""
    if isinstance(request, Mapping) and "experiments" in request:
        raise ProblemError(
            [FieldError("/experiments", "one series is simulated here; give data, or simulate them all")]
        )
    [simulation] = run_simulations(request, noise=noise, seed=seed)
    return simulation


def run_simulations(request: Mapping[str, Any] | str, *, noise: float = 0.0, seed: int = 0) -> list[Simulation]:
    """Solve a system at its guesses and observe it, once for each series.

    request: a catalogue name, for that system's example; or the body of a fit request, of which `data.values`
    may be left out (or `data` as a whole for plain `times`). Where values are given, the same observables are
    simulated and the same are missing. noise: standard deviation of normal noise on every value, by
    `numpy.random.default_rng(seed)`, series by series and observable by observable.

    Raises `ProblemError` for a request with mistakes, `SolveError` where it cannot be solved, `ValueError`
    for a noise that is none.
    """
    if not (math.isfinite(noise) and noise >= 0):
        raise ValueError(f"noise is a standard deviation, finite and not negative; {noise} is none")
    problem = _parse(_example(request) if isinstance(request, str) else dict(request))
    rng = np.random.default_rng(seed)
    return [_simulated(problem, index, noise, rng) for index in range(len(problem.series))]


def _simulated(problem: FitProblem, index: int, noise: float, rng: np.random.Generator) -> Simulation:
    series = problem.series[index]
    dense_times = np.linspace(series.start, series.times[-1], DENSE_POINTS)
    states, observed, grid = _solve(problem, index, np.union1d(dense_times, series.times))
    at_data, at_dense = np.searchsorted(grid, series.times), np.searchsorted(grid, np.unique(dense_times))
    values = {
        name: _like(observed[name][at_data] + noise * rng.standard_normal(len(series.times)), column)
        for name, column in series.values.items()
    }
    dense = Dense(
        times=grid[at_dense].tolist(),
        states={name: column[at_dense].tolist() for name, column in states.items()},
        values={name: column[at_dense].tolist() for name, column in observed.items()},
    )
    return Simulation(problem.resolved_system, _data_of(series, values), dense)


def _example(name: str) -> dict[str, Any]:
    example = resolve_system(name, Limits()).example
    if example is None:
        raise AssertionError(f"the catalogue's {name!r} has no example")
    return {
        "system": name,
        "parameters": dict(example.parameters),
        "initial_state": dict(example.initial_state),
        "times": list(example.times),
    }


def _parse(raw: dict[str, Any]) -> FitProblem:
    plain_times = "times" in raw
    if plain_times and "data" in raw:
        raise ProblemError([FieldError("/times", "give times or data, not both")])
    if plain_times:
        raw["data"] = {"times": raw.pop("times")}
    data = raw.get("data")
    if not isinstance(data, dict) or "values" in data:
        return parse_problem(raw)
    count = len(data["times"]) if isinstance(data.get("times"), list) else 0
    raw["data"] = data | {"values": {name: [0.0] * count for name in _observables(raw)}}
    try:
        return parse_problem(raw)
    except ProblemError as error:  # what it says of values, the caller has not written
        asked = [e for e in error.errors if not e.pointer.startswith("/data/values")]
        prefix = "/data" if plain_times else ""
        raise ProblemError([FieldError(e.pointer.removeprefix(prefix), e.detail) for e in asked]) from None


def _observables(raw: Mapping[str, Any]) -> list[str]:
    """The names of what can be observed, of a system that has not been checked yet."""
    system = raw.get("system")
    if isinstance(system, str):
        return list(CATALOGUE[system].observables) if system in CATALOGUE else []
    named = (system.get("observables") or system.get("states")) if isinstance(system, Mapping) else None
    return [name for name in named if isinstance(name, str)] if isinstance(named, list | dict) else []


def _solve(problem: FitProblem, index: int, times: Reals) -> tuple[dict[str, Reals], dict[str, Reals], Reals]:
    solver, system = problem.solver, problem.resolved_system
    layer = ODELayer(
        system,
        engine=solver.engine,
        rtol=min(solver.rtol, RTOL),
        atol=min(solver.atol, ATOL),
        max_steps=solver.max_steps,
        constants=problem.series[index].constants,
    )
    unknowns = Unknowns(resolve(problem), torch.device("cpu"))
    grid = torch.from_numpy(times)
    with torch.no_grad():
        parameters, initial_state = (values[index] for values in unknowns.values(unknowns.start))
        states = layer(grid, initial_state, parameters)
        observed = layer.observe(grid, states, parameters)
    columns = {name: column.numpy() for name, column in observed.items()}
    for column in columns.values():
        if not np.isfinite(column).all():
            raise SolveError("not_finite", float(times[~np.isfinite(column)][0]), solver.max_steps)
    return dict(zip(system.states, states.numpy().T, strict=True)), columns, times


def _like(simulated: Reals, measured: list[float | None]) -> list[float | None]:
    return [None if old is None else float(new) for new, old in zip(simulated, measured, strict=True)]


def _data_of(series: MeasuredSeries, values: dict[str, list[float | None]]) -> dict[str, Any]:
    """The series with other values; its sigmas and initial state, which belong to a measurement, left out."""
    kept = series.model_dump(mode="json", exclude={"values", "sigma", "initial_state"}, exclude_unset=True)
    return kept | {"values": values}
