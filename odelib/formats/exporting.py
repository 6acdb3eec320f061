"""A fit request → a file of another format."""

from __future__ import annotations

from pathlib import Path

from odelib.formats.errors import UnsupportedError
from odelib.formats.petab.writing import export_petab
from odelib.formats.sbml.writing import SbmlContent, write_sbml
from odelib.formats.values import RequestValues
from odelib.problem.expressions.parser import Expression
from odelib.problem.protocol import Protocol
from odelib.problem.request import FitProblem
from odelib.problem.resolved import resolve
from odelib.result import FitResult


def to_petab(problem: FitProblem, folder: Path, result: FitResult | None = None) -> list[str]:
    """Write a request as a PEtab problem of version 2, at its guesses or at a result; returns notes.

    Raises `UnsupportedError` for what PEtab cannot express.
    """
    resolved = resolve(problem)
    return export_petab(resolved, RequestValues(resolved, result), folder)


def to_sbml(problem: FitProblem, path: Path, result: FitResult | None = None) -> list[str]:
    """Write the model of a request with one series as SBML, at its guesses or at a result; returns notes.

    Raises `UnsupportedError` for what SBML cannot express.
    """
    resolved = resolve(problem)
    if len(resolved.series) > 1:
        raise UnsupportedError("SBML describes one experiment; export several with --petab")
    if resolved.protocols[0] != Protocol():
        raise UnsupportedError("SBML cannot express inputs, doses, changes and steady states; try --petab")
    values, system = RequestValues(resolved, result), resolved.system
    series, request = resolved.series[0], resolved.request
    starts: dict[str, float | Expression] = {}
    for state in system.states:
        entry = series.initial_state.get(state, request.initial_state.get(state))
        starts[state] = resolved.expressions[entry] if isinstance(entry, str) else values.initial_value(state, 0)
    constants: dict[str, float] = dict(system.constants)
    for name, value in resolved.constants[0].items():
        if isinstance(value, Expression):
            raise UnsupportedError(f"the constant {name} is an expression, which only --petab can express")
        constants[name] = value
    parameters = {name: values.parameter(name, 0) for name in system.parameters}
    write_sbml(SbmlContent(system, {**parameters, **constants}, starts), path)
    return ["the measurements and their noise are left out: SBML describes the model alone"]
