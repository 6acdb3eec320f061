"""The engines by name, the preferred one first, and which one `auto` means."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from odelib.engines.base import Engine
from odelib.engines.compiled.engine import CompiledEngine
from odelib.engines.torchdiffeq import TorchdiffeqEngine
from odelib.errors import FitError
from odelib.problem.solver import choose_engine

ENGINES: Mapping[str, type[Engine]] = {engine.name: engine for engine in (CompiledEngine, TorchdiffeqEngine)}


def choose(engine: str, method: str, device: str = "cpu") -> tuple[type[Engine], str]:
    """The engine and the method's name for what was asked, `auto` resolved: the compiled engine where it can.

    Raises `ValueError` for a combination that does not exist, naming those that do.
    """
    name, method = choose_engine(engine, method, device)
    return ENGINES[name], method


def choose_device(device: str) -> torch.device:
    """The torch device for `auto`, `cpu` or `cuda`.

    `auto` is the CPU: the steps of one trajectory are single small operations, which a GPU only slows down.
    Raises `FitError` for `cuda` where there is none: it never becomes `cpu` in silence.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise FitError(
            "no_gpu",
            "No GPU",
            "solver.device is 'cuda', and this machine has no GPU that torch can use; "
            "set solver.device to 'cpu' or 'auto', or run where there is one",
        )
    return torch.device("cpu" if device == "auto" else device)
