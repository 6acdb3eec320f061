"""The contract's likelihoods, priors and penalty by scipy.stats: what the tests compare odelib with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import minimize, minimize_scalar

Array = NDArray[np.float64]


def measured(
    noise: Mapping[str, Any], observed: Sequence[float] | Array, model: Sequence[float] | Array, sigma: Any
) -> float:
    """The negative log-likelihood of the measurements of one observable; sigma: one, or one for each."""
    y, m = np.asarray(observed, dtype=float), np.asarray(model, dtype=float)
    match noise["distribution"]:
        case "normal":
            spread = np.hypot(sigma, noise.get("proportional", 0.0) * m)
            return -float(stats.norm.logpdf(y, m, spread).sum())
        case "lognormal":
            return -float(stats.lognorm.logpdf(y, sigma, scale=m).sum())
        case "laplace":
            return -float(stats.laplace.logpdf(y, m, sigma).sum())
        case "student-t":
            return -float(stats.t.logpdf(y, noise.get("degrees_of_freedom", 4.0), m, sigma).sum())
        case "poisson":
            return -float(stats.poisson.logpmf(y, m).sum())
    raise AssertionError(noise)


def prior(entry: Mapping[str, Any], x: float) -> float:
    """−log of a prior's density at x."""
    match entry["distribution"]:
        case "normal":
            return -float(stats.norm.logpdf(x, entry["mean"], entry["standard_deviation"]))
        case "lognormal":
            return -float(stats.lognorm.logpdf(x, entry["sigma"], scale=entry["median"]))
        case "laplace":
            return -float(stats.laplace.logpdf(x, entry["median"], entry["scale"]))
        case "uniform":
            return -float(stats.uniform.logpdf(x, entry["lower"], entry["upper"] - entry["lower"]))
        case "half-normal":
            return -float(stats.halfnorm.logpdf(x, scale=entry["scale"]))
    raise AssertionError(entry)


def penalty(entry: Mapping[str, Any], values: Sequence[float], centres: Sequence[float]) -> float:
    """The penalty on these values; centres are 0 or the guesses."""
    distance = np.asarray(values) - np.asarray(centres)
    return float(entry.get("l1", 0) * np.abs(distance).sum() + entry.get("l2", 0) * np.square(distance).sum())


def concentrated_scales(
    noise: Mapping[str, Any], observed: Array, model: Array, sigma: Any = None
) -> tuple[dict[str, float], float]:
    """The estimated scales at which measurements and prior together cost least, and that cost.

    One scale is searched over a grid of its logarithm and then by golden section, two by a simplex.
    """
    names = [name for name in ("sigma", "proportional") if noise.get(name) == "estimate"]

    def cost(logarithms: Any) -> float:
        scales = dict(zip(names, np.exp(np.atleast_1d(logarithms)).tolist(), strict=True))
        value = measured({**noise, **scales}, observed, model, scales.get("sigma", sigma))
        return value + (prior(noise["prior"], scales[names[0]]) if "prior" in noise else 0.0)

    if len(names) == 1:
        low, high = support(noise["prior"]) if "prior" in noise else (1e-7, 100.0)
        grid = np.linspace(np.log(max(low, 1e-7)), np.log(min(high, 100.0)), 150)
        best = int(np.argmin([cost(x) for x in grid]))
        bounds = (grid[max(best - 1, 0)], grid[min(best + 1, 149)])
        found = minimize_scalar(cost, bounds=bounds, method="bounded", options={"xatol": 1e-11})
        best_of = min(grid[best], found.x, key=cost)  # golden section never meets an edge of the prior
        return {names[0]: float(np.exp(best_of))}, cost(best_of)
    ends = []
    for start in ([-1.0, -4.0], [-4.0, -1.0], [-2.0, -20.0]):
        at = np.array(start)
        for _ in range(3):
            at = minimize(cost, at, method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-13}).x
        ends.append(at)
    at = min(ends, key=cost)
    return dict(zip(names, np.exp(at).tolist(), strict=True)), cost(at)


def support(entry: Mapping[str, Any]) -> tuple[float, float]:
    """Between which values a prior of a scale is looked at."""
    return (
        (entry["lower"] * (1 + 1e-12), entry["upper"] * (1 - 1e-12))
        if entry["distribution"] == "uniform"
        else (1e-7, 100.0)
    )
