"""Parameters and initial states: none is missing, guesses are within their bounds, expressions are valid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from odelib.problem.checks.expressions import check_expression
from odelib.problem.checks.priors import check_prior
from odelib.problem.checks.raw import MistakeReport, as_number, as_object
from odelib.problem.checks.series import located_series
from odelib.problem.checks.system import DeclaredNames
from odelib.problem.expressions.parser import Expression
from odelib.problem.limits import Limits
from odelib.problem.pointers import join
from odelib.problem.unknowns import centre


def check_unknowns(
    raw: Mapping[str, Any], declared: DeclaredNames, limits: Limits, report: MistakeReport
) -> dict[str, Expression]:
    """Check `parameters`, `per_experiment`, `initial_state` and the series' own `initial_state`.

    Returns the parsed expressions of initial values, by their text.
    """
    likelihood = raw.get("noise") is not None
    _parameters(raw.get("parameters", {}), declared, report, likelihood=likelihood)
    own = _per_experiment(raw, declared, report)
    expressions = _initial_states(raw, declared, limits, report, likelihood=likelihood)
    series = max(len(located_series(raw)), 1)
    count = len(declared.parameters) - own + series * (own + len(declared.states))
    if count > limits.unknowns:
        where = f" in {series} experiments" if series > 1 else ""
        report.add(
            "/system",
            f"at most {limits.unknowns} parameters and initial values are allowed, but there are {count}{where}",
        )
    return expressions


def _parameters(given: Any, declared: DeclaredNames, report: MistakeReport, *, likelihood: bool) -> None:
    if not isinstance(given, Mapping):
        return
    report.add_unknown_names(given, declared.parameters, "/parameters", "parameter")
    for name in declared.parameters:
        if name in given:
            _unknown(given[name], join("/parameters", name), report, likelihood=likelihood)
        else:
            report.add(join("/parameters", name), f"the parameter {name!r:.80} needs a guess")


def _per_experiment(raw: Mapping[str, Any], declared: DeclaredNames, report: MistakeReport) -> int:
    """Check `per_experiment`; return the number of parameters in it."""
    names = raw.get("per_experiment")
    if not isinstance(names, list):
        return 0
    if names and "data" in raw:
        report.add("/per_experiment", "'data' is a single series; give 'experiments' instead")
    seen: set[str] = set()
    for i, name in enumerate(names):
        if not isinstance(name, str):
            continue
        pointer = join("/per_experiment", i)
        report.add_unknown_names([name], declared.parameters, pointer, "parameter", at_name=False)
        if name in seen:
            report.add(pointer, f"{name!r:.80} is listed more than once")
        seen.add(name)
    return len(seen & set(declared.parameters))


def _initial_states(
    raw: Mapping[str, Any], declared: DeclaredNames, limits: Limits, report: MistakeReport, *, likelihood: bool
) -> dict[str, Expression]:
    if not isinstance(raw.get("initial_state", {}), Mapping):
        return {}
    expressions: dict[str, Expression] = {}
    common = as_object(raw.get("initial_state"))
    series = [
        (join(base, "initial_state"), as_object(fields.get("initial_state"))) for base, fields in located_series(raw)
    ]
    known = {**declared.parameters, **declared.constants}
    scope = "an initial state can use only parameters and constants"
    for base, given in (("/initial_state", common), *series):
        report.add_unknown_names(given, declared.states, base, "state")
        for name, entry in given.items():
            pointer = join(base, name)
            if name in declared.states and isinstance(entry, str):
                if entry not in expressions and (
                    parsed := check_expression(entry, known, pointer, limits, report, scope=scope)
                ):
                    expressions[entry] = parsed
            elif name in declared.states:
                _unknown(entry, pointer, report, likelihood=likelihood)
    for name in declared.states:
        if name not in common and not all(name in own for _, own in series):
            report.add(
                join("/initial_state", name),
                f"the state {name!r:.80} needs an initial value: a guess, or an expression of parameters and constants",
            )
    return expressions


def _unknown(entry: Any, pointer: str, report: MistakeReport, *, likelihood: bool) -> None:
    if not isinstance(entry, Mapping):
        return
    guess, lower, upper = (as_number(entry.get(name)) for name in ("guess", "lower", "upper"))
    if "guess" not in entry and not ("lower" in entry and "upper" in entry):
        report.add(join(pointer, "guess"), "a guess is required unless both bounds are given")
    if entry.get("scale") == "log":
        for name, value in (("guess", guess), ("lower", lower), ("upper", upper)):
            if value is not None and value <= 0:
                report.add(join(pointer, name), f"must be greater than 0 on a log scale, not {value:g}")
    if lower is not None and upper is not None and lower > upper:
        report.add(join(pointer, "lower"), f"the lower bound {lower!r} is above the upper bound {upper!r}")
    elif guess is not None and lower is not None and guess < lower:
        report.add(join(pointer, "guess"), f"the guess {guess!r} is below the lower bound {lower!r}")
    elif guess is not None and upper is not None and guess > upper:
        report.add(join(pointer, "guess"), f"the guess {guess!r} is above the upper bound {upper!r}")
    scale = entry.get("scale", "linear")
    if "guess" not in entry and lower is not None and upper is not None and lower <= upper:
        guess = centre(lower, upper, scale) if scale == "linear" or lower > 0 else None
    check_prior(entry, pointer, guess, report, likelihood=likelihood)
