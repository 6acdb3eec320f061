"""`odefit import` and `odefit export`: files in, files out, exit statuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.end_to_end.test_contract_commands import run, written
from tests.odelib.formats.sbml import models as sbml
from tests.service.requests import DECAY

MODEL = (
    sbml.compartment(1.0)
    + f"<listOfSpecies>{sbml.species('A', concentration=8.0)}</listOfSpecies>"
    + sbml.parameters(k=0.5)
    + "<listOfReactions>"
    + sbml.reaction("v", sbml.reference("A"), "", sbml.apply("times", sbml.ci("k"), sbml.ci("A")))
    + "</listOfReactions>"
)


def test_a_model_of_somebody_else_is_fitted_to_a_table(tmp_path: Path) -> None:
    model, out, table = sbml.write(tmp_path, MODEL), tmp_path / "model.json", tmp_path / "measured.csv"
    table.write_text("time,A\n0,8.0\n1,5.92\n2,4.39\n4,2.41\n")

    status, _, _ = run("import", model, "--out", out)
    assert status == 0
    result = tmp_path / "result.json"
    status, _, _ = run("fit", out, "--data", table, "--guess", "k=1.0", "--out", result)

    assert status == 0
    assert json.loads(result.read_text())["parameters"]["k"]["value"] == pytest.approx(0.3, abs=0.002)


def test_a_request_is_exported_at_a_result_and_imported_again(tmp_path: Path) -> None:
    request, result = written(tmp_path, DECAY), tmp_path / "result.json"
    assert run("fit", request, "--out", result)[0] == 0

    status, _, notes = run("export", request, "--result", result, "--petab", tmp_path / "petab")
    assert status == 0, notes
    status, printed, _ = run("import", tmp_path / "petab" / "problem.yaml")

    assert status == 0
    fitted = json.loads(result.read_text())["parameters"]["k"]["value"]
    assert json.loads(printed)["parameters"]["k"]["guess"] == fitted


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["import", "missing.xml"], "no such file"),
        (["import", "README.md"], "'.md'"),
        (["export", "REQUEST"], "either --petab DIR or --sbml FILE"),
        (["export", "REQUEST", "--result", "REQUEST", "--sbml", "model.xml"], "not the result of a fit"),
    ],
)
def test_bad_arguments_are_explained(arguments: list[str], words: str, tmp_path: Path) -> None:
    request = written(tmp_path, DECAY)
    status, _, error = run(*(request if argument == "REQUEST" else argument for argument in arguments))
    assert status == 2
    assert words in error
