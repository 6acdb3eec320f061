"""Predictions: none starts before the data, none names what there is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from odelib.problem.checks.raw import Report, as_number, as_object
from odelib.problem.checks.series import check_increasing, check_values, start_of
from odelib.problem.limits import Limits
from odelib.problem.pointers import join
from odelib.problem.system import Declared


def check_predictions(raw: Mapping[str, Any], declared: Declared | None, limits: Limits, report: Report) -> None:
    """All that is wrong with `predictions`."""
    predictions, data = raw.get("predictions"), as_object(raw.get("data"))
    if not isinstance(predictions, list):
        return
    total = 0
    for i, entry in enumerate(predictions):
        fields, base = as_object(entry), f"/predictions/{i}"
        if isinstance(times := fields.get("times"), list):
            total += len(times) * (len(declared.observables) if declared else 1)
        _times(fields, base, data, report)
        _names(fields, base, data, declared, report)
        if "values" in fields:
            check_values(as_object(fields["values"]), times, join(base, "values"), declared, report)
    if total > limits.predicted_values:
        report.say("/predictions", f"at most {limits.predicted_values} predicted values, here are {total}")


def _times(fields: Mapping[str, Any], base: str, data: Mapping[str, Any], report: Report) -> None:
    times = fields.get("times")
    if not isinstance(times, list):
        return
    check_increasing(times, join(base, "times"), report)
    start, first = start_of(data), as_number(times[0]) if times else None
    if "initial_state" not in fields and start is not None and first is not None and first < start:
        report.say(
            join(base, "times", 0),
            f"{first!r} is before the data's start at {start!r}; give an initial_state to predict from there",
        )


def _names(
    fields: Mapping[str, Any], base: str, data: Mapping[str, Any], declared: Declared | None, report: Report
) -> None:
    experiment, own = fields.get("experiment"), data.get("name", "data")
    if data and isinstance(experiment, str) and isinstance(own, str) and experiment != own:
        report.say(
            join(base, "experiment"),
            f"there is no experiment {experiment!r:.80}; the data's name is {own!r:.80}",
        )
    if declared:
        parameters, state = as_object(fields.get("parameters")), as_object(fields.get("initial_state"))
        report.unknown_names(parameters, declared.parameters, join(base, "parameters"), "parameter")
        report.unknown_names(state, declared.states, join(base, "initial_state"), "state")
