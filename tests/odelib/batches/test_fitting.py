"""`fit_batch`: rows as single fits would give them, and series that fail alone."""

from __future__ import annotations

import math
from typing import Any

import pytest

from odelib import FitProblem, Monitor, fit, fit_batch
from odelib.errors import StopRequested
from odelib.problem.batches import batch_mistakes, member_request
from odelib.result import BatchRow

REQUEST: dict[str, Any] = {
    "system": {"states": ["c"], "parameters": ["k"], "equations": {"c": "-k*c"}},
    "parameters": {"k": {"guess": 1.0, "lower": 0.0}},
    "initial_state": {"c": 5.0},
}


def series(name: str, rate: float, **more: Any) -> dict[str, Any]:
    times = [0.0, 0.5, 1.0, 2.0, 3.0]
    values = [round(4 * math.exp(-rate * t) + 0.03 * math.sin(7 * t), 3) for t in times]
    return {"name": name, "times": times, "values": {"c": values}, **more}


GOOD = [
    series("one", 0.5),
    series("two", 1.5, parameters={"k": 2.0}, initial_state={"c": {"guess": 4.0, "fixed": True}}),
]


def rows_of(request: dict[str, Any], members: list[Any]) -> list[BatchRow]:
    found = dict(fit_batch(request, members))
    assert sorted(found) == list(range(len(members)))
    return [found[index] for index in range(len(members))]


def test_each_row_is_what_a_fit_of_this_series_alone_gives() -> None:
    rows = rows_of({**REQUEST, "uncertainty": "covariance"}, GOOD)

    for row, each in zip(rows, GOOD, strict=True):
        alone = fit(FitProblem.model_validate(member_request({**REQUEST, "uncertainty": "covariance"}, each)))
        assert (row.name, row.status, row.outcome) == (each["name"], "succeeded", alone.outcome.code)
        assert row.loss == pytest.approx(alone.loss, rel=1e-6)
        for name, estimate in {**alone.parameters, **alone.initial_state}.items():
            own = {**(row.parameters or {}), **(row.initial_state or {})}[name]
            assert own.value == pytest.approx(estimate.value, rel=1e-4)
            assert (own.standard_error or 0.0) == pytest.approx(estimate.standard_error or 0.0, rel=1e-2)
            assert own.fixed == estimate.fixed


@pytest.mark.parametrize(
    ("bad", "pointers"),
    [
        (series("x", 1.0, times=[0.0, 0.5]), ["/values/c"]),
        ({**series("x", 1.0), "values": {"d": [1.0] * 5}}, ["/values/d"]),
        ({**series("x", 1.0), "values": {"c": [None] * 5}}, ["/values"]),
        ({**series("x", 1.0), "values": {"c": [1.0, math.nan, 1.0, 1.0, 1.0]}}, ["/values/c/1"]),
        (series("x", 1.0, parameters={"k": -1.0, "z": 1.0}), ["/parameters/k/guess", "/parameters/z"]),
        (series("x", 1.0, parameters=[1.0]), ["/parameters"]),
        ([1.0], [""]),
    ],
)  # fmt: skip
def test_an_invalid_series_fails_alone_with_pointers_into_it(bad: Any, pointers: list[str]) -> None:
    before, row, after = rows_of(REQUEST, [GOOD[0], bad, GOOD[1]])

    assert (before.status, after.status) == ("succeeded", "succeeded")
    assert row.status == "failed"
    assert row.error is not None
    assert row.error.errors is not None
    assert sorted(mistake.pointer for mistake in row.error.errors) == pointers


def test_a_series_whose_guess_cannot_be_solved_fails_alone() -> None:
    explosion = {"states": ["c"], "parameters": ["k"], "equations": {"c": "k*c**2"}}
    request = {**REQUEST, "system": explosion, "parameters": {"k": {"guess": 0.01, "upper": 10.0}}}
    fixed = {"c": {"guess": 1.0, "fixed": True}}
    bad = series("bad", 0.5, initial_state=fixed, parameters={"k": {"guess": 9.5, "lower": 9.0}})

    rows = rows_of(request, [series("one", -0.1), bad])

    assert rows[0].status == "succeeded"
    assert rows[1].status == "failed"
    assert rows[1].error is not None
    assert rows[1].error.type == "urn:odefit:error:guess_step_too_small"


def test_a_stopped_batch_keeps_the_rows_that_are_ready() -> None:
    monitor = Monitor()
    rows = fit_batch(REQUEST, [*GOOD, *GOOD], monitor=monitor)
    ready = [next(rows)]
    monitor.stop = "cancelled"

    with pytest.raises(StopRequested, match="cancelled"):
        ready.extend(rows)

    assert all(row.status == "succeeded" for _, row in ready)


def test_the_request_of_a_batch_is_checked_without_its_series() -> None:
    assert batch_mistakes(REQUEST) == []
    assert batch_mistakes({**REQUEST, "parameters": {}}) == []  # every series may give guesses
    noise = {"c": {"distribution": "normal", "sigma": "estimate"}}
    assert batch_mistakes({**REQUEST, "noise": noise}) == []
    wrong = {**REQUEST, "parameters": {"k": {"guess": 1.0, "lower": 2.0}}, "data": GOOD[0], "predictions": [{}]}
    assert sorted(mistake.pointer for mistake in batch_mistakes(wrong)) == [
        "/data",
        "/parameters/k/guess",
        "/predictions",
    ]
