"""The row that a series of a batch has in the batch's results."""

from __future__ import annotations

from odelib.errors import FitError, ProblemError
from odelib.result import BatchRow, FitResult, RowError, RowMistake

MAX_MISTAKES = 20  # in a row


def row_of_result(name: str, result: FitResult) -> BatchRow:
    """Return the row of a fit that has a result."""
    return BatchRow(
        name=name,
        status="succeeded",
        outcome=result.outcome.code,
        loss=result.loss,
        parameters=result.parameters,
        initial_state=result.initial_state,
        derived=result.derived,
        noise=result.noise,
        warnings=result.warnings,
    )


def row_of_error(name: str, error: FitError) -> BatchRow:
    """Return the row of a fit that cannot succeed."""
    kind = f"urn:odefit:error:{error.code}"
    return BatchRow(name=name, status="failed", error=RowError(type=kind, title=error.title, detail=error.detail))


def row_of_mistakes(name: str | None, error: ProblemError) -> BatchRow:
    """Return the row of a series that is invalid; the error has its first mistakes."""
    mistakes = [RowMistake(pointer=each.pointer, detail=each.detail) for each in error.errors[:MAX_MISTAKES]]
    count = len(error.errors)
    return BatchRow(
        name=name,
        status="failed",
        error=RowError(
            type="urn:odefit:error:invalid_request",
            title="The series is invalid",
            detail=f"the series has {count} mistake{'s' if count > 1 else ''}; see errors",
            errors=mistakes,
        ),
    )
