"""All exceptions that odelib raises deliberately.

OdelibError
├── ProblemError          the request is invalid; lists every mistake with its place in the request
├── ExpressionError       one expression is invalid (a ProblemError then reports it with its place)
├── SolveError            a trajectory could not be computed; has a code and the time of the failure
├── FitError              the fit cannot succeed; says what happened, at which stage, and what the caller can change
└── StopRequested         the numerics were asked to stop; not a failure

Misuse of an interface (a wrong shape, an unknown method) raises `ValueError` instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

StopReason = Literal["cancelled", "time_limit", "interrupted", "lease_lost"]


class OdelibError(Exception):
    """The base of all exceptions that odelib raises deliberately.

    >>> from odelib import ODELayer
    >>> try:
    ...     ODELayer("lorentz")
    ... except OdelibError as error:
    ...     type(error).__name__
    'ProblemError'
    """


@dataclass(frozen=True)
class FieldError:
    """One mistake in a request.

    pointer: where it is, or where the missing thing would be (a JSON Pointer, RFC 6901). detail: what is wrong.
    """

    pointer: str
    detail: str


class ProblemError(OdelibError):
    """The request is not a valid fit problem. `errors` lists all mistakes found, each with its place.

    >>> from odelib.problem.request import parse_problem
    >>> request = {
    ...     "system": {"states": ["c"], "parameters": ["k"], "equations": {"c": "-k*c"}},
    ...     "data": {"times": [0, 2, 1], "values": {"c": [8.0, 4.0, 2.0]}},
    ...     "initial_state": {"c": 5.0},
    ... }
    >>> try:
    ...     parse_problem(request)
    ... except ProblemError as error:
    ...     sorted(mistake.pointer for mistake in error.errors)
    ['/data/times/2', '/parameters/k']
    """

    def __init__(self, errors: Sequence[FieldError]) -> None:
        self.errors = tuple(errors)
        lines = [f"{error.pointer or '(the whole request)'}: {error.detail}" for error in self.errors]
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[type[ProblemError], tuple[tuple[FieldError, ...]]]:
        """Rebuild from the arguments, so that the error survives pickling."""
        return type(self), (self.errors,)


class ExpressionError(OdelibError):
    """A text is not an expression of the problem language; the message says why and suggests a correction."""


class SolveError(OdelibError):
    """A trajectory could not be computed. The message is written for the caller of the service.

    code: a key of `MESSAGES`. time: where the solver stopped, in the caller's unit of time. max_steps: the limit it
    ran under. experiment: the name of the series, where there are several. explain: returns which part of which
    equation has no value there, or None. event: the name of the last event. rate: the largest rate of a state that has
    not settled.

    >>> import torch
    >>> from odelib import ODELayer
    >>> layer = ODELayer({"states": ["x"], "equations": {"x": "x**2"}})
    >>> try:
    ...     layer(torch.tensor([0.0, 2.0]), torch.tensor([1.0]), torch.zeros(0))  # x = 1/(1 - t)
    ... except SolveError as error:
    ...     error.code, round(error.time, 3)
    ('step_too_small', 1.0)
    """

    MESSAGES = {
        "max_steps": "the solver used all its {max_steps} steps by t = {time:.6g}; increase solver.max_steps, loosen "
        "solver.rtol and solver.atol, or change the parameters, because the system may be stiff for these values",
        "not_finite": "the solution stopped being finite at t = {time:.6g}; it may diverge there, or an equation may "
        "divide by zero or take the logarithm or a root of a negative number",
        "step_too_small": "the solver's step became too small to continue at t = {time:.6g}; the solution may diverge "
        "there, or solver.rtol and solver.atol may be too small",
        "too_many_events": "the event {event!r:.80} had happened as often as its 'most' allows by t = {time:.6g}; "
        "increase it, or change the event so that it does not make its own condition true again",
        "endless_events": "the event {event!r:.80} happens again and again, at ever shorter intervals by t = "
        "{time:.6g}; let an event with 'stop', or one that sets the state to rest, end this",
        "sliding": "the solution slides along the comparison {event!r:.80} from t = {time:.6g} on: the rates on both "
        "sides lead back to it, and the solver cannot follow it; write a steep smooth function in place of the jump, "
        "such as tanh(100*v) for sign(v), or describe the rest by events",
        "not_settled": "no steady state was reached before the start at t = {time:.6g}: the largest rate of a state is "
        "still {rate:.3g} per unit of time; the system may oscillate or grow for these values",
        "before_start": "a dose or change lies at t = {time:.6g}, before the start of its experiment; give start_time, "
        "or bounds that keep its time and lag after it",
        "dose": "a dose after t = {time:.6g} has a time or amount that is not finite, or a duration, rate or interval "
        "that is not positive; give bounds to the parameters in it",
        "change": "a change after t = {time:.6g} has a time that is not finite; give bounds to the parameters in it",
    }

    UNDEFINED = "the solution cannot be continued at t = {time:.6g}: {explanation}"

    def __init__(
        self,
        code: str,
        time: float,
        max_steps: int,
        experiment: str | None = None,
        explain: Callable[[], str | None] | None = None,
        event: str | None = None,
        rate: float | None = None,
    ) -> None:
        self.code = code
        self.time = time
        self.max_steps = max_steps
        self.experiment = experiment
        self.event, self.rate = event, rate
        self._explain = explain
        super().__init__(code, time, max_steps, experiment)

    def __str__(self) -> str:
        """The message. The explanation is only looked for here: a fit survives many failures that nobody reads."""
        explanation = self.explanation
        template = self.UNDEFINED if explanation else self.MESSAGES[self.code]
        message = template.format(
            time=self.time, max_steps=self.max_steps, explanation=explanation, event=self.event, rate=self.rate
        )
        return f"in the experiment {self.experiment!r:.80}: {message}" if self.experiment else message

    @property
    def explanation(self) -> str | None:
        """Which part of which equation has no value there, if that is known."""
        return self._explain() if self._explain is not None else None

    def in_experiment(self, name: str) -> SolveError:
        """Return the same error with the name of the experiment in which it occurred."""
        return type(self)(self.code, self.time, self.max_steps, name, self._explain, self.event, self.rate)

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild from the arguments, so that the error survives pickling, with its explanation as a text."""
        given = (self.code, self.time, self.max_steps, self.experiment)
        return _unpickled, (type(self), given, self.explanation, self.event, self.rate)


