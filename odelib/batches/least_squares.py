"""Fits many plain series as one batch, and says which of them need a fit of their own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import qmc

from odelib.arrays import Booleans, Integers, Reals
from odelib.batches.derived import DerivedQuantities
from odelib.batches.doubts import beyond_doubt
from odelib.batches.members import Entries, Member, Members
from odelib.batches.noise import SharedNoise
from odelib.batches.objective import BatchObjective
from odelib.batches.uncertainty import BatchErrors
from odelib.engines.base import StopCheck
from odelib.engines.registry import ENGINES
from odelib.optimisers.batched.least_squares import Ends, Points, minimise
from odelib.problem.expressions.parser import Expression
from odelib.problem.plan import FIRST_STEPS, default_plan
from odelib.problem.request import FitProblem
from odelib.problem.resolved import ResolvedProblem, resolve
from odelib.problem.solver import ABILITIES
from odelib.problem.unknowns import Unknown
from odelib.result import BatchRow, Estimate, NoiseEstimate

# A member whose first end is doubtful is minimised from the best STARTS of so many points as well. A single fit would
# begin multiple shooting instead; where both end beyond doubt, they end at the same point.
CANDIDATES, STARTS = 32, 4
Found = tuple[float, list[float]]  # a value and its interval: standard error and ends
MAX_MEMBERS = 2_000  # of a block: their Jacobians, at each time and by each unknown, are in memory at once


@dataclass(frozen=True)
class Plain:
    """What the plain series of a batch have in common.

    problem: of one of them, resolved. observables: the names of those that may be measured.
    """

    problem: ResolvedProblem
    entries: Entries
    observables: tuple[str, ...]
    noise: SharedNoise

    @classmethod
    def of(cls, problem: FitProblem, request: Mapping[str, Any]) -> Plain | None:
        """From the fit of any plain series; None if the request asks for more."""
        resolved = resolve(problem)
        noise = SharedNoise.of(problem.noise, list(resolved.system.observables))
        if noise is None or not _may_be_fitted_together(resolved):
            return None
        entries = Entries.of(problem, request)
        return cls(resolved, entries, tuple(resolved.system.observables), noise) if entries.is_free.any() else None

    def fit(self, members: Sequence[Member], stop: StopCheck) -> Iterator[tuple[int, BatchRow | None]]:
        """Fit members, in blocks; yields the index of each and its row, None if it needs a fit of its own."""
        by_length: dict[int, list[Member]] = {}
        for member in members:
            by_length.setdefault(len(member.times), []).append(member)
        for alike in by_length.values():
            for first in range(0, len(alike), MAX_MEMBERS):
                yield from self._fit_block(Members.of(alike[first : first + MAX_MEMBERS]), stop)

    def _fit_block(self, members: Members, stop: StopCheck) -> Iterator[tuple[int, BatchRow | None]]:
        objective = BatchObjective(self.problem, self.entries, members, self.noise, stop)
        everyone = np.arange(len(members.names))
        objective.losses(everyone, objective.start)
        objective.limit_steps()
        ends = _minimise(objective, everyone, objective.start)
        settled = beyond_doubt(objective, ends)
        if not settled.all():
            doubtful = everyone[~settled]
            better = _from_other_starts(objective, doubtful, self._candidates(objective, doubtful))
            lower = better.points.loss < ends.points.loss[doubtful]
            ends.points.replace(doubtful[lower], better.points.at(lower))
            ends.is_settled[doubtful[lower]] = better.is_settled[lower]
            settled = beyond_doubt(objective, ends)
        chosen = everyone[settled]
        rows = iter(self._rows(objective, [members.names[place] for place in chosen], chosen, ends.points.at(chosen)))
        for index, is_settled in zip(members.indices.tolist(), settled.tolist(), strict=True):
            yield index, next(rows) if is_settled else None

    def _rows(
        self, objective: BatchObjective, names: Sequence[str], members: Integers, points: Points
    ) -> Iterator[BatchRow | None]:
        """The rows of settled members; None where a derived quantity or an interval has no value."""
        if not names:
            return
        derived = DerivedQuantities(self.problem.system, objective.constants)
        values = objective.values(members, points.coordinates)
        of_derived, by_parameters = derived.at(values[:, : self.entries.parameters])
        residuals = points.residuals.reshape(len(names), len(self.observables), -1)
        estimates = [values, of_derived, objective.noise.scales(members, residuals)]
        intervals = [np.full((*each.shape, 3), np.nan) for each in estimates]
        has_all = np.array(np.isfinite(of_derived).all(axis=1))
        if self.problem.request.uncertainty == "covariance":
            errors = BatchErrors(objective, members, points)
            intervals[0][:, objective.free] = errors.of_unknowns()
            intervals[1], intervals[2] = errors.of_derived(of_derived, by_parameters), errors.of_scales()
            for each in (intervals[0][:, objective.free], intervals[1], intervals[2]):
                has_all &= np.isfinite(each).all(axis=(1, 2))
        is_measured = objective.noise.counts[members] > 0
        for place, name in enumerate(names):
            if not has_all[place]:
                yield None
                continue
            own = [
                list(zip(value[place].tolist(), interval[place].tolist(), strict=True))
                for value, interval in zip(estimates, intervals, strict=True)
            ]
            entries = self._estimates(own[0])
            border = self.entries.parameters
            yield BatchRow(
                name=name,
                status="succeeded",
                outcome="converged",
                loss=float(points.loss[place]),
                parameters=dict(entries[:border]),
                initial_state=dict(entries[border:]),
                derived={name: _estimate(*each) for name, each in zip(derived.names, own[1], strict=True)} or None,
                noise=self._noise(own[2], is_measured[place]),
            )

    def _estimates(self, own: Sequence[Found]) -> list[tuple[str, Estimate]]:
        """The estimates of all entries."""
        entries = zip(self.entries.names, own, self.entries.is_free.tolist(), strict=True)
        return [
            (name, _estimate(value, interval) if is_free else Estimate(value=value, fixed=True))
            for name, (value, interval), is_free in entries
        ]

    def _noise(self, own: Sequence[Found], is_measured: Booleans) -> dict[str, NoiseEstimate] | None:
        """The noise of each observable that a member has measured; None without `noise`."""
        if not self.noise.is_likelihood:
            return None
        found = {}
        for place, name in enumerate(self.observables):
            given = float(self.noise.given[place])
            if not is_measured[place]:
                continue
            if self.noise.is_estimated[place]:
                found[name] = NoiseEstimate(sigma=_estimate(*own[place]))
            else:
                found[name] = NoiseEstimate(sigma=None if math.isnan(given) else Estimate(value=given, fixed=True))
        return found

    def _candidates(self, objective: BatchObjective, members: Integers) -> Reals:
        """Points around the guesses of members, or within their bounds, (b, CANDIDATES, k): see `candidate_points`."""
        sampler = qmc.Sobol(objective.start.shape[1], rng=np.random.default_rng(self.problem.request.seed))
        return objective.points_between(members, sampler.random_base2(CANDIDATES.bit_length() - 1))


def _estimate(value: float, interval: Sequence[float]) -> Estimate:
    """interval: standard error and ends, NaN where errors are not asked for."""
    error, lower, upper = [None if math.isnan(each) else each for each in interval]
    return Estimate(value=value, standard_error=error, lower_95=lower, upper_95=upper)


def _minimise(objective: BatchObjective, members: Integers, start: Reals) -> Ends:
    """Minimise from starts, (b, k), of members, of which one may have several."""
    return minimise(
        lambda places, coordinates: objective.linearise(members[places], coordinates),
        start,
        objective.magnitudes(members, start),
        objective.box,
        steps=FIRST_STEPS,
    )


def _from_other_starts(objective: BatchObjective, members: Integers, candidates: Reals) -> Ends:
    """Minimise each member from the best STARTS of its candidates, (b, CANDIDATES, k); the best end of each."""
    count, _, size = candidates.shape
    losses = np.stack([objective.losses(members, point) for point in candidates.transpose(1, 0, 2)], axis=1)
    chosen = np.argsort(losses, axis=1, kind="stable")[:, :STARTS]
    starts = np.take_along_axis(candidates, chosen[:, :, None], axis=1).reshape(-1, size)
    ends = _minimise(objective, np.repeat(members, STARTS), starts)
    best = np.arange(count) * STARTS + ends.points.loss.reshape(count, STARTS).argmin(axis=1)
    return Ends(ends.points.at(best), ends.is_settled[best], ends.gradients)


def _may_be_fitted_together(problem: ResolvedProblem) -> bool:
    """Whether a request asks for what is fitted here: the default plan, and its best point."""
    request = problem.request
    entries = [*request.parameters.values(), *request.initial_state.values()]
    ability = ABILITIES[problem.engine]
    return (
        request.penalty is None
        and request.uncertainty != "profile"
        and request.starts is None
        and request.stages == default_plan(None)
        and not problem.has_protocols
        and not problem.system.events
        and not any(isinstance(entry, str) for entry in entries)
        and not any(isinstance(entry, Unknown) and entry.prior is not None for entry in entries)
        and not any(isinstance(value, Expression) for own in problem.constants for value in own.values())
        and ENGINES[problem.engine].has_forward_sensitivities
        and problem.device in ability.devices
    )
