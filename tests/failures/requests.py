"""Requests for fits that behave in one particular way each."""

from __future__ import annotations

from typing import Any


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


def deaf(**more: Any) -> dict[str, Any]:
    """So large that one right-hand side takes many seconds, in which nobody looks whether to stop."""
    states = [f"x{i}" for i in range(400)]
    terms = [[f"sin({x}*{1 + i + 0.001 * j:.3f})" for j, x in enumerate(states[:150])] for i in range(len(states))]
    return {
        "system": {
            "states": states,
            "parameters": ["k"],
            "equations": {state: f"-k*{state}+" + "+".join(row) for state, row in zip(states, terms, strict=True)},
        },
        "data": {"times": [0.0, 1.0], "values": {"x0": [1.0, 0.5]}},
        "parameters": {"k": 1.0},
        "initial_state": dict.fromkeys(states, 0.1),
        "solver": {"engine": "torchdiffeq"},
        **more,
    }
