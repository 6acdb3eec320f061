"""Problems of DETEST (Hull, Enright, Fellen and Sedgwick, 1972): one or two of every class, as texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from tests.systems import Example

Array = NDArray[np.float64]


def _problem(initial_state: Sequence[float], *equations: str) -> Example:
    states = [f"y{i + 1}" for i in range(len(equations))]
    return Example(dict(zip(states, equations, strict=True)), dict(zip(states, initial_state, strict=True)), {}, END)


def _orbit(eccentricity: float) -> Example:
    e = eccentricity
    speed = ((1 + e) / (1 - e)) ** 0.5
    return _problem([1 - e, 0, 0, speed], "y3", "y4", "-y1/(y1**2 + y2**2)**1.5", "-y2/(y1**2 + y2**2)**1.5")


END = 20.0
PROBLEMS: Mapping[str, Example] = {
    "A3": _problem([1], "y1*cos(t)"),
    "A4": _problem([1], "y1/4*(1 - y1/20)"),
    "A5": _problem([4], "(y1 - t)/(y1 + t)"),
    "B1": _problem([1, 3], "2*(y1 - y1*y2)", "-(y2 - y1*y2)"),
    "B4": _problem(
        [3, 0, 0],
        "-y2 - y1*y3/sqrt(y1**2 + y2**2)",
        "y1 - y2*y3/sqrt(y1**2 + y2**2)",
        "y1/sqrt(y1**2 + y2**2)",
    ),
    "B5": _problem([0, 1, 1], "y2*y3", "-y1*y3", "-0.51*y1*y2"),
    "C1": _problem([1] + [0] * 9, "-y1", *(f"y{i - 1} - y{i}" for i in range(2, 10)), "y9"),
    "D1": _orbit(0.1),
    "D2": _orbit(0.3),
    "D3": _orbit(0.5),
    "D5": _orbit(0.9),
    "E2": _problem([2, 0], "y2", "(1 - y1**2)*y2 - y1"),
    "E5": _problem([0, 0], "y2", "sqrt(1 + y2**2)/(25 - t)"),
}


@cache
def solved(name: str, method: str, tolerance: float, outputs: int) -> Array:
    """A problem's states (T, n) by one of scipy's methods, at equally spaced times."""
    problem = PROBLEMS[name]
    rates = problem.rates()
    nothing = np.empty(0)
    solution = solve_ivp(
        lambda t, y: rates(t, y, nothing),
        (0, END),
        problem.state_values,
        method=method,
        rtol=tolerance,
        atol=tolerance,
        t_eval=np.linspace(0, END, outputs),
    )
    states: Array = solution.y.T
    return states


def exact(name: str, outputs: int) -> Array:
    """The states (T, n) to some 13 digits."""
    return solved(name, "DOP853", 3e-14, outputs)
