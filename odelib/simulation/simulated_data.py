"""Simulated data: the observables of a system at given times, with noise if wanted, as the `data` of a request."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from odelib.arrays import Reals
from odelib.errors import FieldError, ProblemError, SolveError
from odelib.objective.unknowns import Unknowns
from odelib.problem.catalogue import resolve_system
from odelib.problem.limits import Limits
from odelib.problem.request import FitProblem
from odelib.problem.resolved import ResolvedProblem, resolve
from odelib.problem.series import MeasuredSeries
from odelib.problem.simulation import parse_simulation
from odelib.problem.system import System
from odelib.result import Dense
from odelib.simulation.series_solver import SeriesSolver


@dataclass(frozen=True)
class Simulation:
    """One simulated series.

    data: its measurements as JSON, ready for a request. dense: its trajectory without noise, on a fine time grid.
    """

    system: System
    data: dict[str, Any]
    dense: Dense


def simulate(request: Mapping[str, Any] | str, *, noise: float = 0.0, seed: int = 0) -> dict[str, Any]:
    """Simulate one series and return it as the `data` of a request. See `run_simulations`.

    >>> decay = {"states": ["x"], "parameters": ["k"], "equations": {"x": "-k*x"}}
    >>> request = {"system": decay, "parameters": {"k": 0.5}, "initial_state": {"x": 2.0}, "times": [0.0, 2.0]}
    >>> [round(value, 4) for value in simulate(request)["values"]["x"]]
    [2.0, 0.7358]
    """
    return run_simulation(request, noise=noise, seed=seed).data


def run_simulation(request: Mapping[str, Any] | str, *, noise: float = 0.0, seed: int = 0) -> Simulation:
    """Simulate one series. See `run_simulations`; also raises `ProblemError` for a request with experiments."""
    if isinstance(request, Mapping) and "experiments" in request:
        raise ProblemError(
            [FieldError("/experiments", "only one series can be simulated here: give `data`, or call run_simulations")]
        )
    [simulation] = run_simulations(request, noise=noise, seed=seed)
    return simulation


def run_simulations(request: Mapping[str, Any] | str, *, noise: float = 0.0, seed: int = 0) -> list[Simulation]:
    """Solve a system at its guesses and observe it, once for each series.

    Args:
        request: the name of a catalogue system, for its example; or the body of a fit request, in which `data.values`
            may be left out, or `times` may take the place of `data`. If it has values, the same observables are
            simulated, and the same values are missing.
        noise: the standard deviation of normal noise on every value, in the observables' units.
        seed: of `numpy.random.default_rng`, which draws the noise series by series, observable by observable.

    Raises `ProblemError` for an invalid request, `SolveError` if a trajectory cannot be computed or observed, and
    `ValueError` for an invalid `noise`.
    """
    if not (math.isfinite(noise) and noise >= 0):
        raise ValueError(f"noise must be a standard deviation, finite and at least 0, not {noise}")
    problem = resolve(_parse(_example(request) if isinstance(request, str) else dict(request)))
    unknowns = Unknowns(problem, torch.device("cpu"))
    rng = np.random.default_rng(seed)
    return [_simulate_series(problem, unknowns, index, noise, rng) for index in range(len(problem.series))]


def _simulate_series(
    problem: ResolvedProblem, unknowns: Unknowns, index: int, noise: float, rng: np.random.Generator
) -> Simulation:
    series, solver = problem.series[index], SeriesSolver(problem, unknowns, index)
    dense = solver.dense()
    _, at_data = solver.at_data()
    for solved in (dense, at_data):
        _check_finite(solved.observables, solved.times, problem.request.solver.max_steps)
    values = {
        name: _with_gaps(at_data.observables[name] + noise * rng.standard_normal(len(series.times)), measured)
        for name, measured in series.values.items()
    }
    drawn = Dense(
        times=dense.times.tolist(),
        states={name: column.tolist() for name, column in dense.states.items()},
        values={name: column.tolist() for name, column in dense.observables.items()},
        inputs={name: column.tolist() for name, column in dense.inputs.items()} or None,
        events=list(dense.events) or None,
    )
    return Simulation(problem.system, _data_of(series, values), drawn)


def _example(name: str) -> dict[str, Any]:
    """The request for the example of a catalogue system."""
    example = resolve_system(name, Limits()).example
    if example is None:
        raise AssertionError(f"the catalogue system {name!r} has no example")
    return {
        "system": name,
        "parameters": dict(example.parameters),
        "initial_state": dict(example.initial_state),
        "times": list(example.times),
    }


def _parse(raw: dict[str, Any]) -> FitProblem:
    """Validate a request in which `times` may take the place of `data`."""
    plain_times = "times" in raw
    if plain_times and "data" in raw:
        raise ProblemError([FieldError("/times", "give times or data, not both")])
    if plain_times:
        raw["data"] = {"times": raw.pop("times")}
    try:
        return parse_simulation(raw)
    except ProblemError as error:
        prefix = "/data" if plain_times else ""
        raise ProblemError([FieldError(e.pointer.removeprefix(prefix), e.detail) for e in error.errors]) from None


def _check_finite(observables: Mapping[str, Reals], times: Reals, max_steps: int) -> None:
    for column in observables.values():
        if not np.isfinite(column).all():
            raise SolveError("not_finite", float(times[~np.isfinite(column)][0]), max_steps)


def _with_gaps(simulated: Reals, measured: Sequence[float | None]) -> list[float | None]:
    """The simulated values, with None where the measured value is missing."""
    return [None if old is None else float(new) for new, old in zip(simulated, measured, strict=True)]


def _data_of(series: MeasuredSeries, values: dict[str, list[float | None]]) -> dict[str, Any]:
    """The series with other values, without its sigma and its initial state, which belong to the measurements."""
    kept = series.model_dump(mode="json", exclude={"values", "sigma", "initial_state"}, exclude_unset=True)
    return kept | {"values": values}
