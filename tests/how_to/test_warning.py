"""docs/how-to-add-a-warning.md is complete: followed on a copy, it adds a warning."""

from __future__ import annotations

import json
from pathlib import Path

from tests.how_to.following import follow

FIT = """
from odelib import FitProblem, fit

request = {
    "system": {"states": ["x"], "parameters": ["k"], "equations": {"x": "-k*x"}},
    "data": {"times": [0, 1, 2], "values": {"x": [1.0, 0.5, 0.25]}},
    "parameters": {"k": 0.5},
    "initial_state": {"x": 1.0},
}
result = fit(FitProblem.model_validate(request))
[warning] = result.warnings
assert (warning.code, warning.names) == ("few_observations", None)
"""


def test_a_warning_is_added_in_two_files_of_code(tmp_path: Path) -> None:
    copy = follow("how-to-add-a-warning.md", tmp_path)
    assert copy.code_files == ["odelib/report/warnings.py", "odelib/result.py"]
    copy.run_python(FIT)
    schemas = json.loads(copy.run("-m", "service.http.export_openapi"))["components"]["schemas"]
    assert "few_observations" in json.dumps(schemas["FitWarning"])
    copy.run("-m", "pytest", "-q", "tests/odelib/report/test_warnings.py", "-k", "few_observations or every_code")
    copy.run("-m", "pytest", "-q", "tests/docs/test_pages.py::test_every_code_is_described")
