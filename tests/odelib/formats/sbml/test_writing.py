"""Exports to SBML: what they import back as simulates the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from odelib.formats.errors import UnsupportedError
from odelib.formats.exporting import to_sbml
from odelib.formats.importing import import_file
from odelib.problem.request import parse_problem
from odelib.simulation.simulated_data import simulate

REQUEST: dict[str, Any] = {
    "system": {
        "states": ["x", "y"],
        "parameters": ["a", "b"],
        "constants": {"c": 0.5},
        "definitions": {"rate": "a*x/(1 + abs(y)) + c*sign(x + 9)"},
        "equations": {"x": "-rate", "y": "where(x > 1 and y < 30, rate, -b*y) + 0.1*log2(2 + t) - min(y, x, 0.3)"},
        "observables": {"z": "x + y"},
    },
    "data": {"times": [0.0, 1.0, 4.0], "values": {"z": [3.0, 2.0, 1.0]}},
    "parameters": {"a": 0.7, "b": 0.2},
    "initial_state": {"x": 2.0, "y": "a/b"},
    "solver": {"rtol": 1e-10},
}


def test_a_model_simulates_the_same_after_export_and_import(tmp_path: Path) -> None:
    to_sbml(parse_problem(REQUEST), tmp_path / "model.xml")
    back, _ = import_file(tmp_path / "model.xml")
    observed = {"observables": {"z": "x + y"}}
    found = simulate(
        {**back, "system": back["system"] | observed, "times": [0.0, 1.0, 4.0], "solver": REQUEST["solver"]}
    )
    data = {"times": [0.0, 1.0, 4.0]}
    assert found["values"]["z"] == pytest.approx(simulate({**REQUEST, "data": data})["values"]["z"], rel=1e-7)


@pytest.mark.parametrize(
    ("system", "words"),
    [
        ({"observables": {}, "equations": {"x": "-erf(x)", "y": "0"}, "definitions": {}}, "erf"),
        ({"constants": {"c": 0.5, "time": 1.0}}, "time means something else"),
    ],
)
def test_what_sbml_cannot_express_is_refused_by_name(system: dict[str, Any], words: str, tmp_path: Path) -> None:
    observed = {"z": "x"} if "observables" in system else REQUEST["system"]["observables"]
    request = {**REQUEST, "system": {**REQUEST["system"], **system, "observables": observed}}
    with pytest.raises(UnsupportedError, match=words):
        to_sbml(parse_problem(request), tmp_path / "model.xml")
