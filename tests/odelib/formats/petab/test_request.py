"""PEtab problems of both versions as requests: the likelihood is the closed form's."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from odelib.fitting import fit
from odelib.formats.errors import UnsupportedError
from odelib.formats.importing import import_file
from odelib.problem.request import parse_problem
from odelib.result import FitResult
from tests.odelib.formats.sbml import models as sbml

MODEL = (
    sbml.compartment(1.0)
    + f"<listOfSpecies>{sbml.species('A', concentration=8.0)}</listOfSpecies>"
    + sbml.parameters(k=0.5, offset=0.0)
    + "<listOfReactions>"
    + sbml.reaction("v", sbml.reference("A"), "", sbml.apply("times", sbml.ci("k"), sbml.ci("A")))
    + "</listOfReactions>"
)


def write(folder: Path, tables: dict[str, str], problem: str) -> Path:
    """Files whose columns are separated by spaces here, by tabs there; `-` is an empty cell."""
    sbml.write(folder, MODEL)
    for name, text in tables.items():
        rows = [line.split() for line in text.strip().splitlines()]
        cells = [["" if cell == "-" else cell for cell in row] for row in rows]
        (folder / f"{name}.tsv").write_text("\n".join("\t".join(row) for row in cells) + "\n")
    path = folder / "problem.yaml"
    path.write_text(problem)
    return path


V1 = """format_version: 1
parameter_file: parameters.tsv
problems:
- condition_files: [conditions.tsv]
  measurement_files: [measurements.tsv]
  observable_files: [observables.tsv]
  sbml_files: [model.xml]
