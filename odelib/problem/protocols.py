"""What was done in each series and prediction of a validated request, with expressions parsed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from odelib.problem import protocol
from odelib.problem.changes import Change
from odelib.problem.doses import Dose
from odelib.problem.expressions.parser import Expression, number_expression
from odelib.problem.fields import Quantity
from odelib.problem.inputs import InputEntry, InputKnots, Inputs
from odelib.problem.predictions import Prediction
from odelib.problem.protocol import InputValue, Knots, Protocol
from odelib.problem.request import FitProblem
from odelib.problem.series import MeasuredSeries
from odelib.problem.steady_state import SteadyState, SteadyStateChoice


class RequestProtocols:
    """Makes the protocols of a request's series and predictions."""

    def __init__(self, request: FitProblem) -> None:
        self._request, self._expressions = request, request.expressions
        self._kept: dict[int, Knots] = {}  # one for all series that share it, so that it is prepared once

    def of_series(self, series: MeasuredSeries) -> Protocol:
        """The protocol of a series."""
        return Protocol(
            inputs=self._inputs({**self._request.inputs, **series.inputs}),
            doses=self._doses(series.doses),
            changes=self._changes(series.changes),
            steady_state=self._steady_state(series.steady_state),
            observed=series.observed,
        )

    def of_prediction(self, prediction: Prediction, series: MeasuredSeries) -> Protocol:
        """The protocol of a prediction that continues a series, whose fields it may replace."""
        found = self.of_series(series)
        if prediction.inputs is not None:
            found = replace(found, inputs=self._inputs({**self._request.inputs, **prediction.inputs}))
        if prediction.doses is not None:
            found = replace(found, doses=self._doses(prediction.doses))
        if prediction.changes is not None:
            found = replace(found, changes=self._changes(prediction.changes))
        if prediction.steady_state is not None:
            found = replace(found, steady_state=self._steady_state(prediction.steady_state))
        if prediction.observed is not None:
            found = replace(found, observed=prediction.observed)
        if prediction.initial_state is None:
            return found
        return replace(found, steady_state=None, doses=tuple(replace(dose, steady=False) for dose in found.doses))

    def constants(self, series: MeasuredSeries) -> dict[str, float | Expression]:
        """The constants that a series has in place of the system's."""
        given = {**self._request.constants, **series.constants}
        return {name: self._expressions[value] if isinstance(value, str) else value for name, value in given.items()}

    def _quantity(self, value: Quantity) -> Expression:
        return self._expressions[value] if isinstance(value, str) else number_expression(value)

    def _optional(self, value: Quantity | None) -> Expression | None:
        return None if value is None else self._quantity(value)

    def _quantities(self, values: Mapping[str, Quantity]) -> dict[str, Expression]:
        return {name: self._quantity(value) for name, value in values.items()}

    def _inputs(self, inputs: Inputs) -> dict[str, InputValue]:
        return {name: self._input(value) for name, value in inputs.items()}

    def _input(self, value: InputEntry) -> InputValue:
        if not isinstance(value, InputKnots):
            return self._quantity(value)
        if id(value) not in self._kept:
            values = tuple(self._expressions[each] if isinstance(each, str) else each for each in value.values)
            self._kept[id(value)] = Knots(tuple(value.times), values, value.interpolation, value.outside)
        return self._kept[id(value)]

    def _doses(self, doses: Sequence[Dose]) -> tuple[protocol.Dose, ...]:
        return tuple(self._dose(dose) for dose in doses)

    def _changes(self, changes: Sequence[Change]) -> tuple[protocol.Change, ...]:
        return tuple(self._change(change) for change in changes)

    def _dose(self, dose: Dose) -> protocol.Dose:
        return protocol.Dose(
            into=dose.into,
            amount=self._quantity(dose.amount),
            at=tuple(self._quantity(at) for at in (dose.at if isinstance(dose.at, list) else [dose.at])),
            every=self._optional(dose.every),
            count=dose.count or 1,
            duration=self._optional(dose.duration),
            rate=self._optional(dose.rate),
            lag=self._optional(dose.lag),
            fraction=self._optional(dose.fraction),
            steady=dose.steady,
        )

    def _change(self, change: Change) -> protocol.Change:
        return protocol.Change(
            at=self._quantity(change.at),
            set=self._quantities(change.set),
            add=self._quantities(change.add),
            constants=self._quantities(change.constants),
            inputs=self._inputs(change.inputs),
        )

    def _steady_state(self, choice: SteadyStateChoice) -> protocol.SteadyState | None:
        if isinstance(choice, SteadyState):
            return protocol.SteadyState(
                self._quantities(choice.constants), self._inputs(choice.inputs), self._quantities(choice.set)
            )
        return protocol.SteadyState() if choice is True else None
