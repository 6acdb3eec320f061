"""Systems that general tests run over, each with values and a window short enough to be solved many times.

`rates` makes a plain Python function from the same texts, read by Python itself, for independent solvers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

Array = NDArray[Any]


@dataclass(frozen=True)
class Example:
    """A system with values: parameters and initial state in the order of the equations; solved from 0 to `end`."""

    equations: Mapping[str, str]
    initial_state: Mapping[str, float]
    parameters: Mapping[str, float]
    end: float

    @property
    def definition(self) -> dict[str, Any]:
        """As in a request."""
        return {
            "states": list(self.equations),
            "parameters": list(self.parameters),
            "equations": dict(self.equations),
        }

    @property
    def state_values(self) -> list[float]:
        return [self.initial_state[state] for state in self.equations]

    @property
    def parameter_values(self) -> list[float]:
        return list(self.parameters.values())

    def rates(self) -> Callable[[float, Array, Array], Array]:
        """f(t, states, parameters), also for complex values where the functions allow them."""
        return rates(self.equations, list(self.parameters))


_MEANING: Mapping[str, Any] = {
    **{
        name: getattr(np, name) for name in ("exp", "log", "log10", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh")
    },
    **{f"a{name}": getattr(np, f"arc{name}") for name in ("sin", "cos", "tan")},
    **{"erf": erf, "abs": abs, "min": min, "max": max, "pi": np.pi},
    "where": lambda condition, a, b: a if condition else b,
    "__builtins__": {},
}


def rates(equations: Mapping[str, str], parameters: list[str]) -> Callable[[float, Array, Array], Array]:
    """The right-hand side of equations as Python reads them."""
    names = list(equations)
    code = compile(f"({', '.join(equations.values())},)", "equations", "eval")

    def function(t: float, states: Array, values: Array) -> Array:
        known = dict(zip(names, states, strict=True)) | dict(zip(parameters, values, strict=True))
        return np.array(eval(code, {**_MEANING, "t": t, **known}))

    return function


def _enzyme_chain() -> dict[str, str]:
    """A chain of three reactions with feedback of the last product on the first."""
    return {
        "s": "feed/(1 + (p/inhibition)**hill) - v1*s/(k1 + s)",
        "m": "v1*s/(k1 + s) - v2*m/(k2 + m)",
        "p": "v2*m/(k2 + m) - loss*p",
    }


SYSTEMS: Mapping[str, Example] = {
    # oscillators
    "harmonic oscillator, damped": Example(
        {"x": "v", "v": "-w**2*x - 2*d*w*v"}, {"x": 1.0, "v": 0.3}, {"w": 2.0, "d": 0.1}, 4.0
    ),
    "pendulum": Example(
        {"a": "w", "w": "-g/l*sin(a) - c*w"}, {"a": 2.5, "w": 0.0}, {"g": 9.81, "l": 1.3, "c": 0.2}, 3.0
    ),
    "Duffing, driven": Example(
        {"x": "v", "v": "-d*v + x - b*x**3 + f*cos(w*t + pi/4)"},
        {"x": 0.5, "v": -0.2},
        {"d": 0.3, "b": 1.1, "f": 0.5, "w": 1.2},
        5.0,
    ),
    "van der Pol, mild": Example({"x": "v", "v": "mu*(1 - x**2)*v - x"}, {"x": 2.0, "v": 0.1}, {"mu": 1.5}, 5.0),
    "Rössler": Example(
        {"x": "-y - z", "y": "x + a*y", "z": "b + z*(x - c)"},
        {"x": 1.0, "y": -2.0, "z": 0.5},
        {"a": 0.2, "b": 0.2, "c": 5.7},
        4.0,
    ),
    "FitzHugh-Nagumo": Example(
        {"v": "v - v**3/3 - w + i", "w": "(v + a - b*w)/tau"},
        {"v": -1.0, "w": 1.0},
        {"i": 0.5, "a": 0.7, "b": 0.8, "tau": 12.5},
        8.0,
    ),
    # chemistry
    "Brusselator": Example(
        {"x": "a + x**2*y - (b + 1)*x", "y": "b*x - x**2*y"}, {"x": 1.2, "y": 3.0}, {"a": 1.0, "b": 2.8}, 5.0
    ),
    "Michaelis-Menten in full": Example(
        {"e": "-f*e*s + (r + c)*es", "s": "-f*e*s + r*es", "es": "f*e*s - (r + c)*es", "p": "c*es"},
        {"e": 1.0, "s": 5.0, "es": 0.0, "p": 0.0},
        {"f": 2.0, "r": 0.5, "c": 1.0},
        4.0,
    ),
    "glycolysis": Example(
        {"x": "-x + a*y + x**2*y", "y": "b - a*y - x**2*y"}, {"x": 0.8, "y": 1.0}, {"a": 0.08, "b": 0.6}, 8.0
    ),
    "enzymes with feedback": Example(
        _enzyme_chain(),
        {"s": 1.0, "m": 0.2, "p": 0.0},
        {"feed": 2.0, "inhibition": 0.7, "hill": 2.5, "v1": 3.0, "k1": 0.9, "v2": 2.2, "k2": 0.6, "loss": 0.8},
        4.0,
    ),
    "radioactive chain": Example(
        {"a": "-k1*a", "b": "k1*a - k2*b", "c": "k2*b - k3*c", "d": "k3*c"},
        {"a": 100.0, "b": 0.0, "c": 0.0, "d": 0.0},
        {"k1": 1.5, "k2": 0.4, "k3": 0.05},
        6.0,
    ),
    # epidemics and populations
    "SIR": Example(
        {"s": "-beta*s*i", "i": "beta*s*i - gamma*i", "r": "gamma*i"},
        {"s": 0.99, "i": 0.01, "r": 0.0},
        {"beta": 1.4, "gamma": 0.35},
        12.0,
    ),
    "SEIR with a lockdown": Example(
        {
            "s": "-where(t < 7, beta, q*beta)*s*i/n",
            "e": "where(t < 7, beta, q*beta)*s*i/n - sigma*e",
            "i": "sigma*e - gamma*i",
            "r": "gamma*i",
        },
        {"s": 990.0, "e": 7.0, "i": 3.0, "r": 0.0},
        {"beta": 1.1, "q": 0.4, "n": 1000.0, "sigma": 0.5, "gamma": 0.3},
        10.0,
    ),
    "HIV": Example(
        {"cells": "s - d*cells - b*cells*v", "sick": "b*cells*v - delta*sick", "v": "p*sick - c*v"},
        {"cells": 10.0, "sick": 0.0, "v": 0.1},
        {"s": 1.0, "d": 0.1, "b": 0.08, "delta": 0.5, "p": 4.0, "c": 2.5},
        6.0,
    ),
    "logistic with harvest": Example(
        {"n": "r*n*(1 - n/k) - h*min(n, 4)"}, {"n": 6.0}, {"r": 0.9, "k": 20.0, "h": 0.3}, 5.0
    ),
    "Gompertz": Example({"v": "-a*v*log(v/k)"}, {"v": 0.05}, {"a": 0.6, "k": 3.0}, 8.0),
    "predator-prey with saturation": Example(
        {"n": "r*n*(1 - n/k) - a*n*p/(1 + a*h*n)", "p": "e*a*n*p/(1 + a*h*n) - m*p"},
        {"n": 2.0, "p": 1.0},
        {"r": 1.0, "k": 8.0, "a": 0.9, "h": 0.5, "e": 0.6, "m": 0.4},
        6.0,
    ),
    "chemostat": Example(
        {"s": "d*(feed - s) - mu*s/(k + s)*x/y", "x": "(mu*s/(k + s) - d)*x"},
        {"s": 5.0, "x": 0.2},
        {"d": 0.2, "feed": 6.0, "mu": 0.7, "k": 1.2, "y": 0.5},
        8.0,
    ),
    # pharmacokinetics
    "one compartment, absorbed": Example(
        {"gut": "-ka*gut", "blood": "f*ka*gut/v - ke*blood"},
        {"gut": 100.0, "blood": 0.0},
        {"ka": 1.2, "ke": 0.25, "v": 30.0, "f": 0.8},
        8.0,
    ),
    "two compartments, infused": Example(
        {"blood": "rate*exp(-t) - (k10 + k12)*blood + k21*tissue", "tissue": "k12*blood - k21*tissue"},
        {"blood": 0.0, "tissue": 0.0},
        {"rate": 10.0, "k10": 0.3, "k12": 0.8, "k21": 0.5},
        6.0,
    ),
    # gene networks
    "toggle switch": Example(
        {"u": "a1/(1 + v**n1) - u", "v": "a2/(1 + u**n2) - v"},
        {"u": 0.0, "v": 1.0},  # zero to a power that is a parameter
        {"a1": 5.0, "n1": 2.5, "a2": 4.0, "n2": 2.0},
        4.0,
    ),
    "repressilator": Example(
        {
            **{f"m{i}": f"a/(1 + p{j}**n) + a0 - m{i}" for i, j in ((1, 3), (2, 1), (3, 2))},
            **{f"p{i}": f"b*(m{i} - p{i})" for i in (1, 2, 3)},
        },
        {"m1": 0.0, "m2": 1.0, "m3": 2.0, "p1": 0.0, "p2": 0.5, "p3": 3.0},
        {"a": 20.0, "n": 2.0, "a0": 0.1, "b": 1.5},
        4.0,
    ),
    "Goodwin": Example(
        {"x": "k1/(1 + (z/k)**n) - d1*x", "y": "k2*x - d2*y", "z": "k3*y - d3*z"},
        {"x": 0.0, "y": 0.2, "z": 2.0},
        {"k1": 1.0, "k": 1.1, "n": 9.0, "d1": 0.3, "k2": 0.9, "d2": 0.25, "k3": 0.8, "d3": 0.2},
        6.0,
    ),
    "gene switched on by what it makes": Example(
        {"x": "basal + v*x**n/(k**n + x**n) - d*x"},
        {"x": 0.0},
        {"basal": 0.2, "v": 3.0, "n": 3.0, "k": 0.9, "d": 0.7},
        5.0,
    ),
    # every function, away from its edges
    "all functions": Example(
        {
            "x": "a*tanh(y) + abs(x - 4)/5 - sinh(x/4)*cosh(y/5)/9 + erf(t - 1)/3 + sign(y + 9)/7 + floor(a + 7)/90",
            "y": "-b*x + asin(x/9) - acos(y/9)/3 + atan(x*y) + log10(t + 2) + tan(x/9) - max(x, 5, y)/9 + min(y, 8)/5",
            "z": "exp(-z**2) + sqrt(t + 1)*cos(x) - sin(z) + log(3 + x**2) - (-2 - sin(z))**3/20 + 2**-z + 1/x**-1",
        },
        {"x": 0.3, "y": -0.2, "z": 0.1},
        {"a": 1.1, "b": 0.7},
        2.0,
    ),
}


STIFF: Mapping[str, Example] = {
    "Robertson": Example(
        {
            "a": "-k1*a + k3*b*c",
            "b": "k1*a - k2*b**2 - k3*b*c",
            "c": "k2*b**2",
        },
        {"a": 1.0, "b": 0.0, "c": 0.0},
        {"k1": 0.04, "k2": 3e7, "k3": 1e4},
        100.0,
    ),
    "HIRES": Example(
        {
            "y1": "-k1*y1 + k2*y2 + k6*y3 + oks",
            "y2": "k1*y1 - (k2 + k3)*y2",
            "y3": "-(k6 + k1)*y3 + k2*y4 + k5*y5",
            "y4": "k3*y2 + k1*y3 - (k4 + k2)*y4",
            "y5": "-1.745*y5 + k2*(y6 + y7)",
            "y6": "-kp*y6*y8 + 0.69*y4 + k1*y5 - k2*y6 + 0.69*y7",
            "y7": "kp*y6*y8 - 1.81*y7",
            "y8": "-kp*y6*y8 + 1.81*y7",
        },
        {"y1": 1.0, "y2": 0.0, "y3": 0.0, "y4": 0.0, "y5": 0.0, "y6": 0.0, "y7": 0.0, "y8": 0.0057},
        {"k1": 1.71, "k2": 0.43, "k3": 8.32, "k4": 0.69, "k5": 0.035, "k6": 8.32, "kp": 280.0, "oks": 0.0007},
        20.0,
    ),
    "Oregonator": Example(
        {"x": "s*(y + x*(1 - q*x - y))", "y": "(z - (1 + x)*y)/s", "z": "w*(x - z)"},
        {"x": 1.0, "y": 2.0, "z": 3.0},
        {"s": 77.27, "q": 8.375e-6, "w": 0.161},
        30.0,
    ),
    "van der Pol, mu = 1000": Example(
        {"x": "v", "v": "mu*(1 - x**2)*v - x"}, {"x": 2.0, "v": 0.0}, {"mu": 1000.0}, 500.0
    ),
    "E5": Example(
        {
            "y1": "-a*y1 - b*y1*y3",
            "y2": "a*y1 - m*c*y2*y3",
            "y3": "a*y1 - b*y1*y3 - m*c*y2*y3 + c*y4",
            "y4": "b*y1*y3 - c*y4",
        },
        {"y1": 1.76e-3, "y2": 0.0, "y3": 0.0, "y4": 0.0},
        {"a": 7.89e-10, "b": 1.1e7, "c": 1.13e3, "m": 1e6},
        1000.0,
    ),
}
