"""The engines by name, in order of preference, and which one serves a problem."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from odelib.engines.base import Engine
from odelib.engines.compiled.engine import CompiledEngine
from odelib.engines.torchdiffeq import TorchdiffeqEngine
from odelib.errors import FitError
from odelib.problem.solver import ABILITIES, choose_engine
from odelib.problem.system import System

ENGINES: Mapping[str, type[Engine]] = {engine.name: engine for engine in (CompiledEngine, TorchdiffeqEngine)}


def choose(engine: str, method: str, device: str = "cpu") -> tuple[type[Engine], str]:
    """The engine and the name of the method for a request's settings, `auto` resolved.

    Raises `ValueError` for a combination that does not exist, naming those that do.
    """
    name, method = choose_engine(engine, method, device)
    return ENGINES[name], method


def choose_for_sensitivities(engine: Engine, system: System, *, needs_protocols: bool) -> Engine:
    """The engine that computes the sensitivities of a system which `engine` solves. needs_protocols: see `Ability`.

    An engine without forward sensitivities is much slower at this than one that has them, so that such a one takes over
    unless the system is too large for it.
    """
    if engine.has_forward_sensitivities:
        return engine
    able = (chosen for name, chosen in ENGINES.items() if ABILITIES[name].has_protocols or not needs_protocols)
    for other in (chosen(system) for chosen in able if chosen.has_forward_sensitivities):
        try:
            other.prepare()
        except FitError:
            continue
        return other
    return engine


def choose_device(device: str) -> torch.device:
    """The torch device for `auto`, `cpu` or `cuda`.

    `auto` is the CPU: a GPU slows down the small operations of a single trajectory. Raises `FitError` for `cuda` on a
    machine without a GPU; it never falls back to the CPU.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise FitError(
            "no_gpu",
            "No GPU",
            "solver.device is 'cuda', but this machine has no GPU that torch can use; set solver.device to 'cpu' or "
            "'auto', or run on a machine with a GPU",
        )
    return torch.device("cpu" if device == "auto" else device)
