"""Parameters and initial states: every one has an entry, guesses lie in their bounds, expressions are well."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from odelib.errors import ExpressionError
from odelib.problem.checks.raw import Report, as_number, as_object
from odelib.problem.expressions import parse_expression
from odelib.problem.limits import Limits
from odelib.problem.names import FEW_ERRORS, unknown_names
from odelib.problem.pointers import join
from odelib.problem.system import Declared


def middle(lower: float, upper: float, scale: str) -> float:
    """Where a guess stands that was left out: the geometric mean on a log scale, else the middle."""
    if scale == "log":
        between = math.sqrt(lower) * math.sqrt(upper)
    else:
        between = lower + (upper - lower) / 2 if math.isfinite(upper - lower) else lower / 2 + upper / 2
    return min(max(between, lower), upper)  # rounding must not carry it over a bound


def check_unknowns(raw: Mapping[str, Any], declared: Declared, limits: Limits, report: Report) -> None:
    """All that is wrong with `parameters`, `initial_state` and the series' own `initial_state`."""
    _parameters(raw.get("parameters", {}), declared, report)
    _initial_states(raw, declared, limits, report)
    count = len(declared.parameters) + len(declared.states)
    if count > limits.unknowns:
        report.say("/system", f"at most {limits.unknowns} parameters and initial values, here are {count}")


def _parameters(given: Any, declared: Declared, report: Report) -> None:
    if not isinstance(given, Mapping):
        return
    report.unknown_names(given, declared.parameters, "/parameters", "parameter")
    for name in declared.parameters:
        if name in given:
            _unknown(given[name], join("/parameters", name), report)
        else:
            report.say(join("/parameters", name), f"the parameter {name!r:.80} needs a guess")


def _initial_states(raw: Mapping[str, Any], declared: Declared, limits: Limits, report: Report) -> None:
    if not isinstance(raw.get("initial_state", {}), Mapping):
        return
    common, own = as_object(raw.get("initial_state")), as_object(as_object(raw.get("data")).get("initial_state"))
    known = {**declared.parameters, **declared.constants}
    for given, base in ((common, "/initial_state"), (own, "/data/initial_state")):
        report.unknown_names(given, declared.states, base, "state")
        for name, entry in given.items():
            if name in declared.states and isinstance(entry, str):
                _expression(entry, join(base, name), known, limits, report)
            elif name in declared.states:
                _unknown(entry, join(base, name), report)
    for name in declared.states:
        if name not in common and name not in own:
            report.say(
                join("/initial_state", name),
                f"the state {name!r:.80} needs an initial value: a guess, or an expression of parameters",
            )


def _expression(text: str, pointer: str, known: Mapping[str, None], limits: Limits, report: Report) -> None:
    try:
        expression = parse_expression(
            text, max_characters=limits.expression_characters, max_levels=limits.expression_levels
        )
    except ExpressionError as error:
        report.say(pointer, str(error))
        return
    for sentence in unknown_names(expression, known, hints=len(report.errors) < FEW_ERRORS):
        report.say(pointer, f"{sentence} (an initial state may use parameters and constants)")


def _unknown(entry: Any, pointer: str, report: Report) -> None:
    if not isinstance(entry, Mapping):
        return
    guess, lower, upper = (as_number(entry.get(name)) for name in ("guess", "lower", "upper"))
    if "guess" not in entry and not ("lower" in entry and "upper" in entry):
        report.say(join(pointer, "guess"), "a guess may be left out only between two bounds")
    if entry.get("scale") == "log":
        for name, value in (("guess", guess), ("lower", lower), ("upper", upper)):
            if value is not None and value <= 0:
                report.say(join(pointer, name), f"must be above 0 on a log scale, is {value:g}")
    if lower is not None and upper is not None and lower > upper:
        report.say(join(pointer, "lower"), f"the lower bound {lower!r} is above the upper bound {upper!r}")
    elif guess is not None and lower is not None and guess < lower:
        report.say(join(pointer, "guess"), f"the guess {guess!r} is below the lower bound {lower!r}")
    elif guess is not None and upper is not None and guess > upper:
        report.say(join(pointer, "guess"), f"the guess {guess!r} is above the upper bound {upper!r}")
