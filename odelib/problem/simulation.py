"""A simulation: a fit request whose series need no measurements, solved at its guesses."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from odelib.errors import FieldError, ProblemError
from odelib.problem.catalogue import CATALOGUE
from odelib.problem.checks.series import located_series
from odelib.problem.limits import Limits
from odelib.problem.pointers import join
from odelib.problem.request import FitProblem, parse_problem

_PLACEHOLDER = 1.0  # a valid measurement under every distribution of noise


def parse_simulation(raw: Any, limits: Limits | None = None) -> FitProblem:
    """Validate a fit request whose series may have no `values`; placeholders then take their place.

    Raises `ProblemError` with all mistakes, also if the trajectories would have too many values.

    >>> decay = {"states": ["x"], "parameters": ["k"], "equations": {"x": "-k*x"}}
    >>> request = {"system": decay, "data": {"times": [0, 1]}, "parameters": {"k": 1.0}, "initial_state": {"x": 2.0}}
    >>> parse_simulation(request).data.values
    {'x': [1.0, 1.0]}
    """
    limits = limits or Limits()
    filled, placeholders = _with_placeholders(raw) if isinstance(raw, dict) else (raw, ())
    try:
        problem = parse_problem(filled, replace(limits, observations=sys.maxsize))
    except ProblemError as error:
        own = [mistake for mistake in error.errors if not mistake.pointer.startswith(placeholders)]
        raise ProblemError(own or error.errors) from None
    _check_size(problem, limits)
    if problem.solver.device == "cuda":
        raise ProblemError([FieldError("/solver/device", "simulations run on the CPU; use 'cpu' or 'auto'")])
    return problem


def _with_placeholders(raw: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the request with values in all series, and the pointers of those that were filled in."""
    places: list[str] = []

    def filled(base: str, series: Mapping[str, Any]) -> dict[str, Any]:
        if "values" in series:
            return dict(series)
        places.append(join(base, "values"))
        count = len(series["times"]) if isinstance(series.get("times"), list) else 0
        return {**series, "values": {name: [_PLACEHOLDER] * count for name in _observables(raw)}}

    if "data" not in raw and "experiments" not in raw:
        raw = raw | {"data": {}}  # so that its times are said to be missing, not measurements
    located = located_series(raw)
    new = {base: filled(base, series) for base, series in located}
    if "/data" in new and isinstance(raw.get("data"), dict):
        raw = raw | {"data": new["/data"]}
    elif isinstance(raw.get("experiments"), list):
        entries = [
            new[f"/experiments/{i}"] if isinstance(entry, dict) else entry for i, entry in enumerate(raw["experiments"])
        ]
        raw = raw | {"experiments": entries}
    return raw, tuple(places)


def _observables(raw: Mapping[str, Any]) -> list[str]:
    """Return the observables of a request that has not been validated yet: those with noise, or else all."""
    noise, system = raw.get("noise"), raw.get("system")
    if isinstance(noise, Mapping) and noise:
        return list(noise)
    if isinstance(system, str):
        return list(CATALOGUE[system].observables) if system in CATALOGUE else []
    named = (system.get("observables") or system.get("states")) if isinstance(system, Mapping) else None
    return [name for name in named if isinstance(name, str)] if isinstance(named, list | dict) else []


def _check_size(problem: FitProblem, limits: Limits) -> None:
    system = problem.resolved_system
    columns = max(len(system.states), len(system.observables))
    size = columns * sum(len(series.times) for series in problem.series)
    if size > limits.predicted_values:
        where = "/data/times" if problem.data else "/experiments"
        detail = f"at most {limits.predicted_values} values can be simulated, but {size} are asked for; use fewer times"
        raise ProblemError([FieldError(where, detail)])
