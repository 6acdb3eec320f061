"""Simulated problems with a term that the model does not know, for `bench.universal`.

Each is a request that a caller could send, without stages, and the truth about what its network has to learn.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from odelib.arrays import Reals

RateOf = Callable[[float, Reals], list[float]]
PREY_PREDATOR = 1.3, 0.9, 0.8, 1.8  # Rackauckas et al., Universal Differential Equations for Scientific ML (2020)
FIRST_PREY_PREDATOR = 0.44249296, 4.6280594
SPIRAL = np.array([[-0.1, 2.0], [-2.0, -0.1]])  # torchdiffeq's examples/ode_demo.py: y' = y³·A


@dataclass(frozen=True)
class Problem:
    """A request of a seed, and for each output of its networks the truth as a function of the inputs, (points, k)."""

    request: dict[str, Any]
    truth: Mapping[str, Callable[[Reals], Reals]]


def solved(rate: RateOf, start: tuple[float, ...] | list[float], times: Reals) -> Reals:
    """The states, (n, T), which start at the first of the times."""
    found = solve_ivp(rate, (times[0], times[-1]), start, t_eval=times, rtol=1e-10, atol=1e-12, method="LSODA")
    states: Reals = found.y
    return states


def lotka_volterra_rate(_: float, y: Reals) -> list[float]:
    """The rate of prey and predator."""
    alpha, beta, gamma, delta = PREY_PREDATOR
    return [alpha * y[0] - beta * y[0] * y[1], gamma * y[0] * y[1] - delta * y[1]]


def spiral_rate(_: float, y: Reals) -> list[float]:
    """The rate of the spiral."""
    rate: list[float] = (np.power(y, 3) @ SPIRAL).tolist()
    return rate


def _lotka_volterra_data(seed: int) -> dict[str, Any]:
    times = np.linspace(0, 3, 31)
    states = solved(lotka_volterra_rate, FIRST_PREY_PREDATOR, times)
    noise = 0.005 * states.mean(axis=1, keepdims=True) * np.random.default_rng(seed).normal(size=states.shape)
    prey, predator = (states + noise).tolist()
    return {
        "data": {"times": times.tolist(), "values": {"prey": prey, "predator": predator}},
        "initial_state": {"prey": prey[0], "predator": predator[0]},
        "predictions": [{"name": "later", "times": np.linspace(3, 20, 171).tolist()}],
        "seed": seed,
    }


def universal_lotka_volterra(seed: int) -> Problem:
    """Growth of prey and death of predators are known, what happens when they meet is not."""
    _, beta, gamma, _ = PREY_PREDATOR
    request = {
        "system": {
            "states": ["prey", "predator"],
            "constants": {"alpha": PREY_PREDATOR[0], "delta": PREY_PREDATOR[3]},
            "equations": {"prey": "alpha*prey + eaten", "predator": "born - delta*predator"},
            "networks": {"meeting": {"inputs": ["prey", "predator"], "outputs": ["eaten", "born"], "hidden": [8]}},
        },
        **_lotka_volterra_data(seed),
    }
    truth = {"eaten": lambda x: -beta * x[:, 0] * x[:, 1], "born": lambda x: gamma * x[:, 0] * x[:, 1]}
    return Problem(request, truth)


def neural_lotka_volterra(seed: int) -> Problem:
    """Nothing is known."""
    request = {
        "system": {
            "states": ["prey", "predator"],
            "equations": {"prey": "prey_rate", "predator": "predator_rate"},
            "networks": {
                "rates": {"inputs": ["prey", "predator"], "outputs": ["prey_rate", "predator_rate"], "hidden": [8]}
            },
        },
        **_lotka_volterra_data(seed),
    }
    names = ("prey_rate", "predator_rate")
    truth = {name: lambda x, i=i: np.array(lotka_volterra_rate(0.0, x.T)[i]) for i, name in enumerate(names)}
    return Problem(request, truth)


def pendulum(seed: int) -> Problem:
    """A pendulum with linear and quadratic friction, of which only the angle is measured."""

    def friction(velocity: Reals) -> Reals:
        force: Reals = -0.15 * velocity - 0.1 * velocity * np.abs(velocity)
        return force

    times = np.linspace(0, 10, 101)
    angle = solved(lambda _, y: [y[1], -9.81 * np.sin(y[0]) + float(friction(y[1]))], [1.5, 0.0], times)[0]
    noisy = angle + 0.01 * np.random.default_rng(seed).normal(size=angle.shape)
    request = {
        "system": {
            "states": ["angle", "velocity"],
            "equations": {"angle": "velocity", "velocity": "-9.81*sin(angle) + friction"},
            "networks": {"drag": {"inputs": ["velocity"], "outputs": ["friction"], "hidden": [8]}},
        },
        "data": {"times": times.tolist(), "values": {"angle": noisy.tolist()}},
        "initial_state": {"angle": 1.5, "velocity": {"guess": 0.0, "fixed": True}},
        "seed": seed,
    }
    return Problem(request, {"friction": lambda x: friction(x[:, 0])})


def bioreactor(seed: int) -> Problem:
    """Two batches of a culture whose growth rate falls again where there is much substrate (Haldane)."""

    def growth(substrate: Reals) -> Reals:
        rate: Reals = 0.5 * substrate / (0.5 + substrate + substrate**2 / 8)
        return rate

    def rate(_: float, y: Reals) -> list[float]:
        grown = float(growth(np.maximum(y[1], 0.0))) * y[0]
        return [grown, -2 * grown]

    times, rng = np.linspace(0, 24, 33), np.random.default_rng(seed)
    experiments = []
    for name, substrate in (("poor", 3.0), ("rich", 12.0)):
        states = solved(rate, [0.1, substrate], times)
        noisy = states + 0.01 * states.max(axis=1, keepdims=True) * rng.normal(size=states.shape)
        initial_state = {"biomass": 0.1, "substrate": substrate}
        experiments.append(
            {
                "name": name,
                "times": times.tolist(),
                "values": {"biomass": noisy[0].tolist(), "substrate": noisy[1].tolist()},
                "initial_state": {state: {"guess": value, "fixed": True} for state, value in initial_state.items()},
            }
        )
    request = {
        "system": {
            "states": ["biomass", "substrate"],
            "equations": {"biomass": "growth*biomass", "substrate": "-2*growth*biomass"},
            "networks": {"kinetics": {"inputs": ["substrate"], "outputs": ["growth"], "hidden": [8]}},
        },
        "experiments": experiments,
        "seed": seed,
    }
    return Problem(request, {"growth": lambda x: growth(x[:, 0])})


def epidemic(seed: int) -> Problem:
    """An SIR epidemic whose contact rate falls and rises again; only the infected are counted."""

    def contacts(t: Reals) -> Reals:
        rate: Reals = 0.4 - 0.25 / (1 + np.exp(-(t - 30) / 4)) + 0.15 / (1 + np.exp(-(t - 70) / 6))
        return rate

    def rate(t: float, y: Reals) -> list[float]:
        infected = float(contacts(np.array(t))) * y[0] * y[1]
        return [-infected, infected - 0.2 * y[1]]

    times = np.linspace(0, 120, 121)
    infected = solved(rate, [0.999, 0.001], times)[1]
    noisy = infected * np.exp(0.03 * np.random.default_rng(seed).normal(size=infected.shape))
    request = {
        "system": {
            "states": ["susceptible", "infected"],
            "equations": {
                "susceptible": "-contacts*susceptible*infected",
                "infected": "contacts*susceptible*infected - 0.2*infected",
            },
            "networks": {"behaviour": {"inputs": ["t"], "outputs": ["contacts"], "hidden": [8]}},
        },
        "data": {"times": times.tolist(), "values": {"infected": noisy.tolist()}},
        "noise": {"infected": {"distribution": "lognormal", "sigma": "estimate"}},
        "initial_state": {
            "susceptible": {"guess": 0.999, "fixed": True},
            "infected": {"guess": 0.001, "fixed": True},
        },
        "seed": seed,
    }
    return Problem(request, {"contacts": lambda x: contacts(x[:, 0])})


def clearance(seed: int) -> Problem:
    """Clearance as a function of body weight over 40 subjects, who differ by 10 % beside it in what is measured."""

    def log_clearance(weight: Reals) -> Reals:
        value: Reals = np.log(5 * (weight / 70) ** 0.75)
        return value

    rng = np.random.default_rng(seed)
    times = np.array([0.5, 1.0, 2.0, 4.0, 6.0, 8.0, 12.0, 18.0])
    experiments = []
    for i, weight in enumerate(rng.uniform(10, 110, size=40).tolist()):
        concentration = 10 * np.exp(-np.exp(log_clearance(np.array(weight))) / 40 * times)
        noisy = concentration * np.exp(0.1 * rng.normal(size=times.shape))
        experiments.append(
            {
                "name": f"subject {i}",
                "start_time": 0.0,
                "times": times.tolist(),
                "constants": {"weight": weight},
                "values": {"concentration": noisy.tolist()},
            }
        )
    request = {
        "system": {
            "states": ["concentration"],
            "constants": {"weight": 70.0},
            "equations": {"concentration": "-exp(log_clearance)/40*concentration"},
            "networks": {"clearance": {"inputs": ["weight"], "outputs": ["log_clearance"], "hidden": [8]}},
        },
        "experiments": experiments,
        "noise": {"concentration": {"distribution": "lognormal", "sigma": "estimate"}},
        "initial_state": {"concentration": {"guess": 10.0, "fixed": True}},
        "seed": seed,
    }
    return Problem(request, {"log_clearance": lambda x: log_clearance(x[:, 0])})


def spiral(seed: int) -> Problem:
    """The cubic spiral of torchdiffeq's demonstration, from one trajectory, with nothing known of the equations."""
    times = np.linspace(0, 25, 251)
    states = solved(spiral_rate, [2.0, 0.0], times)
    rng = np.random.default_rng(100 + seed)
    inside = rng.uniform(-1.0, 1.0, size=(10, 2))
    later = np.linspace(0, 10, 101)
    request = {
        "system": {
            "states": ["x", "y"],
            "equations": {"x": "x_rate", "y": "y_rate"},
            "networks": {
                "rates": {"inputs": ["x**3", "y**3"], "outputs": ["x_rate", "y_rate"], "hidden": [16]},
            },
        },
        "data": {"times": times.tolist(), "values": {"x": states[0].tolist(), "y": states[1].tolist()}},
        "initial_state": {"x": {"guess": 2.0, "fixed": True}, "y": {"guess": 0.0, "fixed": True}},
        "predictions": [
            {
                "name": f"inside {i}",
                "times": later.tolist(),
                "initial_state": {"x": x, "y": y},
                "values": dict(zip("xy", solved(spiral_rate, [x, y], later).tolist(), strict=True)),
            }
            for i, (x, y) in enumerate(inside.tolist())
        ],
        "seed": seed,
    }
    return Problem(request, {})


