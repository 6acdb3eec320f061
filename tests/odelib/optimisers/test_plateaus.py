"""Guesses at which the model does not respond: nothing improves there, and that is no optimum."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from odelib.fitting import fit
from odelib.problem.request import parse_problem

TIMES = np.arange(1.0, 11.0)
NOISE = 0.01 * np.random.default_rng(0).standard_normal(len(TIMES))

EPIDEMIC = json.loads((Path(__file__).parents[2] / "faults" / "plateau.json").read_text(encoding="utf-8"))


def decay(k: Any) -> dict[str, Any]:
    """x' = −k·x from x(0) = 10, with the truth k = 0.5."""
    return {
        "system": {"states": ["x"], "parameters": ["k"], "equations": {"x": "-k*x"}},
        "data": {
            "start_time": 0.0,
            "times": TIMES.tolist(),
            "values": {"x": (10 * np.exp(-TIMES / 2) + NOISE).tolist()},
        },
        "parameters": {"k": k},
        "initial_state": {"x": {"guess": 10.0, "fixed": True}},
    }


def growth(r: Any) -> dict[str, Any]:
    """Logistic growth from x(0) = 0.01 with the truth r = 0.8 and K = 3."""
    values = 3 / (1 + 299 * np.exp(-0.8 * TIMES)) + NOISE
    return {
        "system": {"states": ["x"], "parameters": ["r", "K"], "equations": {"x": "r*x*(1 - x/K)"}},
        "data": {"start_time": 0.0, "times": TIMES.tolist(), "values": {"x": values.tolist()}},
        "parameters": {"r": r, "K": {"guess": 2.0, "lower": 0.1, "upper": 100.0}},
        "initial_state": {"x": {"guess": 0.01, "fixed": True}},
    }


def onset(tau: Any) -> dict[str, Any]:
    """Production at the rate a = 2 from τ = 3.3 on, under a likelihood with an estimated sigma."""
    return {
        "system": {"states": ["x"], "parameters": ["a", "tau"], "equations": {"x": "where(t < tau, 0, a)"}},
        "data": {
            "start_time": 0.0,
            "times": TIMES.tolist(),
            "values": {"x": (2 * np.maximum(TIMES - 3.3, 0) + NOISE).tolist()},
        },
        "parameters": {"a": 1.0, "tau": tau},
        "initial_state": {"x": {"guess": 0.0, "fixed": True}},
        "noise": {"x": {"distribution": "normal", "sigma": "estimate"}},
    }


FLAT: dict[str, tuple[dict[str, Any], dict[str, float]]] = {
    "over before the first measurement, bounds": (decay({"guess": 1e4, "lower": 0.0, "upper": 1e6}), {"k": 0.5}),
    "over before the first measurement, no bounds": (decay(100.0), {"k": 0.5}),
    "saturated before the first measurement": (
        growth({"guess": 5e3, "lower": 0.0, "upper": 1e4}),
        {"r": 0.8, "K": 3.0},
    ),
    "begins after the last measurement": (
        onset({"guess": 50.0, "lower": 0.0, "upper": 100.0}),
        {"a": 2.0, "tau": 3.3},
    ),
}


@pytest.mark.parametrize("name", FLAT)
def test_the_default_plan_leaves_a_plateau(name: str) -> None:
    request, truth = FLAT[name]
    result = fit(parse_problem(request))
    assert result.outcome.code == "converged"
    assert {each: result.parameters[each].value for each in truth} == pytest.approx(truth, rel=0.02)
    assert "no_better_than_constant" not in {warning.code for warning in result.warnings}


@pytest.mark.parametrize("stage", ["least_squares", "lbfgsb"])
@pytest.mark.parametrize("name", FLAT)
def test_a_plateau_is_no_optimum(name: str, stage: str) -> None:
    result = fit(parse_problem(FLAT[name][0] | {"stages": [{"kind": stage}]}))
    assert result.outcome.code == "no_progress"
    assert result.stages[0].stopped.code == "no_progress"


def test_an_epidemic_that_is_over_at_the_guess_is_found_far_below_its_upper_bound() -> None:
    """The least loss by scipy from many starts is 2.755e6; only beta·S(0) − gamma is determined."""
    result = fit(parse_problem(EPIDEMIC))
    assert result.loss == pytest.approx(2.7554e6, rel=1e-4)
    growth_rate = result.parameters["beta"].value * 1399999999 - result.parameters["gamma"].value
    assert growth_rate == pytest.approx(8.5e-10 * 1399999999 - 0.417, rel=0.02)
    assert [warning.code for warning in result.warnings] == ["flat_direction"]


def test_a_constant_rightly_fitted_at_a_bound_is_an_optimum() -> None:
    """Noise around 10: the best rate of decay is 0, its bound."""
    request = decay({"guess": 0.3, "lower": 0.0, "upper": 1.0})
    request["data"]["values"]["x"] = (10.2 + NOISE).tolist()
    result = fit(parse_problem(request))
    assert result.outcome.code == "converged"
    assert result.parameters["k"].value == 0.0
    assert [warning.code for warning in result.warnings if warning.code == "at_bound"] == ["at_bound"]
