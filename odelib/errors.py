"""Everything odelib raises on purpose.

OdelibError
├── ProblemError          the request is wrong; every mistake with its place in the request
├── ExpressionError       one expression is wrong (a ProblemError carries it, with its place)
├── SolveError            a trajectory could not be computed; has a code and the time it failed at
├── FitError              a fit that cannot succeed; says what happened, where, what can be changed
└── StopRequested         the numerics noticed that they were asked to stop; not a failure
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from odelib.result import FitResult

StopReason = Literal["cancelled", "time_limit", "interrupted", "lease_lost"]


class OdelibError(Exception):
    """The root of what odelib raises on purpose."""


@dataclass(frozen=True)
class FieldError:
    """One mistake in a request: `pointer` (RFC 6901) says where it stands or would stand."""

    pointer: str
    detail: str


class ProblemError(OdelibError):
    """A request that is not a fit problem. `errors` lists all mistakes found, each with its place."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(f"{error.pointer or '(the whole)'}: {error.detail}" for error in self.errors))

    def __reduce__(self) -> tuple[type[ProblemError], tuple[tuple[FieldError, ...]]]:
        """Rebuild from the arguments, so that the error can cross processes."""
        return type(self), (self.errors,)


class ExpressionError(OdelibError):
    """A text that is not an expression of the problem language; the message says why and proposes a way out."""


class SolveError(OdelibError):
    """A trajectory could not be computed.

    `code` is one of `max_steps`, `not_finite` and `step_too_small`; `time` is where the solver stood, in the
    caller's unit; `experiment` names the series where there are several. The message is the sentence the user reads.
    """

    SENTENCES = {
        "max_steps": "the solver used up its {max_steps} steps at t = {time:.6g}; raise solver.max_steps, "
        "loosen solver.rtol and solver.atol, or change the parameters: the system may be stiff there",
        "not_finite": "the solution is no longer a finite number at t = {time:.6g}; it may grow beyond all bounds, "
        "or an equation may divide by zero or take a logarithm or root of a negative number there",
        "step_too_small": "the solver's step became too small to go on at t = {time:.6g}; the solution may grow "
        "beyond all bounds there, or the tolerances may be too tight",
    }

    def __init__(self, code: str, time: float, max_steps: int, experiment: str | None = None) -> None:
        self.code = code
        self.time = time
        self.max_steps = max_steps
        self.experiment = experiment
        sentence = self.SENTENCES[code].format(time=time, max_steps=max_steps)
        super().__init__(f"in the experiment {experiment!r:.80}: {sentence}" if experiment else sentence)

    def of_experiment(self, name: str) -> SolveError:
        """The same, in a named experiment."""
        return type(self)(self.code, self.time, self.max_steps, name)

    def __reduce__(self) -> tuple[type[SolveError], tuple[str, float, int, str | None]]:
        """Rebuild from the arguments, not from the sentence, so that the error can cross processes."""
        return type(self), (self.code, self.time, self.max_steps, self.experiment)


class FitError(OdelibError):
    """A fit that cannot succeed.

    `code` names the kind of failure, `title` is a short sentence, `detail` says what happened, at which stage,
    and what the caller can change. `result` is the best so far where a point had been evaluated.
    """

    def __init__(self, code: str, title: str, detail: str, result: FitResult | None = None) -> None:
        self.code = code
        self.title = title
        self.detail = detail
        self.result = result
        super().__init__(f"{title}: {detail}")

    def __reduce__(self) -> tuple[type[FitError], tuple[str, str, str, FitResult | None]]:
        """Rebuild from the arguments, so that the error can cross processes."""
        return type(self), (self.code, self.title, self.detail, self.result)


class StopRequested(OdelibError):
    """Raised inside the numerics when somebody asked the fit to stop; `reason` says who."""

    def __init__(self, reason: StopReason) -> None:
        self.reason: StopReason = reason
        super().__init__(reason)
