"""Enzymes, decays and reactions."""

from __future__ import annotations

from typing import Any

import numpy as np

from examples.problems.problem import Problem, Reals, Values, known, noise, positive, system
from examples.problems.simulating import lognormal, normal, poisson, simulated


def michaelis_menten() -> Problem:
    """Return progress curves from four amounts of substrate; the product is measured."""
    times = np.linspace(0.0, 30.0, 16).tolist()
    request = {
        "system": system({"S": "-Vmax*S/(Km + S)", "P": "Vmax*S/(Km + S)"}, "Vmax Km", observables={"P": "P"}),
        "experiments": [
            {"name": f"{amount} mM", "times": times, "initial_state": known({"S": amount})}
            for amount in (0.5, 1.0, 2.0, 4.0)
        ],
        "parameters": positive({"Vmax": 0.5, "Km": 0.3}),
        "initial_state": known({"S": 1.0, "P": 0.0}),
        "noise": noise("normal", "P"),
    }

    def slope(_t: float, y: Reals, v: Values) -> list[float]:
        speed = v["Vmax"] * y[0] / (v["Km"] + y[0])
        return [-speed, speed]

    problem = Problem(
        "Michaelis–Menten, 4 progress curves", "usual values", request, slope, {"Vmax": 0.2, "Km": 1.0},
        lambda y, v: [y[1]],
    )  # fmt: skip
    return simulated(problem, "P", 13, normal(0.03))


def product_inhibition() -> Problem:
    """Return an enzyme that its product inhibits: triplicates, one experiment with product from the start."""
    times = np.repeat(np.linspace(0.0, 40.0, 9), 3).tolist()
    equation = "Vmax*S/(Km*(1 + P/Ki) + S)"
    request = {
        "system": system({"S": f"-{equation}", "P": equation}, "Vmax Km Ki"),
        "experiments": [
            {"name": "substrate", "times": times, "initial_state": known({"S": 5.0, "P": 0.0})},
            {"name": "both", "times": times, "initial_state": known({"S": 5.0, "P": 3.0})},
        ],
        "parameters": positive({"Vmax": 1.0, "Km": 3.0, "Ki": 0.3}),
        "initial_state": known({"S": 5.0, "P": 0.0}),
        "noise": noise("normal", "S P"),
    }

    def slope(_t: float, y: Reals, v: Values) -> list[float]:
        speed = v["Vmax"] * y[0] / (v["Km"] * (1 + y[1] / v["Ki"]) + y[0])
        return [-speed, speed]

    problem = Problem(
        "Product inhibition, triplicates", "usual values", request, slope, {"Vmax": 0.5, "Km": 1.0, "Ki": 1.0}
    )
    return simulated(problem, "S P", 14, normal(0.05))


def radioactive_chain() -> Problem:
    """Return Bi-210 → Po-210 → Pb-206: Poisson counts of beta and alpha particles in one hour a day."""
    request = {
        "system": system(
            {"Bi": "-k1*Bi", "Po": "k1*Bi - k2*Po"}, "k1 k2",
            observables={"beta": "k1*Bi/24", "alpha": "k2*Po/24"},
        ),
        "data": {"times": np.linspace(0.5, 60.5, 31).tolist(), "start_time": 0.0},
        "parameters": positive({"k1": 0.3, "k2": 0.01}),
        "initial_state": positive({"Bi": 2e5, "Po": 1e4}),
        "noise": {name: {"distribution": "poisson"} for name in ("beta", "alpha")},
    }  # fmt: skip
    problem = Problem(
        "Radioactive chain, counts",
        "half-lives of 5.01 and 138.4 days",
        request,
        lambda _t, y, v: [-v["k1"] * y[0], v["k1"] * y[0] - v["k2"] * y[1]],
        {"k1": float(np.log(2) / 5.01), "k2": float(np.log(2) / 138.4), "Bi": 1e5, "Po": 2e4},
        lambda y, v: [v["k1"] * y[0] / 24, v["k2"] * y[1] / 24],
    )
    return simulated(problem, "beta alpha", 15, poisson)


def hiv() -> Problem:
    """Return the decay of HIV-1 under a protease inhibitor, with RNA in thousand copies/ml.

    Before the drug, production and clearance of virus are in balance. X is the number of infected cells times the
    virus that each produces in a day, so it is c·V at the start. Virus produced later (W) is not infectious.
    """
    request: dict[str, Any] = {
        "system": system(
            {"X": "delta*(c*V - X)", "V": "-c*V", "W": "X - c*W"}, "c delta V0", observables={"rna": "V + W"},
        ),
        "data": {"times": [0.0, 0.08, 0.17, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0]},
        "parameters": positive({"c": 1.0, "delta": 1.0, "V0": 100.0}),
        "initial_state": {"X": "c*V0", "V": "V0", "W": {"guess": 0.0, "fixed": True}},
        "noise": noise("lognormal", "rna"),
    }  # fmt: skip
    problem = Problem(
        "HIV dynamics",
        "mean rates of Perelson et al. (1996)",
        request,
        lambda _t, y, v: [v["delta"] * (v["c"] * y[1] - y[0]), -v["c"] * y[1], y[0] - v["c"] * y[2]],
        {"c": 3.07, "delta": 0.49, "V0": 216.0},
        lambda y, v: [y[1] + y[2]],
        lambda v: [v["c"] * v["V0"], v["V0"], 0.0],
    )
    return simulated(problem, "rna", 16, lognormal(0.1))


def robertson() -> Problem:
    """Return the stiff reactions of Robertson (1966), whose rates differ by nine decades."""
    request = {
        "system": system(
            {
                "A": "-k1*A + k3*B*C",
                "B": "k1*A - k3*B*C - k2*B**2",
                "C": "k2*B**2",
            },
            "k1 k2 k3",
        ),
        "data": {"times": [float(f"{t:.4g}") for t in np.logspace(-1.0, 4.0, 31)], "start_time": 0.0},
        "parameters": positive({"k1": 0.1, "k2": 1e7, "k3": 3e4}),
        "initial_state": known({"A": 1.0, "B": 0.0, "C": 0.0}),
        "noise": noise("lognormal", "A B C"),
    }

    def slope(_t: float, y: Reals, v: Values) -> list[float]:
        first, second, third = v["k1"] * y[0], v["k2"] * y[1] ** 2, v["k3"] * y[1] * y[2]
        return [third - first, first - third - second, second]

    problem = Problem("Robertson", "Robertson (1966)", request, slope, {"k1": 0.04, "k2": 3e7, "k3": 1e4})
    return simulated(problem, "A B C", 17, lognormal(0.05))
