"""The problems of `bench.coverage`: true values, times and noise, and the request to fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from examples.problems.measured import theophylline
from examples.problems.problem import known
from examples.problems.simulating import with_guesses
from odelib.simulation.simulated_data import run_simulations

Reals = NDArray[np.float64]
STAGES = [{"kind": "least_squares"}]
# of a value with sigma: a measurement
SCATTER: Mapping[str, Callable[[np.random.Generator, Reals, float], Reals]] = {
    "normal": lambda random, value, sigma: value + sigma * random.standard_normal(len(value)),
    "lognormal": lambda random, value, sigma: value * np.exp(sigma * random.standard_normal(len(value))),
}


@dataclass(frozen=True)
class CoverageProblem:
    """A request without measurements, and the truth.

    body: of a request, with the series' times. truth: of the unknowns by name, the same in each series. sigma: the
    true scale of each observable's noise, which the fit estimates. predicted: for each prediction its name, its times
    and the series' name.
    """

    name: str
    body: Mapping[str, Any]
    truth: Mapping[str, float]
    distribution: str
    sigma: Mapping[str, float]
    predicted: tuple[tuple[str, tuple[float, ...], str], ...]

    @cached_property
    def at_truth(self) -> dict[str, Any]:
        """The body with the truth as guesses."""
        return {**self.body, **{part: with_guesses(self.body[part], self.truth) for part in ENTRIES}}

    @cached_property
    def series(self) -> list[dict[str, Any]]:
        """The series as they would be measured without noise."""
        return [one.data for one in run_simulations(self.at_truth)]

    @cached_property
    def true_predictions(self) -> list[dict[str, list[float]]]:
        """By observable the true values of each prediction."""
        found = []
        for _, times, name in self.predicted:
            series = next(one for one in self._given if one.get("name", "data") == name)
            begin = series.get("start_time", series["times"][0])
            asked = {k: v for k, v in series.items() if k != "values"} | {"times": list(times), "start_time": begin}
            body = {k: v for k, v in self.at_truth.items() if k not in ("experiments", "per_experiment")} | {
                "data": asked
            }
            (simulation,) = run_simulations(body)
            found.append(simulation.data["values"])
        return found

    @property
    def _given(self) -> list[dict[str, Any]]:
        return self.body.get("experiments") or [self.body["data"]]

    def request(self, random: np.random.Generator, uncertainty: str) -> dict[str, Any]:
        """A request with measurements, to be fitted from the truth."""
        scatter = SCATTER[self.distribution]
        series = [
            one | {"values": {
                name: scatter(random, np.array(values), self.sigma[name]).tolist()
                for name, values in one["values"].items()
            }}
            for one in self.series
        ]  # fmt: skip
        several = "experiments" in self.body
        return {
            **self.at_truth,
            **({"experiments": series} if several else {"data": series[0]}),
            "noise": {name: {"distribution": self.distribution, "sigma": "estimate"} for name in self.sigma},
            "predictions": [
                {"name": name, "times": list(times)} | ({"experiment": of} if several else {})
                for name, times, of in self.predicted
            ],
            "uncertainty": uncertainty,
            "stages": STAGES,
        }


ENTRIES = ("parameters", "initial_state")


def _lotka_volterra(name: str, distribution: str, sigma: float) -> CoverageProblem:
    truth = {"alpha": 1.5, "beta": 1.0, "gamma": 1.0, "delta": 3.0, "prey": 1.0, "predator": 1.0}
    return CoverageProblem(
        name,
        {
            "system": "lotka-volterra",
            "data": {"times": np.linspace(0.0, 10.0, 51).tolist()},
            "parameters": dict.fromkeys(("alpha", "beta", "gamma", "delta"), 1.0),
            "initial_state": {"prey": 1.0, "predator": 1.0},
        },
        truth,
        distribution,
        {"prey": sigma, "predator": sigma},
        (("later", (3.3, 7.7, 12.0, 15.0), "data"),),
    )


def _logistic() -> CoverageProblem:
    log = {"guess": 1.0, "scale": "log"}
    return CoverageProblem(
        "logistic",
        {
            "system": {"states": ["x"], "parameters": ["r", "K"], "equations": {"x": "r*x*(1 - x/K)"}},
            "data": {"times": np.linspace(0.0, 18.0, 19).tolist()},
            "parameters": {"r": log, "K": log},
            "initial_state": {"x": log},
        },
        {"r": 0.535, "K": 665.0, "x": 9.7},
        "normal",
        {"x": 20.0},
        (("later", (2.5, 7.5, 12.5, 25.0), "data"),),
    )


def _theophylline() -> CoverageProblem:
    """The subjects' doses and times, and for each of them rates and volume of its own, the truth being one."""
    problem = theophylline()
    body = {k: v for k, v in problem.request.items() if k != "noise"}
    bands = tuple((f"subject {n}", (0.8, 4.0, 18.0, 30.0), f"subject {n}") for n in (1, 5, 9))
    return CoverageProblem("Theophylline", body, problem.start, "normal", {"concentration": 0.7}, bands)


