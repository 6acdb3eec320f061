"""docs/how-to-add-a-noise-distribution.md leaves nothing out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize

from tests.how_to.following import follow

TIMES = np.linspace(0.0, 5.0, 40)
VALUES = 3.0 * np.exp(-0.4 * TIMES) + 0.05 * stats.logistic.ppf(np.random.default_rng(1).uniform(size=40))
FIT = f"""
import json
from odelib import fit
from odelib.problem.request import parse_problem

result = fit(parse_problem({{
    "system": {{"states": ["x"], "parameters": ["k"], "equations": {{"x": "-k*x"}}}},
    "data": {{"times": {TIMES.tolist()}, "values": {{"x": {VALUES.tolist()}}}}},
    "parameters": {{"k": 1.0}},
    "initial_state": {{"x": 2.0}},
    "noise": {{"x": {{"distribution": "logistic", "sigma": "estimate"}}}},
    "uncertainty": "covariance",
}}))
print(json.dumps(result.model_dump(mode="json")))
"""


def test_adding_a_noise_distribution_takes_two_files(tmp_path: Path) -> None:
    copy = follow("how-to-add-a-noise-distribution.md", tmp_path)
    assert copy.code_files == ["odelib/likelihood/noise/logistic.py", "odelib/problem/noise.py"]
    copy.run("-m", "ruff", "check", *copy.code_files)

    result = json.loads(copy.run_python(FIT))
    assert result["outcome"]["code"] == "converged"
    found = [result["initial_state"]["x"]["value"], result["parameters"]["k"]["value"]]
    sigma = result["noise"]["x"]["sigma"]

    def loss(at: list[float]) -> float:
        return -float(stats.logistic.logpdf(VALUES, at[0] * np.exp(-at[1] * TIMES), np.exp(at[2])).sum())

    best = minimize(loss, [3.0, 0.4, -3.0], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-10})
    assert result["loss"] == pytest.approx(best.fun, abs=1e-3)
    assert [*found, sigma["value"]] == pytest.approx([*best.x[:2], np.exp(best.x[2])], rel=1e-2)
    assert sigma["standard_error"] > 0

    copy.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/odelib/likelihood", "-k", "logistic or tested")
