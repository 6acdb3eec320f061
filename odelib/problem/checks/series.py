"""A series: times in order, a value for each time, observables and constants that the system has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from odelib.problem.checks.raw import MistakeReport, as_list, as_number, as_object, listed
from odelib.problem.checks.system import DeclaredNames
from odelib.problem.limits import Limits
from odelib.problem.pointers import join

LocatedSeries = tuple[str, Mapping[str, Any]]  # the pointer of a series, and its fields


def located_series(raw: Mapping[str, Any]) -> list[LocatedSeries]:
    """Return the series of a raw request, each with its pointer."""
    if "experiments" not in raw:
        return [("/data", as_object(raw.get("data")))]
    return [(f"/experiments/{i}", as_object(entry)) for i, entry in enumerate(as_list(raw["experiments"]))]


def check_all_series(
    raw: Mapping[str, Any], declared: DeclaredNames | None, limits: Limits, report: MistakeReport
) -> None:
    """Check `data` or `experiments`, except their initial states."""
    if "data" in raw and "experiments" in raw:
        report.add("/experiments", "give either 'data' or 'experiments', not both")
        return
    if "data" not in raw and "experiments" not in raw:
        report.add("/data", "'data' is required, or 'experiments' for several series")
        return
    series = located_series(raw)
    if not series and isinstance(raw["experiments"], list):
        report.add("/experiments", "must not be empty")
        return
    if len(series) > limits.experiments:
        report.add("/experiments", f"at most {limits.experiments} experiments are allowed, but there are {len(series)}")
        return
    observations = sum(_check_series(fields, base, declared, report) for base, fields in series)
    if observations > limits.observations:
        where = "/data/values" if "data" in raw else "/experiments"
        report.add(where, f"at most {limits.observations} values are allowed, but there are {observations}")
    seen: set[str] = set()
    for base, fields in series:
        name = fields.get("name")
        if isinstance(name, str):
            if name in seen:
                report.add(join(base, "name"), f"another experiment is named {name!r:.80}; names must be unique")
            seen.add(name)


def _check_series(data: Mapping[str, Any], base: str, declared: DeclaredNames | None, report: MistakeReport) -> int:
    """Check one series; return the number of its values."""
    times, values = data.get("times"), as_object(data.get("values"))
    if isinstance(times, list):
        check_increasing(times, join(base, "times"), report)
        start, first = as_number(data.get("start_time")), as_number(times[0]) if times else None
        if start is not None and first is not None and start > first:
            report.add(join(base, "start_time"), f"the start time {start!r} is after the first time {first!r}")
    observations = check_values(values, times, join(base, "values"), declared, report)
    _check_sigma(data, base, declared, report)
    return observations


def check_values(
    values: Mapping[str, Any], times: Any, base: str, declared: DeclaredNames | None, report: MistakeReport
) -> int:
    """Check measurements against their times; return the number of values that are not null."""
    observations = 0
    for name, column in values.items():
        pointer = join(base, name)
        _check_observable(name, pointer, declared, report)
        if isinstance(column, list):
            observations += len(column) - column.count(None)
            if isinstance(times, list) and len(column) != len(times):
                report.add(
                    pointer,
                    f"the list must have one value for each time ({len(times)}), but its length is {len(column)}; use "
                    "null for missing values",
                )
    if values and observations == 0 and all(isinstance(column, list) for column in values.values()):
        report.add(base, "all values are null; at least one measurement is required")
    return observations


def check_increasing(times: list[Any], pointer: str, report: MistakeReport) -> None:
    """Check that times do not decrease. Only the first that does is reported: the next ones follow from it."""
    previous = -math.inf
    for i, entry in enumerate(times):
        time = as_number(entry)
        if time is None:
            continue
        if time < previous:
            report.add(join(pointer, i), f"times must not decrease: {time!r} comes after {previous!r}")
            return
        previous = time


def _check_sigma(data: Mapping[str, Any], base: str, declared: DeclaredNames | None, report: MistakeReport) -> None:
    times, values = data.get("times"), data.get("values")
    for name, sigma in as_object(data.get("sigma")).items():
        pointer = join(base, "sigma", name)
        if _check_observable(name, pointer, declared, report) and isinstance(values, Mapping) and name not in values:
            report.add(pointer, f"{name!r:.80} has a sigma but no values")
        if isinstance(sigma, list) and isinstance(times, list) and len(sigma) != len(times):
            report.add(
                pointer, f"the list must have one sigma for each time ({len(times)}), but its length is {len(sigma)}"
            )


def _check_observable(name: str, pointer: str, declared: DeclaredNames | None, report: MistakeReport) -> bool:
    if declared is None or name in declared.observables:
        return True
    why = ""
    if name in declared.states:
        why = "; if a system defines observables, its states are not observables unless they are listed"
    report.add(pointer, f"the system has no observable {name!r:.80}; it has {listed(declared.observables)}{why}")
    return False
