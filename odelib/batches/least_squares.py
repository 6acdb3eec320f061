"""Fits many plain series by least squares as one batch, and says which of them need a fit of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import qmc

from odelib.arrays import Integers, Reals
from odelib.batches.doubts import beyond_doubt, negligible_gains
from odelib.batches.members import Entries, Member, Members
from odelib.batches.sums_of_squares import SumsOfSquares
from odelib.engines.base import StopCheck
from odelib.engines.registry import ENGINES
from odelib.optimisers.batched.least_squares import Ends, minimise
from odelib.problem.expressions.parser import Expression
from odelib.problem.plan import FIRST_STEPS, default_plan
from odelib.problem.request import FitProblem
from odelib.problem.resolved import ResolvedProblem, resolve
from odelib.problem.solver import ABILITIES
from odelib.result import BatchRow, Estimate

# A member whose first end is doubtful is minimised from the best STARTS of so many points as well. A single fit would
# begin multiple shooting instead; where both end beyond doubt, they end at the same point.
CANDIDATES, STARTS = 32, 4
MAX_MEMBERS = 2_000  # of a block: their Jacobians, at each time and by each unknown, are in memory at once


@dataclass(frozen=True)
class Plain:
    """What the plain series of a batch have in common.

    problem: of one of them, resolved. observables: the names of those that may be measured.
    """

    problem: ResolvedProblem
    entries: Entries
    observables: tuple[str, ...]

    @classmethod
    def of(cls, problem: FitProblem, request: Mapping[str, Any]) -> Plain | None:
        """From the fit of any plain series; None if the request asks for more than least squares."""
        resolved = resolve(problem)
        if not _is_sum_of_squares(resolved):
            return None
        entries = Entries.of(problem, request)
        return cls(resolved, entries, tuple(resolved.system.observables)) if entries.is_free.any() else None

    def fit(self, members: Sequence[Member], stop: StopCheck) -> Iterator[tuple[int, BatchRow | None]]:
        """Fit members, in blocks; yields the index of each and its row, None if it needs a fit of its own."""
        by_length: dict[int, list[Member]] = {}
        for member in members:
            by_length.setdefault(len(member.times), []).append(member)
        for alike in by_length.values():
            for first in range(0, len(alike), MAX_MEMBERS):
                yield from self._fit_block(Members.of(alike[first : first + MAX_MEMBERS]), stop)

    def _fit_block(self, members: Members, stop: StopCheck) -> Iterator[tuple[int, BatchRow | None]]:
        sums = SumsOfSquares(self.problem, self.entries, members, self.observables, stop)
        observations = members.observations
        everyone = np.arange(len(observations))
        sums.losses(everyone, sums.start)
        sums.limit_steps()
        ends = _minimise(sums, everyone, sums.start, observations)
        settled = beyond_doubt(sums, ends, observations)
        if not settled.all():
            doubtful = everyone[~settled]
            better = _from_other_starts(sums, doubtful, self._candidates(sums, doubtful), observations)
            lower = better.points.loss < ends.points.loss[doubtful]
            ends.points.replace(doubtful[lower], better.points.at(lower))
            ends.is_settled[doubtful[lower]] = better.is_settled[lower]
            settled = beyond_doubt(sums, ends, observations)
        values = sums.values(everyone, ends.points.coordinates)
        errors = sums.errors(ends.points, observations, settled) if self.asks_errors else None
        for place, index in enumerate(members.indices.tolist()):
            row = None
            if settled[place]:
                own = None if errors is None else errors[place]
                row = self._row(members.names[place], ends.points.loss[place], values[place], own)
            yield index, row

    @property
    def asks_errors(self) -> bool:
        """Whether the request asks for standard errors."""
        return self.problem.request.uncertainty == "covariance"

    def _candidates(self, sums: SumsOfSquares, members: Integers) -> Reals:
        """Points around the guesses of members, or within their bounds, (b, CANDIDATES, k): see `candidate_points`."""
        sampler = qmc.Sobol(sums.start.shape[1], rng=np.random.default_rng(self.problem.request.seed))
        return sums.points_between(members, sampler.random_base2(CANDIDATES.bit_length() - 1))

    def _row(self, name: str, loss: float, values: Reals, errors: Reals | None) -> BatchRow:
        """errors: of the free unknowns, as `SumsOfSquares.errors` has them, if they are asked for."""
        estimates: list[tuple[str, Estimate]] = []
        left = iter([] if errors is None else errors.tolist())
        for entry, value, is_free in zip(self.entries.names, values.tolist(), self.entries.is_free, strict=True):
            error, lower, upper = next(left) if errors is not None and is_free else (None, None, None)
            fixed = None if is_free else True
            estimate = Estimate(value=value, fixed=fixed, standard_error=error, lower_95=lower, upper_95=upper)
            estimates.append((entry, estimate))
        border = self.entries.parameters
        return BatchRow(
            name=name,
            status="succeeded",
            outcome="converged",
            loss=float(loss),
            parameters=dict(estimates[:border]),
            initial_state=dict(estimates[border:]),
        )


def _minimise(sums: SumsOfSquares, members: Integers, start: Reals, observations: Integers) -> Ends:
    """Minimise from starts, (b, k), of members, of which one may have several."""

    scales = sums.magnitudes(members, start)
    error = negligible_gains(sums)[members]
    return minimise(
        lambda places, coordinates: sums.linearise(members[places], coordinates),
        start,
        scales,
        sums.box,
        observations=observations[members],
        solver_error=error,
        steps=FIRST_STEPS,
    )


def _from_other_starts(sums: SumsOfSquares, members: Integers, candidates: Reals, observations: Integers) -> Ends:
    """Minimise each member from the best STARTS of its candidates, (b, CANDIDATES, k); the best end of each."""
    count, _, size = candidates.shape
    losses = np.stack([sums.losses(members, point) for point in candidates.transpose(1, 0, 2)], axis=1)
    chosen = np.argsort(losses, axis=1, kind="stable")[:, :STARTS]
    starts = np.take_along_axis(candidates, chosen[:, :, None], axis=1).reshape(-1, size)
    ends = _minimise(sums, np.repeat(members, STARTS), starts, observations)
    best = np.arange(count) * STARTS + ends.points.loss.reshape(count, STARTS).argmin(axis=1)
    return Ends(ends.points.at(best), ends.is_settled[best], ends.gradients)


def _is_sum_of_squares(problem: ResolvedProblem) -> bool:
    """Whether a request asks for what is fitted here: the default plan for a sum of squares, and its best point."""
    request = problem.request
    entries = [*request.parameters.values(), *request.initial_state.values()]
    ability = ABILITIES[problem.engine]
    return (
        request.noise is None
        and request.penalty is None
        and request.uncertainty != "profile"
        and request.starts is None
        and request.stages == default_plan(None)
        and not problem.has_protocols
        and not problem.system.events
        and not problem.system.derived
        and not any(isinstance(entry, str) for entry in entries)
        and not any(isinstance(value, Expression) for own in problem.constants for value in own.values())
        and ENGINES[problem.engine].has_forward_sensitivities
        and problem.device in ability.devices
    )
