"""The same objectives computed with scipy only, without odelib.

Trajectories come from `solve_ivp` at tight tolerances, and likelihoods from `scipy.stats`. `least_squares` minimises
the loss with weights that are updated until nothing changes; if there are priors, `minimize` follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import stats
from scipy.optimize import least_squares, minimize, minimize_scalar

from examples.problems.problem import Problem, Reals, Values
from examples.problems.simulating import values_of

FAR = 1e6  # a residual if there is no solution
STEP = 1e-5  # of the finite differences, relative to max(|x|, 0.1)
ROUNDS = 50
STARTS = 3
SPREAD = 0.1  # of the starts around the true or published values, relative


@dataclass(frozen=True)
class Independent:
    """The objective of a problem as a function of the vector of all free unknowns, in logarithms on a log scale."""

    problem: Problem

    @cached_property
    def keys(self) -> list[tuple[int, str]]:
        """Return the free unknowns: the number of the series, or -1 if the series share the unknown, and the name."""
        request = self.problem.request
        free = [name for name, entry in request["parameters"].items() if is_free(entry)]
        keys = [(-1, name) for name in free if name not in request.get("per_experiment", [])]
        for number, series in enumerate(self.problem.series):
            initial = request["initial_state"] | series.get("initial_state", {})
            keys += [(number, name) for name in free if name in request.get("per_experiment", [])]
            keys += [(number, name) for name, entry in initial.items() if is_free(entry)]
        return keys

    def is_logarithmic(self, name: str) -> bool:
        """Return whether the request gives the unknown a log scale."""
        entry = (self.problem.request["parameters"] | self.problem.request["initial_state"])[name]
        return isinstance(entry, dict) and entry.get("scale") == "log"

    def vector(self, values: Values) -> Reals:
        """Return the vector of these values, which are the same for all series."""
        return np.array([np.log(values[n]) if self.is_logarithmic(n) else values[n] for _, n in self.keys])

    def named(self, vector: Reals) -> list[tuple[str, float]]:
        """Return the values of the unknowns in the request's units."""
        exact = [np.exp(x) if self.is_logarithmic(n) else x for (_, n), x in zip(self.keys, vector, strict=True)]
        return [(name, float(value)) for (_, name), value in zip(self.keys, exact, strict=True)]

    def pairs(self, vector: Reals) -> dict[str, tuple[Reals, Reals]]:
        """Return the measurements and the model's values of each observable. Raises `ArithmeticError`."""
        found: dict[str, list[tuple[Reals, Reals]]] = {}
        values = [value for _, value in self.named(vector)]
        for number, series in enumerate(self.problem.series):
            own = {n: value for (of, n), value in zip(self.keys, values, strict=True) if of in (-1, number)}
            model = self.problem.model(values_of(self.problem, series) | own, series)
            for (name, measured), column in zip(series["values"].items(), model, strict=True):
                found.setdefault(name, []).append((np.array(measured), column))
        return {
            name: (np.concatenate([one for one, _ in parts]), np.concatenate([one for _, one in parts]))
            for name, parts in found.items()
        }

    def loss(self, vector: Reals, sigmas: Mapping[str, float]) -> float:
        """Return the request's loss at these scales of the noise; infinite if there is no solution."""
        noise = self.problem.request.get("noise")
        try:
            pairs = self.pairs(vector)
        except ArithmeticError:
            return np.inf
        if noise is None:
            return float(sum(np.sum((measured - model) ** 2) for measured, model in pairs.values()))
        return self.prior(vector, sigmas) - sum(
            log_likelihood(noise[name], *pair, sigmas[name]) for name, pair in pairs.items()
        )

    def prior(self, vector: Reals, sigmas: Mapping[str, float]) -> float:
        """Return −log of the priors' densities."""
        request = self.problem.request
        entries = request["parameters"] | request["initial_state"]
        of_unknowns = [(entries[name], value) for name, value in self.named(vector)]
        of_scales = [(entry, sigmas[name]) for name, entry in request["noise"].items()]
        return -sum(
            log_prior(entry["prior"], value)
            for entry, value in of_unknowns + of_scales
            if isinstance(entry, dict) and "prior" in entry
        )

    def residuals(self, vector: Reals, sigmas: Mapping[str, float]) -> Reals:
        """Return residuals whose sum of squares, at these scales and weights, has the same minimum as the loss."""
        noise = self.problem.request.get("noise")
        try:
            pairs = self.pairs(vector)
        except ArithmeticError:
            return np.full(sum(len(v) for s in self.problem.series for v in s["values"].values()), FAR)
        return np.concatenate([
            residual(noise[name] if noise else {}, *pair)
            / deviation(noise[name] if noise else {}, pair[1], sigmas[name])
            for name, pair in pairs.items()
        ])  # fmt: skip

    def search(self, vector: Reals) -> float:
        """Return the loss at the end of a search from this point."""
        noise = self.problem.request.get("noise", {})
        sigmas = dict.fromkeys(self.problem.series[0]["values"], 1.0)
        weights: Reals | float = 1.0
        least = np.inf
        for _ in range(ROUNDS):
            vector = self.nearest(vector, sigmas, weights)
            pairs = self.pairs(vector)
            sigmas = {name: scale(noise.get(name, {}), *pair, sigmas[name]) for name, pair in pairs.items()}
            weights = np.concatenate([
                weight(noise.get(name, {}), *pair, sigmas[name]) for name, pair in pairs.items()
            ])  # fmt: skip
            before, least = least, min(least, self.loss(vector, sigmas))
            if not before - least > 1e-7 * abs(least):
                break
        return min(least, self.jointly(vector, sigmas)) if needs_joint_search(self.problem.request) else least

    def nearest(self, vector: Reals, sigmas: Mapping[str, float], weights: Reals | float) -> Reals:
        """Return the minimum of the sum of squares at these scales and weights, with central differences."""

        def weighted(x: Reals) -> Reals:
            return np.asarray(weights * self.residuals(x, sigmas))

        def slopes(x: Reals) -> Reals:
            steps = np.diag(STEP * np.maximum(np.abs(x), 0.1))
            return np.stack([(weighted(x + s) - weighted(x - s)) / (2 * s.sum()) for s in steps], axis=1)

        return np.asarray(least_squares(weighted, vector, slopes, x_scale="jac", xtol=1e-10, ftol=1e-10).x)

    def jointly(self, vector: Reals, sigmas: Mapping[str, float]) -> float:
        """Return the lowest loss over all unknowns and the logarithms of the scales together."""
        names = list(sigmas)

        def loss(both: Reals) -> float:
            return self.loss(both[len(names) :], dict(zip(names, np.exp(both[: len(names)]), strict=True)))

        both = np.concatenate([np.log(list(sigmas.values())), vector])
        for method in ("BFGS", "Nelder-Mead"):
            options: dict[str, Any] = {"maxiter": 2000} | ({"xatol": 1e-6, "fatol": 1e-6} if method != "BFGS" else {})
            both = minimize(loss, both, method=method, options=options).x
        return loss(both)

    def best(self) -> float:
        """Return the lowest loss from the true or published values and from points around them."""
        random = np.random.default_rng(0)
        begin = self.vector(self.problem.start)
        starts = [begin]
        for _ in range(STARTS - 1):
            apart = SPREAD * random.standard_normal(len(begin))
            logarithmic = np.array([self.is_logarithmic(name) for _, name in self.keys])
            starts.append(begin + apart * np.where(logarithmic, 1.0, np.maximum(np.abs(begin), 0.1)))
        return min(self.search(start) for start in starts)


