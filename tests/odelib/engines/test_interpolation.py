"""Inputs between their knots, against scipy's interpolators, and their derivatives by the knots' values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline, PchipInterpolator, interp1d

from odelib.engines.schedules.interpolation import pieces_between, values_at
from tests.odelib.engines.protocols import Array, knots

SCIPYS: dict[str, Callable[[Array, Array], Any]] = {
    "linear": interp1d,
    "previous": lambda t, v: interp1d(t, v, kind="previous"),
    "next": lambda t, v: interp1d(t, v, kind="next"),
    "cubic": lambda t, v: CubicSpline(t, v, bc_type="natural"),
    "pchip": PchipInterpolator,
}
gaps = st.lists(st.floats(0.1, 3.0), min_size=1, max_size=12)


def of(interpolation: str, times: Array, values: Array, at: Array, outside: str = "hold") -> Array:
    return values_at(knots(times.tolist(), values.tolist(), interpolation, outside), values[:, None], at)[:, 0]


@settings(max_examples=60, deadline=None)
@given(gaps, st.integers(0, 2**31), st.sampled_from(list(SCIPYS)), st.booleans())
def test_inputs_are_scipys(widths: list[float], seed: int, interpolation: str, is_flat: bool) -> None:
    random = np.random.default_rng(seed)
    times = np.cumsum([random.normal(), *widths])
    values = random.normal(size=len(times)).round(0 if is_flat else 9)  # whole numbers: equal neighbours
    at = np.concatenate([np.linspace(times[0], times[-1], 41), times])
    expected = SCIPYS[interpolation](times, values)(at)
    assert of(interpolation, times, values, at) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(gaps, st.integers(0, 2**31), st.sampled_from(list(SCIPYS)), st.sampled_from(["hold", "zero", "repeat"]))
def test_outside_the_knots(widths: list[float], seed: int, interpolation: str, outside: str) -> None:
    random = np.random.default_rng(seed)
    times = np.cumsum([random.normal(), *widths])
    values, period = random.normal(size=len(times)), times[-1] - times[0]
    at = random.uniform(times[0] - 2.5 * period, times[-1] + 2.5 * period, 60)
    folded = times[0] + np.mod(at - times[0], period) if outside == "repeat" else np.clip(at, times[0], times[-1])
    expected = of(interpolation, times, values, folded)
    if outside == "zero":
        expected[(at < times[0]) | (at > times[-1])] = 0.0
    assert of(interpolation, times, values, at, outside) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(gaps, st.integers(0, 2**31), st.sampled_from(list(SCIPYS)))
def test_derivatives_by_the_values_at_knots(widths: list[float], seed: int, interpolation: str) -> None:
    random = np.random.default_rng(seed)
    times = np.cumsum([0.0, *widths])
    values, at = random.normal(size=len(times)), np.linspace(0.0, times[-1], 23)
    columns = np.concatenate([values[:, None], np.eye(len(times))], axis=1)
    found = values_at(knots(times.tolist(), values.tolist(), interpolation), columns, at)[:, 1:]
    for column, step in enumerate(1e-6 * np.eye(len(times))):
        changed = (of(interpolation, times, values + sign * step, at) for sign in (1.0, -1.0))
        difference = (next(changed) - next(changed)) / 2e-6
        assert found[:, column] == pytest.approx(difference, rel=1e-6, abs=1e-7)


def test_a_solver_need_not_stop_between_equal_constants() -> None:
    given = knots([0.0, 1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 2.0, 2.0, 2.0], "previous")
    pieces = pieces_between(given, np.array(given.values)[:, None], 0.0, 4.0)
    assert pieces.starts.tolist() == [-np.inf, 2.0]


def test_repeated_knots_reach_as_far_as_they_are_asked() -> None:
    given = knots([0.0, 6.0, 24.0], [0.0, 1.0, 0.0], "linear", "repeat")
    pieces = pieces_between(given, np.array(given.values)[:, None], 0.0, 8760.0)
    assert len(pieces.starts) == 2 * 366
    assert pieces.at(np.array([8760.0 - 21.0, 3.0]))[:, 0] == pytest.approx([0.5, 0.5])
