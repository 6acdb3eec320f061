"""Standard errors, intervals, bands and flat directions, against closed forms and scipy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import curve_fit

from odelib import fit
from odelib.problem.request import parse_problem
from odelib.result import FitResult
from tests.engines import ENGINES

TIMES = np.arange(10.0)
NOISE = 0.2 * np.sin(7 * np.arange(10) + 1)
TIGHT = {"rtol": 1e-9, "atol": 1e-11}


def line(**changes: Any) -> FitResult:
    """x(t) = x(0) + b·t: linear regression, whose errors have a closed form."""
    request = {
        "system": {"states": ["x"], "parameters": ["b"], "equations": {"x": "b"}},
        "data": {"times": TIMES.tolist(), "values": {"x": (1 + 0.5 * TIMES + NOISE).tolist()}},
        "parameters": {"b": 0.4},
        "initial_state": {"x": 0.8},
        "stages": [{"kind": "lbfgsb"}],
        "solver": TIGHT,
        "uncertainty": "covariance",
    }
    return fit(parse_problem(request | changes))


def regression() -> tuple[np.ndarray, np.ndarray, float]:
    """Intercept and slope, (XᵀX)⁻¹, and the sum of squares."""
    design = np.column_stack([np.ones(10), TIMES])
    observed = 1 + 0.5 * TIMES + NOISE
    values, squares, *_ = np.linalg.lstsq(design, observed, rcond=None)
    return values, np.linalg.inv(design.T @ design), float(squares[0])


@pytest.mark.parametrize("engine", ENGINES)
def test_without_sigma_the_scale_is_estimated_and_the_quantile_is_students(engine: str) -> None:
    result = line(solver=TIGHT | {"engine": engine})
    values, inverse, squares = regression()
    errors = np.sqrt(np.diag(inverse) * squares / 8)
    for entry, value, error in zip((result.initial_state["x"], result.parameters["b"]), values, errors, strict=True):
        reach = stats.t.ppf(0.975, 8) * error
        assert entry.standard_error == pytest.approx(error, rel=1e-3)
        assert entry.lower_95 == pytest.approx(value - reach, rel=1e-3)
        assert entry.upper_95 == pytest.approx(value + reach, rel=1e-3)
    assert result.covariance is not None
    assert result.covariance.names == ["b", "x"]
    expected = (inverse * squares / 8)[::-1, ::-1]
    np.testing.assert_allclose(result.covariance.matrix, expected, rtol=2e-3)
    assert result.warnings == []


def test_a_given_sigma_is_absolute_and_the_quantile_is_normal() -> None:
    values = (1 + 0.5 * TIMES + NOISE).tolist()
    result = line(data={"times": TIMES.tolist(), "values": {"x": values}, "sigma": {"x": [0.3] * 10}})
    _, inverse, _ = regression()
    b = result.parameters["b"]
    assert b.standard_error == pytest.approx(0.3 * math.sqrt(inverse[1, 1]), rel=1e-3)
    assert b.upper_95 is not None
    assert b.upper_95 - b.value == pytest.approx(stats.norm.ppf(0.975) * 0.3 * math.sqrt(inverse[1, 1]), rel=1e-3)


def test_derived_quantities_have_values_and_errors_by_the_delta_method() -> None:
    system = {
        "states": ["x"],
        "parameters": ["b"],
        "constants": {"c": 3.0},
        "equations": {"x": "b"},
        "derived": {"double": "2*b", "square": "b**2", "constant": "2*c"},
    }
    result = line(system=system)
    b = result.parameters["b"]
    assert result.derived is not None
    assert b.standard_error is not None
    assert result.derived["double"].value == 2 * b.value
    assert result.derived["double"].standard_error == pytest.approx(2 * b.standard_error)
    assert result.derived["square"].standard_error == pytest.approx(2 * b.value * b.standard_error)
    assert result.derived["constant"].value == 6
    assert result.derived["constant"].standard_error == 0
    without = line(system=system, uncertainty="none")
    assert without.derived is not None
    assert without.derived["double"].model_dump(exclude_none=True) == {"value": pytest.approx(2 * b.value)}


def test_bands_of_predictions_are_those_of_the_regression() -> None:
    predictions = [
        {"name": "p", "times": [5.0, 12.0]},
        {"name": "from there", "times": [0.0, 4.0], "initial_state": {"x": 1.0}},
        {"name": "all given", "times": [0.0, 4.0], "initial_state": {"x": 1.0}, "parameters": {"b": 0.5}},
    ]
    result = line(predictions=predictions)
    _, inverse, squares = regression()
    assert result.predictions is not None
    p, there, given = result.predictions
    for i, t in enumerate([5.0, 12.0]):
        design = np.array([1.0, t])
        reach = stats.t.ppf(0.975, 8) * math.sqrt(design @ inverse @ design * squares / 8)
        assert p.values is not None
        assert p.upper_95 is not None
        assert p.lower_95 is not None
        assert p.upper_95["x"][i] - p.values["x"][i] == pytest.approx(reach, rel=1e-3)
        assert p.values["x"][i] - p.lower_95["x"][i] == pytest.approx(reach, rel=1e-3)
    assert there.upper_95 is not None
    reach = stats.t.ppf(0.975, 8) * 4 * math.sqrt(inverse[1, 1] * squares / 8)  # of the slope only
    assert there.upper_95["x"][1] - (1 + 4 * result.parameters["b"].value) == pytest.approx(reach, rel=1e-3)
    assert given.upper_95 == given.lower_95 == given.values


def decay(parameters: dict[str, Any], equation: str = "-k*x", sigma: float | None = None, **changes: Any) -> FitResult:
    times = np.linspace(0, 4, 15)
    values = 2 * np.exp(-0.7 * times) + 0.05 * np.sin(9 * np.arange(15))
    request = {
        "system": {"states": ["x"], "parameters": list(parameters), "equations": {"x": equation}},
        "data": {"times": times.tolist(), "values": {"x": values.tolist()}}
        | ({"sigma": {"x": sigma}} if sigma else {}),
        "parameters": parameters,
        "initial_state": {"x": 1.8},
        "stages": [{"kind": "lbfgsb"}],
        "solver": TIGHT,
        "uncertainty": "covariance",
    }
    return fit(parse_problem(request | changes))


def test_the_covariance_of_a_nonlinear_fit_agrees_with_scipy() -> None:
    result = decay({"k": 0.5})
    times = np.linspace(0, 4, 15)
    values = 2 * np.exp(-0.7 * times) + 0.05 * np.sin(9 * np.arange(15))
    found, expected = curve_fit(
        lambda t, k, x: x * np.exp(-k * t), times, values, p0=[0.6, 2.0], ftol=1e-14, xtol=1e-14
    )
    assert result.covariance is not None
    np.testing.assert_allclose(result.covariance.matrix, expected, rtol=2e-3)
    assert result.parameters["k"].value == pytest.approx(found[0], rel=1e-3)


def test_intervals_on_a_log_scale_are_symmetric_in_the_logarithm() -> None:
    linear, log = decay({"k": 0.5}).parameters["k"], decay({"k": {"guess": 0.5, "scale": "log"}}).parameters["k"]
    assert log.standard_error == pytest.approx(linear.standard_error, rel=1e-2)
    assert log.lower_95 is not None
    assert log.upper_95 is not None
    assert log.upper_95 / log.value == pytest.approx(log.value / log.lower_95)


def test_both_factors_of_a_product_are_flat_and_other_unknowns_keep_their_errors() -> None:
    alone = decay({"k": 0.5}, sigma=0.05)
    result = decay({"a": 0.8, "b": 0.9}, "-a*b*x", sigma=0.05)
    (warning,) = [w for w in result.warnings if w.code == "flat_direction"]
    assert warning.names == ["a", "b"]
    assert result.parameters["a"].standard_error is None
    # as if the product were one parameter
    assert result.initial_state["x"].standard_error == pytest.approx(alone.initial_state["x"].standard_error, rel=1e-2)


def test_without_free_unknowns_there_is_no_uncertainty_and_a_warning() -> None:
    fixed = {"guess": 0.5, "fixed": True}
    result = decay({"k": fixed}, initial_state={"x": fixed})
    (warning,) = [w for w in result.warnings if w.code == "no_uncertainty"]
    assert "every unknown is fixed" in warning.message


def test_the_larger_of_two_unknowns_of_which_only_the_sum_is_determined_is_not_determined() -> None:
    """Only k + a is determined. A change of k = 0.7 that a = 0.002 could balance is small, but it is not known."""
    result = decay({"k": 0.7, "a": 0.002}, "-(k + a)*x", sigma=0.05)
    (warning,) = [w for w in result.warnings if w.code == "flat_direction"]
    assert warning.names == ["k", "a"]
    assert result.parameters["k"].standard_error is None


def test_a_prediction_that_a_flat_direction_does_not_change_has_a_band() -> None:
    result = decay({"a": 0.8, "b": 0.9}, "-a*b*x", sigma=0.05, predictions=[{"name": "p", "times": [5.0]}])
    alone = decay({"k": 0.5}, sigma=0.05, predictions=[{"name": "p", "times": [5.0]}])
    assert result.predictions is not None
    assert alone.predictions is not None
    assert result.predictions[0].upper_95 is not None
    assert alone.predictions[0].upper_95 is not None
    assert result.predictions[0].upper_95["x"] == pytest.approx(alone.predictions[0].upper_95["x"], rel=1e-3)


def test_unknowns_at_a_bound_and_fixed_ones_have_no_error() -> None:
    result = decay(
        {"k": {"guess": 0.5, "lower": 0.1, "upper": 0.6}}, initial_state={"x": {"guess": 2.0, "fixed": True}}
    )
    assert result.parameters["k"].value == 0.6
    assert result.parameters["k"].standard_error is None
    assert result.initial_state["x"].model_dump(exclude_none=True) == {"value": 2.0, "fixed": True}
    assert result.covariance is not None
    assert result.covariance.names == []


def test_without_degrees_of_freedom_there_are_no_errors_and_a_warning() -> None:
    result = line(data={"times": [0.0, 1.0], "values": {"x": [1.0, 1.5]}})
    assert result.parameters["b"].standard_error is None
    assert [w.code for w in result.warnings] == ["no_uncertainty"]
