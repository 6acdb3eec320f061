"""Priors: only with a likelihood, and possible at the guess."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from odelib.problem.checks.raw import MistakeReport, as_number
from odelib.problem.pointers import join


def check_prior(
    entry: Mapping[str, Any], pointer: str, guess: float | None, report: MistakeReport, *, likelihood: bool
) -> None:
    """All that is wrong with the `prior` of an unknown or of an estimated scale that starts at `guess`."""
    prior, place = entry.get("prior"), join(pointer, "prior")
    if not isinstance(prior, Mapping):
        return
    if not likelihood:
        report.add(place, "a prior needs a likelihood to be weighed against: give 'noise' as well")
    lower, upper = _support(prior)
    if lower is not None and upper is not None and not lower < upper:
        report.add(join(place, "lower"), f"the lower end {lower!r} is not below the upper end {upper!r}")
    elif guess is not None and (
        (lower is not None and guess < lower) or (upper is not None and guess > upper) or _is_at_open_end(prior, guess)
    ):
        left_out = "" if "guess" in entry else ", the middle between the bounds,"
        report.add(join(pointer, "guess"), f"the guess {guess!r}{left_out} is impossible by its prior")


def _support(prior: Mapping[str, Any]) -> tuple[float | None, float | None]:
    if prior.get("distribution") == "uniform":
        return as_number(prior.get("lower")), as_number(prior.get("upper"))
    return (0.0 if prior.get("distribution") in ("lognormal", "half-normal") else None), None


def _is_at_open_end(prior: Mapping[str, Any], guess: float) -> bool:
    return prior.get("distribution") == "lognormal" and guess == 0
