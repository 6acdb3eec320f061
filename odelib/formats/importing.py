"""A file of another format → a fit request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from odelib.formats.errors import UnsupportedError
from odelib.formats.petab.request import import_petab
from odelib.formats.sbml.request import import_sbml

PETAB, SBML = (".yaml", ".yml"), (".xml", ".sbml")


def import_file(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The request that an SBML model or a PEtab problem describes, and notes for its reader.

    Raises `UnsupportedError` for a file of another kind, and for what a request cannot say.
    """
    suffix = path.suffix.lower()
    if suffix in PETAB:
        return import_petab(path)
    if suffix in SBML:
        return import_sbml(path)
    raise UnsupportedError(f"it ends in {suffix!r}; SBML models end in .xml, PEtab problems in .yaml")
