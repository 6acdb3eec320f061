"""The solver: engine, method and device together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from odelib.problem.checks.raw import MistakeReport, as_object
from odelib.problem.solver import ABILITIES, METHODS, able_engines


def check_solver(raw: Mapping[str, Any], report: MistakeReport) -> None:
    """A combination of engine, method and device that does not exist is refused, with those that do."""
    solver = as_object(raw.get("solver"))
    engine, method, device = (solver.get(name, "auto") for name in ("engine", "method", "device"))
    if engine not in ("auto", *ABILITIES) or method not in ("auto", *METHODS) or device not in ("auto", "cpu", "cuda"):
        return  # the model says which word is not one
    if able_engines(engine, method, device):
        return
    if engine != "auto" and method not in ("auto", *ABILITIES[engine].methods):
        has = ", ".join(ABILITIES[engine].methods)
        report.add("/solver/method", f"the engine {engine!r} has no method {method!r}; it has {has}; or use 'auto'")
    else:
        engines = ", ".join(name for name in able_engines("auto", "auto", device))
        report.add("/solver/device", f"{device!r} goes with the engine {engines} and its methods")