def _unpickled(
    kind: type[SolveError],
    given: tuple[str, float, int, str | None],
    explanation: str | None,
    event: str | None,
    rate: float | None,
) -> SolveError:
    return kind(*given, (lambda: explanation) if explanation else None, event, rate)


class FitError(OdelibError):
    """The fit cannot succeed.

    code: the kind of failure. title: a short sentence for that kind. detail: what happened, at which stage, and what
    the caller can change.

    It is raised before an attempt has evaluated its first point, so it carries no result. Where an earlier attempt had
    evaluated one, `odelib.fitting.partial_result` makes the result from that attempt's last checkpoint.

    >>> from odelib import FitProblem, fit
    >>> problem = FitProblem.model_validate({
    ...     "system": {"states": ["x"], "parameters": ["k"], "equations": {"x": "k*x**2"}},
    ...     "data": {"times": [0, 2], "values": {"x": [1.0, 1.2]}},
    ...     "parameters": {"k": {"guess": 1.0, "lower": 0.9}},  # x = 1/(1 - k*t)
    ...     "initial_state": {"x": {"guess": 1.0, "fixed": True}},
    ... })
    >>> try:
    ...     fit(problem)
    ... except FitError as error:
    ...     error.code
    'guess_step_too_small'
    """

    def __init__(self, code: str, title: str, detail: str) -> None:
        self.code = code
        self.title = title
        self.detail = detail
        super().__init__(f"{title}: {detail}")

    def __reduce__(self) -> tuple[type[FitError], tuple[str, str, str]]:
        """Rebuild from the arguments, so that the error survives pickling."""
        return type(self), (self.code, self.title, self.detail)


class StopRequested(OdelibError):
    """The numerics were asked to stop, for the `reason` given."""

    def __init__(self, reason: StopReason) -> None:
        self.reason: StopReason = reason
        super().__init__(reason)
