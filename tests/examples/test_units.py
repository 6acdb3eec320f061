"""The same request in other units has the same answer: a small part of `python -m bench.units`."""

from __future__ import annotations

from typing import Any

import pytest

from bench.units import EVERY_OTHER, differing, fitted_in, requests, units_of
from examples.problems.units import Units, in_units

UNIT_NAMES = ("both 2^-40, 2^30", EVERY_OTHER, "both 1e-12, 1e-9")
PROBLEMS = (
    "Pendulum, angle alone",
    "Influenza, SIR",
    "Lynx and hare, with priors",
    "Michaelis–Menten, 4 progress curves",
    "Robertson",
)


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_fit_does_not_depend_on_units(name: str) -> None:
    request = requests()[name]
    original = fitted_in(request, Units())
    for unit in UNIT_NAMES:
        assert differing(original, fitted_in(request, units_of(unit, request)), is_exact="2^" in unit) == []


FIT: dict[str, Any] = {"estimates": {"k": [2.0, 0.1]}, "outcome": "converged", "warnings": []}


@pytest.mark.parametrize(
    ("changed", "is_exact", "words"),
    [
        ({"estimates": {"k": [2.00001, 0.1]}}, True, "k 2.00001 in place of 2"),
        ({"estimates": {"k": [2.02, 0.1]}}, False, "k 2.02 in place of 2"),
        ({"estimates": {"k": [2.0, 0.103]}}, False, "standard error of k 0.103 in place of 0.1"),
        ({"estimates": {"k": [2.0, None]}}, True, "standard error of k None in place of 0.1"),
        ({"outcome": "no_progress"}, False, "outcome no_progress"),
        ({"warnings": [["at_bound", ["k"]]]}, False, "warnings [['at_bound', ['k']]]"),
    ],
)
def test_what_differs_is_told(changed: dict[str, Any], is_exact: bool, words: str) -> None:
    assert differing(FIT, FIT, is_exact=is_exact) == []
    assert differing(FIT, FIT | changed, is_exact=is_exact) == [words]


def test_a_request_is_written_in_other_units() -> None:
    request = {
        "system": {
            "states": ["x", "y"],
            "parameters": ["k", "x0"],
            "equations": {"x": "-k*x + 0*t", "y": "k*x"},
            "observables": {"x": "x", "sum": "x + y"},
        },
        "data": {"start_time": 1.0, "times": [2.0], "values": {"x": [3.0], "sum": [4.0]}, "sigma": {"x": [0.5]}},
        "parameters": {
            "k": {"guess": 0.1, "upper": 1.0, "prior": {"distribution": "lognormal", "median": 0.2, "sigma": 1.0}},
            "x0": 2.0,
        },
        "initial_state": {"x": "x0", "y": {"guess": 0.0, "fixed": True}},
        "noise": {"sum": {"distribution": "normal", "sigma": 0.25}},
    }
    found = in_units(request, Units({"x": 2.0, "y": 4.0}, 8.0, 16.0))
    assert found["system"]["equations"] == {
        "x": "0.25*(-(k/16.0)*(x/2.0) + 0*(t/8.0))",
        "y": "0.5*((k/16.0)*(x/2.0))",
    }
    assert found["system"]["observables"] == {"x": "x", "sum": "2.0*((x/2.0) + (y/4.0))"}
    assert found["data"] == {
        "start_time": 8.0,
        "times": [16.0],
        "values": {"x": [6.0], "sum": [8.0]},
        "sigma": {"x": [1.0]},
    }
    assert found["parameters"]["k"] == {
        "guess": 1.6, "upper": 16.0, "prior": {"distribution": "lognormal", "median": 3.2, "sigma": 1.0},
    }  # fmt: skip
    assert found["initial_state"] == {"x": "2.0*((x0/16.0))", "y": {"guess": 0.0, "fixed": True}}
    assert found["noise"] == {"sum": {"distribution": "normal", "sigma": 0.5}}
