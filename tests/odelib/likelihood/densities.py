"""Likelihoods, priors and penalty by scipy.stats, with which the tests compare odelib.

General tests run over `NOISES` and `PRIORS`: a new distribution is a line there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import minimize, minimize_scalar

Array = NDArray[np.float64]


# The logarithm of the density of measurements y around the model m, by distribution. noise: the request's entry.
NOISES: dict[str, Callable[[Mapping[str, Any], Array, Array, Any], Array]] = {
    "normal": lambda noise, y, m, sigma: stats.norm.logpdf(y, m, np.hypot(sigma, noise.get("proportional", 0.0) * m)),
    "lognormal": lambda noise, y, m, sigma: stats.lognorm.logpdf(y, sigma, scale=m),
    "laplace": lambda noise, y, m, sigma: stats.laplace.logpdf(y, m, sigma),
    "log-laplace": lambda noise, y, m, sigma: stats.loglaplace.logpdf(y, 1 / np.asarray(sigma), scale=m),
    "student-t": lambda noise, y, m, sigma: stats.t.logpdf(y, noise.get("degrees_of_freedom", 4.0), m, sigma),
    "poisson": lambda noise, y, m, sigma: stats.poisson.logpmf(y, m),
}

# An example of each prior's fields, and scipy's distribution by these.
PRIORS: dict[str, tuple[dict[str, float], Callable[[Mapping[str, float]], Any]]] = {
    "normal": ({"mean": 3.0, "standard_deviation": 0.7}, lambda of: stats.norm(of["mean"], of["standard_deviation"])),
    "lognormal": ({"median": 2.0, "sigma": 0.6}, lambda of: stats.lognorm(of["sigma"], scale=of["median"])),
    "laplace": ({"median": 3.0, "scale": 0.4}, lambda of: stats.laplace(of["median"], of["scale"])),
    "uniform": ({"lower": 0.5, "upper": 20.0}, lambda of: stats.uniform(of["lower"], of["upper"] - of["lower"])),
    "half-normal": ({"scale": 4.0}, lambda of: stats.halfnorm(scale=of["scale"])),
    "cauchy": ({"median": 3.0, "scale": 0.5}, lambda of: stats.cauchy(of["median"], of["scale"])),
    "half-cauchy": ({"scale": 2.0}, lambda of: stats.halfcauchy(scale=of["scale"])),
    "chi-square": ({"degrees_of_freedom": 5.0}, lambda of: stats.chi2(of["degrees_of_freedom"])),
    "exponential": ({"scale": 2.0}, lambda of: stats.expon(scale=of["scale"])),
    "gamma": ({"shape": 2.5, "scale": 1.5}, lambda of: stats.gamma(of["shape"], scale=of["scale"])),
    "log-laplace": ({"median": 3.0, "scale": 0.3}, lambda of: stats.loglaplace(1 / of["scale"], scale=of["median"])),
    "log-uniform": ({"lower": 0.1, "upper": 20.0}, lambda of: stats.loguniform(of["lower"], of["upper"])),
    "rayleigh": ({"scale": 2.0}, lambda of: stats.rayleigh(scale=of["scale"])),
}
PRIOR_ENTRIES: list[dict[str, Any]] = [{"distribution": name, **fields} for name, (fields, _) in PRIORS.items()]


def measured(
    noise: Mapping[str, Any], observed: Sequence[float] | Array, model: Sequence[float] | Array, sigma: Any
) -> float:
    """The negative log-likelihood of the measurements of one observable; sigma: one, or one for each."""
    y, m = np.asarray(observed, dtype=float), np.asarray(model, dtype=float)
    return -float(NOISES[noise["distribution"]](noise, y, m, sigma).sum())


def scipy_prior(entry: Mapping[str, Any]) -> Any:
    """scipy's distribution of a prior."""
    return PRIORS[entry["distribution"]][1](entry)


def prior(entry: Mapping[str, Any], x: float) -> float:
    """−log of a prior's density at x."""
    return -float(scipy_prior(entry).logpdf(x))


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
    """The scales to search under a prior: its support, but for the ends themselves, and not beyond 1e-7 and 100."""
    low, high = scipy_prior(entry).support()
    return max(low * (1 + 1e-12), 1e-7), min(high * (1 - 1e-12), 100.0)
