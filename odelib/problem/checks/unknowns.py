"""Parameters and initial states: none is missing, guesses are within their bounds, expressions are valid, not too many
are free.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from odelib.problem.checks.expressions import ExpressionReader, Scope
from odelib.problem.checks.priors import check_prior
from odelib.problem.checks.raw import MistakeReport, as_list, as_number, as_object
from odelib.problem.checks.series import located_series
from odelib.problem.checks.system import DeclaredNames
from odelib.problem.limits import Limits
from odelib.problem.pointers import join
from odelib.problem.unknowns import centre


def check_unknowns(
    raw: Mapping[str, Any], declared: DeclaredNames, reader: ExpressionReader, limits: Limits, report: MistakeReport
) -> None:
    """Check `parameters`, `per_experiment`, `initial_state` and the series' own `initial_state`."""
    likelihood = raw.get("noise") is not None
    _parameters(raw.get("parameters", {}), declared, report, likelihood=likelihood)
    own = _per_experiment(raw, declared, report)
    _initial_states(raw, declared, reader, report, likelihood=likelihood)
    _count(raw, declared, own, limits, report)


def _count(
    raw: Mapping[str, Any], declared: DeclaredNames, own: set[str], limits: Limits, report: MistakeReport
) -> None:
    """Check the number of free unknowns. own: the parameters that each experiment has for itself.

    An experiment that is held out as a whole has no free unknowns.
    """
    parameters, common = as_object(raw.get("parameters")), as_object(raw.get("initial_state"))
    held_out = set(filter(_is_text, as_list(as_object(raw.get("hold_out")).get("experiments"))))
    free_own = sum(_is_free(parameters.get(name)) for name in own)
    free_states = {name for name in declared.states if _is_free(common.get(name))}
    count = sum(_is_free(parameters.get(name)) for name in declared.parameters if name not in own)
    fitted = 0
    for _, fields in located_series(raw):
        if not ("experiments" in raw and _is_text(name := fields.get("name")) and name in held_out):
            given = as_object(fields.get("initial_state"))
            replaced = [_is_free(given[name]) - (name in free_states) for name in given if name in declared.states]
            count += free_own + len(free_states) + sum(replaced)
            fitted += 1
    if count > limits.unknowns:
        where = f" in {fitted} experiments" if fitted > 1 else ""
        report.add(
            "/system",
            f"at most {limits.unknowns} free parameters and initial values are allowed, but there are {count}{where}; "
            "fix some of them",
        )


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_free(entry: Any) -> bool:
    """Whether an entry of `parameters` or `initial_state` is fitted."""
    if not isinstance(entry, Mapping):
        return as_number(entry) is not None
    lower, upper = as_number(entry.get("lower")), as_number(entry.get("upper"))
    return entry.get("fixed") is not True and (lower is None or lower != upper)


def _parameters(given: Any, declared: DeclaredNames, report: MistakeReport, *, likelihood: bool) -> None:
    if not isinstance(given, Mapping):
        return
    report.add_unknown_names(given, declared.parameters, "/parameters", "parameter")
    for name in declared.parameters:
        if name in given:
            _unknown(given[name], join("/parameters", name), report, likelihood=likelihood)
        else:
            report.add(join("/parameters", name), f"the parameter {name!r:.80} needs a guess")


def _per_experiment(raw: Mapping[str, Any], declared: DeclaredNames, report: MistakeReport) -> set[str]:
    """Check `per_experiment`; return the parameters in it."""
    names = raw.get("per_experiment")
    if not isinstance(names, list):
        return set()
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
    return seen & set(declared.parameters)


def _initial_states(
    raw: Mapping[str, Any],
    declared: DeclaredNames,
    reader: ExpressionReader,
    report: MistakeReport,
    *,
    likelihood: bool,
) -> None:
    if not isinstance(raw.get("initial_state", {}), Mapping):
        return
    common = as_object(raw.get("initial_state"))
    series = [
        (join(base, "initial_state"), as_object(fields.get("initial_state"))) for base, fields in located_series(raw)
    ]
    scope = Scope(
        declared.of_values, "an initial state can use only parameters, constants and definitions made of these"
    )
    for base, given in (("/initial_state", common), *series):
        report.add_unknown_names(given, declared.states, base, "state")
        for name, entry in given.items():
            pointer = join(base, name)
            if name in declared.states and isinstance(entry, str):
                reader.read(entry, scope, pointer)
            elif name in declared.states:
                _unknown(entry, pointer, report, likelihood=likelihood)
    for name in declared.states:
        if name not in common and not all(name in own for _, own in series):
            report.add(
                join("/initial_state", name),
                f"the state {name!r:.80} needs an initial value: a guess, or an expression of parameters and constants",
            )


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
