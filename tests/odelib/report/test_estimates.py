"""Errors of derived quantities where the delta method does not give them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from odelib.fitting import fit
from odelib.problem.request import parse_problem
from odelib.result import FitResult

TIMES = np.linspace(0.0, 4.0, 9)
DERIVED = {
    "half_life": "log(2)/k",
    "root": "sqrt(0.4 - k)",  # its derivative at the bound is infinite
    "square": "(k - 0.4)**2",  # and this one's is 0
    "product": "k*s",
    "of_s": "s**2",
    "of_nothing": "2*c",
}


def result(upper: float, uncertainty: str = "covariance", **changes: Any) -> FitResult:
    """y = s·exp(−k·t) with k = 0.5, which `upper` may keep below."""
    body = {
        "system": {
            "states": ["x"], "parameters": ["k", "s"], "constants": {"c": 1.0}, "equations": {"x": "-k*x"},
            "observables": {"y": "s*x"}, "derived": DERIVED,
        },
        "data": {
            "times": TIMES.tolist(),
            "values": {"y": (8 * np.exp(-0.5 * TIMES) + 0.05 * np.sin(9 * np.arange(9))).tolist()},
        },
        "parameters": {"k": {"guess": 0.3, "upper": upper}, "s": 8.0},
        "initial_state": {"x": {"guess": 1.0, "fixed": True}},
        "stages": [{"kind": "least_squares"}],
        "uncertainty": uncertainty,
    }  # fmt: skip
    return fit(parse_problem(body | changes))


@pytest.mark.parametrize("uncertainty", ["covariance", "profile"])
def test_a_derived_quantity_of_an_unknown_at_its_bound_has_no_error(uncertainty: str) -> None:
    """As the unknown has none. What depends on other unknowns keeps its own."""
    found = result(0.4, uncertainty)

    k, s, derived = found.parameters["k"], found.parameters["s"], found.derived or {}
    assert (k.value, k.standard_error) == (0.4, None)
    assert derived["half_life"].value == pytest.approx(np.log(2) / 0.4)
    assert derived["root"].value == derived["square"].value == 0.0
    for name in ("half_life", "root", "square", "product"):
        assert derived[name].standard_error is derived[name].lower_95 is derived[name].upper_95 is None
    assert s.standard_error is not None
    assert derived["of_s"].standard_error == pytest.approx(2 * s.value * s.standard_error)
    assert (derived["of_nothing"].value, derived["of_nothing"].standard_error) == (2.0, 0.0)


def test_a_derived_quantity_within_the_bounds_has_an_error() -> None:
    found = result(2.0)

    k, derived = found.parameters["k"], found.derived or {}
    assert k.standard_error is not None
    assert derived["half_life"].standard_error == pytest.approx(np.log(2) / k.value**2 * k.standard_error)
    assert derived["product"].standard_error is not None
    assert "root" not in derived  # no number for k > 0.4


def test_a_flat_direction_leaves_the_errors_of_what_it_does_not_change() -> None:
    """Of k and s in exp(−k·s·t), only the product is determined."""
    system = {
        "states": ["x"], "parameters": ["k", "s"], "equations": {"x": "-k*s*x"},
        "derived": {"product": "k*s", "ratio": "k/s"},
    }  # fmt: skip
    data = {"times": TIMES.tolist(), "values": {"x": (np.exp(-0.5 * TIMES) + 0.01 * np.sin(9 * np.arange(9))).tolist()}}
    found = result(2.0, system=system, data=data, parameters={"k": 0.3, "s": 1.0})

    assert found.parameters["k"].standard_error is None
    derived = found.derived or {}
    assert derived["product"].value == pytest.approx(0.5, abs=0.02)
    assert derived["product"].standard_error == pytest.approx(0.005, rel=0.8)
    assert derived["ratio"].standard_error is None
