"""Predictions: none starts before the data, none names what there is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from odelib.problem.checks.raw import Report, as_number, as_object
from odelib.problem.checks.series import check_increasing, check_values, located_series, start_of
from odelib.problem.limits import Limits
from odelib.problem.pointers import join
from odelib.problem.system import Declared


def check_predictions(raw: Mapping[str, Any], declared: Declared | None, limits: Limits, report: Report) -> None:
    """All that is wrong with `predictions`."""
    predictions = raw.get("predictions")
    if not isinstance(predictions, list):
        return
    series = located_series(raw)
    total = 0
    for i, entry in enumerate(predictions):
        fields, base = as_object(entry), f"/predictions/{i}"
        if isinstance(times := fields.get("times"), list):
            total += len(times) * (len(declared.observables) if declared else 1)
        _experiment(fields, base, raw, declared, report)
        chosen = (
            series
            if "experiment" not in fields
            else [one for one in series if one[1].get("name") == fields["experiment"]]
        )
        _times(fields, base, as_object(chosen[0][1]) if len(chosen) == 1 else {}, report)
        _names(fields, base, declared, report)
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


def _experiment(
    fields: Mapping[str, Any], base: str, raw: Mapping[str, Any], declared: Declared | None, report: Report
) -> None:
    known = [one.get("name", "data") for _, one in located_series(raw) if one]
    if "experiment" in fields:
        name = fields["experiment"]
        if isinstance(name, str) and known and all(isinstance(one, str) for one in known) and name not in known:
            have = ", ".join(repr(entry) for entry in known[:12])
            report.say(join(base, "experiment"), f"there is no experiment {name!r:.80}; there is {have:.400}")
    elif len(known) > 1 and declared and _depends(fields, raw, declared):
        report.say(
            join(base, "experiment"),
            "name the experiment: there are several, and the prediction depends on which; or give all that is an "
            "experiment's own in initial_state and parameters",
        )


def _depends(fields: Mapping[str, Any], raw: Mapping[str, Any], declared: Declared) -> bool:
    """Whether anything that the prediction takes from the fit is an experiment's own."""
    own = raw.get("per_experiment")
    own = own if isinstance(own, list) else []
    return (
        any(state not in as_object(fields.get("initial_state")) for state in declared.states)
        or any(isinstance(name, str) and name not in as_object(fields.get("parameters")) for name in own)
        or any(as_object(one.get("constants")) for _, one in located_series(raw))
    )


def _names(fields: Mapping[str, Any], base: str, declared: Declared | None, report: Report) -> None:
    if declared:
        parameters, state = as_object(fields.get("parameters")), as_object(fields.get("initial_state"))
        report.unknown_names(parameters, declared.parameters, join(base, "parameters"), "parameter")
        report.unknown_names(state, declared.states, join(base, "initial_state"), "state")
