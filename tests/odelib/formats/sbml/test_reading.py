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


def event(trigger: str, initially: str = "true", **assignments: str) -> str:
    rows = "".join(
        f'<eventAssignment variable="{name}">{sbml.math(value)}</eventAssignment>'
        for name, value in assignments.items()
    )
    return (
        f'<listOfEvents><event id="e" useValuesFromTriggerTime="true"><trigger initialValue="{initially}" '
        f'persistent="true">{sbml.math(trigger)}</trigger><listOfEventAssignments>{rows}</listOfEventAssignments>'
        "</event></listOfEvents>"
    )


def test_an_event_sets_a_concentration_at_the_size_before_it_resizes_the_compartment(tmp_path: Path) -> None:
    """A concentration of 0.2 at the size 2 is an amount of 0.4, which is one of 0.8 at the size 0.5."""
    content = (
        sbml.compartment(2.0, constant=False)
        + f"<listOfSpecies>{sbml.species('A', concentration=1.0, boundary=True)}</listOfSpecies>"
        + f'<listOfRules><rateRule variable="A">{sbml.math(sbml.cn(0.5))}</rateRule></listOfRules>'
        + event(sbml.apply("geq", sbml.ci("A"), sbml.cn(1.25)), A=sbml.cn(0.2), cell=sbml.cn(0.5))
    )
    request, _ = import_file(sbml.write(tmp_path, content))
    assert simulated(request, [0.0, 1.0], a="A")["a"] == pytest.approx([1.0, 0.8 + 0.25], rel=1e-6)


def test_a_stoichiometry_with_a_name_and_a_formula_follows_the_formula(tmp_path: Path) -> None:
    product = f'<speciesReference id="n" species="A"><stoichiometryMath>{sbml.math(sbml.ci("p"))}</stoichiometryMath>'
    content = (
        '<listOfCompartments><compartment id="cell" size="1"/></listOfCompartments>'
        '<listOfSpecies><species id="A" compartment="cell" initialConcentration="1"/></listOfSpecies>'
        '<listOfParameters><parameter id="p" value="3"/></listOfParameters>'
        "<listOfReactions>"
        + sbml.reaction("v", "", f"{product}</speciesReference>", sbml.cn(1.0))
        + "</listOfReactions>"
    )
    path = tmp_path / "model.xml"
    path.write_text(sbml.model(content, level=2, version=4), encoding="utf-8")
    request, _ = import_file(path)
    assert simulated(request, [0.0, 2.0], a="A", factor="n") == {
        "a": pytest.approx([1.0, 7.0], rel=1e-6), "factor": pytest.approx([3.0, 3.0])
    }  # fmt: skip


@pytest.mark.parametrize(
    ("trigger", "expected"),
    [
        (sbml.cn(3.0), [5.0, 19.0]),
        (sbml.cn(0.0), [1.0, 3.0]),
        (sbml.apply("minus", sbml.ci("k"), sbml.cn(1.0)), [5.0, 19.0]),
        (sbml.apply("and", sbml.cn(1.0), sbml.apply("geq", sbml.ci("x"), sbml.cn(2.0))), [1.0, 12.0]),
        (sbml.apply("not", sbml.ci("k")), [1.0, 3.0]),
    ],
)
def test_a_number_as_a_condition_is_true_unless_it_is_0(trigger: str, expected: list[float], tmp_path: Path) -> None:
    """The event sets x to 5, and s to 0, where the rate of x is 7 in place of 1."""
    rate = "<piecewise><piece><cn>1</cn><ci>s</ci></piece><otherwise><cn>7</cn></otherwise></piecewise>"
    content = (
        '<listOfParameters><parameter id="k" value="2" constant="true"/><parameter id="x" value="1" constant="false"/>'
        '<parameter id="s" value="1" constant="false"/></listOfParameters>'
        f'<listOfRules><rateRule variable="x">{sbml.math(rate)}</rateRule></listOfRules>'
        + event(trigger, "false", x=sbml.cn(5.0), s=sbml.cn(0.0))
    )
    request, _ = import_file(sbml.write(tmp_path, content))
    assert simulated(request, [0.0, 2.0], x="x")["x"] == pytest.approx(expected, rel=1e-6)


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
