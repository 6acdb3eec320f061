"""Fits over many Lyapunov times, or many periods: what the data determine, and valleys that are not the right one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from odelib.arrays import Reals
from odelib.fitting import fit
from odelib.likelihood.fisher_information import fisher_information
from odelib.problem.request import parse_problem
from odelib.result import FitResult

LORENZ = {
    "states": ["x", "y", "z"],
    "parameters": ["s", "r", "b"],
    "equations": {"x": "s*(y - x)", "y": "x*(r - z) - y", "z": "x*y - b*z"},
}
TRUTH = {"s": 10.0, "r": 28.0, "b": 8 / 3}
START = {"x": 1.0, "y": 2.0, "z": 20.0}


def lorenz(_t: float, y: Any, s: float = 10.0, r: float = 28.0, b: float = 8 / 3) -> list[float]:
    return [s * (y[1] - y[0]), y[0] * (r - y[2]) - y[1], y[0] * y[1] - b * y[2]]


def measured(rates: Callable[..., Any], start: dict[str, float], times: Reals, noise: float) -> dict[str, Any]:
    exact = solve_ivp(rates, (0, times[-1]), list(start.values()), "DOP853", times, rtol=1e-12, atol=1e-12).y
    noisy = exact + noise * np.random.default_rng(3).standard_normal(exact.shape)
    values = {name: column.tolist() for name, column in zip(start, noisy, strict=True)}
    return {"start_time": 0.0, "times": times.tolist(), "values": values}


def fitted(request: dict[str, Any], **changes: Any) -> FitResult:
    return fit(parse_problem(request | changes))


def codes(result: FitResult) -> set[str]:
    return {warning.code for warning in result.warnings}


CHAOS: dict[str, Any] = {
    "system": LORENZ,
    "data": measured(lorenz, START, np.linspace(0.05, 20, 400), 0.1),
    "parameters": TRUTH,
    "initial_state": START,
    "solver": {"rtol": 1e-10},
    "uncertainty": "covariance",
}


def test_what_the_data_determine_over_many_lyapunov_times_has_its_standard_error() -> None:
    """The late residuals change by 1e11 along one direction; all six unknowns are determined by the early ones."""
    result = fitted(CHAOS)
    assert result.outcome.code == "converged"
    assert result.warnings == []
    errors = dict(zip([*TRUTH, *START], standard_errors(np.array(CHAOS["data"]["times"]), 0.1), strict=True))
    for name, truth in (TRUTH | START).items():
        estimate = (result.parameters | result.initial_state)[name]
        assert estimate.standard_error == pytest.approx(errors[name], rel=0.1)
        assert abs(estimate.value - truth) < 4 * errors[name]


def standard_errors(times: Reals, noise: float) -> Reals:
    """Of s, r, b, x, y, z: from scipy's solution of the variational equations at the truth."""

    def rates(t: float, z: Any) -> Any:
        (x, y, w), s = z[:3], z[3:].reshape(3, 6)
        jacobian = np.array([[-10.0, 10.0, 0.0], [28.0 - w, -1.0, -x], [y, x, -8 / 3]])
        by = np.zeros((3, 6))
        by[0, 0], by[1, 1], by[2, 2] = y - x, x, -w
        return np.concatenate([lorenz(t, z[:3]), (jacobian @ s + by).ravel()])

    start = np.concatenate([list(START.values()), np.hstack([np.zeros((3, 3)), np.eye(3)]).ravel()])
    solved = solve_ivp(rates, (0, times[-1]), start, "DOP853", times, rtol=1e-12, atol=1e-12).y
    rows = solved[3:].reshape(3, 6, -1).transpose(2, 0, 1).reshape(-1, 6) / noise
    _, lengths, directions = np.linalg.svd(rows, full_matrices=False)
    return np.asarray(np.sqrt(((directions.T / lengths) ** 2).sum(axis=1)))


def test_only_what_is_not_determined_is_undetermined_in_chaos() -> None:
    equations = LORENZ["equations"] | {"y": "x*(u*v - z) - y"}  # type: ignore[operator]
    system = LORENZ | {"parameters": ["s", "u", "v", "b"], "equations": equations}
    result = fitted(CHAOS, system=system, parameters={"s": 10.0, "u": 7.0, "v": 4.0, "b": 8 / 3})
    assert [(w.code, w.names) for w in result.warnings] == [("flat_direction", ["u", "v"])]
    assert result.parameters["s"].standard_error is not None


