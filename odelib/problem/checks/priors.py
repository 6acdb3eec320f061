"""Checks of priors: they need a likelihood, and must allow the guess."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from odelib.problem.checks.raw import MistakeReport, as_number
from odelib.problem.pointers import join
from odelib.problem.priors import PRIORS, PriorOf, value_of


def check_prior(
    entry: Mapping[str, Any], pointer: str, guess: float | None, report: MistakeReport, *, likelihood: bool
) -> None:
    """Check the `prior` of an unknown, or of an estimated noise scale.

    guess: the unknown's, or the middle between its bounds where the entry has none; None for a noise scale.
    likelihood: whether the request has one.
    """
    prior, place = entry.get("prior"), join(pointer, "prior")
    if not isinstance(prior, Mapping):
        return
    if not likelihood:
        report.add(place, "a prior needs a likelihood; give 'noise' as well")
    kind = PRIORS.get(str(prior.get("distribution")))
    if kind is None:
        return
    lower_end, upper_end = kind.support_ends
    of = prior.get("of", "value")
    if of not in get_args(PriorOf):
        return
    lower, upper = _value(lower_end, prior, of), _value(upper_end, prior, of)
    if lower is not None and upper is not None and not lower < upper:
        report.add(join(place, str(lower_end)), f"the lower end {lower!r} must be less than the upper end {upper!r}")
    elif guess is not None and (
        (lower is not None and guess < lower)
        or (upper is not None and guess > upper)
        or (kind.is_open and guess in (lower, upper))
        or (of != "value" and guess <= 0)
    ):
        middle = "" if "guess" in entry else ", the default between the bounds,"
        report.add(join(pointer, "guess"), f"the guess {guess!r}{middle} is impossible under its prior")


def _value(end: float | str, prior: Mapping[str, Any], of: PriorOf) -> float | None:
    """An end of the support of the value, or None where the field that gives it is not a number."""
    number = as_number(prior.get(end)) if isinstance(end, str) else end
    return None if number is None else value_of(number, of)
