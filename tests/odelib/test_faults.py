"""Kinds of requests that once got a wrong answer: switching times, and default plans that took far too long.

The other kinds have tests of their own: test_small_states.py, test_missing_values.py, test_chaos.py,
likelihood/test_scale.py and optimisers/test_plateaus.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.linalg import expm
from scipy.optimize import least_squares

from odelib.arrays import Reals
from odelib.fitting import fit
from odelib.problem.request import parse_problem
from odelib.result import FitResult

FAULTS = Path(__file__).parents[1] / "faults"


def fitted(request: dict[str, Any]) -> FitResult:
    return fit(parse_problem(request))


def fault(name: str) -> FitResult:
    return fitted(json.loads((FAULTS / f"{name}.json").read_text(encoding="utf-8")))


def test_a_lag_before_absorption_is_found_with_its_error() -> None:
    result = fault("lag-input")
    assert result.outcome.code == "converged"
    assert result.warnings == []
    assert result.loss == pytest.approx(0.10552, rel=1e-4)
    right = {"ka": (1.4295, 0.062), "ke": (0.14879, 0.0033), "tlag": (0.5898, 0.017)}
    for name, (value, error) in right.items():
        assert result.parameters[name].value == pytest.approx(value, abs=1e-3 * value)
        assert result.parameters[name].standard_error == pytest.approx(error, rel=0.02)


def test_a_change_of_growth_is_found_with_its_error() -> None:
    result = fault("change-time")
    assert result.outcome.code == "converged"
    assert result.loss == pytest.approx(1.68487, rel=1e-4)
    assert result.parameters["tq"].standard_error == pytest.approx(0.0322, rel=0.01)


def infusion(times: Reals, a: float, k: float, end: float) -> Reals:
    """x' = a until `end`, then 0, − k·x."""
    until = np.minimum(times, end)
    return np.asarray(a / k * (1 - np.exp(-k * until)) * np.exp(-k * (times - until)))


def braking(times: Reals, v: float, b: float, tau: float) -> Reals:
    """The way of what moves at v until τ and is then braked at b, in metres and seconds of 1e-6."""
    return np.asarray(v * times - b * np.maximum(times - tau, 0) ** 2 / 2)


def growth(times: Reals, r: float, s: float, tau: float) -> Reals:
    """The logarithm of a population that grows at the rate r until τ, then at s."""
    return np.asarray(r * np.minimum(times, tau) + s * np.maximum(times - tau, 0))


# by name: the equation; the closed form that scipy fits, and of which observable; times; truth; guesses; σ; log noise
SWITCHES: dict[str, tuple[str, Callable[..., Reals], Reals, dict[str, float], dict[str, Any], float, bool]] = {
    "the end of an infusion": (
        "where(t < end, a, 0) - k*x",
        infusion,
        np.linspace(0.5, 12, 24),
        {"a": 3.0, "k": 0.4, "end": 4.3},
        {"a": 2.0, "k": 0.6, "end": {"guess": 6.0, "lower": 0.0, "upper": 12.0}},
        0.05,
        False,
    ),
    "the onset of braking, in microseconds": (
        "v - b*max(t - tau, 0)",
        braking,
        np.linspace(1e-6, 20e-6, 20),
        {"v": 30.0, "b": 2e6, "tau": 7.7e-6},
        {"v": 20.0, "b": 1e6, "tau": {"guess": 1e-5, "lower": 0.0, "upper": 2e-5}},
        4e-6,
        False,
    ),
    "a change of growth over many decades, with lognormal noise": (
        "where(t < tau, r, s)*x",
        growth,
        np.linspace(1e4, 4e5, 30),
        {"r": 1e-4, "s": 2e-5, "tau": 1.43e5},
        {"r": 5e-5, "s": 5e-5, "tau": {"guess": 2e5, "lower": 0.0, "upper": 4e5}},
        0.1,
        True,
    ),
}


