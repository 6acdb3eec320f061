"""Problems with known answers, which general tests run over: the article's, and the lynx–hare record."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from odelib.problem.catalogue import CATALOGUE

DATA = Path(__file__).parents[1] / "data"
ARTICLE = json.loads((DATA / "article-problems.json").read_text(encoding="utf-8"))["problems"]
LYNX_HARE_LOSS = 594.74

Array = NDArray[np.float64]


def lotka_volterra(_t: float, y: Array, alpha: float, beta: float, gamma: float, delta: float) -> list[float]:
    prey, predator = y
    return [alpha * prey - beta * prey * predator, gamma * prey * predator - delta * predator]


def stuart_landau(_t: float, y: Array, omega0: float, gamma: float, beta: float, K: float) -> list[float]:
    _, R = y
    return [
        omega0 + K / 2 * np.sin(beta) * (1 + R**2),
        -gamma * R + K / 2 * np.cos(beta) * R * (1 - R**2),
    ]


def kuramoto(_t: float, y: Array, omega0: float, gamma: float, beta: float, K: float) -> list[float]:
    _, R = y
    return [
        omega0 + K / 2 * np.sin(beta) * (1 + R**4),
        -gamma * R + K / 2 * np.cos(beta) * R * (1 - R**4),
    ]


def lorenz(_t: float, y: Array, sigma: float, rho: float, beta: float) -> list[float]:
    a, b, c = y
    return [sigma * (b - a), a * (rho - c) - b, a * b - beta * c]


RIGHT_HAND_SIDES = {  # written here again, so that the catalogue has something to be compared with
    "lotka-volterra": lotka_volterra,
    "stuart-landau": stuart_landau,
    "lorenz": lorenz,
    "kuramoto": kuramoto,
}


def window(system: str) -> float:
    """The time until which general tests solve a catalogue system from its example's initial state."""
    example = CATALOGUE[system].example
    assert example is not None
    return example.times[-1] / 2


def reference(system: str, times: Array, initial_state: list[float], parameters: list[float]) -> Array:
    """The states (T, n) by scipy's DOP853, an independent solver, at tight tolerances."""
    solution = solve_ivp(
        RIGHT_HAND_SIDES[system],
        (times[0], times[-1]),
        initial_state,
        t_eval=times,
        args=tuple(parameters),
        method="DOP853",
        rtol=1e-12,
        atol=1e-13,
    )
    states: Array = solution.y.T
    return states


@dataclass(frozen=True)
class KnownProblem:
    """A fit request whose true values are known, and the loss they have on its data."""

    request: dict[str, Any]
    truth: dict[str, float]
    standard_errors: dict[str, float]
    true_loss: float


ORDER = {
    "lotka-volterra": (["prey", "predator"], ["alpha", "beta", "gamma", "delta"]),
    "stuart-landau": (["psi", "R"], ["omega0", "gamma", "beta", "K"]),
    "lorenz": (["x", "y", "z"], ["sigma", "rho", "beta"]),
}


def article_problem(name: str, seed: int = 0) -> KnownProblem:
    """The article's problem with its guesses, on a draw of its data."""
    problem = ARTICLE[name]
    states, parameters = ORDER[name]
    truth = problem["truth"]
    grid = problem["times"]
    times = np.arange(grid["start"], grid["stop"] + grid["step"] / 2, grid["step"])
    true = reference(
        name, times, [truth["initial_state"][s] for s in states], [truth["parameters"][p] for p in parameters]
    )
    observed = true + problem["sigma"] * np.random.default_rng(seed).standard_normal(true.shape)
    if name != "lorenz":
        observed = np.abs(observed)
    return KnownProblem(
        request={
            "system": name,
            "data": {
                "times": times.tolist(),
                "values": {state: observed[:, i].tolist() for i, state in enumerate(states)},
            },
            **problem["guess"],
        },
        truth={**truth["parameters"], **truth["initial_state"]},
        standard_errors=problem["standard_errors"],
        true_loss=float(((observed - true) ** 2).sum()),
    )


def lynx_hare_request() -> dict[str, Any]:
    """The Hudson's Bay Company record with the guesses of the demonstration."""
    lines = [line for line in (DATA / "lynx-hare.csv").read_text(encoding="utf-8").splitlines() if line[0] != "#"]
    rows = list(csv.DictReader(lines))
    return {
        "system": "lotka-volterra",
        "data": {
            "times": [float(row["year"]) - 1900 for row in rows],
            "values": {
                "prey": [float(row["hare"]) for row in rows],
                "predator": [float(row["lynx"]) for row in rows],
            },
        },
        "parameters": {"alpha": 0.5, "beta": 0.025, "gamma": 0.025, "delta": 0.8},
        "initial_state": {"prey": 30.0, "predator": 4.0},
    }


def decay_request(**changes: Any) -> dict[str, Any]:
    """x(t) = 2·exp(−k·t) with k = 0.7, a little noise, k to be found from 0.4; cheap to solve."""
    times = [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    noise = [0.01, -0.02, 0.015, 0.0, -0.01, 0.02, -0.015]
    request = {
        "system": {"states": ["x"], "parameters": ["k"], "equations": {"x": "-k*x"}},
        "data": {
            "times": times,
            "values": {"x": [2 * float(np.exp(-0.7 * t)) + e for t, e in zip(times, noise, strict=True)]},
        },
        "parameters": {"k": 0.4},
        "initial_state": {"x": {"guess": 2.0, "fixed": True}},
        "stages": [{"kind": "lbfgsb", "steps": 50}],
    }
    return request | changes
