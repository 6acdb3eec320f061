"""The engines by name, and which one `auto` means."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from odelib.engines.base import Engine
from odelib.engines.torchdiffeq import TorchdiffeqEngine
from odelib.errors import FitError

ENGINES: Mapping[str, type[Engine]] = {TorchdiffeqEngine.name: TorchdiffeqEngine}


def choose(engine: str, method: str) -> tuple[type[Engine], str]:
    """The engine and the method's name for what was asked, `auto` resolved.

    Raises `ValueError` for a pair that does not exist, naming those that do.
    """
    if engine != "auto" and engine not in ENGINES:
        raise ValueError(f"engine={engine!r} does not exist; there are 'auto', {_quoted(ENGINES)}")
    chosen = ENGINES[TorchdiffeqEngine.name if engine == "auto" else engine]
    if method == "auto":
        return chosen, chosen.default_method
    if method not in chosen.methods:
        raise ValueError(
            f"the engine {chosen.name!r} has no method={method!r}; it has 'auto', {_quoted(chosen.methods)}"
        )
    return chosen, method


def choose_device(device: str) -> torch.device:
    """The torch device for `auto`, `cpu` or `cuda`.

    `auto` is the CPU: the reference engine's steps are single small operations, which a GPU only slows down.
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


def _quoted(names: object) -> str:
    return ", ".join(repr(name) for name in names)  # type: ignore[attr-defined]
