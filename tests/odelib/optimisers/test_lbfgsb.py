from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from odelib import fit
from odelib.optimisers.lbfgsb import two_loop_product
from odelib.problem.request import parse_problem
from odelib.result import FitResult
from tests.problems import decay_request, reference


def lbfgsb(*, steps: int = 60, initial_step_norm: float = 1e-4, **changes: Any) -> FitResult:
    stage = {"kind": "lbfgsb", "steps": steps, "initial_step_norm": initial_step_norm}
    return fit(parse_problem(decay_request(stages=[stage], **changes)))


def best_decay() -> tuple[float, float]:
    """k and loss of the least-squares fit, by scipy from the closed form."""
    data = decay_request()["data"]
    times, observed = np.array(data["times"]), np.array(data["values"]["x"])
    found = minimize(lambda k: ((observed - 2 * np.exp(-k * times)) ** 2).sum(), 0.7, tol=1e-14, method="Nelder-Mead")
    return float(found.x[0]), float(found.fun)


@pytest.mark.parametrize("entry", [0.4, {"guess": 2.5, "scale": "log"}, {"lower": 0.1, "upper": 4.0, "scale": "log"}])
def test_the_optimum_is_found_and_recognised(entry: Any) -> None:
    k, loss = best_decay()
    result = lbfgsb(parameters={"k": entry})
    assert result.outcome.code == result.stages[0].stopped.code == "converged"
    assert result.loss == pytest.approx(loss, rel=1e-4)
    assert result.parameters["k"].value == pytest.approx(k, rel=1e-3)
    assert result.warnings == []


def test_a_bound_is_kept_and_reported() -> None:
    result = lbfgsb(parameters={"k": {"guess": 0.4, "lower": 0.3, "upper": 0.5}})
    assert result.parameters["k"].value == 0.5
    assert [(w.code, w.names) for w in result.warnings] == [("at_bound", ["k"])]
    assert result.outcome.code == "converged"  # no gain is possible within the bounds


@pytest.mark.parametrize("bounds", [{}, {"lower": 0.0, "upper": 1e3}, {"lower": 0.0}])
@pytest.mark.parametrize("norm", [1e-4, 1e-2])
def test_the_first_step_has_the_requested_length_with_and_without_bounds(bounds: dict[str, float], norm: float) -> None:
    result = lbfgsb(steps=1, initial_step_norm=norm, parameters={"k": {"guess": 0.4} | bounds})
    # in units of k's magnitude, 0.4; scipy accepts the step if it lowers the loss
    assert result.parameters["k"].value == pytest.approx(0.4 * (1 + norm), rel=1e-6)
    assert result.outcome.code == "step_limit"


def test_exact_data_are_fitted_down_to_the_solver_error() -> None:
    times = np.linspace(0, 3, 16)
    states = reference("lotka-volterra", times, [1.0, 1.0], [1.5, 1.0, 1.0, 3.0])
    result = lbfgsb(
        steps=200,
        system="lotka-volterra",
        data={"times": times.tolist(), "values": {"prey": states[:, 0].tolist(), "predator": states[:, 1].tolist()}},
        parameters={"alpha": 1.4, "beta": 1.1, "gamma": 1.05, "delta": 2.9},
        initial_state={"prey": 1.05, "predator": 0.95},
    )
    assert result.outcome.code == "converged"
    assert result.loss < 1e-6
    assert result.parameters["delta"].value == pytest.approx(3.0, rel=1e-3)


def test_a_fit_that_starts_at_the_optimum_stays_there_and_has_converged() -> None:
    k, loss = best_decay()
    result = lbfgsb(parameters={"k": k})
    assert result.outcome.code == "converged"
    assert result.loss == pytest.approx(loss, rel=1e-4)  # up to the solver error
    assert result.parameters["k"].value == pytest.approx(k, rel=1e-3)


def test_an_unknown_without_influence_does_not_keep_the_others_from_converging() -> None:
    k, _ = best_decay()
    result = lbfgsb(
        system={"states": ["x"], "parameters": ["k", "idle"], "equations": {"x": "-k*x + 0*idle"}},
        parameters={"k": 0.4, "idle": 3.0},
    )
    assert result.outcome.code == "converged"
    assert result.parameters["idle"].value == 3.0
    assert result.parameters["k"].value == pytest.approx(k, rel=1e-3)


def test_a_trial_step_that_cannot_be_solved_shortens_the_search() -> None:
    # x' = k·x² can only be solved for k < 1/0.9, and a first step of length 3 leads beyond
    true = 1.0
    times = [0.0, 0.3, 0.6, 0.9]
    result = lbfgsb(
        initial_step_norm=3.0,
        system={"states": ["x"], "parameters": ["k"], "equations": {"x": "k*x**2"}},
        data={"times": times, "values": {"x": [1 / (1 - true * t) for t in times]}},
        parameters={"k": 0.5},
        initial_state={"x": {"guess": 1.0, "fixed": True}},
        solver={"max_steps": 2000},
    )
    assert result.stages[0].failed_solves > 0
    assert result.parameters["k"].value == pytest.approx(true, rel=1e-4)
    assert result.outcome.code == "converged"


def test_too_few_steps_are_reported() -> None:
    result = lbfgsb(steps=2)
    assert result.outcome.code == "step_limit"
    assert [w.code for w in result.warnings] == ["not_converged"]
    assert result.stages[0].steps == 2


def test_the_inverse_hessian_of_a_quadratic_is_exact_after_as_many_pairs_as_unknowns() -> None:
    rng = np.random.default_rng(0)
    root = rng.standard_normal((4, 4))
    hessian = root @ root.T + np.eye(4)
    steps = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    conjugate = []
    for step in steps:  # BFGS is exact for pairs along conjugate directions
        along = [other * (other @ hessian @ step) / (other @ hessian @ other) for other in conjugate]
        conjugate.append(step - sum(along, np.zeros(4)))
    pairs = [(step, hessian @ step) for step in conjugate]
    gradient = rng.standard_normal(4)
    np.testing.assert_allclose(two_loop_product(pairs, gradient), np.linalg.solve(hessian, gradient), rtol=1e-9)


def test_without_pairs_the_predicted_gain_is_infinite() -> None:
    assert math.isinf(two_loop_product([], np.ones(2))[0])
