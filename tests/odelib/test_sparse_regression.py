"""Equations for what a network learned: the right terms, refitted to the data, compared with the network."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import odelib
from odelib.fitting import fit
from odelib.problem.request import parse_problem
from odelib.result import FitResult

TIMES = [0.25 * i for i in range(25)]
TRUTH = np.array([0.1 * math.exp(t) / (1 + 0.1 * (math.exp(t) - 1)) for t in TIMES])
# Logistic growth, of which the request knows only the growth: x' = x + u, and u is −x² in truth.
REQUEST: dict[str, Any] = {
    "system": {
        "states": ["x"],
        "equations": {"x": "x + u"},
        "networks": {"crowding": {"inputs": ["x"], "outputs": ["u"], "hidden": [4]}},
    },
    "data": {
        "times": TIMES,
        "values": {"x": (TRUTH + 0.005 * np.random.default_rng(1).normal(size=len(TIMES))).tolist()},
    },
    "initial_state": {"x": 0.1},
}


@pytest.fixture(scope="module")
def result() -> FitResult:
    return fit(parse_problem(REQUEST))


def test_the_term_is_found_and_its_coefficient_refitted(result: FitResult) -> None:
    explanation = odelib.explain(parse_problem(REQUEST), result)
    assert explanation.terms == {"u": ["x*x"]}
    estimate = explanation.result.parameters["u_0"]
    assert estimate.standard_error is not None
    assert abs(estimate.value + 1) < 3 * estimate.standard_error < 0.06
    assert explanation.equations == {"u": f"{estimate.value:.6g}*x*x"}
    of_equations, of_network = explanation.bic
    assert of_equations is not None
    assert of_network is not None
    assert of_equations < of_network
    assert None not in explanation.held_out


def test_the_request_with_the_equations_can_be_fitted_as_it_stands(result: FitResult) -> None:
    request = odelib.explain(parse_problem(REQUEST), result, degree=2).request
    assert "networks" not in request
    assert request["system"]["definitions"] == {"u": "u_0*x*x"}
    assert fit(parse_problem(request)).outcome.code == "converged"


def test_a_result_without_networks_is_refused() -> None:
    known = {"system": {"states": ["x"], "parameters": ["k"], "equations": {"x": "k*x"}}, "parameters": {"k": 1.0}}
    problem = parse_problem(
        known | {"data": {"times": [0.0, 1.0], "values": {"x": [1.0, 2.0]}}, "initial_state": {"x": 1.0}}
    )
    with pytest.raises(ValueError, match="no networks"):
        odelib.explain(problem, fit(problem))
