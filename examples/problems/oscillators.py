"""Oscillators."""

from __future__ import annotations

from typing import Any

import numpy as np

from examples.problems.problem import Problem, Reals, Values, known, noise, positive, system
from examples.problems.simulating import normal, simulated


def _measured(until: float, count: int) -> dict[str, Any]:
    return {"times": [float(f"{t:.6g}") for t in np.linspace(0.0, until, count)]}


def fitzhugh_nagumo() -> Problem:
    """Return the voltage and recovery of a nerve cell."""
    request = {
        "system": system({"v": "c*(v - v**3/3 + w)", "w": "-(v - a + b*w)/c"}, "a b c"),
        "data": _measured(20.0, 101),
        "parameters": {"a": 0.5, "b": 0.5, "c": {"guess": 5.0, "scale": "log"}},
        "initial_state": {"v": -0.5, "w": 0.5},
        "noise": noise("normal", "v w"),
    }
    problem = Problem(
        "FitzHugh–Nagumo",
        "Ramsay et al. (2007)",
        request,
        lambda _t, y, v: [v["c"] * (y[0] - y[0] ** 3 / 3 + y[1]), -(y[0] - v["a"] + v["b"] * y[1]) / v["c"]],
        {"a": 0.2, "b": 0.2, "c": 3.0, "v": -1.0, "w": 1.0},
    )
    return simulated(problem, "v w", 21, normal(0.1))


def goodwin() -> Problem:
    """Return a gene that its product represses, with all three substances measured."""
    request = {
        "system": system(
            {"x": "a/(1 + z**h) - k1*x", "y": "b*x - k2*y", "z": "c*y - k3*z"}, "a b c k1 k2 k3",
            constants={"h": 10.0},
        ),
        "data": _measured(100.0, 101),
        "parameters": positive({"a": 2.0, "b": 0.6, "c": 1.5, "k1": 0.15, "k2": 0.07, "k3": 0.15}),
        "initial_state": positive({"x": 0.2, "y": 1.0, "z": 1.0}),
        "noise": noise("normal", "x y z"),
    }  # fmt: skip
    problem = Problem(
        "Goodwin",
        "Goodwin (1965), exponent 10",
        request,
        lambda _t, y, v: [
            v["a"] / (1 + y[2] ** 10) - v["k1"] * y[0],
            v["b"] * y[0] - v["k2"] * y[1],
            v["c"] * y[1] - v["k3"] * y[2],
        ],
        {"a": 1.0, "b": 1.0, "c": 1.0, "k1": 0.1, "k2": 0.1, "k3": 0.1, "x": 0.3, "y": 0.9, "z": 1.3},
    )
    return simulated(problem, "x y z", 22, normal(0.05))


def repressilator() -> Problem:
    """Return three genes in a ring, each repressing the next; the proteins are measured, the mRNAs are not."""
    ring = {1: 3, 2: 1, 3: 2}
    equations = {f"m{i}": f"-m{i} + alpha/(1 + p{ring[i]}**n) + alpha0" for i in ring}
    equations |= {f"p{i}": f"-beta*(p{i} - m{i})" for i in ring}

    def slope(_t: float, y: Reals, v: Values) -> list[float]:
        messengers, proteins = y[:3], y[3:]
        made = v["alpha"] / (1 + np.maximum(proteins[[2, 0, 1]], 0.0) ** v["n"]) + v["alpha0"] - messengers
        return [*made, *(-v["beta"] * (proteins - messengers))]

    request = {
        "system": system(equations, "alpha0 n beta alpha", observables={f"p{i}": f"p{i}" for i in ring}),
        "data": _measured(20.0, 51),
        "parameters": positive({"alpha0": 2.0, "n": 1.5, "beta": 3.0, "alpha": 500.0}),
        "initial_state": known({"m1": 0.0, "m2": 0.0, "m3": 0.0, "p1": 2.0, "p2": 1.0, "p3": 3.0}),
        "noise": noise("normal", "p1 p2 p3"),
    }
    problem = Problem(
        "Repressilator",
        "Elowitz and Leibler (2000), Toni et al. (2009)",
        request,
        slope,
        {"alpha0": 1.0, "n": 2.0, "beta": 5.0, "alpha": 1000.0},
        lambda y, v: list(y[3:]),
    )
    return simulated(problem, "p1 p2 p3", 23, normal(0.1))


def pendulum() -> Problem:
    """Return a damped pendulum released from a large angle; only the angle is measured."""
    request = {
        "system": system(
            {"theta": "omega", "omega": "-g/length*sin(theta) - damping*omega"}, "length damping",
            constants={"g": 9.81}, observables={"theta": "theta"},
        ),
        "data": _measured(10.0, 101),
        "parameters": positive({"length": 2.0, "damping": 0.1}),
        "initial_state": {"theta": 2.0, "omega": 0.0},
        "noise": noise("normal", "theta"),
    }  # fmt: skip
    problem = Problem(
        "Pendulum, angle alone",
        "1 m",
        request,
        lambda _t, y, v: [y[1], -9.81 / v["length"] * np.sin(y[0]) - v["damping"] * y[1]],
        {"length": 1.0, "damping": 0.2, "theta": 2.5, "omega": 0.0},
        lambda y, v: [y[0]],
    )
    return simulated(problem, "theta", 24, normal(0.05))


def lorenz() -> Problem:
    """Return a chaotic system of which one of three states is measured; y and z are inferred."""
    request = {
        "system": system(
            {"x": "sigma*(y - x)", "y": "x*(rho - z) - y", "z": "x*y - beta*z"}, "sigma rho beta",
            observables={"x": "x"},
        ),
        "data": _measured(5.0, 101),
        "parameters": positive({"sigma": 7.0, "rho": 35.0, "beta": 2.0}),
        "initial_state": {"x": 1.0, "y": 1.0, "z": 5.0},
        "noise": noise("normal", "x"),
    }  # fmt: skip
    problem = Problem(
        "Lorenz, x alone",
        "Lorenz (1963)",
        request,
        lambda _t, y, v: [
            v["sigma"] * (y[1] - y[0]),
            y[0] * (v["rho"] - y[2]) - y[1],
            y[0] * y[1] - v["beta"] * y[2],
        ],
        {"sigma": 10.0, "rho": 28.0, "beta": 8 / 3, "x": 1.0, "y": 0.0, "z": 0.0},
        lambda y, v: [y[0]],
    )
    return simulated(problem, "x", 25, normal(0.05))
