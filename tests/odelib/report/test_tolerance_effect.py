"""`coarse_solver`: the answer at the optimum is compared with that of a solve at a hundredth of the tolerances."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from odelib.fitting import fit
from odelib.problem.request import parse_problem
from odelib.result import FitWarning

TIMES = np.linspace(0.5, 60.0, 120)
NOISE = np.random.default_rng(1).standard_normal(len(TIMES))
OSCILLATOR: dict[str, Any] = {
    "system": {"states": ["q", "p"], "parameters": ["w"], "equations": {"q": "p", "p": "-w*w*q"}},
    "data": {"start_time": 0.0, "times": TIMES.tolist(), "values": {"q": (np.cos(TIMES) + 0.02 * NOISE).tolist()}},
    "parameters": {"w": 1.0},
    "initial_state": {"q": {"guess": 1.0, "fixed": True}, "p": {"guess": 0.0, "fixed": True}},
    "stages": [{"kind": "least_squares"}],
    "uncertainty": "covariance",
}
NOISES: dict[str, Any] = {
    "neither": {},
    "given with the data": {"data": OSCILLATOR["data"] | {"sigma": {"q": 0.02}}},
    "given": {"noise": {"q": {"distribution": "normal", "sigma": 0.02}}},
    "estimated": {"noise": {"q": {"distribution": "normal", "sigma": "estimate"}}},
    "an expression": {"noise": {"q": {"distribution": "normal", "sigma": "0.02 + 0*q"}}},
}


def warned(request: dict[str, Any], **changes: Any) -> list[FitWarning]:
    result = fit(parse_problem(request | changes))
    return [warning for warning in result.warnings if warning.code == "coarse_solver"]


@pytest.mark.parametrize("engine", ["compiled", "torchdiffeq"])
@pytest.mark.parametrize("noise", NOISES)
def test_a_frequency_that_the_solver_shifts_has_a_warning_whether_sigma_is_given_estimated_or_neither(
    noise: str, engine: str
) -> None:
    [warning] = warned(OSCILLATOR, **NOISES[noise], solver={"engine": engine, "rtol": 1e-3, "method": "dopri5"})
    assert warning.names is not None
    assert "w" in warning.names
    assert "w would move by more than a tenth of the 95 % interval's half-width" in warning.message
    assert warning.message.endswith("; reduce `solver.rtol`")
    assert warned(OSCILLATOR, **NOISES[noise], solver={"engine": engine, "method": "dopri5"}) == []


def test_a_state_that_is_not_measured_but_drives_what_is_has_a_warning() -> None:
    """mRNA of 1e-12 mol/L is far below the tolerance, and slow to follow its inducer's pulses."""
    request = {
        "system": {
            "states": ["x", "p"],
            "parameters": ["b", "c"],
            "constants": {"a": 1e-12, "k": 300.0},
            "equations": {"x": "a*(1 + sin(9*t)) - b*x", "p": "k*x - c*p"},
        },
        "data": {"start_time": 0.0, "times": [1.0, 7.0, 13.0, 20.0], "values": {"p": [1.8e-10, 3e-9, 4e-9, 5e-9]}},
        "parameters": {"b": {"guess": 0.5, "fixed": True}, "c": {"guess": 0.1, "fixed": True}},
        "initial_state": {"x": {"guess": 0.0, "fixed": True}, "p": {"guess": 0.0, "fixed": True}},
    }
    [warning] = warned(request, solver={"atol": 1e-6})
    assert warning.names is not None
    assert {"x", "p"} <= set(warning.names)
    assert "leave out `solver.atol` or reduce it" in warning.message
    assert warned(request) == []


def test_a_scale_of_the_size_of_the_solvers_error_has_a_warning() -> None:
    values = (np.cos(TIMES) * (1 + 1e-6 * NOISE)).tolist()
    request = OSCILLATOR | NOISES["estimated"] | {"data": OSCILLATOR["data"] | {"values": {"q": values}}}
    rough = [w.message for w in warned(request, solver={"rtol": 1e-5})]
    assert any("the estimated noise of q would change" in message or "no maximum" in message for message in rough)
    assert warned(request, solver={"rtol": 1e-10}) == []


def test_values_with_relative_noise_that_are_too_small_to_be_resolved_have_a_warning() -> None:
    times = np.linspace(0.0, 30.0, 40)
    request = {
        "system": {"states": ["x"], "parameters": ["k"], "equations": {"x": "-k*x"}},
        "data": {"times": times.tolist(), "values": {"x": np.exp(-times + 0.1 * NOISE[:40]).tolist()}},
        "parameters": {"k": 0.9},
        "initial_state": {"x": {"guess": 1.0, "fixed": True}},
        "noise": {"x": {"distribution": "lognormal", "sigma": 0.1}},
    }
    [warning] = warned(request, solver={"atol": 1e-3})
    assert "values of x would count that are too small to be resolved" in warning.message
    assert warned(request) == []


def test_what_is_zero_but_for_rounding_has_no_warning() -> None:
    """d is the difference of two states that are equal: rounding errors, which no tolerance makes accurate."""
    request = {
        "system": {
            "states": ["u", "v", "d"],
            "parameters": ["k"],
            "equations": {"u": "-k*u", "v": "-0.1*k*v*10", "d": "u - v - d"},
        },
        "data": {"times": [0.0, 1.0, 2.0, 3.0], "values": {"u": [1.0, 0.61, 0.36, 0.23]}},
        "parameters": {"k": 0.4},
        "initial_state": {
            name: {"guess": value, "fixed": True} for name, value in (("u", 1.0), ("v", 1.0), ("d", 0.0))
        },
        "stages": [{"kind": "least_squares"}],
    }
    assert warned(request) == []


def test_exact_data_without_noise_have_no_warning() -> None:
    exact = OSCILLATOR["data"] | {"values": {"q": np.cos(TIMES).tolist()}}
    assert warned(OSCILLATOR, data=exact) == []


@pytest.mark.parametrize("engine", ["compiled", "torchdiffeq"])
def test_the_result_has_the_tolerance_that_the_solve_used(engine: str) -> None:
    """Also of a size that no measurement sees, and of a state that begins at 0 and inherits its tolerance."""
    request = {
        "system": {"states": ["x", "y"], "parameters": ["k"], "equations": {"x": "-k*x", "y": "k*x - 30*y"}},
        "data": {"start_time": 0.0, "times": [2.0, 3.0], "values": {"x": [0.14, 0.05]}},
        "parameters": {"k": {"guess": 1.0, "fixed": True}},
        "initial_state": {"x": {"guess": 1.0, "fixed": True}, "y": {"guess": 0.0, "fixed": True}},
        "solver": {"engine": engine, "rtol": 1e-5},
    }
    atol = fit(parse_problem(request)).solver.atol
    assert isinstance(atol, dict)
    assert atol["x"] == pytest.approx(1e-2 * 1e-5, rel=1e-6)
    assert 1e-9 < atol["y"] < 1e-6
