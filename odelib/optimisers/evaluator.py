"""The one evaluator that all stages share: evaluations counted, best point kept, progress and checkpoints told.

A stage drives; the evaluator stands between it and the objective, so that no stage has its own copy of these rules.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import lsq_linear

from odelib.arrays import Reals
from odelib.errors import SolveError, StopReason, StopRequested
from odelib.likelihood.fisher_information import fisher_information
from odelib.likelihood.residual_tests import structured
from odelib.objective.objective import Evaluation, GaussNewton, NotFinite, Objective

KINK = 0.1  # of a gain that would be negligible: a tip of the loss so near is where the point stands
CHECKPOINT_SECONDS = 0.25  # how often a step leaves a checkpoint, at most


class TrialFailed(Exception):
    """The point cannot be evaluated; `reason` says why. The best point stands."""

    def __init__(self, reason: SolveError | NotFinite) -> None:
        self.reason = reason
        super().__init__(str(reason))


@dataclass
class Counts:
    """What a stage has done so far."""

    steps: int = 0
    gradients: int = 0
    failed_solves: int = 0
    seconds: float = 0.0


class Evaluator:
    """One stage's dealings with the objective.

    best: the best evaluation so far, over all stages. counts: this stage's, over all attempts. memory: what the
    stage last said it could go on from.
    """

    def __init__(
        self,
        objective: Objective,
        best: Evaluation,
        counts: Counts,
        memory: dict[str, Any] | None,
        stop: Callable[[], StopReason | None],
        tell: Callable[[Evaluator], None],
    ) -> None:
        self.objective = objective
        self.unknowns = objective.unknowns
        self.best = best
        self.counts = counts
        self.memory = memory
        self._stop = stop
        self._tell = tell
        self._latest = best
        self._since = time.monotonic() - counts.seconds
        self._told = -np.inf
        self.ends: list[float] = []  # the losses at which several starts ended, of a stage that has them

    def nested(self) -> Evaluator:
        """A evaluator for a piece of this stage's work: what it finds and costs counts here, its steps do not."""
        return _Nested(self)

    def evaluate(self, coordinates: Reals) -> Evaluation:
        """Loss and gradient at a point within the bounds. Raises `TrialFailed`, and `StopRequested`."""
        if np.array_equal(coordinates, self._latest.coordinates):
            return self._latest
        with self.count_gradient():
            return self._keep(self.objective.evaluate(coordinates))

    def linearise(self, coordinates: Reals) -> tuple[Evaluation, GaussNewton]:
        """As `evaluate`, with the Gauss–Newton matrix there."""
        with self.count_gradient():
            evaluation, curvature = self.objective.linearise(coordinates)
            return self._keep(evaluation), curvature

    @contextmanager
    def count_gradient(self) -> Iterator[None]:
        """Around the work of one gradient: counted, and not begun if the fit is to stop. Raises `TrialFailed`."""
        if reason := self._stop():
            raise StopRequested(reason)
        self.counts.gradients += 1
        try:
            yield
        except (SolveError, NotFinite) as error:
            self.counts.failed_solves += 1
            raise TrialFailed(error) from error
        finally:
            self.counts.seconds = time.monotonic() - self._since

    def _keep(self, evaluation: Evaluation) -> Evaluation:
        self._latest = evaluation
        if evaluation.loss < self.best.loss:
            self.best = evaluation
        return evaluation

    def step(self, memory: dict[str, Any] | None = None) -> None:
        """A step is done; `memory` is the optimiser's own, as JSON, from which it could go on."""
        self.counts.steps += 1
        self.memory = memory
        now = time.monotonic()
        self.counts.seconds = now - self._since
        if now - self._told >= CHECKPOINT_SECONDS:
            self._told = now
            self._tell(self)

    def is_done(self) -> bool:
        """Whether earlier stages have left nothing to gain: a stage may then end as it begins."""
        if np.array_equal(self.best.coordinates, self.unknowns.start):
            return False
        try:
            return self.is_converged()
        except TrialFailed:
            return False

    def is_trustworthy(self) -> bool:
        """Whether there is nothing to gain, the valley is no odd one, and the residuals look like noise."""
        if not self.is_done() or self.may_be_local_minimum():
            return False
        observed = self.objective.model_output(self.best.coordinates, self.best.states)
        found = self.objective.measurements.residuals(observed.model)
        return not structured([pair for nested in found for pair in nested.items()])

    def may_be_local_minimum(self) -> bool:
        """Whether the best point may be in a worse valley than others.

        So it may where some unknowns change nothing, as those do that have run away, or are where their priors hardly
        expected them; and where nothing can be said of that.
        """
        at = self.best.coordinates
        if self.objective.regularisation.contradicts_a_prior(at):
            return True
        try:
            rows = self.objective.gauss_newton(at).rows
        except (SolveError, NotFinite):
            return True
        free = ~self.unknowns.active_bounds(at, self.best.gradient)
        return len(fisher_information(rows * self.unknowns.magnitudes(at), free).flat) > 0

    def threshold(self, at: Evaluation) -> float:
        """Below which a predicted gain means that the optimum is reached.

        1e-3·s² with s² = loss/(observations − free unknowns), 1 under a likelihood, but not below what the solver's
        error makes of the loss of a perfect fit.
        """
        measurements = self.objective.measurements
        freedom = max(measurements.observations - self.unknowns.count, 1)
        square = 1.0 if measurements.is_likelihood else at.loss / freedom
        observed = self.objective.model_output(at.coordinates, at.states)
        return max(1e-3 * square, measurements.solver_error(observed.model, observed.scales))

    def is_converged(self) -> bool:
        """Whether the further gain that the Gauss–Newton matrix predicts at the best point is below the threshold.

        Raises `TrialFailed` where the matrix cannot be had.
        """
        limit = self.threshold(self.best)
        try:
            found = self.objective.gauss_newton(self.best.coordinates)
        except (SolveError, NotFinite) as error:
            raise TrialFailed(error) from error
        return self.predicted_gain(self.best, found, limit) < limit

    def predicted_gain(self, at: Evaluation, curvature: GaussNewton, limit: float) -> float:
        """½·gᵀBg with B the inverse of the Gauss–Newton matrix, unknowns at a bound and flat directions left out.

        At a tip of the loss (nearer than a small part of `limit`) the shortest of its gradients counts, by B's measure.
        """
        scales = self.unknowns.magnitudes(at.coordinates)
        free = ~self.unknowns.active_bounds(at.coordinates, at.gradient)
        inverse = fisher_information(curvature.rows * scales, free).inverse
        gradient = at.gradient * scales
        tips, signs = curvature.absolute_terms.near_kinks(KINK * limit)
        if not len(tips):
            return float(0.5 * gradient @ inverse @ gradient)
        tips = tips * scales
        lengths, directions = np.linalg.eigh(inverse)
        root = np.sqrt(np.maximum(lengths, 0.0))[:, None] * directions.T  # rootᵀ·root = B
        rest = gradient - signs @ tips
        return float(lsq_linear(root @ tips.T, -root @ rest, bounds=(-1.0, 1.0)).cost)


class _Nested(Evaluator):
    """See `Evaluator.nested`."""

    def __init__(self, whole: Evaluator) -> None:
        super().__init__(whole.objective, whole.best, Counts(), None, whole._stop, lambda _: None)
        self._whole = whole

    @contextmanager
    def count_gradient(self) -> Iterator[None]:
        """See `Evaluator.one_gradient`."""
        with self._whole.count_gradient():
            yield

    def _keep(self, evaluation: Evaluation) -> Evaluation:
        self._whole._keep(evaluation)
        return super()._keep(evaluation)
