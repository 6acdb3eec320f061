"""The penalty: it names unknowns that exist."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from odelib.problem.checks.raw import MistakeReport, as_object
from odelib.problem.checks.series import located_series
from odelib.problem.checks.system import DeclaredNames
from odelib.problem.pointers import join


def check_penalty(raw: Mapping[str, Any], declared: DeclaredNames, report: MistakeReport) -> None:
    """Check the `names` of `penalty`."""
    names = as_object(raw.get("penalty")).get("names")
    if not isinstance(names, list):
        return
    known = {**declared.parameters, **declared.states}
    for i, name in enumerate(names):
        if not isinstance(name, str):
            continue
        pointer = join("/penalty/names", i)
        report.add_unknown_names([name], known, pointer, "parameter or state", at_name=False)
        if name in names[:i]:
            report.add(pointer, f"{name!r:.80} is listed more than once")
        if name in declared.states and _is_always_expression(name, raw):
            report.add(pointer, f"the initial value of {name!r:.80} is an expression and cannot be penalised")


def _is_always_expression(state: str, raw: Mapping[str, Any]) -> bool:
    """Whether an expression gives the initial value of `state` in every series."""
    common = as_object(raw.get("initial_state")).get(state)
    own = [as_object(fields.get("initial_state")).get(state, common) for _, fields in located_series(raw)]
    return all(isinstance(entry, str) for entry in own)