def is_free(entry: Any) -> bool:
    """Return whether an entry of the request is fitted."""
    return not isinstance(entry, str) and not (isinstance(entry, dict) and entry.get("fixed", False))


def needs_joint_search(request: Mapping[str, Any]) -> bool:
    """Return whether least squares in turn with the scales end elsewhere: with priors, and with proportional noise."""
    has_priors = any(isinstance(entry, dict) and "prior" in entry for entry in request["parameters"].values())
    return has_priors or any("proportional" in entry for entry in request.get("noise", {}).values())


def log_prior(prior: Mapping[str, Any], value: float) -> float:
    """Return the logarithm of a prior's density."""
    if prior["distribution"] == "normal":
        return float(stats.norm.logpdf(value, prior["mean"], prior["standard_deviation"]))
    return float(stats.lognorm.logpdf(value, prior["sigma"], scale=prior["median"]))


def log_likelihood(noise: Mapping[str, Any], measured: Reals, model: Reals, sigma: float) -> float:
    """Return the log-likelihood of all measurements of one observable."""
    match noise["distribution"]:
        case "normal":
            return float(stats.norm.logpdf(measured, model, deviation(noise, model, sigma)).sum())
        case "lognormal":
            return float(stats.lognorm.logpdf(measured, sigma, scale=model).sum())
        case "student-t":
            return float(stats.t.logpdf(measured, 4, model, sigma).sum())
    return float(stats.poisson.logpmf(measured, model).sum())


def residual(noise: Mapping[str, Any], measured: Reals, model: Reals) -> Reals:
    """Return the residuals of one observable, not divided by its scale; for counts, deviance residuals."""
    match noise.get("distribution"):
        case "lognormal":
            return np.asarray(np.log(measured / np.maximum(model, 1e-300)))
        case "poisson":
            safe = np.maximum(model, 1e-300)
            counted = np.where(measured > 0, measured * np.log(np.maximum(measured, 1.0) / safe), 0.0)
            return np.asarray(np.sign(measured - model) * np.sqrt(2 * np.maximum(counted - measured + safe, 0.0)))
    return measured - model


def deviation(noise: Mapping[str, Any], model: Reals, sigma: float) -> Reals | float:
    """Return the scale of each value's noise. sigma: the estimated one, which may be the proportional part."""
    return np.hypot(noise["sigma"], sigma * model) if "proportional" in noise else sigma


def weight(noise: Mapping[str, Any], measured: Reals, model: Reals, sigma: float) -> Reals:
    """Return the root of each residual's weight, which is below 1 for outliers under Student's t."""
    if noise.get("distribution") != "student-t":
        return np.ones(len(measured))
    return np.asarray(np.sqrt(5 / (4 + ((measured - model) / sigma) ** 2)))


def scale(noise: Mapping[str, Any], measured: Reals, model: Reals, sigma: float) -> float:
    """Return the scale that maximises the likelihood of one observable at these residuals; 1 if it has no scale."""
    if not noise or noise["distribution"] == "poisson":
        return 1.0
    squares = residual(noise, measured, model) ** 2
    if "proportional" in noise:
        found = minimize_scalar(
            lambda scale: -log_likelihood(noise, measured, model, scale), bounds=(1e-6, 10.0), method="bounded"
        )
        return float(found.x)
    if noise["distribution"] != "student-t":
        return float(np.sqrt(squares.mean()))
    for _ in range(200):  # expectation–maximisation, starting from the previous scale
        sigma = float(np.sqrt(np.mean(squares * 5 / (4 + squares / sigma**2))))
    return sigma
