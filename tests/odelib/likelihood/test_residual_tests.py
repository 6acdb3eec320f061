"""Tests of residuals: noise passes, structure is found."""

from __future__ import annotations

import numpy as np
import pytest

from odelib.arrays import Reals
from odelib.likelihood.residual_tests import structured, without_errors


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


TIMES = np.linspace(0.0, 1.0, 60)
JACOBIAN = np.stack([np.exp(-TIMES), TIMES * np.exp(-TIMES)], axis=1)
COVARIANCE = np.diag([9.0, 16.0])  # of estimates whose errors are several times the noise


def left(errors: list[float], misfit: Reals | float) -> Reals | None:
    """What is left of noise of variance 1, with errors of the estimates and a misfit of the model."""
    noise = np.random.default_rng(5).standard_normal(len(TIMES))
    residuals = noise + JACOBIAN @ np.array(errors) + misfit
    assert structured([("x", residuals.tolist())])
    return without_errors(residuals, JACOBIAN, COVARIANCE, 1.0)


def test_probable_errors_of_the_estimates_explain_structure() -> None:
    noise_alone = left([4.0, -3.0], 0.0)
    assert noise_alone is not None
    assert structured([("x", noise_alone.tolist())]) == []


def test_improbable_errors_of_the_estimates_explain_nothing() -> None:
    assert left([40.0, -30.0], 0.0) is None


def test_errors_of_the_estimates_do_not_explain_what_no_change_of_them_can_do() -> None:
    with_misfit = left([4.0, -3.0], 3 * np.sin(12 * TIMES))
    assert with_misfit is not None
    assert structured([("x", with_misfit.tolist())]) == ["x"]