@pytest.mark.parametrize("name", SWITCHES)
def test_switching_times_of_other_models_have_scipys_estimates_and_errors(name: str) -> None:
    equation, exact, times, truth, guesses, sigma, is_log = SWITCHES[name]
    measured = exact(times, **truth) + sigma * np.random.default_rng(8).standard_normal(len(times))
    sizes = np.array(list(truth.values()))
    found = least_squares(lambda z: (exact(times, *(z * sizes)) - measured) / sigma, np.ones(3), xtol=1e-14, ftol=1e-14)
    errors = np.sqrt(np.diag(np.linalg.inv(found.jac.T @ found.jac))) * sizes
    start = 1.0 if is_log else 0.0
    result = fitted(
        {
            "system": {"states": ["x"], "parameters": list(truth), "equations": {"x": equation}},
            "data": {
                "start_time": 0.0,
                "times": times.tolist(),
                "values": {"x": (np.exp(measured) if is_log else measured).tolist()},
            },
            "parameters": guesses,
            "initial_state": {"x": {"guess": start, "fixed": True}},
            "noise": {"x": {"distribution": "lognormal" if is_log else "normal", "sigma": sigma}},
            "uncertainty": "covariance",
        }
    )
    assert result.outcome.code == "converged"
    assert result.warnings == []
    for parameter, value, error in zip(truth, found.x * sizes, errors, strict=True):
        assert abs(result.parameters[parameter].value - value) < 0.02 * error
        assert result.parameters[parameter].standard_error == pytest.approx(error, rel=0.01)


def transport() -> dict[str, Any]:
    """A pulse that passes through a row of 60 cells at the rate k, seen in every tenth."""
    cells, times = [f"c{i}" for i in range(60)], np.linspace(1, 20, 20)
    equations = {c: f"k*({'0' if i == 0 else cells[i - 1]} - {c})" for i, c in enumerate(cells)}
    k = 3.0
    index = np.arange(60)[:, None]
    log_factorial = np.cumsum(np.log(np.maximum(index, 1)), axis=0)
    exact = np.exp(index * np.log(k * times) - k * times - log_factorial)  # of Poisson's process
    noise = 0.003 * np.random.default_rng(0).standard_normal(exact.shape)
    return {
        "system": {"states": cells, "parameters": ["k"], "equations": equations},
        "data": {
            "start_time": 0.0,
            "times": times.tolist(),
            "values": {cells[i]: (exact + noise)[i].tolist() for i in range(0, 60, 10)},
        },
        "parameters": {"k": 1.0},
        "initial_state": {c: {"guess": 1.0 if i == 0 else 0.0, "fixed": True} for i, c in enumerate(cells)},
    }


def many_points() -> dict[str, Any]:
    """10,000 noisy points of an oscillator whose truth k is 3."""
    times = np.linspace(0, 10, 10_000)
    values = np.cos(np.sqrt(3.0) * times) + 0.1 * np.random.default_rng(1).standard_normal(len(times))
    return {
        "system": {"states": ["q", "p"], "parameters": ["k"], "equations": {"q": "p", "p": "-k*q"}},
        "data": {"times": times.tolist(), "values": {"q": values.tolist()}},
        "parameters": {"k": 2.0},
        "initial_state": {"q": 0.8, "p": 0.3},
    }


def rods() -> dict[str, Any]:
    """Cooling of 40 rods, each warmed by its neighbours, in kelvin above the room; the truth k is 0.05."""
    names, k, times = [f"T{i}" for i in range(40)], 0.05, np.linspace(0, 30, 16)
    matrix = -3 * np.eye(40) + np.eye(40, k=1) + np.eye(40, k=-1)
    eigenvalues, vectors = np.linalg.eigh(matrix)
    start = np.linspace(300, 100, 40)
    exact = vectors @ (np.exp(k * np.outer(eigenvalues, times)) * (vectors.T @ start)[:, None])
    noisy = exact + np.random.default_rng(2).standard_normal(exact.shape)

    def neighbours(i: int) -> str:
        return " + ".join(names[j] for j in (i - 1, i + 1) if 0 <= j < 40)

    return {
        "system": {
            "states": names,
            "parameters": ["k"],
            "equations": {T: f"k*({neighbours(i)} - 3*{T})" for i, T in enumerate(names)},
        },
        "data": {"times": times.tolist(), "values": {T: noisy[i].tolist() for i, T in enumerate(names)}},
        "parameters": {"k": 0.5},
        "initial_state": {T: {"guess": value, "fixed": True} for T, value in zip(names, start.tolist(), strict=True)},
    }


