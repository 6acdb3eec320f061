"""Derivatives by times at which a right-hand side jumps or bends, on both engines, against central differences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from odelib import FitProblem, ODELayer, fit
from tests.engines import ENGINES

TIMES = [0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.2, 3.0, 4.0]
STEP = 1e-5


def system(parameters: list[str], *, definitions: Mapping[str, str] | None = None, **equations: str) -> dict[str, Any]:
    return {
        "states": list(equations),
        "parameters": parameters,
        "constants": {"c": 2.0},
        "definitions": dict(definitions or {}),
        "equations": equations,
    }


SYSTEMS: dict[str, tuple[dict[str, Any], dict[str, float]]] = {
    "a lag": (
        system(["ka", "ke", "lag"], y="where(t < lag, 0, 6*ka*exp(-ka*(t - lag))) - ke*y"),
        {"ka": 1.4, "ke": 0.15, "lag": 0.59},
    ),
    "a pulse, by two comparisons": (
        system(["k", "on", "off"], y="where(t < on, 0, where(t > off, 0, 10)) - k*y"),
        {"k": 0.5, "on": 0.8, "off": 1.9},
    ),
    "a pulse, by its centre and width": (
        system(["k", "centre", "width"], y="10*where(abs(t - centre) < width, 1, 0) - k*y**2"),
        {"k": 0.5, "centre": 1.2, "width": 0.4},
    ),
    "a bend": (system(["k", "bend"], y="min(t, bend) - k*y"), {"k": 0.3, "bend": 1.1}),
    "a ramp with two bends": (
        system(["k", "a", "b"], y="max(0, min((t - a)/(b - a), 1)) - k*y"),
        {"k": 0.3, "a": 0.6, "b": 1.7},
    ),
    "a wave above a level": (
        system(["k", "w", "level"], y="where(sin(w*t) > level, 4, 0) - k*y"),
        {"k": 0.4, "w": 3.1, "level": 0.3},
    ),
    "an infusion in every period": (
        system(["k", "period", "length"], y="where(t - period*floor(t/period) < length, 5, 0) - k*y"),
        {"k": 0.4, "period": 1.13, "length": 0.3},
    ),
    "a sign": (system(["k", "s"], y="(1 + sign(t - s))/2 - k*y"), {"k": 0.3, "s": 1.3}),
    "repeated steps": (system(["k", "period"], y="floor(t/period) - k*y"), {"k": 0.3, "period": 0.83}),
    "a time that is an expression": (
        system(["k", "a", "b"], y="where(c*t < a + b/k, k, -y)"),
        {"k": 0.7, "a": 0.9, "b": 0.8},
    ),
    "times, sides and choices in definitions": (
        system(
            ["k", "lag", "width"],
            y="pulse - k*y",
            definitions={
                "onset": "lag + k/5",
                "since": "t - onset",
                "is_on": "where(since > 0 and not since > width, 1, 0)",
                "pulse": "10*is_on*(1 + where(is_on*t > 1.4, 1, 0))",
            },
        ),
        {"k": 0.5, "lag": 0.8, "width": 1.1},
    ),
    "bends in definitions": (
        system(
            ["k", "a", "b"],
            y="ramp - k*y",
            definitions={"capped": "min(t, b)", "distance": "abs(t - a)", "ramp": "where(distance < capped/2, 3, t)"},
        ),
        {"k": 0.3, "a": 1.6, "b": 1.2},
    ),
    "several states, nonlinear": (
        system(["r", "m", "tau"], prey="where(t < tau, r, r/3)*prey - prey*pred", pred="prey*pred - m*pred"),
        {"r": 1.5, "m": 1.1, "tau": 1.35},
    ),
    "two that coincide and add up": (
        system(["a", "b"], y="where(t < a, 0, 3) + where(b > t, 0, 5) - 0.2*y"),
        {"a": 1.25, "b": 1.25},
    ),
    "two that depend on one parameter and cross there": (
        system(["a"], y="where(t < a, 0, 3) + where(t < 2*a - 1.25, 0, 5) - 0.2*y"),
        {"a": 1.25},
    ),
    "one that coincides with a fixed one": (
        system(["a"], y="where(t < a, 0, 3)*where(t < 1.25, 1, 2) - 0.2*y"),
        {"a": 1.1},
    ),
}


def jacobians(
    definition: Mapping[str, Any], parameters: Mapping[str, float], engine: str, method: str = "auto"
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """By autograd, by forward sensitivities and by central differences: (T, n, p) each."""
    layer = ODELayer(definition, engine=engine, method=method, rtol=1e-11, atol=1e-13)
    times = torch.tensor(TIMES, dtype=torch.float64)
    start = torch.full((len(layer.system.states),), 0.7, dtype=torch.float64)
    at = torch.tensor([parameters[name] for name in layer.system.parameters], dtype=torch.float64)
    by_autograd = torch.autograd.functional.jacobian(lambda p: layer(times, start, p), at).numpy()
    forward = layer.sensitivities(times, start, at).by_parameters
    steps = STEP * torch.eye(len(at), dtype=torch.float64)
    with torch.no_grad():
        differences = [(layer(times, start, at + h) - layer(times, start, at - h)) / (2 * STEP) for h in steps]
    return by_autograd, forward, torch.stack(differences, -1).numpy()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", SYSTEMS)
def test_derivatives_are_central_differences(name: str, engine: str) -> None:
    by_autograd, forward, differences = jacobians(*SYSTEMS[name], engine)
    assert np.abs(differences).max() > 0.1
    np.testing.assert_allclose(by_autograd, differences, rtol=1e-6, atol=2e-6)
    np.testing.assert_allclose(forward, by_autograd, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("method", ["tsit5", "dop853", "kvaerno5"])
def test_derivatives_by_every_compiled_method(method: str) -> None:
    by_autograd, _, differences = jacobians(*SYSTEMS["several states, nonlinear"], "compiled", method)
    np.testing.assert_allclose(by_autograd, differences, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("lag", [0.0, 0.5, 4.0])
def test_at_the_very_time_of_a_measurement_the_mean_of_both_sides_counts(lag: float, engine: str) -> None:
    definition, parameters = SYSTEMS["a lag"]
    by_autograd, forward, differences = jacobians(definition, parameters | {"lag": lag}, engine)
    # one-sided second derivatives differ: a central difference is the mean to first order in its step
    np.testing.assert_allclose(by_autograd, differences, atol=20 * STEP)
    np.testing.assert_allclose(forward, by_autograd, rtol=1e-6, atol=1e-7)


def test_members_of_a_batch_have_their_own_times() -> None:
    definition, _ = SYSTEMS["a pulse, by two comparisons"]
    layer = ODELayer(definition, rtol=1e-10, atol=1e-12)
    times, start = torch.tensor(TIMES, dtype=torch.float64), torch.tensor([0.7], dtype=torch.float64)
    points = torch.tensor([[0.5, 0.8, 1.9], [0.5, 1.9, 0.8], [0.4, -1.0, 9.0], [0.4, 1.0, 1.0]], dtype=torch.float64)
    together = layer.sensitivities(times, start.expand(4, 1), points)
    for member, point in enumerate(points):
        alone = layer.sensitivities(times, start, point)
        np.testing.assert_array_equal(together.states[member], alone.states)
        np.testing.assert_array_equal(together.by_parameters[member], alone.by_parameters)
    assert not together.by_parameters[2, ..., 1:].any()  # outside the solve


DOSE_TIMES = np.array([0.2, 0.4, 0.6, 0.8, 1.0, 1.3, 1.7, 2.2, 3.0, 4.0, 6.0, 9.0])


def absorbed(ka: float, ke: float, lag: float) -> NDArray[Any]:
    """The closed form of a dose of 8 that is absorbed from `lag` on."""
    after = np.maximum(DOSE_TIMES - lag, 0)
    return np.asarray(8 * ka / (ka - ke) * (np.exp(-ke * after) - np.exp(-ka * after)))


def lagged(engine: str = "auto", **changes: Any) -> dict[str, Any]:
    """A dose by mouth with a lag, from another model than the units' tests; simulated with sigma 0.05."""
    values = absorbed(1.8, 0.35, 0.52) + 0.05 * np.random.default_rng(3).normal(size=len(DOSE_TIMES))
    return {
        "system": system(["ka", "ke", "lag"], y="where(t < lag, 0, 8*ka*exp(-ka*(t - lag))) - ke*y"),
        "data": {"times": DOSE_TIMES.tolist(), "values": {"y": values.tolist()}, "sigma": {"y": 0.05}, "start_time": 0},
        "parameters": {"ka": 1.0, "ke": 0.2, "lag": {"guess": 0.25, "lower": 0, "upper": 3}},
        "initial_state": {"y": {"guess": 0, "fixed": True}},
        "solver": {"engine": engine},
        "uncertainty": "profile",
    } | changes


