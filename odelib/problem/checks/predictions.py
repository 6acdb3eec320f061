"""Predictions: they start no earlier than the data, their names are unique, and the names in them exist."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from odelib.problem.checks.occasions import start_of
from odelib.problem.checks.raw import MistakeReport, as_list, as_number, as_object, listed
from odelib.problem.checks.series import check_increasing, check_values, located_series
from odelib.problem.checks.system import DeclaredNames
from odelib.problem.limits import Limits
from odelib.problem.pointers import join
from odelib.problem.predictions import PROTOCOL_FIELDS


def check_predictions(
    raw: Mapping[str, Any], declared: DeclaredNames | None, limits: Limits, report: MistakeReport
) -> None:
    """Check `predictions` against the system and the series."""
    predictions = raw.get("predictions")
    if not isinstance(predictions, list):
        return
    series = _SeriesFacts(raw)
    names: set[str] = set()
    total = 0
    for i, entry in enumerate(predictions):
        fields, base = as_object(entry), f"/predictions/{i}"
        if isinstance(times := fields.get("times"), list):
            total += len(times) * (len(declared.observables) if declared else 1)
        _unique_name(fields, base, names, report)
        _experiment(fields, base, series, declared, report)
        _times(fields, base, series.of(fields), report)
        _names(fields, base, declared, report)
        if "values" in fields:
            check_values(as_object(fields["values"]), times, join(base, "values"), declared, report)
    if total > limits.predicted_values:
        report.add("/predictions", f"at most {limits.predicted_values} values can be predicted, but there are {total}")


class _SeriesFacts:
    """The facts about the series that predictions need, computed once: there may be thousands of either."""

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
        self.have_protocols = {name for name in PROTOCOL_FIELDS for fields in self._all if fields.get(name)}
        self.own_parameters = [name for name in as_list(raw.get("per_experiment")) if isinstance(name, str)]

    def of(self, prediction: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the series that a prediction continues, or an empty one if there is no single such series."""
        name = prediction.get("experiment")
        chosen = (
            self._all if "experiment" not in prediction else self._by_name.get(name if isinstance(name, str) else "")
        )
        return chosen[0] if chosen and len(chosen) == 1 else {}


def _unique_name(fields: Mapping[str, Any], base: str, names: set[str], report: MistakeReport) -> None:
    """Check that no prediction before has this name; add it to `names`."""
    name = fields.get("name")
    if isinstance(name, str):
        if name in names:
            report.add(join(base, "name"), f"another prediction is named {name!r:.80}; names must be unique")
        names.add(name)


def _times(fields: Mapping[str, Any], base: str, data: Mapping[str, Any], report: MistakeReport) -> None:
    times = fields.get("times")
    if not isinstance(times, list):
        return
    check_increasing(times, join(base, "times"), report)
    start, first = start_of(data), as_number(times[0]) if times else None
    if "initial_state" not in fields and start is not None and first is not None and first < start:
        report.add(
            join(base, "times", 0),
            f"{first!r} is before the start of the data at {start!r}; to start a prediction earlier, give "
            "'initial_state'",
        )


def _experiment(
    fields: Mapping[str, Any], base: str, series: _SeriesFacts, declared: DeclaredNames | None, report: MistakeReport
) -> None:
    if "experiment" in fields:
        name = fields["experiment"]
        if isinstance(name, str) and series.names and name not in series.names:
            report.add(
                join(base, "experiment"),
                f"no series is named {name!r:.80}; known names: {listed(map(repr, series.names)):.400}",
            )
    elif series.are_several and declared and _depends_on_experiment(fields, series, declared):
        report.add(
            join(base, "experiment"),
            "the prediction depends on the experiment: name one, or give everything that differs between them in "
            "the prediction itself",
        )


def _depends_on_experiment(fields: Mapping[str, Any], series: _SeriesFacts, declared: DeclaredNames) -> bool:
    """Whether any value that the prediction takes from the fit differs between experiments."""
    state, parameters = as_object(fields.get("initial_state")), as_object(fields.get("parameters"))
    return (
        series.have_constants
        or any(name not in fields for name in series.have_protocols)
        or any(name not in state for name in declared.states)
        or any(name not in parameters for name in series.own_parameters)
    )


def _names(fields: Mapping[str, Any], base: str, declared: DeclaredNames | None, report: MistakeReport) -> None:
    if declared:
        parameters, state = as_object(fields.get("parameters")), as_object(fields.get("initial_state"))
        report.add_unknown_names(parameters, declared.parameters, join(base, "parameters"), "parameter")
        report.add_unknown_names(state, declared.states, join(base, "initial_state"), "state")
