"""A series: times in order, a value for each, observables and constants that the system has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import islice
from typing import Any

from odelib.problem.checks.raw import MistakeReport, as_number, as_object
from odelib.problem.checks.system import DeclaredNames
from odelib.problem.limits import Limits
from odelib.problem.pointers import join

LocatedSeries = tuple[str, Mapping[str, Any]]  # a series' pointer and its fields


def located_series(raw: Mapping[str, Any]) -> list[LocatedSeries]:
    """The series of a raw request, each with its pointer."""
    if "experiments" not in raw:
        return [("/data", as_object(raw.get("data")))]
    entries = raw["experiments"] if isinstance(raw["experiments"], list) else []
    return [(f"/experiments/{i}", as_object(entry)) for i, entry in enumerate(entries)]


def check_all_series(
    raw: Mapping[str, Any], declared: DeclaredNames | None, limits: Limits, report: MistakeReport
) -> None:
    """All that is wrong with `data` or `experiments`, their initial states aside."""
    if "data" in raw and "experiments" in raw:
        report.add("/experiments", "give data or experiments, not both")
        return
    if "data" not in raw and "experiments" not in raw:
        report.add("/data", "'data' is required, or 'experiments' where there are several series")
        return
    series = located_series(raw)
    if len(series) > limits.experiments:
        report.add("/experiments", f"at most {limits.experiments} experiments, here are {len(series)}")
        return
    observed = sum(_check_series(fields, base, declared, report) for base, fields in series)
    if observed > limits.observations:
        where = "/data/values" if "data" in raw else "/experiments"
        report.add(where, f"at most {limits.observations} values, here are {observed}")
    seen: set[str] = set()
    for base, fields in series:
        name = fields.get("name")
        if isinstance(name, str):
            if name in seen:
                report.add(join(base, "name"), f"another experiment is called {name!r:.80}; names are unique")
            seen.add(name)


def _check_series(data: Mapping[str, Any], base: str, declared: DeclaredNames | None, report: MistakeReport) -> int:
    """All that is wrong with one series; returns how many values it has."""
    times, values = data.get("times"), as_object(data.get("values"))
    if isinstance(times, list):
        check_increasing(times, join(base, "times"), report)
        start, first = as_number(data.get("start_time")), as_number(times[0]) if times else None
        if start is not None and first is not None and start > first:
            report.add(
                join(base, "start_time"),
                f"the initial state must not hold after the first time: {start!r} is later than {first!r}",
            )
    observed = check_values(values, times, join(base, "values"), declared, report)
    _sigma(data, base, declared, report)
    if declared:
        given = as_object(data.get("constants"))
        report.unknown_names(given, declared.constants, join(base, "constants"), "constant")
    return observed


def check_values(
    values: Mapping[str, Any], times: Any, base: str, declared: DeclaredNames | None, report: MistakeReport
) -> int:
    """All that is wrong with measurements beside their times; returns how many there are, nulls left out."""
    observed = 0
    for name, column in values.items():
        pointer = join(base, name)
        _observable(name, pointer, declared, report)
        if isinstance(column, list):
            observed += len(column) - column.count(None)
            if isinstance(times, list) and len(column) != len(times):
                report.add(pointer, f"{len(column)} values for {len(times)} times; write null where one is missing")
    if values and observed == 0 and all(isinstance(column, list) for column in values.values()):
        report.add(base, "all values are null: there is nothing to compare the model with")
    return observed


def check_increasing(times: list[Any], pointer: str, report: MistakeReport) -> None:
    """That the times do not decrease. The first that does is enough: the following ones follow from it."""
    previous = -math.inf
    for i, entry in enumerate(times):
        time = as_number(entry)
        if time is None:
            continue
        if time < previous:
            report.add(join(pointer, i), f"times must not decrease: {time!r} comes after {previous!r}")
            return
        previous = time


def start_of(data: Mapping[str, Any]) -> float | None:
    """When the initial state holds: at `start_time`, or else at the first time."""
    times = data.get("times")
    start = as_number(data.get("start_time"))
    return as_number(times[0]) if start is None and isinstance(times, list) and times else start


def _sigma(data: Mapping[str, Any], base: str, declared: DeclaredNames | None, report: MistakeReport) -> None:
    times, values = data.get("times"), data.get("values")
    for name, sigma in as_object(data.get("sigma")).items():
        pointer = join(base, "sigma", name)
        if _observable(name, pointer, declared, report) and isinstance(values, Mapping) and name not in values:
            report.add(pointer, f"{name!r:.80} has no values to which a sigma could belong")
        if isinstance(sigma, list) and isinstance(times, list) and len(sigma) != len(times):
            report.add(pointer, f"{len(sigma)} sigmas for {len(times)} times")


def _observable(name: str, pointer: str, declared: DeclaredNames | None, report: MistakeReport) -> bool:
    if declared is None or name in declared.observables:
        return True
    has = ", ".join(islice(declared.observables, 12)) + (", …" if len(declared.observables) > 12 else "")
    why = "; where a system names observables, only they are observed" if name in declared.states else ""
    report.add(pointer, f"the system has no observable {name!r:.80}; it has {has}{why}")
    return False
