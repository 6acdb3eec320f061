"""The warnings of a result: what to know before trusting it."""

from __future__ import annotations

from collections.abc import Sequence

from odelib.likelihood.residual_tests import structured
from odelib.objective.objective import Evaluation, Objective, Observed
from odelib.result import OUTCOMES, FitWarning, OutcomeCode, PredictionResult, StageReport

MIN_STARTS = 5  # with fewer, how many reached the best says nothing
COARSE = 1e-4  # of the data's squares: with a solver's error of a hundredth of the data nothing can be told


class Cautions:
    """Gathers the warnings of a fit at its best point."""

    def __init__(
        self, objective: Objective, best: Evaluation, observed: Observed, stages: Sequence[StageReport]
    ) -> None:
        self._stages = stages
        self._objective = objective
        self._unknowns = objective.unknowns
        self._best = best
        self._observed = observed

    def all(
        self,
        code: OutcomeCode,
        predictions: list[PredictionResult],
        flat: list[str] | None,
        no_errors: str | None,
        open_ends: list[str],
        not_finite: list[str],
    ) -> list[FitWarning]:
        """The warnings, in a fixed order.

        flat: the unknowns that take part in a flat direction, None where that is not known. no_errors: why there are
        none, where they were asked for.
        """
        warnings = self._at_bound() + self._not_finite(not_finite) + self._of_trust()
        if flat is None:
            warnings += self._idle()
        warnings += self._coarse()
        if no_errors:
            message = f"there are no standard errors: {no_errors}"
            warnings.append(FitWarning(code="no_uncertainty", message=message))
        if flat:
            warnings.append(_flat(flat))
        if open_ends:
            message = f"the data do not bound {', '.join(open_ends)} on every side: that end of the interval is open"
            warnings.append(FitWarning(code="open_interval", message=message, names=open_ends))
        if code != "converged":
            warnings.append(FitWarning(code="not_converged", message=OUTCOMES[code]))
        return warnings + _failed(predictions)

    def _at_bound(self) -> list[FitWarning]:
        bound = self._unknowns.at_bound(self._best.coordinates)
        if not bound:
            return []
        message = f"{', '.join(bound)} ended at a bound: the best value may lie beyond it"
        return [FitWarning(code="at_bound", message=message, names=bound)]

    def _of_trust(self) -> list[FitWarning]:
        """What speaks against the optimum found, or against the model."""
        warnings = []
        for stage in self._stages:
            losses = stage.start_losses or []
            if len(losses) >= MIN_STARTS and stage.reached(self._best.loss) == 1:
                message = (
                    f"one start of {len(losses)} reached the best loss: there may be a better one; ask for more starts"
                )
                warnings.append(FitWarning(code="best_found_once", message=message))
        measurements = self._objective.measurements
        found = measurements.residuals(self._observed.model, self._observed.scales)
        if names := structured([pair for part in found for pair in part.items()]):
            message = (
                f"the residuals of {', '.join(names)} are not noise: neighbours in time go together; the model misses "
                "something, or this is not its best fit"
            )
            warnings.append(FitWarning(code="structured_residuals", message=message, names=names))
        r_squared = measurements.r_squared(self._observed.model)
        if poor := [name for name, value in r_squared.items() if value <= 0]:
            message = f"a constant describes {', '.join(poor)} as well as the model does"
            warnings.append(FitWarning(code="no_better_than_constant", message=message, names=poor))
        return warnings

    def _not_finite(self, derived: list[str]) -> list[FitWarning]:
        model = self._observed.model
        empty = [name for name, column in model.items() if not bool(column.isfinite().all())] + derived
        if not empty:
            return []
        message = f"{', '.join(empty)} have no finite value at some times, or at the fitted parameters"
        return [FitWarning(code="not_finite", message=message, names=empty)]

    def _idle(self) -> list[FitWarning]:
        """Unknowns along which the loss has no slope at all, where nothing better is known of flat directions."""
        gradient, held = self._best.gradient, self._unknowns.held(self._best.coordinates)
        pairs = zip(self._unknowns.names, gradient, held, strict=True)
        idle = [name for name, slope, at_bound in pairs if slope == 0.0 and not at_bound]
        if not idle or self._best.loss == 0:
            return []
        message = f"the loss does not change with {', '.join(idle)} where the fit ended: nothing is known of them"
        return [FitWarning(code="flat_direction", message=message, names=idle)]

    def _coarse(self) -> list[FitWarning]:
        if not self._objective.measurements.is_coarse(self._observed.model, self._observed.scales, COARSE):
            return []
        message = "solver.atol is not small beside the data: the trajectories are coarse, and so is the fit; lower it"
        return [FitWarning(code="coarse_solver", message=message)]


def _flat(names: list[str]) -> FitWarning:
    return FitWarning(
        code="flat_direction",
        message=f"the data do not determine {', '.join(names)}: changed together in some direction they "
        "leave the fit as it is; fix one of them, or measure what tells them apart",
        names=names,
    )


def _failed(predictions: list[PredictionResult]) -> list[FitWarning]:
    failed = [prediction.name for prediction in predictions if prediction.error]
    if not failed:
        return []
    message = f"{len(failed)} prediction(s) could not be computed; each says why in its error"
    return [FitWarning(code="prediction_failed", message=message, names=failed)]
