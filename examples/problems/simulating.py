"""Simulated measurements for a problem."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from examples.problems.problem import Problem, Reals, table

Noise = Callable[[np.random.Generator, Reals], Reals]


def simulated(problem: Problem, observables: str, seed: int, scatter: Noise) -> Problem:
    """Return the problem with measurements of the observables at its times.

    scatter: from the true values (T,) of one observable to the measured ones. A series' own values are its fixed
    initial values and constants; all others come from `problem.start`.
    """
    random = np.random.default_rng(seed)
    names = observables.split()

    def fill(series: dict[str, Any]) -> dict[str, Any]:
        truth = problem.model(values_of(problem, series), series)
        measured = {name: scatter(random, column) for name, column in zip(names, truth, strict=True)}
        return series | {"values": table(measured)}

    if "data" in problem.request:
        request = problem.request | {"data": fill(problem.request["data"])}
    else:
        request = problem.request | {"experiments": [fill(series) for series in problem.request["experiments"]]}
    return replace(problem, request=request)


def values_of(problem: Problem, series: Mapping[str, Any]) -> dict[str, float]:
    """Return the true values of a series by name: unknowns, fixed values and constants that are numbers."""
    entries = problem.request["parameters"] | problem.request["initial_state"] | series.get("initial_state", {})
    fixed = {name: entry["guess"] for name, entry in entries.items() if isinstance(entry, dict) and entry.get("fixed")}
    constants = problem.request["system"].get("constants", {}) | series.get("constants", {})
    numbers = {name: value for name, value in constants.items() if not isinstance(value, str)}
    return {**numbers, **problem.start, **fixed}


def normal(share: float) -> Noise:
    """Return normal noise with a fraction of each observable's standard deviation."""
    return lambda random, truth: truth + share * truth.std() * random.standard_normal(len(truth))


def lognormal(sigma: float) -> Noise:
    """Return lognormal noise."""
    return lambda random, truth: truth * np.exp(sigma * random.standard_normal(len(truth)))


def with_outliers(share: float, every: int) -> Noise:
    """Return normal noise that is ten times larger in one of `every` values."""

    def scatter(random: np.random.Generator, truth: Reals) -> Reals:
        size = np.where(np.arange(len(truth)) % every == every // 2, 10.0, 1.0)
        return np.asarray(truth + share * truth.std() * size * random.standard_normal(len(truth)))

    return scatter


def poisson(random: np.random.Generator, truth: Reals) -> Reals:
    """Return Poisson counts."""
    return np.asarray(random.poisson(truth), dtype=float)


def with_guesses(entries: Mapping[str, Any], guesses: Mapping[str, float]) -> dict[str, Any]:
    """Return entries of `parameters` or `initial_state` with these guesses; other entries are unchanged."""
    return {
        name: entry if name not in guesses else {**(entry if isinstance(entry, dict) else {}), "guess": guesses[name]}
        for name, entry in entries.items()
    }
