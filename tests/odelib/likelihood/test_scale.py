"""Estimated scales: the search for them is bounded, never raises, and does not follow the solver's error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from scipy.optimize import minimize

from odelib import fit
from odelib.likelihood.noise.base import MeasuredValues, ScaledNoise
from odelib.likelihood.noise.registry import noise_distribution
from odelib.problem.noise import AnyNoise
from odelib.problem.request import parse_problem
from odelib.result import FitResult
from tests.odelib.likelihood import densities
from tests.odelib.problem.requests import examples

FAULTS = Path(__file__).parents[2] / "faults"
ATOL, RTOL = 1e-8, 1e-6
KINDS: dict[str, dict[str, Any]] = {
    **{name: {"distribution": name, "sigma": "estimate"} for name in densities.NOISES if name != "poisson"},
    "proportional": {"distribution": "normal", "sigma": 0.1, "proportional": "estimate"},
    "both": {"distribution": "normal", "sigma": "estimate", "proportional": "estimate"},
}
SIZES = [1e-300, 1e-43, 1e-12, 1.0, 1e12, 1e140]


def noise_of(entry: dict[str, Any], values: Any) -> ScaledNoise:
    y = np.array(values, dtype=float)
    data = MeasuredValues(y, np.ones(len(y)), np.full(len(y), ATOL), RTOL)
    noise = noise_distribution(TypeAdapter(AnyNoise).validate_python(entry), data)
    assert isinstance(noise, ScaledNoise)
    return noise


def scales_of(entry: dict[str, Any], values: Any, model: Any) -> tuple[list[float], int]:
    """The estimated scales, and the number of evaluations that they took."""
    noise, evaluations = noise_of(entry, values), [0]

    def counted(*arguments: Any) -> Any:
        evaluations[0] += 1
        return type(noise)._scale_score(noise, *arguments)

    noise._scale_score = counted  # type: ignore[method-assign]
    return noise.concentrated_scales(np.array(model, dtype=float)).tolist(), evaluations[0]


@given(data=st.data())
@examples(200)
def test_the_search_ends_soon_for_any_data_model_and_prior(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(KINDS)))
    prior = data.draw(st.sampled_from([None, *densities.PRIOR_ENTRIES])) if kind != "both" else None
    entry = KINDS[kind] | ({"prior": prior} if prior else {})
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    values = data.draw(st.sampled_from(SIZES)) * rng.uniform(0.5, 2.0, 5)
    error = data.draw(st.sampled_from([0.0, 1e-9, 1e-3, 1.0, 1e9]))
    model = values * (1 + error * np.abs(rng.normal(size=5)))
    scales, evaluations = scales_of(entry, values, model)
    assert evaluations <= 300
    assert np.isfinite(scales).all()
    assert min(scales) > 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", [[np.nan, 1.0], [np.inf, 1.0], [1e300, 1.0], [-1e300, 1.0], [0.0, 0.0]])
def test_models_that_blow_up_are_no_exception(kind: str, model: list[float]) -> None:
    for prior in (None, *densities.PRIOR_ENTRIES):
        entry = KINDS[kind] | ({"prior": prior} if prior and kind != "both" else {})
        scales_of(entry, [1.0, 2.0], model)


@pytest.mark.parametrize("kind", ["normal", "lognormal", "laplace", "student-t"])
def test_a_prior_takes_few_evaluations(kind: str) -> None:
    rng = np.random.default_rng(1)
    model = 3 * np.exp(-np.linspace(0, 3, 40))
    values = model * np.exp(0.1 * rng.normal(size=40))
    for prior in densities.PRIOR_ENTRIES:
        _, evaluations = scales_of(KINDS[kind] | {"prior": prior}, values, model)
        assert evaluations <= 60


DECAYED = 5 * np.exp(-100 * np.linspace(0, 1, 20))


@pytest.mark.parametrize("kind", ["proportional", "both", "lognormal"])
@pytest.mark.parametrize("solver_error", [0.0, 1e-9, -1e-9, 5e-9])
def test_values_below_what_the_solver_resolves_do_not_determine_a_scale(kind: str, solver_error: float) -> None:
    """Their own scatter is 10 %, but what the solver returns there is its error."""
    rng = np.random.default_rng(3)
    resolved = 5 * np.exp(-np.linspace(0, 3, 40))
    clean = np.concatenate([resolved, DECAYED[4:]])
    values = clean * np.exp(0.1 * rng.normal(size=len(clean)))
    model = clean + np.concatenate([np.zeros(40), np.full(16, solver_error)])
    entry = KINDS[kind] | ({"sigma": 1e-9} if kind == "proportional" else {})
    scales, _ = scales_of(entry, values, model)
    assert scales[-1] == pytest.approx(0.1, rel=0.25)


def test_unresolved_values_neither_count_nor_are_impossible() -> None:
    noise = noise_of({"distribution": "lognormal", "sigma": 0.1}, [1.0, 1e-20])
    losses = [noise.loss(np.array([1.0, m]), np.zeros(0)) for m in (1e-20, 1e-9, -1e-9)]
    assert [loss for loss, _ in losses] == pytest.approx([losses[0][0]] * 3, abs=0.1)
    assert noise.is_impossible(np.array([-1e-9, -1e-9])).tolist() == [True, False]


@pytest.mark.parametrize("model", [[2.0, 1e-8, 3e-9], [1.0, -1e-9, 0.0]])
@pytest.mark.parametrize("entry", [{"distribution": "lognormal"}, {"distribution": "normal", "proportional": 0.1}])
def test_the_derivative_near_the_resolution_is_that_of_the_loss(entry: dict[str, Any], model: list[float]) -> None:
    noise, at = noise_of({"sigma": 1e-8} | entry, [1.0, 2e-8, 1e-20]), np.array(model)
    _, by_model = noise.loss(at, np.zeros(0))
    for i in range(3):
        step = np.zeros(3)
        step[i] = 1e-5 * max(abs(at[i]), ATOL)
        above, below = (noise.loss(at + sign * step, np.zeros(0))[0] for sign in (1, -1))
        assert by_model[i] == pytest.approx(
            (above - below) / (2 * step[i]), rel=1e-4, abs=1e-3 * np.abs(by_model).max()
        )


def fault(name: str, **changes: Any) -> FitResult:
    return fit(parse_problem(json.loads((FAULTS / f"{name}.json").read_text()) | changes))


def test_decay_over_many_decades_with_estimated_proportional_noise() -> None:
    result = fault(
        "proportional-noise", stages=[{"kind": "least_squares"}], parameters={"k1": 90.0, "k2": 15.0, "k3": 4.0}
    )
    assert result.noise is not None
    proportional = result.noise["X1"].proportional
    assert proportional is not None
    assert proportional.value == pytest.approx(0.1, abs=0.03)
    assert result.parameters["k1"].value == pytest.approx(100, abs=3)
    assert result.noise["X2"].proportional is not None
    assert result.noise["X2"].proportional.value == pytest.approx(0.1, abs=0.03)
    assert "coarse_solver" not in [warning.code for warning in result.warnings]


def test_five_values_five_unknowns_and_a_prior_end_in_a_fit_with_a_warning() -> None:
    """A search that stepped with what is not a number ended this fit with an internal error."""
    result = fault("internal-error", stages=[{"kind": "multi_start", "steps": 3}])
    assert {warning.code for warning in result.warnings} & {"coarse_solver", "not_converged"}


EXACT = (2.0 * np.exp(-0.5 * np.linspace(0, 4, 12))).tolist()


@pytest.mark.parametrize(
    "noise",
    [
        {"distribution": "normal", "sigma": "estimate"},
        {"distribution": "laplace", "sigma": "estimate"},
        {"distribution": "student-t", "sigma": "estimate"},
        {"distribution": "lognormal", "sigma": "estimate"},
        {"distribution": "lognormal", "sigma": "estimate", "prior": {"distribution": "half-normal", "scale": 0.5}},
        {"distribution": "normal", "sigma": "estimate", "proportional": "estimate"},
    ],
)
def test_exact_data_with_an_estimated_scale_are_no_optimum(noise: dict[str, Any]) -> None:
    request = {
        "system": {"states": ["x"], "parameters": ["k"], "equations": {"x": "-k*x"}},
        "data": {"times": np.linspace(0, 4, 12).tolist(), "values": {"x": EXACT}},
        "parameters": {"k": 0.8},
        "initial_state": {"x": 1.5},
        "noise": {"x": noise},
    }
    result = fit(parse_problem(request))
    assert result.outcome.code == "no_progress"
    assert "no maximum" in result.outcome.message
    assert {w.code: w.names for w in result.warnings} == {"coarse_solver": ["x"], "not_converged": None}
    assert all("no maximum" in w.message for w in result.warnings)
    assert result.parameters["k"].value == pytest.approx(0.5, rel=1e-4)


def test_a_prior_that_holds_a_scale_above_its_floor_is_no_collapse() -> None:
    prior = {"distribution": "lognormal", "median": float(np.exp(-12.0)), "sigma": 0.1}
    settings = {"distribution": "normal", "sigma": "estimate", "prior": prior}
    noise = noise_of(settings, EXACT)
    scales = noise.concentrated_scales(np.array(EXACT))
    assert scales[0] == pytest.approx(np.exp(-12.12), rel=0.01)  # 12 values pull by 12·0.1²
    assert not noise.is_collapsed(scales)


def test_a_scale_beside_a_given_one_may_be_0() -> None:
    noise = noise_of({"distribution": "normal", "sigma": 0.1, "proportional": "estimate"}, [1.0, 2.0])
    assert not noise.is_collapsed(noise.concentrated_scales(np.array([1.0, 2.0])))


@pytest.mark.parametrize(
    "noise",
    [
        {"distribution": "log-laplace", "sigma": "estimate"},
        {"distribution": "log-laplace", "sigma": 0.1},
        {"distribution": "normal", "proportional": "estimate"},
        {"distribution": "normal", "sigma": 0, "proportional": 0.1},
    ],
)
def test_a_fit_reaches_the_optimum(noise: dict[str, Any]) -> None:
    rng = np.random.default_rng(4)
    times = np.linspace(0, 6, 30)
    observed = 3 * np.exp(-0.7 * times) * np.exp(rng.laplace(scale=0.1, size=30))
    request = {
        "system": {"states": ["x"], "parameters": ["k"], "equations": {"x": "-k*x"}},
        "data": {"times": times.tolist(), "values": {"x": observed.tolist()}},
        "parameters": {"k": 0.3},
        "initial_state": {"x": 1.0},
        "noise": {"x": noise},
        "solver": {"rtol": 1e-9, "atol": 1e-12},
    }
    result = fit(parse_problem(request))

    def loss(at: Any) -> float:
        model = at[1] * np.exp(-at[0] * times)
        scales = {name: np.exp(at[2]) for name in ("sigma", "proportional") if noise.get(name) == "estimate"}
        return densities.measured(noise | scales, observed, model, (noise | scales).get("sigma", 0.0))

    best = min(
        minimize(
            loss, [0.7, 3.0, start], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-11, "maxiter": 4000}
        ).fun
        for start in (-2.0, -2.5)
    )
    assert result.outcome.code == "converged"
    assert result.loss == pytest.approx(best, abs=2e-3)
