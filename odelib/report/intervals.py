"""What the data say about the unknowns at the best point: flat directions, standard errors and profiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from odelib.engines.base import StopCheck
from odelib.errors import SolveError, StopRequested
from odelib.likelihood.measurements import InformationBlock
from odelib.objective.objective import NotFinite
from odelib.optimisers.evaluator import Evaluator
from odelib.report.best_point import BestPoint
from odelib.result import OutcomeCode, Profile
from odelib.uncertainty.covariance import ParameterCovariance, StandardErrors
from odelib.uncertainty.profile_likelihood import Profiler

RAN_TO_THE_END: tuple[OutcomeCode, ...] = ("converged", "step_limit", "no_progress")


@dataclass(frozen=True)
class Missing:
    """Why standard errors or profiles are missing. detail: the error, or the first unknown without a profile."""

    reason: Literal["all_fixed", "time_limit", "no_derivatives", "no_scale", "profile_time_limit"]
    detail: str = ""


@dataclass(frozen=True)
class Intervals:
    """What is known about the uncertainty of the estimates.

    flat: the unknowns that take part in a flat direction, None if unknown. errors: standard errors, None if not
    requested or not available. profiles: by unknown. profile_ends: lower and upper end of the intervals that these
    give, None for an open end. missing: why something that the request may have asked for is not there.
    """

    flat: list[str] | None = None
    errors: StandardErrors | None = None
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    profile_ends: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    missing: Missing | None = None

    @property
    def open_ended(self) -> list[str]:
        """The unknowns whose interval has an open end."""
        return [name for name, ends in self.profile_ends.items() if None in ends]


NOT_COMPUTED = Intervals()


def find_intervals(best: BestPoint, outcome: OutcomeCode, stop: StopCheck) -> Intervals:
    """Compute flat directions, and standard errors and profiles if requested.

    Flat directions are also computed without a request if the fit ran to its end and the engine has forward
    sensitivities, with which they cost no more than one gradient. What the time limit leaves no time for is missing.

    Raises `BetterOptimumFound` if a profile finds a lower loss, and `StopRequested` for any reason but the time limit.
    """
    requested = best.problem.uncertainty != "none"
    if not best.unknowns.count:
        return Intervals(missing=Missing("all_fixed"))
    if not (requested or (best.layer.engine.has_forward_sensitivities and outcome in RAN_TO_THE_END)):
        return NOT_COMPUTED
    blocks = _information(best)
    if isinstance(blocks, Missing):
        return Intervals(missing=blocks)
    added = best.objective.regularisation.information(best.coordinates)
    covariance = ParameterCovariance(best.unknowns, best.coordinates, blocks, added, best.objective.measurements)
    if not requested:
        return Intervals(flat=covariance.flat)
    errors = StandardErrors(covariance, best.loss_parts.data)
    found = Intervals(covariance.flat, errors, missing=None if errors.available else Missing("no_scale"))
    if best.problem.uncertainty == "profile" and errors.available:
        return _with_profiles(found, best, covariance, stop)
    return found


def _information(best: BestPoint) -> list[InformationBlock] | Missing:
    """The information that each observable's measurements contain, or why it could not be computed."""
    try:
        return best.objective.information_blocks(best.coordinates)
    except StopRequested as request:
        if request.reason != "time_limit":
            raise
        return Missing("time_limit")
    except (SolveError, NotFinite) as error:
        return Missing("no_derivatives", str(error))


def _with_profiles(found: Intervals, best: BestPoint, covariance: ParameterCovariance, stop: StopCheck) -> Intervals:
    """Add the profile of each free unknown, until the time limit."""
    degrees_of_freedom = covariance.degrees_of_freedom if covariance.estimates_scale else None
    evaluator = Evaluator(best.objective, best.evaluation, stop)
    profiler = Profiler(evaluator, degrees_of_freedom)
    widths = _half_widths(best, covariance)
    profiles: dict[str, Profile] = {}
    ends: dict[str, tuple[float | None, float | None]] = {}
    missing = found.missing
    try:
        for place, name in enumerate(best.unknowns.names):
            profiles[name], lower, upper = profiler.profile(place, widths[place])
            ends[name] = (lower, upper)
    except StopRequested as request:
        if request.reason != "time_limit":
            raise
        missing = Missing("profile_time_limit", name)
    return replace(found, profiles=profiles, profile_ends=ends, missing=missing)


def _half_widths(best: BestPoint, covariance: ParameterCovariance) -> list[float | None]:
    """Half the widths of the covariance's 95 % intervals, in coordinates; None for an unknown that has none."""
    matrix = covariance.matrix(best.loss_parts.data)
    if matrix is None:
        return [None] * best.unknowns.count
    widths = (covariance.quantile or 0.0) * np.sqrt(np.maximum(np.diag(matrix), 0.0))
    return [
        float(width) if known and width else None for width, known in zip(widths, covariance.determined, strict=True)
    ]
