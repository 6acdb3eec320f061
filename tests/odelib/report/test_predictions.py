"""Bands of predictions against closed forms, and predictions of what is held out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from odelib.fitting import fit
from odelib.problem.request import parse_problem
from odelib.result import FitResult, PredictionResult

TIMES = np.linspace(0.0, 4.0, 15)
NOISE = 0.3 * np.sin(9 * np.arange(15))


def decay(*predictions: dict[str, Any], log: bool = False, **changes: Any) -> FitResult:
    """x(t) = x₀·exp(−k·t), of which log x is linear in k and log x₀."""
    scale = {"scale": "log"} if log else {}
    body: dict[str, Any] = {
        "system": {"states": ["x"], "parameters": ["k"], "equations": {"x": "-k*x"}},
        "data": {"times": TIMES.tolist(), "values": {"x": (2 * np.exp(-0.7 * TIMES) + NOISE).tolist()}},
        "parameters": {"k": {"guess": 0.6, **scale}},
        "initial_state": {"x": {"guess": 2.0, **scale}},
        "stages": [{"kind": "least_squares"}],
        "predictions": list(predictions),
        "uncertainty": "covariance",
    }
    return fit(parse_problem(body | changes))


def ends(prediction: PredictionResult, name: str) -> tuple[np.ndarray, np.ndarray]:
    assert prediction.lower_95 is not None
    assert prediction.upper_95 is not None
    return np.array(prediction.lower_95[name]), np.array(prediction.upper_95[name])


def error_of_logarithm(result: FitResult, times: np.ndarray) -> np.ndarray:
    """The standard error of log x(t) = log x₀ − k·t from the covariance of k and x₀."""
    assert result.covariance is not None
    assert result.covariance.names == ["k", "x"]
    covariance, start = np.array(result.covariance.matrix), result.initial_state["x"].value
    design = np.column_stack([-times, np.full(len(times), 1 / start)])
    return np.sqrt(np.einsum("ti,ij,tj->t", design, covariance, design))


QUANTILE = float(stats.t.ppf(0.975, 13))


@pytest.mark.parametrize("log", [False, True])
def test_a_band_that_would_reach_0_is_symmetric_in_the_logarithm(log: bool) -> None:
    times = np.array([3.0, 6.0, 12.0])
    result = decay({"name": "later", "times": times.tolist()}, log=log)

    (later,) = result.predictions or []
    lower, upper = ends(later, "x")
    values = np.array((later.values or {})["x"])
    factor = np.exp(QUANTILE * error_of_logarithm(result, times))
    assert factor[-1] > 2  # a symmetric band would go below 0
    assert lower == pytest.approx(values / factor, rel=1e-3)
    assert upper == pytest.approx(values * factor, rel=1e-3)


@pytest.mark.parametrize("log", [False, True])
def test_a_band_far_from_0_is_symmetric_in_the_logarithm_if_an_unknown_is(log: bool) -> None:
    times = np.array([0.5, 1.0])
    result = decay({"name": "inside", "times": times.tolist()}, log=log)

    (inside,) = result.predictions or []
    lower, upper = ends(inside, "x")
    values, reach = np.array((inside.values or {})["x"]), QUANTILE * error_of_logarithm(result, times)
    assert lower == pytest.approx(values * np.exp(-reach) if log else values * (1 - reach), rel=1e-3)
    assert upper == pytest.approx(values * np.exp(reach) if log else values * (1 + reach), rel=1e-3)


def test_a_band_of_what_may_be_negative_is_symmetric() -> None:
    """y = x − 1 is below 0 at the last times of the data, though not at the time of the prediction."""
    system = {"states": ["x"], "parameters": ["k"], "equations": {"x": "-k*x"}, "observables": {"y": "x - 1"}}
    values = 2 * np.exp(-0.7 * TIMES) - 1 + NOISE
    result = decay(
        {"name": "p", "times": [0.95]},
        log=True,
        system=system,
        data={"times": TIMES.tolist(), "values": {"y": values.tolist()}},
    )

    (prediction,) = result.predictions or []
    lower, upper = ends(prediction, "y")
    assert lower[0] < 0 < (prediction.values or {})["y"][0]
    assert (lower + upper) / 2 == pytest.approx((prediction.values or {})["y"])


def test_a_band_is_0_where_the_model_is() -> None:
    """A product of the decay: it begins at 0, where its logarithm has no value."""
    system = {"states": ["x", "p"], "parameters": ["k"], "equations": {"x": "-k*x", "p": "k*x"}}
    result = decay(
        {"name": "p", "times": [0.0, 1.0]},
        log=True,
        system=system,
        initial_state={"x": {"guess": 2.0, "scale": "log"}, "p": {"guess": 0.0, "fixed": True}},
    )

    (prediction,) = result.predictions or []
    lower, upper = ends(prediction, "p")
    assert (lower[0], upper[0]) == (0.0, 0.0)
    assert lower[1] * upper[1] == pytest.approx((prediction.values or {})["p"][1] ** 2)


class TestHeldOutExperiment:
    """Three decays at their own rates, of which the last is held out: its rate and start stay at their guesses."""

    RATES = (0.5, 0.7, 0.9)

    def result(self, guess: Any = 0.6, start: Any = 2.0, *predictions: dict[str, Any]) -> FitResult:
        experiments = [
            {"name": f"e{i}", "times": TIMES.tolist(), "values": {"x": (2 * np.exp(-rate * TIMES) + NOISE).tolist()}}
            for i, rate in enumerate(self.RATES)
        ]
        body = {
            "system": {
                "states": ["x"],
                "parameters": ["k", "s"],
                "equations": {"x": "-k*x"},
                "observables": {"x": "x", "y": "s*x"},
            },
            "experiments": [e | {"values": {"x": e["values"]["x"], "y": e["values"]["x"]}} for e in experiments],
            "per_experiment": ["k"],
            "parameters": {"k": guess, "s": 1.0},
            "initial_state": {"x": start},
            "stages": [{"kind": "least_squares"}],
            "hold_out": {"experiments": ["e2"]},
            "uncertainty": "covariance",
            "predictions": list(predictions),
        }
        return fit(parse_problem(body))

    def test_it_is_predicted_and_scored_at_its_guess_without_a_band(self) -> None:
        """A band would say that the guess is certain."""
        result = self.result(0.6, 2.0, {"name": "p", "times": [5.0], "experiment": "e2"})

        (held_out,), (prediction,) = result.hold_out or [], result.predictions or []
        assert held_out.parameters == prediction.parameters == {"k": 0.6, "s": result.parameters["s"].value}
        model = 2 * np.exp(-0.6 * TIMES)
        assert (held_out.values or {})["x"] == pytest.approx(model, rel=1e-6)
        residuals = 2 * np.exp(-0.9 * TIMES) + NOISE - model
        assert (held_out.rmse or {})["x"] == pytest.approx(np.sqrt(np.mean(residuals**2)), rel=1e-6)
        assert held_out.loss is not None
        assert held_out.lower_95 is held_out.upper_95 is prediction.lower_95 is prediction.upper_95 is None

    def test_what_is_known_of_it_gives_it_a_band(self) -> None:
        """Fixed, or given by the prediction: then only the factor s, which all experiments share, is uncertain."""
        given = {"name": "p", "times": [0.0, 1.0], "experiment": "e2", "initial_state": {"x": 2.0}}
        fixed = {"guess": 2.0, "fixed": True}
        for result in (
            self.result({"guess": 0.9, "fixed": True}, fixed, given),
            self.result(0.6, 2.0, given | {"parameters": {"k": 0.9}}),
        ):
            (prediction,) = result.predictions or []
            s = result.parameters["s"]
            assert s.standard_error is not None
            assert s.upper_95 is not None
            lower, upper = ends(prediction, "y")
            model = 2 * np.exp([0.0, -0.9])
            assert (upper - lower) / 2 == pytest.approx(model * (s.upper_95 - s.value), rel=1e-4)
            assert ends(prediction, "x")[0] == pytest.approx(model)
        (held_out,) = self.result({"guess": 0.9, "fixed": True}, fixed).hold_out or []
        assert held_out.lower_95 is not None

    def test_fitted_experiments_have_bands(self) -> None:
        result = self.result(0.6, 2.0, {"name": "p", "times": [5.0], "experiment": "e1"})

        (prediction,) = result.predictions or []
        assert ends(prediction, "x")[0] < ends(prediction, "x")[1]
