"""docs/how-to-add-a-prior.md leaves nothing out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize

from tests.how_to.following import follow

TIMES = np.linspace(0.0, 5.0, 12)
VALUES = 3.0 * np.exp(-0.4 * TIMES) + 0.3 * np.random.default_rng(1).normal(size=12)
FIT = f"""
import json
from odelib import fit
from odelib.problem.request import parse_problem

prior = {{"distribution": "gumbel", "mode": 0.8, "scale": 0.05}}
result = fit(parse_problem({{
    "system": {{"states": ["x"], "parameters": ["k"], "equations": {{"x": "-k*x"}}}},
    "data": {{"times": {TIMES.tolist()}, "values": {{"x": {VALUES.tolist()}}}}},
    "parameters": {{"k": {{"guess": 1.0, "prior": prior}}}},
    "initial_state": {{"x": 2.0}},
    "noise": {{"x": {{"distribution": "normal", "sigma": 0.3}}}},
}}))
print(json.dumps(result.model_dump(mode="json")))
"""


def test_adding_a_prior_takes_two_files(tmp_path: Path) -> None:
    copy = follow("how-to-add-a-prior.md", tmp_path)
    assert copy.code_files == ["odelib/likelihood/priors.py", "odelib/problem/priors.py"]
    copy.run("-m", "ruff", "check", *copy.code_files)

    result = json.loads(copy.run_python(FIT))
    assert result["outcome"]["code"] == "converged"
    x, k = result["initial_state"]["x"]["value"], result["parameters"]["k"]["value"]

    def prior(k: float) -> float:
        return -float(stats.gumbel_r.logpdf(k, 0.8, 0.05))

    def loss(at: list[float]) -> float:
        return -float(stats.norm.logpdf(VALUES, at[0] * np.exp(-at[1] * TIMES), 0.3).sum()) + prior(at[1])

    best = minimize(loss, [3.0, 0.7], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-10})
    assert result["loss"] == pytest.approx(best.fun, abs=1e-3)
    assert [x, k] == pytest.approx(best.x, rel=1e-2)
    assert result["loss_parts"]["prior"] == pytest.approx(prior(k), rel=1e-9)

    copy.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/odelib/likelihood", "-k", "gumbel or tested")
