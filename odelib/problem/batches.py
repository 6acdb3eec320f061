"""A batch: one request without data, and many series, each of which is fitted by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from odelib.errors import FieldError, ProblemError
from odelib.problem.catalogue import resolve_system
from odelib.problem.limits import Limits
from odelib.problem.pointers import join
from odelib.problem.request import FitProblem, parse_problem
from odelib.problem.system import SystemDefinition

NOT_YET = "not in batches yet; remove this field"
GUESSES = "parameters"  # the field that a series of a batch has besides those of `data`
IN_SERIES = "a batch has its series beside the request, each fitted by itself; remove this field"
NOT_IN_ROWS = "a row of a batch's results has no place for this; remove this field, or fit the series one by one"
REFUSED = {
    **dict.fromkeys(("data", "experiments", "per_experiment"), IN_SERIES),
    **dict.fromkeys(("predictions", "hold_out"), NOT_IN_ROWS),
    **dict.fromkeys(("continue_from", "webhook"), NOT_YET),
}
"""The fields of a fit request that the request of a batch may not have, and why."""


def batch_mistakes(request: Mapping[str, Any], limits: Limits | None = None) -> list[FieldError]:
    """Return the mistakes in a batch's request that do not depend on its series.

    A guess that the request lacks is none: every series may give it.

    >>> request = {
    ...     "system": {"states": ["c"], "parameters": ["k"], "equations": {"c": "-k*c"}},
    ...     "initial_state": {"c": 1.0}, "hold_out": {"after": 1.0}, "solver": {"rtol": 0},
    ... }
    >>> [mistake.pointer for mistake in batch_mistakes(request)]
    ['/hold_out', '/solver/rtol']
    """
    refused = [FieldError(join("", name), detail) for name, detail in REFUSED.items() if request.get(name)]
    shared = {name: value for name, value in request.items() if name not in REFUSED}
    try:
        parse_problem({**shared, "data": _stand_in(shared, limits or Limits())}, limits)
    except ProblemError as error:
        return refused + [each for each in error.errors if not _concerns_series(each.pointer, shared)]
    return refused


def member_request(request: Mapping[str, Any], series: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fit request of one series; neither is checked.

    A number among the series' own `parameters` replaces the guess of the request's entry, an object its fields.
    """
    data = {name: value for name, value in series.items() if name != GUESSES}
    shared = {name: value for name, value in request.items() if name not in REFUSED}
    own = series.get(GUESSES)
    if not isinstance(own, Mapping):
        return {**shared, "data": data}
    entries = shared.get(GUESSES)
    entries = dict(entries) if isinstance(entries, Mapping) else {}
    for name, value in own.items():
        entries[name] = _replaced(entries.get(name), value)
    return {**shared, GUESSES: entries, "data": data}


def parse_member(request: Mapping[str, Any], series: Any, limits: Limits | None = None) -> FitProblem:
    """Validate the fit of one series. Raises `ProblemError`, whose pointers begin at the series.

    What is wrong with the request only together with this series has a pointer that begins with `/request`.
    """
    if not isinstance(series, Mapping):
        raise ProblemError([FieldError("", "a series is an object with times and values")])
    own = series.get(GUESSES, {})
    if not isinstance(own, Mapping):
        raise ProblemError([FieldError(join("", GUESSES), "an object with a guess for each name")])
    try:
        return parse_problem(member_request(request, series), limits)
    except ProblemError as error:
        raise ProblemError([_at_series(each, request, own) for each in error.errors]) from None


def _replaced(shared: Any, own: Any) -> Any:
    """Return the entry of an unknown of a series. shared: that of the request, None if it has none."""
    fields = {"guess": own} if _is_guess(own) else own
    settings = {"guess": shared} if _is_guess(shared) else shared
    if not (isinstance(settings, Mapping) and isinstance(fields, Mapping)) or (_is_guess(own) and _is_guess(shared)):
        return own
    return {**settings, **fields}


def _is_guess(entry: Any) -> bool:
    return isinstance(entry, int | float)


def _at_series(mistake: FieldError, request: Mapping[str, Any], own: Mapping[str, Any]) -> FieldError:
    first, *rest = mistake.pointer.split("/")[1:] or [""]
    if first == "data":
        return FieldError("".join(f"/{part}" for part in rest), mistake.detail)
    entries = request.get(first) or {}
    is_missing = first in (GUESSES, "initial_state") and bool(rest) and rest[0] not in entries
    if is_missing or (first == GUESSES and bool(rest) and rest[0] in own):
        return mistake
    return FieldError(f"/request{mistake.pointer}", mistake.detail)


def _concerns_series(pointer: str, request: Mapping[str, Any]) -> bool:
    """Whether a mistake is in the stand-in for a series, or a guess is missing, which a series may give."""
    first, *rest = pointer.split("/")[1:] or [""]
    if first == "data":
        return True
    entries = request.get(first) or {}
    return first in (GUESSES, "initial_state") and len(rest) == 1 and rest[0] not in entries


def _stand_in(request: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    """Return a series with one measurement of everything that the request has noise for, or else of everything."""
    noise, inputs = request.get("noise"), request.get("inputs")
    names = list(noise) if isinstance(noise, Mapping) and noise else _observables(request, limits)
    knots = [each for each in inputs.values() if isinstance(each, Mapping)] if isinstance(inputs, Mapping) else []
    times = [each["times"][:1] for each in knots if isinstance(each.get("times"), list)]
    return {"times": times[0] if times else [0.0], "values": {name: [1.0] for name in names}}


def _observables(request: Mapping[str, Any], limits: Limits) -> list[str]:
    """Return the names of the system's observables; none if it is invalid, which is a mistake elsewhere."""
    choice = request.get("system")
    if not isinstance(choice, str | Mapping):
        return []
    try:
        definition = SystemDefinition.model_validate(choice) if isinstance(choice, Mapping) else choice
        return list(resolve_system(definition, limits).observables)
    except (ValidationError, ProblemError):
        return []
