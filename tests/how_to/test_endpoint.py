"""docs/how-to-add-an-endpoint.md is complete: followed on a copy, it adds a route by the rules of all routes."""

from __future__ import annotations

import json
from pathlib import Path

from tests.how_to.following import follow


def test_adding_an_endpoint_takes_three_files(tmp_path: Path) -> None:
    copy = follow("how-to-add-an-endpoint.md", tmp_path)
    assert copy.code_files == ["service/http/app.py", "service/http/routes/labels.py", "service/http/schemas.py"]
    (copy.root / "openapi.json").write_text(copy.run("-m", "service.http.export_openapi"))
    operation = json.loads((copy.root / "openapi.json").read_text())["paths"]["/fits/{fit_id}/labels"]["get"]
    assert (operation["operationId"], operation["tags"]) == ("get_fit_labels", ["fits"])
    copy.run(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider"),
        *("tests/service/http/routes/test_labels.py", "tests/service/http/test_openapi.py"),
        "tests/service/test_imports.py",
    )
    copy.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_project.py", "-k", "every_route")
