"""Fits whose noise has a sigma that is an expression: losses, estimates, information, scores and failures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from odelib import fit
from odelib.errors import FitError
from odelib.problem.noise import DISTRIBUTIONS
from odelib.problem.request import parse_problem
from odelib.result import FitResult
from tests.odelib.likelihood import densities

SCALED = [name for name, kind in DISTRIBUTIONS.items() if kind.scales]
TIMES = np.linspace(0.0, 4.0, 40)
TRUTH = 5 * np.exp(-0.7 * TIMES)
Y = TRUTH * np.exp(0.08 * np.random.default_rng(3).standard_normal(40))
SYSTEM = {
    "states": ["x"],
    "parameters": ["k", "a", "b"],
    "equations": {"x": "-k*x"},
    "observables": {"x": "x", "twice": "2*x"},
}
LEAST_SQUARES = [{"kind": "least_squares"}]


def request(sigma: Any, distribution: str = "normal", **changes: Any) -> dict[str, Any]:
    """Decay with k, and a sigma that may use a and b."""
    return {
        "system": SYSTEM,
        "data": {"times": TIMES.tolist(), "values": {"x": Y.tolist()}},
        "parameters": {"k": 0.6, "a": {"guess": 0.1, "lower": 0.0}, "b": {"guess": 0.1, "lower": 0.0}},
        "initial_state": {"x": 4.5},
        "noise": {"x": {"distribution": distribution, "sigma": sigma}},
        "stages": LEAST_SQUARES,
    } | changes


def fitted(sigma: Any, distribution: str = "normal", **changes: Any) -> FitResult:
    return fit(parse_problem(request(sigma, distribution, **changes)))


FIXED = {"parameters": {name: {"guess": value, "fixed": True} for name, value in (("k", 0.7), ("a", 0.1), ("b", 0.3))}}
FIXED |= {"initial_state": {"x": {"guess": 5.0, "fixed": True}}, "solver": {"rtol": 1e-11, "atol": 1e-13}}


FIXED_NOISE = {"k": 0.6, "a": {"guess": 0.1, "fixed": True}, "b": {"guess": 0.3, "fixed": True}}


@pytest.mark.parametrize("distribution", SCALED)
def test_the_loss_is_the_negative_log_likelihood(distribution: str) -> None:
    result = fitted("a + b*twice*t", distribution, **FIXED)
    sigma = 0.1 + 0.3 * 2 * TRUTH * TIMES
    expected = densities.measured({"distribution": distribution}, Y, TRUTH, sigma)
    assert result.loss == pytest.approx(expected, rel=1e-9)
    assert result.trajectories[0].sigma is not None
    assert result.trajectories[0].sigma["x"] == pytest.approx(sigma.tolist(), rel=1e-8)
    assert result.noise is not None
    assert result.noise["x"].model_dump(exclude_none=True) == {"sigma_expression": "a + b*twice*t"}


def test_it_may_use_definitions() -> None:
    """With b in noise alone, through a definition and an observable, so that it is estimated as a scale is."""
    system = SYSTEM | {
        "definitions": {"share": "b*weight", "weight": "2"},
        "observables": {"x": "x", "part": "share*x"},
    }
    held = {"parameters": {"k": 0.6, "a": {"guess": 0.0, "fixed": True}, "b": {"guess": 0.1, "scale": "log"}}}
    result = fitted("part", system=system, uncertainty="covariance", **held)
    noise = {"x": {"distribution": "normal", "proportional": "estimate"}}
    purely_proportional = fitted("", noise=noise, uncertainty="covariance", **held | {"parameters": FIXED_NOISE})
    assert result.loss == pytest.approx(purely_proportional.loss, abs=1e-3)
    k, other = result.parameters["k"], purely_proportional.parameters["k"]
    assert k.standard_error == pytest.approx(other.standard_error, rel=1e-2)


def test_it_adds_to_proportional_noise() -> None:
    noise = {"x": {"distribution": "normal", "sigma": "a + b*t", "proportional": 0.2}}
    sigma = 0.1 + 0.3 * TIMES
    expected = densities.measured(noise["x"], Y, TRUTH, sigma)
    assert fitted("", noise=noise, **FIXED).loss == pytest.approx(expected, rel=1e-9)
    estimated = fitted("", noise={"x": noise["x"] | {"proportional": "estimate"}}, **FIXED)
    _, least = densities.concentrated_scales(noise["x"] | {"proportional": "estimate"}, Y, TRUTH, sigma)
    assert estimated.loss == pytest.approx(least, rel=1e-7)


@pytest.mark.parametrize("distribution", SCALED)
def test_the_optimum_is_that_of_the_likelihood(distribution: str) -> None:
    def loss(at: Any) -> float:
        k, x, a, b = at
        model = x * np.exp(-k * TIMES)
        return densities.measured({"distribution": distribution}, Y, model, np.abs(a) + np.abs(b) * model)

    found = fitted("a + b*x", distribution)
    least = min(minimize(loss, s, method="Nelder-Mead", options={"maxfev": 4000, "xatol": 1e-7, "fatol": 1e-9}).fun
                for s in ([0.7, 5.0, 0.02, 0.06], [0.7, 5.0, 0.1, 0.001]))  # fmt: skip
    assert found.outcome.code == "converged"
    assert found.loss < least + 2e-3


@pytest.mark.parametrize("distribution", SCALED)
def test_a_sigma_that_is_a_parameter_is_as_one_that_is_estimated(distribution: str) -> None:
    """With the same optimum, and the same errors and intervals of the others."""
    changes = {"uncertainty": "covariance", "solver": {"rtol": 1e-9, "atol": 1e-13}}
    held = {"parameters": {"k": 0.6, "a": {"guess": 0.2, "scale": "log"}, "b": {"guess": 1.0, "fixed": True}}}
    given, estimated = fitted("a", distribution, **changes, **held), fitted("estimate", distribution, **changes, **held)
    assert given.loss == pytest.approx(estimated.loss, abs=2e-4)
    for one, other in ((given.parameters["k"], estimated.parameters["k"]),
                       (given.initial_state["x"], estimated.initial_state["x"])):  # fmt: skip
        assert one.value == pytest.approx(other.value, rel=2e-3)
        for field in ("standard_error", "lower_95", "upper_95"):
            assert getattr(one, field) == pytest.approx(getattr(other, field), rel=5e-3)
    a = given.parameters["a"]
    assert estimated.noise is not None
    sigma = estimated.noise["x"].sigma
    assert sigma is not None
    assert sigma.standard_error is not None
    assert a.standard_error is not None
    assert a.value == pytest.approx(sigma.value, rel=5e-3)
    corrected = sigma.value * np.sqrt(40 / 38)  # the centre of the estimated scale's interval
    assert a.standard_error / a.value == pytest.approx(sigma.standard_error / corrected, rel=5e-3)


def test_sigma_tells_about_the_parameters_of_the_model() -> None:
    """The information of a normal distribution is ∇m∇mᵀ/σ² + 2·∇σ∇σᵀ/σ² (Kay 1993, section 3.9)."""
    held = {"guess": 5.0, "fixed": True}
    parameters = {"k": 0.7, "a": {"guess": 0.1, "fixed": True}, "b": {"guess": 0.4, "fixed": True}}
    changes = {"parameters": parameters, "initial_state": {"x": held}, "uncertainty": "covariance"}
    result = fitted("a + b*k*twice", **changes)
    k = result.parameters["k"]
    model = 5 * np.exp(-k.value * TIMES)
    slope, sigma = -TIMES * model, 0.1 + 0.8 * k.value * model
    sigma_slope = 0.8 * model + 0.8 * k.value * slope
    information = np.sum((slope / sigma) ** 2 + 2 * (sigma_slope / sigma) ** 2)
    assert k.standard_error == pytest.approx(information**-0.5, rel=1e-4)
    assert k.lower_95 == pytest.approx(k.value - 1.959964 * information**-0.5, rel=1e-4)  # nothing of it is estimated


def test_profiles_and_an_own_sigma_for_each_experiment() -> None:
    rng = np.random.default_rng(5)
    experiments = [
        {"name": name, "times": TIMES.tolist(), "values": {"x": (TRUTH + s * rng.standard_normal(40)).tolist()}}
        for name, s in (("fine", 0.05), ("coarse", 0.5))
    ]
    body = request("a", experiments=experiments, per_experiment=["a"], uncertainty="profile")
    body |= {"parameters": {"k": 0.6, "a": {"guess": 0.2, "scale": "log"}, "b": {"guess": 1.0, "fixed": True}}}
    del body["data"]
    result = fit(parse_problem(body))
    for trajectory, truth in zip(result.trajectories, (0.05, 0.5), strict=True):
        assert trajectory.parameters is not None
        a = trajectory.parameters["a"]
        residuals = np.array(trajectory.residuals["x"], dtype=float) * a.value
        assert a.value == pytest.approx(np.sqrt(np.mean(residuals**2)), rel=2e-2)
        assert a.lower_95 is not None
        assert a.upper_95 is not None
        assert a.lower_95 < truth < a.upper_95
    assert result.profiles is not None
    assert {"k", "a[fine]", "a[coarse]"} <= set(result.profiles)


def test_predictions_and_held_out_data_are_scored_with_it() -> None:
    later = {"name": "later", "times": [4.5, 5.0], "values": {"x": [0.3, 0.1]}}
    other = {"name": "other", "times": [0.0, 1.0], "values": {"x": [1.0, None]}, "parameters": {"a": 0.5, "k": 1.0}}
    result = fitted(
        "a + b*x", predictions=[later, other | {"initial_state": {"x": 2.0}}], hold_out={"after": 3.0}, **FIXED
    )
    normal = {"distribution": "normal"}
    model = 5 * np.exp(-0.7 * np.array([4.5, 5.0]))
    assert result.predictions is not None
    assert result.predictions[0].loss == pytest.approx(densities.measured(normal, [0.3, 0.1], model, 0.1 + 0.3 * model))
    assert result.predictions[1].loss == pytest.approx(densities.measured(normal, [1.0], [2.0], 0.5 + 0.3 * 2.0))
    late = TIMES > 3
    assert result.hold_out is not None
    expected = densities.measured(normal, Y[late], TRUTH[late], 0.1 + 0.3 * TRUTH[late])
    assert result.hold_out[0].loss == pytest.approx(expected)


def test_statistics_count_the_parameters_of_sigma() -> None:
    result = fitted("a + b*x")
    assert result.statistics.aic == pytest.approx(2 * result.loss + 2 * 4)


@pytest.mark.parametrize("kind", ["least_squares", "lbfgsb", "multiple_shooting"])
def test_every_kind_of_stage_copes(kind: str) -> None:
    stages = [{"kind": kind}, *([{"kind": "lbfgsb"}] if kind == "multiple_shooting" else [])]
    result = fitted("a + b*x", stages=stages)
    assert result.outcome.code == "converged"
    assert result.loss == pytest.approx(fitted("a + b*x").loss, abs=2e-3)


def test_a_trial_at_which_sigma_is_not_above_0_fails_by_itself() -> None:
    parameters = {"k": 0.6, "a": {"guess": 0.2, "lower": -1.0, "upper": 1.0}, "b": {"guess": 0.0, "fixed": True}}
    result = fitted("a + b", parameters=parameters, stages=[{"kind": "multi_start", "starts": 4}])
    assert result.stages[0].failed_solves > 0
    assert result.loss == pytest.approx(fitted("estimate").loss, abs=2e-3)


def test_a_guess_at_which_sigma_is_not_above_0_is_named() -> None:
    with pytest.raises(FitError) as caught:
        fitted(
            "b - a*x",
            parameters={name: {"guess": 0.1, "lower": 0.1, "upper": 0.11} for name in ("k", "a", "b")},
            initial_state={"x": {"guess": 4.5, "fixed": True}},
        )
    assert caught.value.code == "guess_not_finite"
    assert "the expression for the sigma of 'x' is -0.35, not a number above 0, at t = 0" in caught.value.detail


def test_exact_data_do_not_let_it_sink_below_the_solvers_error() -> None:
    """The likelihood would have no maximum, which is told."""
    data = {"times": TIMES.tolist(), "values": {"x": TRUTH.tolist()}}
    result = fitted("a", data=data, parameters={"k": 0.6, "a": {"guess": 0.1, "scale": "log"}, "b": 1.0})
    assert "x" in [name for w in result.warnings if w.code == "coarse_solver" for name in w.names or []]
    assert result.parameters["k"].value == pytest.approx(0.7, rel=1e-4)