LYNX_HARE = Path(__file__).parent.parent / "examples" / "requests" / "lynx-hare.json"
LAST_FITTED_YEAR = 1914.0


def _lynx_hare() -> dict[str, Any]:
    """The request with its last years as a prediction with values, which neither fit nor training sees."""
    request: dict[str, Any] = json.loads(LYNX_HARE.read_text())
    times, values = request["data"]["times"], request["data"]["values"]
    count = sum(time <= LAST_FITTED_YEAR for time in times)
    request["data"] |= {"times": times[:count], "values": {name: column[:count] for name, column in values.items()}}
    later = {"name": "later", "times": times[count:], "values": {name: c[count:] for name, c in values.items()}}
    noise = {name: {"distribution": "lognormal", "sigma": "estimate"} for name in values}
    return request | {"predictions": [later], "noise": noise}


def mechanistic_lynx_hare(_: int) -> Problem:
    """Measured lynx and hares by Lotka and Volterra."""
    return Problem(_lynx_hare(), {})


def universal_lynx_hare(seed: int) -> Problem:
    """The same with a network for what happens when they meet."""
    request = _lynx_hare() | {"seed": seed}
    request["system"] = {
        "states": ["prey", "predator"],
        "parameters": ["alpha", "delta"],
        "equations": {"prey": "prey*(alpha + eaten)", "predator": "predator*(born - delta)"},
        "networks": {
            "meeting": {"inputs": ["log(prey)", "log(predator)"], "outputs": ["eaten", "born"], "hidden": [8]}
        },
    }
    request["parameters"] = {name: request["parameters"][name] for name in ("alpha", "delta")}
    return Problem(request, {})


PROBLEMS: Mapping[str, Callable[[int], Problem]] = {
    "universal Lotka-Volterra": universal_lotka_volterra,
    "neural Lotka-Volterra": neural_lotka_volterra,
    "pendulum": pendulum,
    "bioreactor": bioreactor,
    "epidemic": epidemic,
    "clearance": clearance,
    "spiral": spiral,
    "mechanistic lynx-hare": mechanistic_lynx_hare,
    "universal lynx-hare": universal_lynx_hare,
}
