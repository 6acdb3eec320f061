"""How a fit ended, as its result says it."""

from __future__ import annotations

from odelib.report.best_point import BestPoint
from odelib.result import OUTCOMES, Outcome, OutcomeCode


def outcome_of(best: BestPoint, code: OutcomeCode) -> Outcome:
    """Return the outcome of a fit whose stages ended so.

    Where the model passes through measurements whose noise is estimated, the likelihood grows without end as the scale
    shrinks, so that the best point is no optimum, however little an optimiser could gain there.
    """
    if code in ("converged", "no_progress") and (names := collapsed_observables(best)):
        message = (
            f"the likelihood has no maximum: the model passes through the measurements of {', '.join(names)}, and the "
            "estimated noise is as small as the solver's error; give `sigma`, or fit fewer unknowns"
        )
        return Outcome(code="no_progress", message=message)
    message = OUTCOMES[code]
    if code == "early_stopped" and best.problem.hold_out is not None:
        message += f" ({best.problem.hold_out.describe()})"
    return Outcome(code=code, message=message)


def collapsed_observables(best: BestPoint) -> list[str]:
    """Return the observables with estimated noise that the model meets exactly."""
    return best.objective.measurements.collapsed(best.output.model, best.output.scales)