def test_exact_directions_are_flat_however_the_residuals_differ_in_size() -> None:
    random = np.random.default_rng(0)
    growth = np.exp(np.linspace(0, 25, 60))
    rows = np.outer(growth, [1.0, 0.5, -0.2, 1.0]) + random.standard_normal((60, 4))
    rows[:, 3] = rows[:, 0]  # only their sum has an effect
    found = fisher_information(rows, np.ones(4, dtype=bool), 1.0)
    np.testing.assert_allclose(np.abs(found.flat), [[0.5**0.5, 0, 0, 0.5**0.5]], atol=1e-5)
    independent = fisher_information(rows[:, :3], np.ones(3, dtype=bool), 1.0)
    assert not len(independent.flat)
    scaled = rows[:, :3] / growth[:, None]  # the same, by weights that lose nothing for the other two directions
    assert np.all(np.diag(independent.inverse) <= np.diag(np.linalg.inv(scaled.T @ scaled)))


def test_a_response_below_the_noise_determines_nothing() -> None:
    rows = np.vstack([1e9 * np.array([[1.0, 0.0]]), 1e-7 * np.eye(2)])
    assert len(fisher_information(rows, np.ones(2, dtype=bool), 1.0).flat) == 1


def duffing(t: float, y: Any) -> list[float]:
    return [y[1], -0.1 * y[1] - y[0] ** 3 + 12.0 * np.cos(t)]


def pendulum(_t: float, y: Any) -> list[float]:
    return [y[1], -9.0 * y[0]]


# by name: system, rates of the truth, start, times, guesses
ROUGH: dict[str, tuple[dict[str, Any], Callable[..., Any], dict[str, float], Reals, dict[str, Any]]] = {
    "Lorenz": (LORENZ, lorenz, START, np.linspace(0.05, 20, 400), {"s": 9.3, "r": 29.0, "b": 2.62}),
    "a forced Duffing oscillator, Ueda's attractor": (
        {"states": ["u", "v"], "parameters": ["c", "B"], "equations": {"u": "v", "v": "-c*v - u**3 + B*cos(t)"}},
        duffing,
        {"u": 1.0, "v": 0.0},
        np.linspace(0.2, 120, 600),
        {"c": 0.15, "B": 11.0},
    ),
    "an oscillator over 1,000 periods": (
        {"states": ["q", "p"], "parameters": ["k"], "equations": {"q": "p", "p": "-k*q"}},
        pendulum,
        {"q": 1.0, "p": 0.0},
        np.linspace(4, 2200, 500),
        {"k": 9.1},
    ),
}


@pytest.mark.parametrize("stage", ["least_squares", "lbfgsb"])
@pytest.mark.parametrize("name", ROUGH)
def test_a_wrong_valley_is_no_optimum(name: str, stage: str) -> None:
    system, rates, start, times, guesses = ROUGH[name]
    fixed = {state: {"guess": value, "fixed": True} for state, value in start.items()}
    result = fitted(
        {
            "system": system,
            "data": measured(rates, start, times, 0.05),
            "parameters": guesses,
            "initial_state": fixed,
            "stages": [{"kind": stage}],
        }
    )
    assert min(result.statistics.r_squared.values()) < 0.9  # a wrong valley
    assert result.outcome.code != "converged"
    assert "not_converged" in codes(result)


@pytest.mark.parametrize("noise", [0.05, 3.0])
def test_the_right_valley_is_an_optimum(noise: float) -> None:
    """Also where the noise is so large that the model explains little of the data."""
    system, rates, start, times, _ = ROUGH["an oscillator over 1,000 periods"]
    result = fitted(
        {
            "system": system,
            "data": measured(rates, start, times, noise),
            "parameters": {"k": 9.0},
            "initial_state": {state: {"guess": value, "fixed": True} for state, value in start.items()},
            "stages": [{"kind": "least_squares"}],
            "solver": {"rtol": 1e-9},
        }
    )
    assert result.parameters["k"].value == pytest.approx(9.0, rel=1e-4)
    assert result.outcome.code == "converged"
