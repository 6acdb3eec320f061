"""`odefit explain`: a request and its result in, equations out."""

from __future__ import annotations

import json
from pathlib import Path

from odelib.problem.request import parse_problem
from tests.end_to_end.test_contract_commands import run, written
from tests.odelib.test_sparse_regression import REQUEST
from tests.service.requests import DECAY


def test_equations_are_printed_and_written(tmp_path: Path) -> None:
    request, result, out = written(tmp_path, REQUEST), tmp_path / "result.json", tmp_path / "equations.json"
    assert run("fit", request, "--out", result)[0] == 0

    status, printed, notes = run("explain", request, "--result", result, "--out", out)

    assert status == 0, notes
    assert "*x*x" in printed
    assert "BIC" in printed
    assert "held-out loss" in printed
    assert parse_problem(json.loads(out.read_text())).resolved_system.networks == {}


def test_a_result_without_networks_is_refused(tmp_path: Path) -> None:
    request, result = written(tmp_path, DECAY), tmp_path / "result.json"
    assert run("fit", request, "--out", result)[0] == 0

    status, _, notes = run("explain", request, "--result", result)

    assert status == 2
    assert "no networks to explain" in notes
