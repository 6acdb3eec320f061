"""docs/how-to-add-an-optimiser.md is complete: followed on a copy, it adds an optimiser."""

from __future__ import annotations

import json
from pathlib import Path

from tests.how_to.following import follow

FIT = """
from odelib import FitProblem, fit

request = {
    "system": {"states": ["x"], "parameters": ["k"], "equations": {"x": "-k*x"}},
    "data": {"times": [0, 1, 2, 3], "values": {"x": [1.0, 0.5, 0.26, 0.12]}},
    "parameters": {"k": 0.2},
    "initial_state": {"x": 0.7},
    "stages": [{"kind": "compass_search", "initial_step": 0.3}],
}
result = fit(FitProblem.model_validate(request))
assert result.stages[0].stopped.code == result.outcome.code == "converged"
assert abs(result.parameters["k"].value - 0.69) < 0.01
"""
SCHEMA = "CompassSearchStage"


def test_adding_an_optimiser_takes_three_files(tmp_path: Path) -> None:
    copy = follow("how-to-add-an-optimiser.md", tmp_path)
    assert copy.code_files == [
        "odelib/optimisers/compass_search.py",
        "odelib/optimisers/registry.py",
        "odelib/problem/stages.py",
    ]
    copy.run("-m", "ruff", "check", *copy.code_files)
    copy.run("-m", "ruff", "format", "--check", *copy.code_files)
    copy.run_python(FIT)
    assert SCHEMA in json.loads(copy.run("-m", "service.http.export_openapi"))["components"]["schemas"]
    general = ["tests/odelib/optimisers/test_every_optimiser.py", "tests/test_project.py"]
    copy.run("-m", "pytest", "-q", "-p", "no:cacheprovider", *general, "-k", "compass_search")
