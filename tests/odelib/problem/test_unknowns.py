"""Unknowns: where the fit starts, and whether they are fixed."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odelib.problem.request import parse_problem
from odelib.problem.unknowns import Unknown
from tests.odelib.problem.requests import MINIMAL, changed, examples


@pytest.mark.parametrize(
    ("entry", "start"),
    [
        ({"lower": 1.0, "upper": 3.0}, 2.0),
        ({"lower": 0.01, "upper": 1.0, "scale": "log"}, 0.1),
        ({"lower": -1.7e308, "upper": 1.7e308}, 0.0),
        ({"lower": 1e-300, "upper": 1e300, "scale": "log"}, 1.0),
        ({"lower": 5e-324, "upper": 5e-324, "scale": "log"}, 5e-324),
        ({"guess": 1.5, "lower": 1.0, "upper": 3.0}, 1.5),
        ({"guess": 1.0, "lower": 1.0}, 1.0),
        ({"guess": 3.0, "upper": 3.0}, 3.0),
    ],
)
def test_a_guess_is_optional_between_two_bounds(entry: dict[str, Any], start: float) -> None:
    problem = parse_problem(changed(MINIMAL, {"/parameters/alpha": entry, "/initial_state/prey": entry}))
    for unknown in (problem.parameters["alpha"], problem.initial_state["prey"]):
        assert isinstance(unknown, Unknown)
        assert unknown.start == pytest.approx(start, rel=1e-12, abs=0)


positive = st.floats(min_value=5e-324, max_value=1.7e308)


@examples(100)
@given(positive, positive, st.sampled_from(["linear", "log"]))
def test_the_centre_is_between_the_bounds(a: float, b: float, scale: str) -> None:
    unknown = Unknown.model_validate({"lower": min(a, b), "upper": max(a, b), "scale": scale})
    assert min(a, b) <= unknown.start <= max(a, b)
    between = math.log(a) / 2 + math.log(b) / 2
    assert scale == "linear" or math.log(unknown.start) == pytest.approx(between, abs=1e-6, rel=1e-9)


@pytest.mark.parametrize(
    ("entry", "fixed"),
    [
        ({"guess": 1.0, "fixed": True}, True),
        ({"guess": 1.0, "lower": 1.0, "upper": 1.0}, True),
        ({"lower": 2.0, "upper": 2.0, "scale": "log"}, True),
        ({"guess": 1.0, "lower": 0.0, "upper": 1.0}, False),
        ({"guess": 1.0}, False),
    ],
)
def test_fixed_explicitly_or_by_equal_bounds(entry: dict[str, Any], fixed: bool) -> None:
    unknown = parse_problem(changed(MINIMAL, {"/parameters/alpha": entry})).parameters["alpha"]
    assert isinstance(unknown, Unknown)
    assert unknown.is_fixed is fixed
    assert not fixed or unknown.start == entry.get("guess", entry.get("lower"))
