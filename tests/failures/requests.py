"""Requests for fits that behave in one particular way each."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.problems import reference


def decay(steps: int, **more: Any) -> dict[str, Any]:
    """Many quick steps, some 30 ms each."""
    return {
        "system": {"states": ["y"], "parameters": ["k"], "equations": {"y": "-k*y"}},
        "data": {"times": [0.0, 0.5, 1.0], "values": {"y": [1.0, 0.61, 0.37]}},
        "parameters": {"k": 0.2},
        "initial_state": {"y": 0.9},
        "stages": [{"kind": "adam", "steps": steps, "learning_rate": 1e-4}],
        "solver": {"engine": "torchdiffeq"},
        **more,
    }


def lorenz(engine: str) -> dict[str, Any]:
    """An expensive gradient, many of them: it never ends by itself within a test."""
    times = [0.05 * i for i in range(400)]
    return {
        "system": "lorenz",
        "data": {"times": times, "values": {"x": [1.0] * len(times)}},
        "parameters": {"sigma": 10.0, "rho": 28.0, "beta": 2.6667},
        "initial_state": {"x": 1.0, "y": 1.0, "z": 20.0},
        "stages": [{"kind": "adam", "steps": 100_000_000}],
        "solver": {"engine": engine},
    }


def seasons(cycles: float, stages: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Prey that breed faster and slower so often in a unit of time: the solver follows each cycle, so that a gradient
    takes long (some 0.1 s for 1,000 cycles), while the optimum is the plain system's."""
    times = np.linspace(0.0, 10.0, 101)
    states = reference("lotka-volterra", times, [1.0, 1.0], [1.5, 1.0, 1.0, 3.0])
    values = states + 0.1 * np.random.default_rng(0).standard_normal(states.shape)
    return {
        "system": {
            "states": ["prey", "predator"],
            "parameters": ["alpha", "beta", "gamma", "delta"],
            "constants": {"rhythm": 2 * np.pi * cycles},
            "equations": {
                "prey": "alpha*prey*(1 + sin(rhythm*t)) - beta*prey*predator",
                "predator": "gamma*prey*predator - delta*predator",
            },
        },
        "data": {"times": times.tolist(), "values": {"prey": values[:, 0].tolist(), "predator": values[:, 1].tolist()}},
        "parameters": {"alpha": 1.3, "beta": 1.2, "gamma": 1.2, "delta": 2.7},
        "initial_state": {name: {"guess": 1.0, "fixed": True} for name in ("prey", "predator")},
        "stages": stages,
        "solver": {"method": "dopri5", "rtol": 1e-11, "atol": 1e-12, "max_steps": 100_000_000},
        **more,
    }
