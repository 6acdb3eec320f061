"""Requests whose states are straight lines in time, which every solver computes exactly."""

from __future__ import annotations

from typing import Any

SYSTEM = {
    "states": ["z", "w"],
    "parameters": ["a", "b"],
    "constants": {"c": 1.0},
    "equations": {"z": "a*c", "w": "b"},
    "derived": {"double": "2*a", "dose": "a*c"},
}
TIMES = [0.0, 0.5, 1.0, 1.0, 2.0, 4.0]  # with a replicate
Z: list[float] = [12.0, 14.0, 13.0, 16.0, 20.0, 26.0]
W: list[float | None] = [3.0, None, 2.0, 4.0, None, 2.0]


def lines(**changes: Any) -> dict[str, Any]:
    """z(t) = z(0) + a·c·t and w(t) = w(0) + b·t, everything free."""
    request = {
        "system": SYSTEM,
        "data": {"times": TIMES, "values": {"z": Z, "w": W}},
        "parameters": {"a": 3.5, "b": 0.1},
        "initial_state": {"z": 11.0, "w": 2.5},
        "stages": [{"kind": "lbfgsb"}],
        "solver": {"rtol": 1e-12, "atol": 1e-14},
    }
    if "experiments" in changes:
        del request["data"]
    return request | changes


def held(**values: float) -> dict[str, dict[str, Any]]:
    """These unknowns, fixed."""
    return {name: {"guess": value, "fixed": True} for name, value in values.items()}


def evaluated(**changes: Any) -> dict[str, Any]:
    """As `lines`, with everything fixed unless the changes differ: z(t) = 11 + 3.5·c·t and w(t) = 2.5."""
    return lines(**({"parameters": held(a=3.5, b=0.0), "initial_state": held(z=11.0, w=2.5)} | changes))
