"""The values of a request's unknowns: those of a result, or the guesses."""

from __future__ import annotations

from odelib.problem.resolved import ResolvedProblem
from odelib.problem.unknowns import Unknown
from odelib.result import Estimate, FitResult

DEFAULT_SCALE = 1.0  # of an estimated noise scale that no result gives


class RequestValues:
    """Parameters, initial values and noise scales. result: of a fit of this request, or None for the guesses."""

    def __init__(self, problem: ResolvedProblem, result: FitResult | None) -> None:
        self._problem, self._result = problem, result
        self._places = {each.name: place for place, each in enumerate(result.trajectories)} if result else {}

    def parameter(self, name: str, index: int) -> float:
        """A parameter of a series."""
        if self._result is not None:
            if name in self._result.parameters:
                return self._result.parameters[name].value
            own = self._of_series(index, "parameters")
            if name in own:
                return own[name].value
        return _start(self._problem.request.parameters[name])

    def initial_value(self, state: str, index: int) -> float:
        """The initial value of a state in a series, where it is not an expression."""
        own = self._of_series(index, "initial_state")
        if state in own:
            return own[state].value
        entry = self._problem.series[index].initial_state.get(state, self._problem.request.initial_state.get(state))
        return 0.0 if entry is None or isinstance(entry, str) else _start(entry)

    def scale(self, observable: str, name: str) -> float:
        """An estimated noise scale."""
        if self._result is None or self._result.noise is None:
            return DEFAULT_SCALE
        estimate = self._result.noise.get(observable)
        found: Estimate | None = getattr(estimate, name, None)
        return DEFAULT_SCALE if found is None else found.value

    def _of_series(self, index: int, field: str) -> dict[str, Estimate]:
        place = self._places.get(self._problem.series[index].name)
        found = getattr(self._result.trajectories[place], field) if self._result and place is not None else None
        return dict(found or {})


def _start(entry: Unknown | float) -> float:
    return entry.start if isinstance(entry, Unknown) else entry
