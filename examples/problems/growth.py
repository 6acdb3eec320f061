"""Growth curves with outliers, fitted with Student's t."""

from __future__ import annotations

import numpy as np

from examples.problems.problem import Problem, Slope, noise, positive, system
from examples.problems.simulating import simulated, with_outliers


def logistic() -> Problem:
    """Return the growth of yeast: Carlson (1913) as fitted by Pearl (1927)."""
    return _curve(
        "Logistic growth, outliers",
        "values of Pearl (1927) for yeast",
        "r*x*(1 - x/K)",
        lambda _t, y, v: [v["r"] * y[0] * (1 - y[0] / v["K"])],
        {"r": 0.535, "K": 665.0, "x": 9.7},
        {"r": 1.0, "K": 400.0, "x": 20.0},
        18.0,
        seed=11,
    )


def gompertz() -> Problem:
    """Return the growth of a tumour."""
    return _curve(
        "Gompertz growth, outliers",
        "values of Laird (1964) for a tumour, rounded",
        "r*x*log(K/x)",
        lambda _t, y, v: [v["r"] * y[0] * np.log(v["K"] / y[0])],
        {"r": 0.25, "K": 12.0, "x": 0.1},
        {"r": 0.1, "K": 20.0, "x": 0.3},
        20.0,
        seed=12,
    )


def _curve(
    name: str,
    source: str,
    equation: str,
    slope: Slope,
    truth: dict[str, float],
    guess: dict[str, float],
    until: float,
    seed: int,
) -> Problem:
    request = {
        "system": system({"x": equation}, "r K"),
        "data": {"times": np.linspace(0.0, until, 41).tolist()},
        "parameters": positive({"r": guess["r"], "K": guess["K"]}),
        "initial_state": positive({"x": guess["x"]}),
        "noise": noise("student-t", "x"),
    }
    return simulated(Problem(name, source, request, slope, truth), "x", seed, with_outliers(0.03, every=8))