@pytest.mark.parametrize("guess", [0.0, 0.4, 0.9, 1.5])
def test_a_lag_is_found_with_its_error(guess: float) -> None:
    request = lagged()
    request["parameters"]["lag"]["guess"] = guess
    result = fit(FitProblem.model_validate(request))
    lag = result.parameters["lag"]
    assert result.outcome.code == "converged"
    assert lag.standard_error is not None
    assert lag.lower_95 is not None
    assert lag.upper_95 is not None
    assert abs(lag.value - 0.52) < 3 * lag.standard_error
    at = np.array([result.parameters[name].value for name in ("ka", "ke", "lag")])
    jacobian = np.stack([(absorbed(*(at + h)) - absorbed(*(at - h))) / 2e-6 for h in 1e-6 * np.eye(3)], -1)
    assert lag.standard_error == pytest.approx(0.05 * np.sqrt(np.linalg.inv(jacobian.T @ jacobian)[2, 2]), rel=1e-3)
    # the profile's ends agree with the covariance's
    assert (lag.upper_95 - lag.lower_95) / 3.92 == pytest.approx(lag.standard_error, rel=0.1)
    assert [warning.code for warning in result.warnings] == []


def test_the_reference_engine_finds_the_same_lag() -> None:
    compiled, reference = (
        fit(FitProblem.model_validate(lagged(engine, stages=[{"kind": "least_squares"}], uncertainty="covariance")))
        for engine in ENGINES
    )
    for name, estimate in compiled.parameters.items():
        assert reference.parameters[name].value == pytest.approx(estimate.value, rel=1e-4)
        assert reference.parameters[name].standard_error == pytest.approx(estimate.standard_error, rel=1e-3)
