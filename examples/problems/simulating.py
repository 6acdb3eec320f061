"""Fills a problem with simulated measurements."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from examples.problems.problem import Problem, Reals, table

Noise = Callable[[np.random.Generator, Reals], Reals]


def simulated(problem: Problem, observables: str, seed: int, scatter: Noise) -> Problem:
    """The problem with measurements of the observables at its times.

    scatter: of the true values (T,) of one observable the measured ones. What is each series' own is taken from
    its fixed initial values and constants, everything else from `problem.start`.
    """
    random = np.random.default_rng(seed)
    names = observables.split()

    def fill(series: dict[str, Any]) -> dict[str, Any]:
        times = np.array(series["times"])
        truth = problem.model(values_of(problem, series), series.get("start_time", times[0]), times)
        measured = {name: scatter(random, column) for name, column in zip(names, truth, strict=True)}
        return series | {"values": table(measured)}

    if "data" in problem.request:
        request = problem.request | {"data": fill(problem.request["data"])}
    else:
        request = problem.request | {"experiments": [fill(series) for series in problem.request["experiments"]]}
    return replace(problem, request=request)


def values_of(problem: Problem, series: Mapping[str, Any]) -> dict[str, float]:
    """True values of a series, by name: unknowns, fixed initial values and constants."""
    entries = problem.request["initial_state"] | series.get("initial_state", {})
    fixed = {name: entry["guess"] for name, entry in entries.items() if isinstance(entry, dict) and entry.get("fixed")}
    constants = problem.request["system"].get("constants", {}) | series.get("constants", {})
    return {**constants, **problem.start, **fixed}


def normal(share: float) -> Noise:
    """Normal noise with a share of each observable's standard deviation."""
    return lambda random, truth: truth + share * truth.std() * random.standard_normal(len(truth))


def lognormal(sigma: float) -> Noise:
    """Noise of the logarithm."""
    return lambda random, truth: truth * np.exp(sigma * random.standard_normal(len(truth)))


def with_outliers(share: float, every: int) -> Noise:
    """Normal noise in which every so many values are off by ten times as much."""

    def scatter(random: np.random.Generator, truth: Reals) -> Reals:
        size = np.where(np.arange(len(truth)) % every == every // 2, 10.0, 1.0)
        return np.asarray(truth + share * truth.std() * size * random.standard_normal(len(truth)))

    return scatter


def poisson(random: np.random.Generator, truth: Reals) -> Reals:
    """Counts."""
    return np.asarray(random.poisson(truth), dtype=float)


def with_guesses(entries: Mapping[str, Any], guesses: Mapping[str, float]) -> dict[str, Any]:
    """Entries of `parameters` or `initial_state` that start from these guesses; the others stay as they are."""
    return {
        name: entry if name not in guesses else {**(entry if isinstance(entry, dict) else {}), "guess": guesses[name]}
        for name, entry in entries.items()
    }
