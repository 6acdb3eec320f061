"""States far below any absolute tolerance that one would give, which drive what is measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from odelib.fitting import fit
from odelib.problem.request import parse_problem
from odelib.result import FitResult

FAULTS = Path(__file__).parents[1] / "faults"


def fitted(request: dict[str, Any]) -> FitResult:
    return fit(parse_problem(request))


def fault(name: str) -> FitResult:
    return fitted(json.loads((FAULTS / f"{name}.json").read_text(encoding="utf-8")))


def known(value: float) -> dict[str, Any]:
    return {"guess": value, "fixed": True}


def test_an_enzyme_of_one_nanomole_per_litre_is_kept() -> None:
    result = fault("small-hidden-states")
    states = result.trajectories[0].states
    assert states["P"][-1] == pytest.approx(2.767e-5, rel=1e-3)
    np.testing.assert_allclose(np.add(states["E"], states["C"]), 1e-9, rtol=1e-9)
    assert result.warnings == []


def test_the_rates_of_an_enzyme_in_moles_per_litre_are_found() -> None:
    result = fault("enzyme-molar")
    assert result.outcome.code == "converged"
    assert result.parameters["koff"].value == pytest.approx(337.9, rel=1e-3)
    assert result.parameters["koff"].standard_error == pytest.approx(0.17 * 338, rel=0.05)
    assert result.parameters["kcat"].value == pytest.approx(105.7, rel=1e-3)
    assert result.warnings == []


@pytest.mark.parametrize("engine", ["compiled", "torchdiffeq"])
def test_a_hidden_gene_product_drives_what_is_measured(engine: str) -> None:
    """mRNA of 1e-12 mol/L makes protein of 1e-9 mol/L: x' = a − b·x, p' = k·x − c·p from 0."""
    times = np.linspace(1, 20, 10)
    a, b, k, c = 1e-12, 0.5, 300.0, 0.1
    protein = k * a / b * ((1 - np.exp(-c * times)) / c - (np.exp(-c * times) - np.exp(-b * times)) / (b - c))
    result = fitted(
        {
            "system": {
                "states": ["x", "p"],
                "parameters": ["b", "c"],
                "constants": {"a": a, "k": k},
                "equations": {"x": "a - b*x", "p": "k*x - c*p"},
            },
            "data": {"start_time": 0.0, "times": times.tolist(), "values": {"p": protein.tolist()}},
            "parameters": {"b": 1.0, "c": 0.2},
            "initial_state": {"x": known(0.0), "p": known(0.0)},
            "solver": {"engine": engine},
            "stages": [{"kind": "least_squares"}],
        }
    )
    assert result.parameters["b"].value == pytest.approx(b, rel=1e-3)
    assert result.parameters["c"].value == pytest.approx(c, rel=1e-3)
    assert "coarse_solver" not in [warning.code for warning in result.warnings]


def test_a_receptor_in_moles_is_fitted_as_in_attomoles() -> None:
    """Ligand binding on a cell: R' = −kon·L·R + koff·C with 1e-19 mol of receptors."""

    def fit_in(unit: float) -> FitResult:
        def rates(_t: float, y: Any) -> list[float]:
            bound = 3.0 * y[0] - 0.4 * y[1]
            return [-bound, bound - 0.05 * y[1]]

        times = np.linspace(0.1, 8, 12)
        truth = solve_ivp(rates, (0, 8), [0.1, 0.0], "LSODA", times, rtol=1e-10, atol=1e-13).y[1]
        noise = 1e-3 * np.random.default_rng(1).standard_normal(len(times))
        return fitted(
            {
                "system": {
                    "states": ["R", "C"],
                    "parameters": ["kon", "koff", "kin"],
                    "equations": {"R": "-kon*R + koff*C", "C": "kon*R - koff*C - kin*C"},
                },
                "data": {
                    "start_time": 0.0,
                    "times": times.tolist(),
                    "values": {"C": (unit * (truth + noise)).tolist()},
                },
                "parameters": {"kon": 1.0, "koff": 1.0, "kin": 0.1},
                "initial_state": {"R": known(0.1 * unit), "C": known(0.0)},
                "uncertainty": "covariance",
            }
        )

    small, usual = fit_in(2.0**-60), fit_in(1.0)
    for name, estimate in usual.parameters.items():
        found = small.parameters[name]
        assert estimate.standard_error is not None
        assert found.value == pytest.approx(estimate.value, rel=1e-6)
        assert found.standard_error == pytest.approx(estimate.standard_error, rel=1e-4)
    assert small.warnings == usual.warnings


def test_relative_noise_is_resolved_over_twenty_decades() -> None:
    """A decay measured with 10 % noise down to 1e-20 of its start: nothing of it is the solver's error."""
    times = np.linspace(0, 46, 24)
    values = 4.0 * np.exp(-times + 0.1 * np.random.default_rng(2).standard_normal(len(times)))
    for noise in (
        {"distribution": "lognormal", "sigma": "estimate"},
        {"distribution": "normal", "proportional": "estimate"},
    ):
        result = fitted(
            {
                "system": {"states": ["x"], "parameters": ["k"], "equations": {"x": "-k*x"}},
                "data": {"times": times.tolist(), "values": {"x": values.tolist()}},
                "parameters": {"k": 0.5},
                "initial_state": {"x": known(4.0)},
                "noise": {"x": noise},
                "uncertainty": "covariance",
            }
        )
        assert result.noise is not None
        scale = result.noise["x"].sigma or result.noise["x"].proportional
        assert scale is not None
        assert scale.value == pytest.approx(0.1, rel=0.4)
        assert result.parameters["k"].value == pytest.approx(1.0, abs=4e-3)
        assert [w.code for w in result.warnings] == []


def test_the_result_tells_the_tolerance_that_was_used() -> None:
    request = json.loads((FAULTS / "small-hidden-states.json").read_text(encoding="utf-8"))
    automatic, given = fitted(request).solver.atol, fitted(request | {"solver": {"atol": 1e-12}}).solver.atol
    assert isinstance(automatic, dict)
    assert automatic["E"] == pytest.approx(1e-2 * 1e-6 * 1e-9)
    assert given == 1e-12
