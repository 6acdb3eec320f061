"""The solver: an engine that has the method and runs on the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from odelib.problem.checks.raw import MistakeReport, as_list, as_object
from odelib.problem.solver import ABILITIES, METHODS, able_engines


def check_solver(raw: Mapping[str, Any], report: MistakeReport) -> None:
    """Check that some engine supports the combination of engine, method and device."""
    solver = as_object(raw.get("solver"))
    engine, method, device = (solver.get(name, "auto") for name in ("engine", "method", "device"))
    if engine not in ("auto", *ABILITIES) or method not in ("auto", *METHODS) or device not in ("auto", "cpu", "cuda"):
        return  # the model reports the invalid word
    needs_protocols = _needs_protocols(raw)
    if able_engines(engine, method, device, needs_protocols=needs_protocols):
        return
    if able_engines(engine, method, device):
        able = ", ".join(repr(name) for name in able_engines("auto", "auto", device, needs_protocols=True))
        on = f" on the device {device!r}" if device != "auto" else ""
        pointer = "/solver/method" if engine == "auto" else "/solver/engine"
        report.add(pointer, f"inputs, doses, changes, steady states and events need the engine {able}{on}")
        return
    if engine != "auto" and method not in ("auto", *ABILITIES[engine].methods):
        methods = ", ".join(ABILITIES[engine].methods)
        report.add("/solver/method", f"the engine {engine!r} has no method {method!r}; use 'auto' or one of {methods}")
    else:
        engines = " or ".join(repr(name) for name in able_engines("auto", "auto", device))
        report.add("/solver/device", f"the device {device!r} requires the engine {engines} and one of its methods")


def _needs_protocols(raw: Mapping[str, Any]) -> bool:
    """Whether the system has inputs or events, or anything was done in a series or prediction."""
    system = as_object(raw.get("system"))
    owners = [as_object(raw.get("data")), *map(as_object, as_list(raw.get("experiments")))]
    owners += map(as_object, as_list(raw.get("predictions")))
    done = ("doses", "changes", "steady_state")
    return bool(system.get("inputs") or system.get("events") or any(each.get(f) for each in owners for f in done))
