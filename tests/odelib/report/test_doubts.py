"""What the data leave open is reported: other optima, profiles that disagree, information that is nearly singular."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from odelib.fitting import fit
from odelib.problem.request import parse_problem
from odelib.result import FitResult, FitWarning

TIMES = np.linspace(0.0, 10.0, 41)
NOISE = np.random.default_rng(5).standard_normal(len(TIMES))
EXACT_START = {"guess": 0.0, "fixed": True}


def fitted(system: dict[str, Any], values: Any, parameters: dict[str, Any], **more: Any) -> FitResult:
    request = {
        "system": system,
        "data": {
            "start_time": 0.0,
            "times": TIMES.tolist(),
            "values": {next(iter(system["observables"])): list(values)},
        },
        "parameters": parameters,
        "initial_state": dict.fromkeys(system["states"], EXACT_START),
    }
    return fit(parse_problem(request | more))


def warnings(result: FitResult, code: str) -> list[FitWarning]:
    return [warning for warning in result.warnings if warning.code == code]


# by name: system, data, bounds, and the unknowns that another optimum exchanges or reflects
TWO_OPTIMA: dict[str, tuple[dict[str, Any], Any, dict[str, Any], list[str]]] = {
    "absorption and elimination, with a free volume": (
        {
            "states": ["gut", "central"],
            "parameters": ["ka", "ke", "V"],
            "equations": {"gut": "-ka*gut", "central": "ka*gut - ke*central"},
            "observables": {"conc": "(central + 0*gut)/V"},
        },
        10 / 2 * 1.5 / (1.5 - 0.3) * (np.exp(-0.3 * TIMES) - np.exp(-1.5 * TIMES)) + 0.02 * NOISE,
        {name: {"guess": 1.0, "lower": 0.01, "upper": 100.0} for name in ("ka", "ke", "V")},
        ["ka", "ke", "V"],
    ),
    "the sum of two decays": (
        {
            "states": ["u", "v"],
            "parameters": ["k1", "k2"],
            "equations": {"u": "-k1*u", "v": "-k2*v"},
            "observables": {"total": "u + v"},
        },
        5 * np.exp(-0.2 * TIMES) + 5 * np.exp(-2.0 * TIMES) + 0.02 * NOISE,
        {"k1": {"guess": 0.5, "lower": 0.01, "upper": 10.0}, "k2": {"guess": 0.6, "lower": 0.01, "upper": 10.0}},
        ["k1", "k2"],
    ),
    "an oscillator whose frequency counts by its square": (
        {
            "states": ["x", "v"],
            "parameters": ["w"],
            "equations": {"x": "v", "v": "-w**2*x"},
            "observables": {"place": "x"},
        },
        np.cos(0.7 * TIMES) + 0.02 * NOISE,
        {"w": {"guess": 0.6, "lower": -1.0, "upper": 1.0}},
        ["w"],
    ),
}
STARTS = {
    "absorption and elimination, with a free volume": {"gut": 10.0, "central": 0.0},
    "the sum of two decays": {"u": 5.0, "v": 5.0},
    "an oscillator whose frequency counts by its square": {"x": 1.0, "v": 0.0},
}


@pytest.mark.parametrize("name", TWO_OPTIMA)
def test_another_optimum_with_the_same_loss_is_reported(name: str) -> None:
    system, values, parameters, names = TWO_OPTIMA[name]
    start = {state: {"guess": value, "fixed": True} for state, value in STARTS[name].items()}
    result = fitted(system, values, parameters, initial_state=start, starts=10)
    assert result.outcome.code == "converged"
    [warning] = warnings(result, "another_optimum")
    assert warning.names == names
    [other, *_] = [other for stage in result.stages for other in stage.other_optima or []]
    assert other.loss == pytest.approx(result.loss, rel=1e-3)
    assert f"{names[0]} = {other.values[names[0]]:.4g}" in warning.message


@pytest.mark.parametrize("name", TWO_OPTIMA)
def test_bounds_that_leave_one_optimum_end_the_doubt(name: str) -> None:
    system, values, parameters, _ = TWO_OPTIMA[name]
    start = {state: {"guess": value, "fixed": True} for state, value in STARTS[name].items()}
    bounds = {
        "ka": {"lower": 0.8}, "ke": {"upper": 0.8}, "k1": {"upper": 1.0}, "k2": {"guess": 1.5, "lower": 1.0},
        "w": {"lower": 0.0},
    }  # fmt: skip
    one = {key: value | bounds.get(key, {}) for key, value in parameters.items()}
    one = {key: {k: v for k, v in value.items() if k != "guess"} for key, value in one.items()}
    result = fitted(system, values, one, initial_state=start, starts=10)
    assert result.warnings == []


MICHAELIS: dict[str, Any] = {
    "states": ["s"],
    "parameters": ["vmax", "km"],
    "equations": {"s": "-vmax*s/(km + s)"},
    "observables": {"substrate": "s"},
}


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_a_ratio_that_alone_is_determined_is_reported(scale: str) -> None:
    """With s far below km only vmax/km = 0.3 matters."""
    values = np.exp(-0.3 * TIMES) + 0.01 * NOISE
    guesses = {"vmax": {"guess": 290.0, "scale": scale}, "km": {"guess": 1000.0, "scale": scale}}
    result = fitted(MICHAELIS, values, guesses, initial_state={"s": {"guess": 1.0, "fixed": True}})
    [warning] = warnings(result, "flat_direction")
    assert warning.names == ["vmax", "km"]


def test_well_determined_unknowns_and_one_that_is_zero_are_not_called_flat() -> None:
    """Rates of 1e-5 and 0.5, each known to a hundredth, and a supply that is 0."""
    system = {
        "states": ["slow", "fast"],
        "parameters": ["k", "K", "supply"],
        "equations": {"slow": "-k*slow", "fast": "supply - K*fast"},
    }
    values = {
        "slow": (1e5 * np.exp(-1e-5 * TIMES) + 0.1 * NOISE).tolist(),
        "fast": (np.exp(-0.5 * TIMES) + 0.01 * NOISE[::-1]).tolist(),
    }
    request = {
        "system": system,
        "data": {"times": TIMES.tolist(), "values": values, "sigma": {"slow": 0.1, "fast": 0.01}},
        "parameters": {"k": 2e-5, "K": 1.0, "supply": 1e-3},
        "initial_state": {"slow": {"guess": 1e5, "fixed": True}, "fast": {"guess": 1.0, "fixed": True}},
        "stages": [{"kind": "least_squares"}],
        "uncertainty": "covariance",
        "solver": {"rtol": 1e-10, "atol": 1e-10},
    }
    result = fit(parse_problem(request))
    assert result.parameters["k"].standard_error == pytest.approx(1e-7, rel=0.9)
    assert warnings(result, "flat_direction") == []


def test_a_profile_far_from_a_parabola_disagrees_with_the_covariance() -> None:
    """Few noisy values of a Michaelis–Menten curve: km has a long upper side."""
    values = np.exp(-0.3 * TIMES) + 0.02 * NOISE
    result = fitted(
        MICHAELIS,
        values,
        {"vmax": {"guess": 3.0, "lower": 0.01, "upper": 1e6}, "km": {"guess": 10.0, "lower": 0.01, "upper": 1e6}},
        initial_state={"s": {"guess": 1.0, "fixed": True}},
        uncertainty="profile",
    )
    [warning] = warnings(result, "profile_disagrees")
    assert warning.names == ["vmax", "km"]
    km = result.parameters["km"]
    assert km.lower_95 is not None
    assert km.standard_error is not None
    assert km.value - km.lower_95 < 2 * km.standard_error / 1.5


def test_a_profile_that_is_a_parabola_agrees() -> None:
    system = {"states": ["x"], "parameters": ["a"], "equations": {"x": "a"}, "observables": {"line": "x"}}
    result = fitted(system, 0.5 * TIMES + 0.1 * NOISE, {"a": 1.0}, uncertainty="profile")
    assert result.warnings == []
