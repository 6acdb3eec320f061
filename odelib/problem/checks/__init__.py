"""What the fields of a request must mean together, checked on the raw JSON.

Working on the raw body lets these checks report beside the errors of form: a caller learns of a missing guess
and of a misspelt field from one answer. Whatever has the wrong form is skipped here; the models report it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from odelib.errors import FieldError, ProblemError
from odelib.problem.catalogue import CATALOGUE
from odelib.problem.checks.holding import check_hold_out, check_penalty
from odelib.problem.checks.noise import check_noise
from odelib.problem.checks.predictions import check_predictions
from odelib.problem.checks.raw import MistakeReport, as_number, as_object
from odelib.problem.checks.series import check_all_series
from odelib.problem.checks.solver import check_solver
from odelib.problem.checks.unknowns import check_unknowns
from odelib.problem.limits import Limits
from odelib.problem.system import DeclaredNames, System, SystemDefinition, build_system, well_formed_definition


def check(raw: Mapping[str, Any], limits: Limits) -> tuple[System | None, list[FieldError]]:
    """The resolved system where there is one, and everything wrong with the request's meaning."""
    report = MistakeReport()
    raw = {name: _plain(value) for name, value in raw.items()}
    system, declared = _system(raw.get("system"), limits, report)
    if declared:
        check_unknowns(raw, declared, limits, report)
        check_penalty(raw, declared, report)
    check_all_series(raw, declared, limits, report)
    check_noise(raw, declared, report)
    check_hold_out(raw, report)
    check_predictions(raw, declared, limits, report)
    check_solver(raw, report)
    parts = (("stages", limits.stages), ("labels", limits.labels), ("predictions", limits.predictions))
    for name, most in parts:
        if isinstance(raw.get(name), list | dict) and len(raw[name]) > most:
            report.say(f"/{name}", f"at most {most} {name}, here are {len(raw[name])}")
    _starts(raw, limits, report)
    return system, report.errors


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


def _system(choice: Any, limits: Limits, report: MistakeReport) -> tuple[System | None, DeclaredNames | None]:
    """The system where it can be had, and its names, which stand even where an expression is wrong."""
    definition = well_formed_definition(choice) if isinstance(choice, Mapping) else None
    declared = DeclaredNames.of(definition) if definition else None
    resolvable = definition or choice
    if not isinstance(resolvable, str | SystemDefinition):
        return None, None
    try:
        system = resolve_system(resolvable, limits)
    except ProblemError as error:
        report.errors.extend(FieldError("/system" + e.pointer, e.detail) for e in error.errors)
        return None, declared
    return system, declared or DeclaredNames.of(system)


def _starts(raw: Mapping[str, Any], limits: Limits, report: MistakeReport) -> None:
    stages = raw.get("stages")
    entries = [(f"/stages/{i}", _plain(entry)) for i, entry in enumerate(stages if isinstance(stages, list) else [])]
    for base, fields in [("", raw), *entries]:
        starts = as_number(as_object(fields).get("starts"))
        if starts is not None and starts > limits.starts:
            report.say(f"{base}/starts", f"at most {limits.starts} starts, here are {starts:.0f}")


def _plain(value: Any) -> Any:
    """In Python, parts of a request may be models already."""
    return value.model_dump(exclude_unset=True) if isinstance(value, BaseModel) else value
