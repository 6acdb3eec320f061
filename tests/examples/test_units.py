"""The same request in other units has the same answer: a small part of `python -m bench.units`."""

from __future__ import annotations

from typing import Any

import pytest

from bench.units import EVERY_OTHER, differing, fitted_in, requests, units_of
from examples.problems.units import Units, in_units

UNIT_NAMES = ("both 2^-40, 2^30", EVERY_OTHER, "both 1e-12, 1e-9")
PROBLEMS = ("Influenza, SIR", "Lynx and hare, with priors", "Michaelis–Menten, 4 progress curves", "Robertson")


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_fit_does_not_depend_on_units(name: str) -> None:
    request = requests()[name]
    original = fitted_in(request, Units())
    for unit in UNIT_NAMES:
        assert differing(original, fitted_in(request, units_of(unit, request)), is_exact="2^" in unit) == []


def test_units_that_matter_are_noticed() -> None:
    """An absolute tolerance that is a number has a unit, and is not written anew."""
    request: dict[str, Any] = requests()["Influenza, SIR"] | {"solver": {"atol": 100.0}}
    small = fitted_in(request, Units(2.0**-10))
    assert differing(fitted_in(request, Units()), small, is_exact=True)


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
