"""`fit_batch`: fit many series of one model, each by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from odelib.batches.least_squares import Plain
from odelib.batches.members import may_be_plain, read_plain
from odelib.batches.rows import row_of_error, row_of_mistakes, row_of_result
from odelib.errors import FitError, ProblemError, StopRequested
from odelib.fitting import fit
from odelib.monitor import Monitor
from odelib.problem.batches import parse_member
from odelib.problem.limits import Limits
from odelib.result import BatchRow


def fit_batch(
    request: Mapping[str, Any],
    series: Sequence[Any],
    *,
    monitor: Monitor | None = None,
    limits: Limits | None = None,
) -> Iterator[tuple[int, BatchRow]]:
    """Fit each of some series, as `fit` would fit it alone.

    Args:
        request: a fit request without data, as JSON; `odelib.problem.batches.batch_mistakes` checks it.
        series: as JSON, each the `data` of a fit request, with a name and perhaps its own guesses, `parameters`.
        monitor: set its `stop` to stop. Its progress is that of the series being fitted.
        limits: on the size of each fit.

    Yields the index of a series and its row, as soon as they are ready, in any order. A series that is invalid, or
    whose fit cannot succeed, is a failed row. Raises `StopRequested` if it was stopped; rows that it has yielded by
    then are complete.

    >>> request = {
    ...     "system": {"states": ["c"], "parameters": ["k"], "equations": {"c": "-k*c"}},
    ...     "parameters": {"k": 1.0}, "initial_state": {"c": 5.0},
    ... }
    >>> series = [
    ...     {"name": "A1", "times": [0, 1, 2], "values": {"c": [8.0, 4.0, 2.0]}},
    ...     {"name": "A2", "times": [0, 1, 2], "values": {"c": [9.0, 3.0, None]}, "parameters": {"k": 1.5}},
    ...     {"name": "A3", "times": [0, 1, 2], "values": {"c": [9.0, 3.0]}},
    ... ]
    >>> rows = dict(fit_batch(request, series))
    >>> [round(rows[index].parameters["k"].value, 4) for index in (0, 1)]
    [0.6931, 1.0986]
    >>> rows[2].status, rows[2].error.errors[0].pointer
    ('failed', '/values/c')
    """
    monitor = monitor or Monitor()
    rest = []
    for index, row in _fit_together(request, series, monitor, limits):
        if row is None:
            rest.append(index)
        else:
            yield index, row
    for index in sorted(rest):
        if monitor.stop:
            raise StopRequested(monitor.stop)
        yield index, _fit_alone(request, series[index], monitor, limits)


def _fit_together(
    request: Mapping[str, Any], series: Sequence[Any], monitor: Monitor, limits: Limits | None
) -> Iterator[tuple[int, BatchRow | None]]:
    """Fit those series as one batch that can be; yields None for each that needs a fit of its own."""
    plain = _shared(request, filter(may_be_plain, series), limits)
    members = []
    for index, each in enumerate(series):
        read = plain and may_be_plain(each) and read_plain(index, each, plain.entries, plain.observables, plain.noise)
        if read:
            members.append(read)
        else:
            yield index, None
    if plain:
        yield from _without_warnings(plain.fit(members, lambda: monitor.stop))


def _without_warnings(rows: Iterator[tuple[int, BatchRow | None]]) -> Iterator[tuple[int, BatchRow | None]]:
    """Yield rows; numbers that overflow while they are made belong to series that are then fitted alone."""
    while True:
        with np.errstate(over="ignore", invalid="ignore"):  # not around the yield: callers have their own settings
            row = next(rows, None)
        if row is None:
            return
        yield row


def _shared(request: Mapping[str, Any], candidates: Iterable[Any], limits: Limits | None) -> Plain | None:
    """What plain series have in common, from the first one that is valid; None if they cannot be fitted together."""
    for each in candidates:
        try:
            problem = parse_member(request, each, limits)
        except ProblemError:
            continue
        return Plain.of(problem, request)
    return None


def _fit_alone(request: Mapping[str, Any], series: Any, monitor: Monitor, limits: Limits | None) -> BatchRow:
    try:
        problem = parse_member(request, series, limits)
    except ProblemError as error:
        return row_of_mistakes(_name(series), error)
    name = problem.series[0].name
    try:
        result = fit(problem, monitor=monitor)
    except FitError as error:
        return row_of_error(name, error)
    if result.outcome.code == "cancelled":
        raise StopRequested("cancelled")
    return row_of_result(name, result)


def _name(series: Any) -> str | None:
    name = series.get("name") if isinstance(series, Mapping) else None
    return name if isinstance(name, str) else None
