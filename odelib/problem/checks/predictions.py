"""Predictions: none starts before the data, none names what there is not."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from odelib.problem.checks.raw import MistakeReport, as_number, as_object
from odelib.problem.checks.series import check_increasing, check_values, located_series, start_of
from odelib.problem.checks.system import DeclaredNames
from odelib.problem.limits import Limits
from odelib.problem.pointers import join


def check_predictions(
    raw: Mapping[str, Any], declared: DeclaredNames | None, limits: Limits, report: MistakeReport
) -> None:
    """All that is wrong with `predictions`."""
    predictions = raw.get("predictions")
    if not isinstance(predictions, list):
        return
    series = _Series(raw)
    total = 0
    for i, entry in enumerate(predictions):
        fields, base = as_object(entry), f"/predictions/{i}"
        if isinstance(times := fields.get("times"), list):
            total += len(times) * (len(declared.observables) if declared else 1)
        _experiment(fields, base, series, declared, report)
        _times(fields, base, series.of(fields), report)
        _names(fields, base, declared, report)
        if "values" in fields:
            check_values(as_object(fields["values"]), times, join(base, "values"), declared, report)
    if total > limits.predicted_values:
        report.add("/predictions", f"at most {limits.predicted_values} predicted values, here are {total}")


class _Series:
    """What predictions need to know of the series, found once: there may be thousands of either."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self._all = [fields for _, fields in located_series(raw)]
        self._by_name: dict[str, list[Mapping[str, Any]]] = {}
        for fields in self._all:
            if isinstance(name := fields.get("name", "data"), str):
                self._by_name.setdefault(name, []).append(fields)
        given = [fields.get("name", "data") for fields in self._all if fields]
        self.names = dict.fromkeys(given) if all(isinstance(name, str) for name in given) else {}
        self.are_several = len(given) > 1
        self.have_constants = any(as_object(fields.get("constants")) for fields in self._all)
        own = raw.get("per_experiment")
        self.own_parameters = [name for name in own if isinstance(name, str)] if isinstance(own, list) else []

    def of(self, prediction: Mapping[str, Any]) -> Mapping[str, Any]:
        """The series that a prediction goes on from, nothing where that is not one."""
        name = prediction.get("experiment")
        chosen = (
            self._all if "experiment" not in prediction else self._by_name.get(name if isinstance(name, str) else "")
        )
        return chosen[0] if chosen and len(chosen) == 1 else {}


def _times(fields: Mapping[str, Any], base: str, data: Mapping[str, Any], report: MistakeReport) -> None:
    times = fields.get("times")
    if not isinstance(times, list):
        return
    check_increasing(times, join(base, "times"), report)
    start, first = start_of(data), as_number(times[0]) if times else None
    if "initial_state" not in fields and start is not None and first is not None and first < start:
        report.add(
            join(base, "times", 0),
            f"{first!r} is before the data's start at {start!r}; give an initial_state to predict from there",
        )


def _experiment(
    fields: Mapping[str, Any], base: str, series: _Series, declared: DeclaredNames | None, report: MistakeReport
) -> None:
    if "experiment" in fields:
        name = fields["experiment"]
        if isinstance(name, str) and series.names and name not in series.names:
            have = ", ".join(repr(entry) for entry in islice(series.names, 12))
            report.add(join(base, "experiment"), f"there is no experiment {name!r:.80}; there is {have:.400}")
    elif series.are_several and declared and _depends(fields, series, declared):
        report.add(
            join(base, "experiment"),
            "name the experiment: there are several, and the prediction depends on which; or give all that is an "
            "experiment's own in initial_state and parameters",
        )


def _depends(fields: Mapping[str, Any], series: _Series, declared: DeclaredNames) -> bool:
    """Whether anything that the prediction takes from the fit is an experiment's own."""
    state, parameters = as_object(fields.get("initial_state")), as_object(fields.get("parameters"))
    return (
        series.have_constants
        or any(name not in state for name in declared.states)
        or any(name not in parameters for name in series.own_parameters)
    )


def _names(fields: Mapping[str, Any], base: str, declared: DeclaredNames | None, report: MistakeReport) -> None:
    if declared:
        parameters, state = as_object(fields.get("parameters")), as_object(fields.get("initial_state"))
        report.unknown_names(parameters, declared.parameters, join(base, "parameters"), "parameter")
        report.unknown_names(state, declared.states, join(base, "initial_state"), "state")
