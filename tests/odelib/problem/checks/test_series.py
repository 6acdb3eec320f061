"""Refusals of series, with their pointers written by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.odelib.problem.requests import ABSENT, EXPERIMENTS, FULL, MINIMAL, assert_refused, changed, mistakes

PREY = MINIMAL["data"]["values"]["prey"]


@pytest.mark.parametrize("where", ["/data/values", "/data/sigma", "/predictions/0/values"])
@pytest.mark.parametrize("name", ["zeta", "a/b", "m~n", "~list", "[key]"])
def test_observables_that_the_system_does_not_have(where: str, name: str) -> None:
    pointer = f"{where}/{name.replace('~', '~0').replace('/', '~1')}"
    length = 2 if "predictions" in where else 4
    assert_refused({pointer: [1.0] * length}, pointer, body=FULL, detail="no observable")


def test_a_state_is_not_observed_if_the_system_defines_observables() -> None:
    assert_refused(
        {"/data/values/predator": [1.0] * 4},
        "/data/values/predator",
        body=FULL,
        detail="not observables unless they are listed",
    )


def test_the_first_time_that_decreases() -> None:
    assert_refused({"/data/times": [0.0, 0.2, 0.1]}, "/data/times/2", detail="must not decrease")
    times = [0.0, 3.0, 2.0, 1.0, 4.0, 0.0]
    assert_refused({"/data/times": times, "/data/values": {"prey": [1.0] * 6}}, "/data/times/2")


@pytest.mark.parametrize(("column", "times"), [([1.0], 3), ([1.0] * 4, 3), ([], 3)])
def test_as_many_values_as_times(column: list[float], times: int) -> None:
    assert_refused(
        {"/data/values/prey": column},
        "/data/values/prey",
        detail=f"each time ({times}), but its length is {len(column)}",
    )


def test_as_many_sigmas_as_times() -> None:
    assert_refused(
        {"/data/sigma": {"prey": [0.1, 0.2]}},
        "/data/sigma/prey",
        detail="one sigma for each time (3), but its length is 2",
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"/data/values": {}},
        {"/data/values": {"prey": [None, None, None]}},
        {"/data/values": {"prey": [None, None, None], "predator": [None, None, None]}},
    ],
)
def test_a_measurement_is_required(changes: dict[str, Any]) -> None:
    assert_refused(changes, "/data/values")


def test_the_start_is_not_after_the_first_time() -> None:
    assert_refused({"/data/start_time": 0.05}, "/data/start_time", detail="0.05")


@pytest.mark.parametrize(
    ("sigma", "pointer"),
    [
        ({"prey": 0}, "/data/sigma/prey"),
        ({"prey": -0.1}, "/data/sigma/prey"),
        ({"prey": [0.1, 0.0, 0.1]}, "/data/sigma/prey/1"),
        ({"prey": [0.1, -0.1, 0.1]}, "/data/sigma/prey/1"),
        ({"prey": [0.1, None, 0.1]}, "/data/sigma/prey/1"),
        ({"prey": []}, "/data/sigma/prey"),
        ({"prey": "estimate"}, "/data/sigma/prey"),
        ({"alpha": 0.1}, "/data/sigma/alpha"),
    ],
)
def test_sigmas_are_above_zero(sigma: dict[str, Any], pointer: str) -> None:
    assert_refused({"/data/sigma": sigma}, pointer)


def test_a_sigma_of_an_observable_that_is_not_measured() -> None:
    assert_refused({"/data/values": {"prey": PREY}, "/data/sigma": {"predator": 0.1}}, "/data/sigma/predator")


def test_both_data_and_experiments() -> None:
    found = mistakes(MINIMAL | {"experiments": [MINIMAL["data"] | {"name": "a"}]})
    assert list(found) == ["/experiments"]


@pytest.mark.parametrize(
    ("changes", "pointer", "detail"),
    [
        ({"/experiments": []}, "/experiments", "must not be empty"),
        ({"/experiments": {}}, "/experiments", "must be a list"),
        ({"/experiments/1": 5}, "/experiments/1", "must be an object"),
        ({"/experiments/1/name": ABSENT}, "/experiments/1/name", "is required"),
        ({"/experiments/1/name": "a"}, "/experiments/1/name", "names must be unique"),
        ({"/experiments/1/name": ""}, "/experiments/1/name", ""),
        ({"/experiments/1/times": ABSENT}, "/experiments/1/times", "is required"),
        ({"/experiments/1/values": ABSENT}, "/experiments/1/values", "is required"),
        ({"/experiments/1/times": [2.0, 1.0]}, "/experiments/1/times/1", "must not decrease"),
        ({"/experiments/1/values/prey": [1.0]}, "/experiments/1/values/prey", "each time (2), but its length is 1"),
        ({"/experiments/1/values/prey/0": "x"}, "/experiments/1/values/prey/0", "must be a number"),
        ({"/experiments/1/values/prey": [None, None]}, "/experiments/1/values", "all values are null"),
        ({"/experiments/1/values/zeta": [1.0, 2.0]}, "/experiments/1/values/zeta", "no observable"),
        ({"/experiments/1/start_time": 1.5}, "/experiments/1/start_time", "1.5"),
        ({"/experiments/1/sigma": {"prey": 0}}, "/experiments/1/sigma/prey", "greater than 0"),
        ({"/experiments/1/sigma": {"predator": 1.0}}, "/experiments/1/sigma/predator", "no values"),
        ({"/experiments/1/constants": {"q": 1.0}}, "/experiments/1/constants/q", "no constant"),
        ({"/experiments/1/initial_state": {"q": 1.0}}, "/experiments/1/initial_state/q", "no state"),
        (
            {"/experiments/1/initial_state": {"prey": {"lower": 1.0}}},
            "/experiments/1/initial_state/prey/guess",
            "unless both bounds are given",
        ),
        ({"/experiments/1/initial_state": {"prey": "predator"}}, "/experiments/1/initial_state/prey", "'predator'"),
        ({"/experiments/1/zeta": 1}, "/experiments/1/zeta", "unknown field"),
        ({"/initial_state/prey": ABSENT}, "/initial_state/prey", "needs an initial value"),
        ({"/data": {}}, "/experiments", "not both"),
    ],
)
def test_experiments(changes: dict[str, Any], pointer: str, detail: str) -> None:
    found = mistakes(changed(EXPERIMENTS, changes))
    if "/data" in changes:
        assert pointer in found
    else:
        assert list(found) == [pointer]
    assert detail in found[pointer]
