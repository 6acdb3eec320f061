"""The systems that a request may ask for by name, one file each. A new file is found without being listed."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping

from odelib.errors import FieldError, ProblemError
from odelib.problem.checks.system import build_system
from odelib.problem.limits import Limits
from odelib.problem.system import System, SystemDefinition

# The order in which clients have always seen these; any further systems follow by name.
_FIRST = ("lotka-volterra", "stuart-landau", "lorenz", "kuramoto")


def _find_systems() -> dict[str, System]:
    found: dict[str, System] = {}
    for file in pkgutil.iter_modules(__path__):
        system: System = importlib.import_module(f"{__name__}.{file.name}").SYSTEM
        if system.name in found:
            raise ValueError(f"two files of the catalogue define a system named {system.name!r}")
        found[system.name] = system
    names = [*_FIRST, *sorted(found.keys() - set(_FIRST))]
    return {name: found[name] for name in names}


CATALOGUE: Mapping[str, System] = _find_systems()


def resolve_system(choice: str | SystemDefinition, limits: Limits) -> System:
    """The catalogue's system, or the caller's definition checked. Raises `ProblemError`."""
    if isinstance(choice, SystemDefinition):
        return build_system(choice, limits=limits)
    if choice not in CATALOGUE:
        known = ", ".join(CATALOGUE)
        raise ProblemError(
            [FieldError("", f"no system {choice!r:.80} in the catalogue; it has {known}; or write a definition")]
        )
    return CATALOGUE[choice]
