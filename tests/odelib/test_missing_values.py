"""Fits of models with infinite slopes, and with expressions that have no value at some times or for some unknowns."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from odelib.errors import FitError
from odelib.fitting import fit
from odelib.problem.request import parse_problem
from odelib.result import FitResult

FAULTS = Path(__file__).parents[1] / "faults"
ENGINES = ["compiled", "torchdiffeq"]
FEW = [{"kind": "least_squares"}]
TIMES = [0.0, 1.0, 2.0, 4.0]


def fault(name: str) -> dict[str, Any]:
    request: dict[str, Any] = json.loads((FAULTS / f"{name}.json").read_text(encoding="utf-8"))
    return request


def growth(observable: str, values: list[float | None], **more: Any) -> dict[str, Any]:
    """x = k·t, observed by an expression; x(0) is fixed at 0."""
    return {
        "system": {
            "states": ["x"],
            "parameters": ["k"],
            "equations": {"x": "k"},
            "observables": {"y": observable},
        },
        "data": {"times": TIMES, "values": {"y": values}},
        "parameters": {"k": {"guess": 1.0, "lower": 0.0}},
        "initial_state": {"x": {"guess": 0.0, "fixed": True}},
        "stages": FEW,
    } | more


def fitted(request: dict[str, Any]) -> FitResult:
    return fit(parse_problem(request))


def test_a_tank_that_runs_empty() -> None:
    result = fitted(fault("tank"))
    assert result.outcome.code == "converged"
    assert result.loss == pytest.approx(0.5497, abs=1e-4)
    assert result.parameters["k"].value == pytest.approx(0.18, abs=1e-5)
    assert result.initial_state["h"].value == pytest.approx(49.935, abs=1e-3)
    assert result.warnings == []


EMPTIED = {  # equation with the exponent, the true k, the initial value and the scale of time
    "a tank in litres and hours": ("-k*sqrt(x)", 0.5, 12.0, 900.0),
    "a tablet that dissolves, in mol": ("-k*x**(2/3)", 2 / 3, 0.004, 3e-6),
    "zero order with a rest": ("-k*x**0.4", 0.4, 2.0, 5.0),
}


@pytest.mark.parametrize("name", EMPTIED)
def test_unknowns_of_processes_that_end_within_the_data(name: str) -> None:
    equation, power, k, initial = EMPTIED[name]
    rest = 1 - power
    end = initial**rest / rest / k
    times = np.linspace(0, 1.4 * end, 15)
    values = np.maximum(initial**rest - rest * k * times, 0.0) ** (1 / rest)
    noise = initial * 0.005 * np.cos(9.0 * np.arange(15))
    request = {
        "system": {"states": ["x"], "parameters": ["k"], "equations": {"x": equation}},
        "data": {"times": times.tolist(), "values": {"x": (values + noise).tolist()}},
        "parameters": {"k": 0.6 * k},
        "initial_state": {"x": 0.8 * initial},
        "solver": {"atol": 1e-8 * initial},
        "stages": FEW,
    }
    result = fitted(request)
    assert result.outcome.code == "converged"
    assert result.parameters["k"].value == pytest.approx(k, rel=0.03)
    assert result.initial_state["x"].value == pytest.approx(initial, rel=0.02)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_logarithm_of_what_is_0_at_the_start_of_the_data(engine: str) -> None:
    request = fault("log-of-zero") | {"solver": {"engine": engine}, "stages": FEW}
    result = fitted(request)
    expected = 10 ** np.mean([0.31, 0.6 - math.log10(2), 0.91 - math.log10(4)])  # log10(k·t), by linear regression
    assert result.outcome.code == "converged"
    assert result.parameters["k"].value == pytest.approx(expected, rel=1e-4)
    (warning,) = result.warnings
    assert (warning.code, warning.names) == ("not_finite", ["y"])
    assert "at t = 0, log10(x) has no finite value for x = 0" in warning.message


@pytest.mark.parametrize("engine", ENGINES)
def test_a_power_of_what_is_0_at_the_start(engine: str) -> None:
    request = fault("power-at-zero") | {"solver": {"engine": engine}}
    assert fitted(request | {"stages": FEW}).outcome.code == "converged"
    fixed = fitted(request | {"parameters": {"k": {"guess": 2.0, "fixed": True}}})
    assert fixed.trajectories[0].values["c"][-1] == pytest.approx(0.249938, abs=1e-5)


HIDDEN = {  # observable, values with k = 2
    "a ratio": ("1/x", [None, 0.5, 0.25, 0.125]),
    "a ratio of two that are 0": ("x/(x*(1 + t))", [None, 0.5, 1 / 3, 0.2]),
    "a broken power": ("x**-0.5", [None, 2**-0.5, 0.5, 8**-0.5]),
    "a root that is measured": ("sqrt(x)", [0.0, 2**0.5, 2.0, 8**0.5]),
    "a product with a steep factor": ("k*sqrt(x)", [0.0, 2 * 2**0.5, 4.0, 2 * 8**0.5]),
    "another logarithm": ("log(x/3) + k", [None, 2 + math.log(2 / 3), 2 + math.log(4 / 3), 2 + math.log(8 / 3)]),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", HIDDEN)
def test_unknowns_of_observables_that_are_steep_at_the_start(name: str, engine: str) -> None:
    observable, values = HIDDEN[name]
    for stages in (FEW, [{"kind": "lbfgsb"}]):  # by forward sensitivities and by gradients
        request = growth(observable, values, solver={"engine": engine}, stages=stages)
        if observable.startswith("x/("):  # it depends on time alone
            assert fitted(request).loss == pytest.approx(0.0, abs=1e-12)
        else:
            assert fitted(request).parameters["k"].value == pytest.approx(2.0, rel=1e-3)


def test_noise_and_initial_values_that_are_steep() -> None:
    request = growth("x", [None, 2.1, 3.9, 8.1])
    request["system"] |= {"parameters": ["k", "s", "a"]}
    request["parameters"] |= {"s": 0.1, "a": {"guess": 0.0, "fixed": True}}
    request["noise"] = {"y": {"distribution": "normal", "sigma": "0.01 + s*sqrt(x)"}}
    request["initial_state"] = {"x": "sqrt(a)*k"}
    result = fitted(request)
    assert result.outcome.code == "converged"
    assert result.parameters["k"].value == pytest.approx(2.0, abs=0.1)


def test_one_bad_time_of_a_prediction_is_null() -> None:
    request = growth("log10(x)", [None, 0.3, 0.61, 0.9], uncertainty="covariance")
    request["predictions"] = [
        {"name": "all", "times": [0.0, 1.0, 8.0], "values": {"y": [None, 0.3, 1.2]}},
        {"name": "scored", "times": [0.0, 1.0], "values": {"y": [0.0, 0.3]}},
    ]
    result = fitted(request)
    first, scored = result.predictions or []
    assert first.error is None
    assert first.values is not None
    assert first.lower_95 is not None
    assert first.upper_95 is not None
    k = result.parameters["k"].value
    assert first.values["y"] == [None, pytest.approx(math.log10(k)), pytest.approx(math.log10(8 * k))]
    assert first.lower_95["y"][0] is None
    assert first.upper_95["y"][0] is None
    assert first.lower_95["y"][2] < first.values["y"][2] < first.upper_95["y"][2]
    assert first.rmse is not None
    assert first.rmse["y"] < 0.01
    assert (scored.loss, scored.rmse) == (None, {})
    assert FitResult.model_validate_json(result.to_json()) == result


NO_VALUE = {  # equation or observable of x, and what the error says
    "an equation": ({"equations": {"x": "-k + 0*sqrt(x - 1)"}}, "in the equation of 'x', sqrt(x - 1) has no finite"),
    "an observable": ({"observables": {"y": "log(x - 9)"}}, "at t = 0: log(x - 9) has no finite value for x = 0"),
    "a definition": (
        {"definitions": {"rate": "1/(k - k)"}, "equations": {"x": "rate"}},
        "1/(k - k) has no finite value for k = 1; keep k - k away from 0",
    ),
}


@pytest.mark.parametrize("name", NO_VALUE)
def test_a_model_without_a_value_is_explained(name: str) -> None:
    part, explanation = NO_VALUE[name]
    request = growth("x", [0.0, 1.0, 2.0, 4.0])
    request["system"] |= part
    with pytest.raises(FitError) as caught:
        fitted(request)
    assert explanation in caught.value.detail


@pytest.mark.parametrize("distribution", ["normal", "lognormal", "laplace", "student-t"])
def test_exact_data_with_an_estimated_scale_have_a_likelihood_without_a_maximum(distribution: str) -> None:
    times = np.linspace(0.0, 4.0, 9)
    request = {
        "system": {"states": ["x"], "parameters": ["k"], "equations": {"x": "-k*x"}},
        "data": {"times": times.tolist(), "values": {"x": (3.0 * np.exp(-0.5 * times)).tolist()}},
        "parameters": {"k": 0.7},
        "initial_state": {"x": 2.0},
        "noise": {"x": {"distribution": distribution, "sigma": "estimate"}},
    }
    result = fitted(request)
    assert result.parameters["k"].value == pytest.approx(0.5, abs=1e-5)
    told = [warning for warning in result.warnings if "the likelihood has no maximum" in warning.message]
    assert [(warning.code, warning.names) for warning in told] == [("coarse_solver", ["x"]), ("not_converged", None)]