@pytest.mark.parametrize(("request_of", "truth"), [(transport, 3.0), (many_points, 3.0), (rods, 0.05)])
def test_one_unknown_takes_few_gradients_however_many_states_and_points_there_are(
    request_of: Callable[[], dict[str, Any]], truth: float
) -> None:
    result = fitted(request_of())
    assert result.outcome.code == "converged"
    assert result.parameters["k"].value == pytest.approx(truth, rel=0.01)
    assert sum(stage.gradients for stage in result.stages) < 40


def test_a_scale_that_absorbs_the_misfit_is_told() -> None:
    """From its guesses least squares ends where a noise of 97 % takes the place of the first rate, 100 in truth."""
    request = json.loads((FAULTS / "proportional-noise.json").read_text(encoding="utf-8"))
    result = fitted(request | {"stages": [{"kind": "least_squares"}]})
    assert result.parameters["k1"].value < 50
    told = [warning.names for warning in result.warnings if warning.code == "structured_residuals"]
    assert told == [["X1"]]


def test_a_scale_that_absorbs_the_misfit_leads_to_the_right_rates() -> None:
    result = fault("proportional-noise")
    assert result.outcome.code == "converged"
    assert result.warnings == []
    assert result.loss == pytest.approx(-1230.256, abs=1e-2)
    assert result.parameters["k1"].value == pytest.approx(100, abs=3)
    assert result.noise is not None
    assert result.noise["X1"].proportional is not None
    assert result.noise["X1"].proportional.value == pytest.approx(0.1, abs=0.03)


BOTH = {"distribution": "normal", "sigma": "estimate", "proportional": "estimate"}
PROPORTIONAL = {"distribution": "normal", "proportional": "estimate"}


def chain(
    rates: list[float], stop: float, count: int, unit: float, noise: dict[str, Any], bounds: tuple[float, float]
) -> dict[str, Any]:
    """A substance that turns into the next one at each rate; all are measured with an error of 10 % of their value."""
    matrix, random = np.diag([-rate for rate in rates]) + np.diag(rates[:-1], -1), np.random.default_rng(7)
    times, names = np.linspace(0.0, stop, count), [f"x{i}" for i in range(len(rates))]
    exact = np.array([expm(matrix * t)[:, 0] for t in times]) * unit
    inflow = ["", *(f"k{i}*x{i}" for i in range(len(rates) - 1))]
    return {
        "system": {
            "states": names,
            "parameters": [f"k{i}" for i in range(len(rates))],
            "equations": {name: f"{inflow[i]} - k{i}*{name}" for i, name in enumerate(names)},
        },
        "data": {
            "times": times.tolist(),
            "values": {
                name: (exact[:, i] * (1 + 0.1 * random.standard_normal(count))).tolist() for i, name in enumerate(names)
            },
        },
        "parameters": {f"k{i}": {"lower": bounds[0], "upper": bounds[1], "scale": "log"} for i in range(len(rates))},
        "initial_state": {name: {"guess": 0.0 if i else unit, "fixed": True} for i, name in enumerate(names)},
        "noise": dict.fromkeys(names, noise),
    }


ABSORBED: dict[str, tuple[list[float], float, int, float, dict[str, Any], tuple[float, float]]] = {
    "purely proportional noise": ([100.0, 20.0, 3.0], 1.0, 20, 5.0, PROPORTIONAL, (1e-3, 1e3)),
    "seconds, and numbers of molecules": ([0.0278, 0.00556, 0.000833], 3600.0, 20, 1e9, BOTH, (1e-6, 1.0)),
    "four substances in mol/L": ([120.0, 40.0, 9.0, 1.0], 1.0, 18, 1e-9, BOTH, (1e-3, 1e3)),
}


@pytest.mark.parametrize("name", ABSORBED)
def test_a_scale_that_absorbs_the_misfit_of_other_models_leads_to_the_right_rates(name: str) -> None:
    result = fitted(chain(*ABSORBED[name]))
    assert result.outcome.code == "converged"
    assert result.warnings == []
    for i, rate in enumerate(ABSORBED[name][0]):
        assert result.parameters[f"k{i}"].value == pytest.approx(rate, rel=0.15)
