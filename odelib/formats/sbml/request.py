"""An SBML model → a fit request without data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from odelib.formats.model import initial_value, system_of
from odelib.formats.sbml.reading import read_sbml


def import_sbml(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The request that simulates a model, and notes. Raises `UnsupportedError`.

    The model's parameters are fixed at their values: whoever fits it frees those to be estimated. Sizes of compartments
    and constant species are constants.
    """
    model = read_sbml(path)
    used = model.used_names()
    constants = {
        name: value
        for name, value in model.values.items()
        if value is not None and name in used and name not in model.parameters
    }
    parameters = {name: model.values[name] for name in model.parameters if name in used}
    request = {
        "system": system_of(model, list(parameters), constants),
        "parameters": {name: {"guess": value, "fixed": True} for name, value in parameters.items()},
        "initial_state": {name: initial_value(tree) for name, tree in model.initial_state().items()},
    }
    return request, model.notes
