"""The table's problems are accepted and as described; cheap ones reach what the independent implementation finds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from examples.problems.__main__ import Row, beside_stan
from examples.problems.collection import problems
from examples.problems.independent import Independent
from examples.problems.measured import STAN, rows
from examples.problems.problem import Problem
from examples.problems.simulating import values_of
from odelib.fitting import fit
from odelib.problem.request import parse_problem
from odelib.simulation.simulated_data import run_simulations

PROBLEMS = {problem.name: problem for problem in problems()}
PAGE = Path(__file__).parents[2] / "docs" / "problems.md"
CHEAP = [
    "Influenza, SIR",
    "Michaelis–Menten, 4 progress curves",
    "Logistic growth, outliers",
    "Doses by mouth, trough samples",
    "Infusion with lag and bioavailability",
    "Bouncing ball",
    "Rate shared by three of five runs",
]
EXPERIMENTS = [problem for problem in PROBLEMS.values() if problem.treated]


def test_there_are_enough_of_them_by_default_settings() -> None:
    assert len(PROBLEMS) >= 15
    chosen = {"stages", "solver", "starts", "time_limit_seconds"}
    assert [name for name, problem in PROBLEMS.items() if chosen & problem.request.keys()] == []


def test_every_request_is_accepted_and_the_same_at_every_call() -> None:
    again = {problem.name: problem for problem in problems()}
    for name, problem in PROBLEMS.items():
        parse_problem(problem.request)
        assert json.dumps(problem.request) == json.dumps(again[name].request)


def test_the_measured_tables_are_whole() -> None:
    theophylline = rows("theophylline.csv")
    assert len(theophylline) == 132
    assert sum(row["concentration"] for row in theophylline) == pytest.approx(654.78)
    assert [row["in_bed"] for row in rows("boarding-school.csv")][4:7] == [225.0, 298.0, 258.0]


@pytest.mark.parametrize("name", CHEAP)
def test_a_default_fit_reaches_the_independent_best(name: str) -> None:
    problem = PROBLEMS[name]
    result = fit(parse_problem(problem.request))
    row = Row(problem, {"result": {"loss": result.loss}}, Independent(problem).best(), 0.0)
    assert row.agrees
    assert row.gap > -1e-2  # else the independent one has not found the bottom, and proves nothing
    assert result.outcome.code == "converged"


@pytest.mark.parametrize("problem", EXPERIMENTS, ids=lambda problem: problem.name)
def test_an_experiment_is_solved_as_by_its_independent_model(problem: Problem) -> None:
    kept = ("system", "parameters", "initial_state", "data", "experiments", "solver")
    request = {name: part for name, part in problem.request.items() if name in kept} | {"solver": {"rtol": 1e-9}}
    entries = request["parameters"] | request["initial_state"]
    guesses = {name: entry["guess"] if isinstance(entry, dict) else entry for name, entry in entries.items()}
    for series, simulation in zip(problem.series, run_simulations(request), strict=True):
        values = values_of(problem, series) | guesses | series.get("initial_state", {})
        for measured, column in zip(simulation.data["values"].values(), problem.model(values, series), strict=True):
            np.testing.assert_allclose(measured, column, rtol=1e-6, atol=1e-7 * np.abs(column).max())


def test_a_loss_above_the_best_does_not_agree() -> None:
    plain, likelihood = PROBLEMS["Influenza, SIR"], PROBLEMS["HIV dynamics"]
    assert Row(plain, {"result": {"loss": 100.05}}, 100.0, 0.0).agrees
    assert not Row(plain, {"result": {"loss": 100.2}}, 100.0, 0.0).agrees
    assert Row(likelihood, {"result": {"loss": 50.0005}}, 50.0, 0.0).agrees
    assert not Row(likelihood, {"result": {"loss": 50.002}}, 50.0, 0.0).agrees


def test_the_independent_loss_is_the_likelihood() -> None:
    problem = PROBLEMS["Michaelis–Menten, 4 progress curves"]
    independent = Independent(problem)
    at = independent.vector(problem.start)
    measured, model = independent.pairs(at)["P"]
    assert independent.loss(at, {"P": 0.05}) == pytest.approx(-norm.logpdf(measured - model, scale=0.05).sum())
    assert np.abs(measured - model).max() < 0.5


def test_the_lynxes_stand_beside_the_posterior() -> None:
    result = {
        "parameters": {name: {"value": STAN[name][0] + STAN[name][1]} for name in ("alpha", "beta", "gamma", "delta")},
        "initial_state": {name: {"value": STAN[name][0]} for name in ("prey", "predator")},
        "noise": {name: {"sigma": {"value": 0.25}} for name in ("prey", "predator")},
    }
    lines = beside_stan(result)
    assert [line.split("|")[-2].strip() for line in lines] == ["+1.00"] * 4 + ["+0.00"] * 4


def test_the_page_has_every_problem() -> None:
    cells = {line.split("|")[1].strip() for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")}
    assert PROBLEMS.keys() - cells == set()
