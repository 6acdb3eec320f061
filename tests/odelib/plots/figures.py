"""Requests and results to draw, and readers of what was drawn."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from odelib.plots.time_series import Curve
from odelib.problem.checks.system import build_system
from odelib.problem.system import System, SystemDefinition

TIMES = [0.0, 0.5, 1.0]
PREY, PREDATOR = [1.0, None, 1.5], [2.0, 2.5, 3.0]


def request(**changes: Any) -> dict[str, Any]:
    return {
        "system": "lotka-volterra",
        "data": {"name": "hares", "times": TIMES, "values": {"prey": PREY, "predator": PREDATOR}},
        "parameters": {"alpha": 1.5, "beta": 1.0, "gamma": 1.0, "delta": 3.0},
        "initial_state": {"prey": 1.0, "predator": 1.0},
    } | changes


def result(*predictions: dict[str, Any]) -> dict[str, Any]:
    states = {"prey": [1.1, 1.2, 1.4], "predator": [2.1, 2.4, 3.1]}
    return {
        "loss": 2.125,
        "loss_parts": {"data": 2.125, "penalty": 0.0, "prior": 0.0},
        "observations": 5,
        "outcome": {"code": "step_limit", "message": "…"},
        "parameters": {"alpha": {"value": 1.507}, "beta": {"value": 1.0, "fixed": True}},
        "initial_state": {"prey": {"value": 1.1}, "predator": {"value": 2.1}},
        "stages": [],
        "trajectories": [
            {
                "name": "hares",
                "initial_state": {"prey": {"value": 1.1}, "predator": {"value": 2.1}},
                "times": TIMES,
                "states": states,
                "values": states,
                "residuals": {"prey": [-0.1, None, 0.1], "predator": [-0.1, 0.1, -0.1]},
                "dense": {"times": TIMES, "states": states, "values": states},
            }
        ],
        "predictions": list(predictions),
        "warnings": [],
        "statistics": {"r_squared": {}},
        "solver": {"engine": "torchdiffeq", "method": "dopri5", "device": "cpu"},
    }


def prediction(name: str, times: list[float]) -> dict[str, Any]:
    columns = {"prey": [float(i + 1) for i in range(len(times))], "predator": [2.0] * len(times)}
    start = {"prey": 6.0, "predator": 6.0}
    return {"name": name, "times": times, "initial_state": start, "states": columns, "values": columns}


def experiments(count: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """A request and a result with experiments `plot 0`, …, each a step above the one before."""
    asked, found = request(), result()
    del asked["data"]
    [trajectory] = found["trajectories"]
    names = [f"plot {i}" for i in range(count)]
    asked["experiments"] = [
        {"name": name, "times": TIMES, "values": {"prey": [float(i), None, i + 1.0]}} for i, name in enumerate(names)
    ]
    found["trajectories"] = [
        {**trajectory, "name": name, "residuals": {"prey": [0.1 * i, None, 0.0]}} for i, name in enumerate(names)
    ]
    return asked, found


def custom(states: int) -> System:
    names = [f"x{i}" for i in range(states)]
    return build_system(SystemDefinition(states=names, equations=dict.fromkeys(names, "1")))


def curve_of(system: System, label: str = "true") -> Curve:
    states = {name: [0.1, -0.2, 0.3] for name in system.states}
    return Curve(label, TIMES, states, {name: [1.0, 2.0, 3.0] for name in system.observables})


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))


def panel(figure: Figure, label: str, *, nth: int = 0) -> Axes:
    return [axes for axes in figure.get_axes() if axes.get_ylabel() == label and axes.name == "rectilinear"][nth]


def line(axes: Axes, label: str) -> tuple[list[float], list[float]]:
    [found] = [line for line in axes.get_lines() if line.get_label() == label]
    return list(found.get_xdata()), list(found.get_ydata())