def _oxygen_demand_early() -> CoverageProblem:
    """The biochemical oxygen demand of Bates and Watts (1988), their estimates the truth, in two of its seven days.

    What all of it comes to must be guessed from how the curve bends: its estimate is skewed to the right.
    """
    positive = {"guess": 1.0, "lower": 0.0}
    return CoverageProblem(
        "oxygen demand, early",
        {
            "system": {
                "states": ["demand"],
                "parameters": ["total", "rate"],
                "equations": {"demand": "rate*(total - demand)"},
            },
            "data": {"times": np.linspace(0.04, 2.0, 50).round(2).tolist(), "start_time": 0.0},
            "parameters": {"total": positive, "rate": positive},
            "initial_state": known({"demand": 0.0}),
        },
        {"total": 19.143, "rate": 0.5311},
        "normal",
        {"demand": 2.549},
        (),
    )


def _logistic_early() -> CoverageProblem:
    """Carlson's yeast (1913) until it grows fastest: 8 of its 18 hours, so that the capacity is not yet seen."""
    positive = {"guess": 1.0, "lower": 0.0}
    return CoverageProblem(
        "logistic, early",
        {
            "system": {"states": ["x"], "parameters": ["r", "K"], "equations": {"x": "r*x*(1 - x/K)"}},
            "data": {"times": np.linspace(0.0, 8.0, 51).round(2).tolist()},
            "parameters": {"r": positive, "K": positive},
            "initial_state": {"x": positive},
        },
        {"r": 0.535, "K": 665.0, "x": 9.7},
        "normal",
        {"x": 20.0},
        (),
    )


def _lag() -> CoverageProblem:
    """A dose that is absorbed after a lag, which ends between two measurements: the rate of change jumps there."""
    input_rate = "where(t < lag, 0, 100*absorption/volume*exp(-absorption*(t - lag)))"
    positive = {"guess": 1.0, "lower": 0.0}
    return CoverageProblem(
        "lag of a dose",
        {
            "system": {
                "states": ["c"],
                "parameters": ["absorption", "elimination", "lag"],
                "constants": {"volume": 15.0},
                "equations": {"c": f"{input_rate} - elimination*c"},
            },
            "data": {"times": [0, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 12, 24]},
            "parameters": {"absorption": positive, "elimination": positive, "lag": positive | {"upper": 3.0}},
            "initial_state": known({"c": 0.0}),
        },
        {"absorption": 1.4, "elimination": 0.15, "lag": 0.6},
        "normal",
        {"c": 0.1},
        (),
    )


PROBLEMS = (
    _lotka_volterra("Lotka–Volterra, normal", "normal", 0.2),
    _lotka_volterra("Lotka–Volterra, lognormal", "lognormal", 0.2),
    _logistic(),
    _theophylline(),
)
# where the loss is no parabola within an interval
NONLINEAR = (_oxygen_demand_early(), _logistic_early())
# where an unknown moves a switching time
SWITCHING = (_lag(),)
