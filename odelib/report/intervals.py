"""What the data say about the unknowns at the best point: flat directions, standard errors and profiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from odelib.engines.base import StopCheck
from odelib.errors import SolveError, StopRequested
from odelib.likelihood.measurements import InformationBlock
from odelib.objective.objective import NotFinite
from odelib.optimisers.convergence import noise_deviation
from odelib.optimisers.evaluator import Evaluator
from odelib.report.best_point import BestPoint
from odelib.result import OutcomeCode, Profile
from odelib.uncertainty.covariance import ParameterCovariance, StandardErrors
from odelib.uncertainty.profile_likelihood import Profiler, ProfileRecord

MAX_INFLATION = 1e4  # of a variance by other unknowns; beyond it the information is nearly singular
RAN_TO_THE_END: tuple[OutcomeCode, ...] = ("converged", "early_stopped", "step_limit", "no_progress")


@dataclass(frozen=True)
class Missing:
    """Why standard errors or profiles are missing. detail: the error, or the unknowns without a profile."""

    reason: Literal["all_fixed", "time_limit", "no_derivatives", "no_scale", "profile_time_limit"]
    detail: str = ""


@dataclass(frozen=True)
class Intervals:
    """What is known about the uncertainty of the estimates.

    flat: the unknowns that take part in a flat direction, None if unknown. half_widths: half the widths of the
    covariance's 95 % intervals by unknown, in coordinates; without those that have none. hardly_determined: unknowns
    that have an interval, wider than their value, only because some combination of them is not quite flat.

    covariance: of the unknowns; None if it was not computed. errors: standard errors, None if not requested or not
    available. profiles: by unknown. profile_ends: lower and upper end of the intervals that these give, None for an
    open end. missing: why something that the request may have asked for is not there.
    """

    flat: list[str] | None = None
    half_widths: Mapping[str, float] = field(default_factory=dict)
    hardly_determined: Sequence[str] = ()
    covariance: ParameterCovariance | None = None
    errors: StandardErrors | None = None
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    profile_ends: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    missing: Missing | None = None

    @property
    def open_ended(self) -> list[str]:
        """The unknowns whose interval has an open end."""
        return [name for name, ends in self.profile_ends.items() if None in ends]


NOT_COMPUTED = Intervals()


def find_intervals(best: BestPoint, outcome: OutcomeCode, stop: StopCheck, record: ProfileRecord) -> Intervals:
    """Compute flat directions, and standard errors and profiles if requested.

    Flat directions are also computed without a request if the fit ran to its end and the engine has forward
    sensitivities, with which they cost no more than one gradient. What the time limit leaves no time for is missing.
    Profiles in `record` are not computed again, and further ones are added to it.

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
    noise = noise_deviation(best.objective, best.evaluation)
    covariance = ParameterCovariance(best.unknowns, best.coordinates, blocks, added, best.objective.measurements, noise)
    half_widths = _half_widths(best, covariance)
    found = Intervals(covariance.flat, half_widths, _hardly_determined(best, covariance, half_widths), covariance)
    if not requested:
        return found
    errors = StandardErrors(covariance, best.loss_parts.data)
    found = replace(found, errors=errors, missing=None if errors.available else Missing("no_scale"))
    if best.problem.uncertainty == "profile" and errors.available:
        return _with_profiles(found, best, covariance, stop, record)
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


def _with_profiles(
    found: Intervals, best: BestPoint, covariance: ParameterCovariance, stop: StopCheck, record: ProfileRecord
) -> Intervals:
    """Add the profile of each free unknown, until the time limit."""
    degrees_of_freedom = covariance.degrees_of_freedom if covariance.estimates_scale else None
    names, missing = best.unknowns.names, found.missing
    record.publish(record.done)
    left = {
        place: found.half_widths.get(name)
        for place, name in enumerate(names)
        if name not in record.done and not best.unknowns.is_weight[place]
    }
    try:
        if left:
            profiler = Profiler(Evaluator(best.objective, best.evaluation, stop), degrees_of_freedom)
            for place, profiled in profiler.run(left):
                record.add(names[place], profiled)
    except StopRequested as request:
        if request.reason != "time_limit":
            raise
        missing = Missing(
            "profile_time_limit", ", ".join(names[place] for place in left if names[place] not in record.done)
        )
    done = {name: record.done[name] for name in names if name in record.done}
    return replace(
        found,
        profiles={name: profiled.profile for name, profiled in done.items()},
        profile_ends={name: (profiled.lower, profiled.upper) for name, profiled in done.items()},
        missing=missing,
    )


def _half_widths(best: BestPoint, covariance: ParameterCovariance) -> dict[str, float]:
    """Half the widths of the covariance's 95 % intervals, in coordinates."""
    matrix = covariance.matrix(best.loss_parts.data)
    if matrix is None:
        return {}
    widths = (covariance.quantile or 0.0) * np.sqrt(np.maximum(np.diag(matrix), 0.0))
    entries = zip(best.unknowns.names, widths.tolist(), covariance.determined.tolist(), strict=True)
    return {name: width for name, width, is_determined in entries if is_determined and width}


def _hardly_determined(best: BestPoint, covariance: ParameterCovariance, half_widths: Mapping[str, float]) -> list[str]:
    """The unknowns whose interval is wider than their value, and would be far narrower if the others were fixed.

    Fixing the others divides the variance Cᵢᵢ by Cᵢᵢ·(C⁻¹)ᵢᵢ, the variance inflation factor. An interval that is wide
    without inflation, as that of an unknown near 0, does not count.
    """
    matrix = covariance.matrix(best.loss_parts.data)
    if matrix is None or not half_widths:
        return []
    kept = covariance.determined & (np.diag(matrix) > 0)
    deviations = np.sqrt(np.diag(matrix)[kept])
    correlations = matrix[np.ix_(kept, kept)] / np.outer(deviations, deviations)
    inflations = np.diag(np.linalg.pinv(correlations, rcond=1e-15, hermitian=True))
    sizes = best.unknowns.magnitudes(best.coordinates)[kept]
    names = [name for name, is_kept in zip(best.unknowns.names, kept.tolist(), strict=True) if is_kept]
    return [
        name
        for name, size, inflation in zip(names, sizes.tolist(), inflations.tolist(), strict=True)
        if half_widths.get(name, 0.0) > size and inflation > MAX_INFLATION
    ]
