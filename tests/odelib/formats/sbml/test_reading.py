"""SBML models as requests: what they simulate agrees with closed forms, and what cannot be said is refused by name."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from odelib.formats.errors import UnsupportedError
from odelib.formats.importing import import_file
from odelib.simulation.simulated_data import simulate
from tests.odelib.formats.sbml import models as sbml

RATE = sbml.apply("times", sbml.ci("k"), sbml.ci("A"))


def simulated(request: dict[str, Any], times: list[float], **observables: str) -> dict[str, list[float]]:
    system = {**request["system"], "observables": observables}
    found = simulate({**request, "system": system, "times": times, "solver": {"rtol": 1e-10}})
    values: dict[str, list[float]] = found["values"]
    return values


def test_concentrations_change_by_rates_of_amounts_divided_by_the_size(tmp_path: Path) -> None:
    content = (
        sbml.compartment(2.0)
        + f"<listOfSpecies>{sbml.species('A', concentration=3.0)}{sbml.species('B', amount=1.0, only_amounts=True)}"
        "</listOfSpecies>"
        + sbml.parameters(k=0.5)
        + "<listOfReactions>"
        + sbml.reaction(
            "v", sbml.reference("A"), sbml.reference("B", 2.0), sbml.apply("times", sbml.ci("k"), sbml.ci("A"))
        )
        + "</listOfReactions>"
    )
    request, _ = import_file(sbml.write(tmp_path, content))
    # dA/dt = -k·A/2 in concentration; dB/dt = 2·k·A in amount
    values = simulated(request, [0.0, 4.0], a="A", b="B")
    a = 3.0 * math.exp(-0.25 * 4.0)
    assert values["a"] == pytest.approx([3.0, a], rel=1e-6)
    assert values["b"] == pytest.approx([1.0, 1.0 + 4.0 * (3.0 - a)], rel=1e-6)
    assert request["parameters"] == {"k": {"guess": 0.5, "fixed": True}}
    assert request["system"]["constants"] == {"cell": 2.0}


def test_what_a_request_cannot_name_is_renamed_and_said(tmp_path: Path) -> None:
    content = (
        sbml.compartment(1.0)
        + f"<listOfSpecies>{sbml.species('t', concentration=1.0)}</listOfSpecies>"
        + sbml.parameters(**{"lambda": 2.0})
        + "<listOfReactions>"
        + sbml.reaction("v", sbml.reference("t"), "", sbml.apply("times", sbml.ci("lambda"), sbml.ci("t")))
        + "</listOfReactions>"
    )
    request, notes = import_file(sbml.write(tmp_path, content))
    assert request["system"]["states"] == ["t_"]
    assert request["system"]["parameters"] == ["lambda_"]
    assert any("lambda_" in note for note in notes)


def test_rules_initial_assignments_functions_and_local_parameters(tmp_path: Path) -> None:
    square = '<functionDefinition id="square">' + sbml.math(
        f"<lambda><bvar>{sbml.ci('x')}</bvar>{sbml.apply('power', sbml.ci('x'), sbml.cn(2))}</lambda>"
    ) + "</functionDefinition>"  # fmt: skip
    local = '<listOfLocalParameters><localParameter id="k" value="0.25"/></listOfLocalParameters>'
    assigned = sbml.math(f"<apply><ci> square </ci>{sbml.ci('A')}</apply>")
    content = (
        f"<listOfFunctionDefinitions>{square}</listOfFunctionDefinitions>"
        + sbml.compartment(1.0)
        + f"<listOfSpecies>{sbml.species('A', concentration=0.0)}</listOfSpecies>"
        + '<listOfParameters><parameter id="k" value="7" constant="true"/>'
        '<parameter id="s" constant="false"/></listOfParameters>'
        + f'<listOfInitialAssignments><initialAssignment symbol="A">'
        f"{sbml.math(sbml.apply('plus', sbml.ci('k'), sbml.cn(1)))}</initialAssignment></listOfInitialAssignments>"
        + f'<listOfRules><assignmentRule variable="s">{assigned}</assignmentRule></listOfRules>'
        + "<listOfReactions>"
        + sbml.reaction("v", sbml.reference("A"), "", sbml.apply("times", sbml.ci("k"), sbml.ci("A")), local)
        + "</listOfReactions>"
    )
    request, _ = import_file(sbml.write(tmp_path, content))
    values = simulated(request, [0.0, 2.0], a="A", seen="s")
    assert values["a"] == pytest.approx([8.0, 8.0 * math.exp(-0.5)], rel=1e-6)
    assert values["seen"] == pytest.approx([64.0, 64.0 * math.exp(-1.0)], rel=1e-6)
    assert set(request["system"]["parameters"]) == {"k", "v_k"}


def test_a_species_in_a_growing_compartment_is_diluted(tmp_path: Path) -> None:
    growth = sbml.math(sbml.cn(1.0))
    content = (
        sbml.compartment(1.0, constant=False)
        + f"<listOfSpecies>{sbml.species('A', concentration=6.0)}</listOfSpecies>"
        + f'<listOfRules><rateRule variable="cell">{growth}</rateRule></listOfRules>'
    )
    request, _ = import_file(sbml.write(tmp_path, content))
    assert simulated(request, [0.0, 2.0], a="A")["a"] == pytest.approx([6.0, 2.0], rel=1e-6)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (f"<listOfRules><algebraicRule>{sbml.math(sbml.ci('k'))}</algebraicRule></listOfRules>", "algebraic rule"),
        (
            '<listOfEvents><event id="late" useValuesFromTriggerTime="true"><trigger initialValue="true" '
            f'persistent="true">{sbml.math(sbml.apply("gt", sbml.ci("k"), sbml.cn(0)))}</trigger>'
            f"<delay>{sbml.math(sbml.cn(1))}</delay></event></listOfEvents>",
            "late has a delay",
        ),
        (
            '<listOfRules><assignmentRule variable="x">'
            f"{sbml.math(sbml.apply('factorial', sbml.ci('k')))}</assignmentRule></listOfRules>",
            "factorial",
        ),
    ],
)
def test_what_a_request_cannot_say_is_refused_by_name(content: str, words: str, tmp_path: Path) -> None:
    given = '<listOfParameters><parameter id="k" value="1" constant="true"/><parameter id="x" constant="false"/>'
    path = sbml.write(tmp_path, f"{given}</listOfParameters>{content}")
    with pytest.raises(UnsupportedError, match=words):
        import_file(path)


def test_a_parameter_without_a_value_is_named(tmp_path: Path) -> None:
    content = (
        sbml.compartment(1.0)
        + f"<listOfSpecies>{sbml.species('A', concentration=1.0)}</listOfSpecies>"
        + '<listOfParameters><parameter id="k" constant="true"/></listOfParameters><listOfReactions>'
        + sbml.reaction("v", sbml.reference("A"), "", sbml.apply("times", sbml.ci("k"), sbml.ci("A")))
        + "</listOfReactions>"
    )
    with pytest.raises(UnsupportedError, match="k has no value"):
        import_file(sbml.write(tmp_path, content))


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.xml"
    path.write_text("<html/>")
    with pytest.raises(UnsupportedError, match="not valid SBML"):
        import_file(path)
    with pytest.raises(UnsupportedError, match=r"\.txt"):
        import_file(tmp_path / "model.txt")
