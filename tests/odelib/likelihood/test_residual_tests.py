"""Tests of residuals: noise passes, structure is found."""

from __future__ import annotations

import numpy as np
import pytest

from odelib.likelihood.residual_tests import structured


def test_noise_is_rarely_called_structured() -> None:
    rng = np.random.default_rng(1)
    false_alarms = sum(bool(structured([("x", rng.standard_normal(30).tolist())])) for _ in range(1000))
    assert false_alarms <= 5  # one in a thousand is expected


def test_outliers_do_not_hide_structure() -> None:
    rng = np.random.default_rng(2)
    oscillation = np.sin(np.linspace(0, 20, 60)) + 0.1 * rng.standard_normal(60)
    oscillation[7] = 50.0
    noise = np.random.default_rng(3).standard_normal(60)
    assert structured([("a", noise.tolist()), ("b", oscillation.tolist())]) == ["b"]


def test_residuals_of_one_sign_are_structured() -> None:
    assert structured([("x", (0.5 + np.random.default_rng(4).uniform(0, 1, 40)).tolist())]) == ["x"]


@pytest.mark.parametrize("column", [[], [1.0] * 5, [0.0] * 50, [None] * 50])
def test_too_few_or_constant_residuals_are_not_structured(column: list[float | None]) -> None:
    assert structured([("x", column)]) == []
