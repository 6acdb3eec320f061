"""The systems that a request can name. Each is one file here, and a new file is found by itself."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping

from odelib.errors import FieldError, ProblemError
from odelib.problem.checks.system import build_system
from odelib.problem.limits import Limits
from odelib.problem.system import System, SystemDefinition

# These keep the order in which clients have always seen them; later systems follow by name.
_FIRST = ("lotka-volterra", "stuart-landau", "lorenz", "kuramoto")


def _find_systems() -> dict[str, System]:
    found: dict[str, System] = {}
    for file in pkgutil.iter_modules(__path__):
        system: System = importlib.import_module(f"{__name__}.{file.name}").SYSTEM
        if system.name in found:
            raise ValueError(f"two catalogue files define a system named {system.name!r}")
        found[system.name] = system
    names = [*_FIRST, *sorted(found.keys() - set(_FIRST))]
    return {name: found[name] for name in names}


CATALOGUE: Mapping[str, System] = _find_systems()


def resolve_system(choice: str | SystemDefinition, limits: Limits) -> System:
    """Return the catalogue system of this name, or build the system of a definition. Raises `ProblemError`."""
    if isinstance(choice, SystemDefinition):
        return build_system(choice, limits=limits)
    if choice not in CATALOGUE:
        names = ", ".join(CATALOGUE)
        detail = f"the catalogue has no system {choice!r:.80}; choose one of {names}, or write a definition"
        raise ProblemError([FieldError("", detail)])
    return CATALOGUE[choice]