"""
V2 = """format_version: 2.0.0
model_files: {m: {language: sbml, location: model.xml}}
parameter_files: [parameters.tsv]
measurement_files: [measurements.tsv]
observable_files: [observables.tsv]
condition_files: [conditions.tsv]
experiment_files: [experiments.tsv]
"""
TABLES_1 = {
    "conditions": "conditionId offset A\nlow 1 nan\nhigh shift 4",
    "parameters": "parameterId parameterScale lowerBound upperBound nominalValue estimate objectivePriorType "
    "objectivePriorParameters\n"
    "k log10 0.01 10 0.5 1 parameterScaleNormal -0.5;0.25\nshift lin 0 5 2 1 - -\nsd log10 0.01 10 0.3 1 - -",
    "observables": "observableId observableFormula noiseFormula observableTransformation noiseDistribution\n"
    "y observableParameter1_y*A+offset noiseParameter1_y lin normal\nz A noiseParameter1_z*2 log10 normal",
    "measurements": "observableId simulationConditionId time measurement observableParameters noiseParameters\n"
    "y low 1 6 1 sd\ny low 2 5 1.5 sd\nz high 2 1.4 - 0.1\nz high 2 1.6 - 0.1",
}


def evaluated(path: Path, **values: float) -> FitResult:
    """The result with every parameter fixed at its guess."""
    request, _ = import_file(path)
    for name, entry in request["parameters"].items():
        kept = {field: entry[field] for field in ("prior",) if field in entry}
        request["parameters"][name] = {"guess": values.get(name, entry["guess"]), "fixed": True, **kept}
    return fit(parse_problem(request | {"solver": {"rtol": 1e-10}}))


def test_version_1_conditions_placeholders_and_logarithmic_noise(tmp_path: Path) -> None:
    result = evaluated(write(tmp_path, TABLES_1, V1))

    def decay(start: float, time: float) -> float:
        return start * math.exp(-0.5 * time)

    log_likelihood = stats.norm.logpdf(6, decay(8, 1) + 1, 0.3) + stats.norm.logpdf(5, 1.5 * decay(8, 2) + 1, 0.3)
    for value in (1.4, 1.6):  # a density of the value, whose decimal logarithm has noise of 0.2
        log_likelihood += stats.norm.logpdf(math.log10(value), math.log10(decay(4, 2)), 0.2)
        log_likelihood -= math.log(value * math.log(10))
    assert -result.loss_parts.data == pytest.approx(log_likelihood, abs=1e-6)
    log_prior = stats.norm.logpdf(math.log10(0.5), -0.5, 0.25)  # of the decimal logarithm
    assert -result.loss_parts.prior == pytest.approx(log_prior, abs=1e-6)


def test_version_1_splits_an_observable_whose_placeholders_differ(tmp_path: Path) -> None:
    request, _ = import_file(write(tmp_path, TABLES_1, V1))
    assert set(request["system"]["observables"]) == {"y__1", "y__2", "z"}
    assert request["labels"]["y__2"] == "y with 1.5; sd"
    assert [each["name"] for each in request["experiments"]] == ["low", "high"]
    assert request["parameters"]["k"] == {
        "guess": 0.5, "lower": 0.01, "upper": 10.0, "scale": "log",
        "prior": {"distribution": "normal", "mean": -0.5, "standard_deviation": 0.25, "of": "log10"},
    }  # fmt: skip


TABLES_2 = {
    "conditions": "conditionId targetId targetValue\nlow offset 1\nhigh A shift*2\nhigh offset 0",
    "experiments": "experimentId time conditionId\none 0 low\ntwo 0 high",
    "parameters": "parameterId lowerBound upperBound nominalValue estimate priorDistribution priorParameters\n"
    "k 0.01 10 0.5 true - -\nshift 0 5 2 true normal 1;2",
    "observables": "observableId observableFormula noiseFormula noiseDistribution observablePlaceholders "
    "noisePlaceholders\ny A+offset y*s laplace - s",
    "measurements": "observableId experimentId time measurement noiseParameters\ny one 1 6 0.1\ny two 2 1 0.1",
}


def test_version_2_conditions_noise_and_priors(tmp_path: Path) -> None:
    result = evaluated(write(tmp_path, TABLES_2, V2))
    one, two = 8 * math.exp(-0.5) + 1, 4 * math.exp(-1.0)
    log_likelihood = stats.laplace.logpdf(6, one, 0.1 * one) + stats.laplace.logpdf(1, two, 0.1 * two)
    assert -result.loss_parts.data == pytest.approx(log_likelihood, abs=1e-6)


def test_version_2_priors_are_normalised_within_the_bounds_and_all_others_uniform(tmp_path: Path) -> None:
    request, _ = import_file(write(tmp_path, TABLES_2, V2))
    assert request["parameters"]["shift"]["prior"] == {
        "distribution": "normal", "mean": 1.0, "standard_deviation": 2.0, "normalised": True,
    }  # fmt: skip
    assert request["parameters"]["k"]["prior"]["distribution"] == "uniform"


def changed(tables: dict[str, str], table: str, old: str, new: str) -> dict[str, str]:
    assert old in tables[table]
    return {**tables, table: tables[table].replace(old, new)}


@pytest.mark.parametrize(
    ("tables", "problem", "words"),
    [
        (changed(TABLES_1, "measurements", "y low 1", "y low inf"), V1, "infinity"),
        (changed(TABLES_1, "measurements", "y low 1", "y nowhere 1"), V1, "nowhere"),
        (changed(TABLES_1, "measurements", "y low 1", "w low 1"), V1, "w is measured"),
        (changed(TABLES_1, "measurements", "6 1 sd", "6 1;2 sd"), V1, "observableParameters"),
        (changed(TABLES_1, "parameters", "parameterScaleNormal", "beta"), V1, "beta"),
        (changed(TABLES_1, "observables", "lin normal", "lin gamma"), V1, "gamma"),
        (changed(TABLES_2, "observables", "laplace", "student-t"), V2, "student-t"),
        (changed(TABLES_2, "conditions", "low offset 1", "low offset 1+"), V2, "cannot be read"),
        (TABLES_1, V1.replace("format_version: 1", "format_version: 3"), "versions 1 and 2"),
        (TABLES_1, "a: 1", "format_version"),
        (TABLES_1, V1.replace("observables.tsv", "missing.tsv"), "missing.tsv"),
    ],
)
def test_what_cannot_be_said_is_refused_by_name(
    tables: dict[str, str], problem: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedError, match=words):
        import_file(write(tmp_path, tables, problem))


def test_a_guess_outside_its_bounds_moves_to_the_nearer_one_and_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, changed(TABLES_2, "parameters", "k 0.01 10 0.5", "k 0.6 10 0.5"), V2)
    request, notes = import_file(path)
    assert request["parameters"]["k"]["guess"] == 0.6
    assert any("nominal value of k" in note for note in notes)


def test_the_request_of_a_problem_is_valid_as_it_is(tmp_path: Path) -> None:
    request: dict[str, Any] = import_file(write(tmp_path, TABLES_2, V2))[0]
    assert parse_problem(request).experiments
