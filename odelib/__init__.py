"""Fit ordinary differential equations to time series: the numerics, useful alone.

    from odelib import FitProblem, ODELayer, fit

The public names are loaded on first use: importing `odelib` alone costs nothing, and who only validates
requests never loads torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from odelib.batches.fitting import fit_batch as fit_batch
    from odelib.engines.layer import ODELayer as ODELayer
    from odelib.errors import FitError as FitError
    from odelib.errors import OdelibError as OdelibError
    from odelib.errors import ProblemError as ProblemError
    from odelib.errors import SolveError as SolveError
    from odelib.fitting import fit as fit
    from odelib.monitor import Monitor as Monitor
    from odelib.problem.request import FitProblem as FitProblem
    from odelib.result import FitResult as FitResult
    from odelib.sparse_regression import explain as explain

_HOMES = {
    "FitError": "odelib.errors",
    "OdelibError": "odelib.errors",
    "ProblemError": "odelib.errors",
    "SolveError": "odelib.errors",
    "explain": "odelib.sparse_regression",
    "fit": "odelib.fitting",
    "fit_batch": "odelib.batches.fitting",
    "ODELayer": "odelib.engines.layer",
    "Monitor": "odelib.monitor",
    "FitProblem": "odelib.problem.request",
    "FitResult": "odelib.result",
}
__all__ = [
    "FitError",
    "FitProblem",
    "FitResult",
    "Monitor",
    "ODELayer",
    "OdelibError",
    "ProblemError",
    "SolveError",
    "explain",
    "fit",
    "fit_batch",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'odelib' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
