"""Exports to PEtab: the linter of the petab package passes them, and they import back to the same objective."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from odelib.formats.errors import UnsupportedError
from odelib.formats.exporting import to_petab
from odelib.formats.importing import import_file
from odelib.objective.objective import Objective
from odelib.problem.request import parse_problem
from odelib.problem.resolved import resolve

DECAY = {
    "states": ["drug"],
    "parameters": ["k"],
    "constants": {"v": 2.0},
    "equations": {"drug": "-k*drug"},
    "observables": {"level": "drug/v"},
}
REQUEST: dict[str, Any] = {
    "system": DECAY,
    "data": {"times": [0.0, 1.0, 3.0], "values": {"level": [4.1, 2.2, None]}},
    "parameters": {"k": {"guess": 0.5, "lower": 0.01, "upper": 10.0, "scale": "log"}},
    "initial_state": {"drug": 8.0},
    "noise": {"level": {"distribution": "normal", "sigma": 0.3}},
    "solver": {"rtol": 1e-10},
}
SUBJECTS = [
    {"name": "subject 1", "times": [0.0, 2.0], "values": {"level": [4.0, 1.5]}, "initial_state": {"drug": 9.0}},
    {"name": "subject 2", "times": [1.0, 2.0], "values": {"level": [2.5, 1.0]}, "constants": {"v": 3.0}},
]
SEVERAL = {**{k: v for k, v in REQUEST.items() if k != "data"}, "experiments": SUBJECTS, "per_experiment": ["k"]}

FED = {**DECAY, "inputs": ["feed"], "equations": {"drug": "feed - k*drug"}}
RISING = {"times": [0.0, 1.3, 2.0, 3.5], "values": [0.5, 2.0, 1.0, 4.0]}


def fed(system: dict[str, Any] = FED, **fields: Any) -> dict[str, Any]:
    """The request with an input; fields: of its series."""
    return {**REQUEST, "system": system, "data": {**REQUEST["data"], **fields}}


def objective(request: dict[str, Any]) -> Objective:
    return Objective(resolve(parse_problem(request)), torch.device("cpu"))


def loss_at(request: dict[str, Any], values: dict[str, float]) -> float:
    """The loss with every unknown at a value, by name."""
    found = objective(request)
    names = found.unknowns.names
    point = np.array([values[name] for name in names])
    return found.evaluate(np.where(found.unknowns.log, np.log(point), point)).loss


CASES: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    # what each unknown is called after the import
    "one series": (REQUEST, {"drug": "initial_drug"}),
    "several": (
        SEVERAL,
        {"k[subject 1]": "k__subject_1", "k[subject 2]": "k__subject_2", "drug[subject 1]": "initial_drug__subject_1",
         "drug[subject 2]": "initial_drug__subject_2"},
    ),
    "sigma of the data": (
        {
            **REQUEST,
            "noise": {"level": {"distribution": "laplace"}},
            "data": {**REQUEST["data"], "sigma": {"level": [0.1, 0.2, 0.3]}},
        },
        {"drug": "initial_drug"},
    ),
    "sigma expression": (
        {**REQUEST, "noise": {"level": {"distribution": "lognormal", "sigma": "0.1 + 0.02*k"}}},
        {"drug": "initial_drug"},
    ),
    "proportional": (
        {**REQUEST, "noise": {"level": {"distribution": "normal", "sigma": 0.1, "proportional": 0.2}}},
        {"drug": "initial_drug"},
    ),
    "an initial value that is an expression": ({**REQUEST, "initial_state": {"drug": "20*k"}}, {}),
    "a bolus and an infusion at the start": (
        fed(DECAY, doses=[{"into": "drug", "amount": "2*v", "at": 0.0},
                          {"into": "drug", "amount": 3.0, "at": 0.0, "duration": 0.5}]),
        {"drug": "initial_drug"},
    ),
    "a dose on a steady state": (
        fed(
            {**DECAY, "equations": {"drug": "1 - k*drug"}},
            steady_state={"constants": {"v": 1.5}},
            doses=[{"into": "drug", "amount": "2*v", "at": 0.0}],
        ),
        {"drug": "initial_drug"},
    ),
    "linear knots": (fed(inputs={"feed": RISING}), {"drug": "initial_drug"}),
    "pchip beyond the knots": (
        fed(inputs={"feed": {**RISING, "times": [0.2, 0.5, 1.1, 1.4], "interpolation": "pchip", "outside": "zero"}}),
        {"drug": "initial_drug"},
    ),
    "knots that repeat": (
        fed(inputs={"feed": {"times": [0.1, 0.4, 0.9], "values": [1, 3, 1], "interpolation": "previous",
                             "outside": "repeat"}}),
        {"drug": "initial_drug"},
    ),
    "a spline through expressions": (
        fed(inputs={"feed": {**RISING, "values": ["k", 2.0, "3*k/v", 4.0], "interpolation": "cubic"}}),
        {"drug": "initial_drug"},
    ),
    "an input of time": (fed(inputs={"feed": "2*exp(-t/v)"}), {"drug": "initial_drug"}),
    "an input that is observed, and named as its coefficients": (
        fed(
            {**FED, "constants": {"v": 2.0, "feed_1": 3.0}, "observables": {"level": "drug/v + feed_1*feed"}},
            inputs={"feed": RISING},
        ),
        {"drug": "initial_drug"},
    ),
    "an input that changes": (
        fed(inputs={"feed": 1.0},
            changes=[{"at": 0.7, "inputs": {"feed": RISING}}, {"at": 2.2, "inputs": {"feed": "k"}}]),
        {"drug": "initial_drug"},
    ),
    "knots after a steady state": (
        fed(inputs={"feed": RISING}, steady_state={"inputs": {"feed": "4*k"}}), {"drug": "initial_drug"}
    ),
    "knots of several": (
        {
            **SEVERAL,
            "system": FED,
            "experiments": [
                {**SUBJECTS[0], "inputs": {"feed": RISING}}, {**SUBJECTS[1], "inputs": {"feed": "k*v"}}
            ],
        },
        {"k[subject 1]": "k__subject_1", "k[subject 2]": "k__subject_2", "drug[subject 1]": "initial_drug__subject_1",
         "drug[subject 2]": "initial_drug__subject_2"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_exports_import_back_to_the_same_objective(case: str, tmp_path: Path) -> None:
    request, names = CASES[case]
    to_petab(parse_problem(request), tmp_path)
    back, _ = import_file(tmp_path / "problem.yaml")
    back["solver"] = request["solver"]
    values = {
        name: 0.4 + 3.0 * name.startswith("drug") + 0.01 * i for i, name in enumerate(objective(request).unknowns.names)
    }
    renamed = {names.get(name, name): value for name, value in values.items()}
    assert set(renamed) == set(objective(back).unknowns.names)
    assert loss_at(back, renamed) == pytest.approx(loss_at(request, values), rel=1e-10)


@pytest.mark.filterwarnings("ignore")  # of that package and pandas
@pytest.mark.parametrize("case", CASES)
def test_exports_pass_the_linter_of_petab(case: str, tmp_path: Path) -> None:
    v2 = pytest.importorskip("petab.v2", reason="the petab package, of the bench extra, is not installed")
    to_petab(parse_problem(CASES[case][0]), tmp_path)
    found = v2.lint_problem(str(tmp_path / "problem.yaml"))
    assert not found.has_errors(), str(found)


def test_least_squares_become_normal_noise_and_differ_by_a_constant_that_is_told(tmp_path: Path) -> None:
    request = {name: value for name, value in REQUEST.items() if name != "noise"}
    notes = to_petab(parse_problem(request), tmp_path)
    assert any("-2·llh" in note for note in notes)
    back, _ = import_file(tmp_path / "problem.yaml")
    back["solver"] = REQUEST["solver"]
    differences = []
    for k in (0.3, 0.6):
        llh = -loss_at(back, {"k": k, "initial_drug": 7.0})
        differences.append(loss_at(request, {"k": k, "drug": 7.0}) + 2 * llh)
    assert differences[0] == pytest.approx(differences[1], abs=1e-9)
    assert differences[0] == pytest.approx(-2 * math.log(2 * math.pi), abs=1e-9)


def test_an_estimated_scale_becomes_a_parameter(tmp_path: Path) -> None:
    request = {**REQUEST, "noise": {"level": {"distribution": "normal", "sigma": "estimate"}}}
    to_petab(parse_problem(request), tmp_path)
    back, _ = import_file(tmp_path / "problem.yaml")
    back["solver"] = request["solver"]
    found = minimize_scalar(
        lambda scale: loss_at(back, {"k": 0.4, "initial_drug": 7.0, "sigma_level": scale}),
        bounds=(0.01, 10.0), method="bounded", options={"xatol": 1e-8},
    )  # fmt: skip
    assert found.fun == pytest.approx(loss_at(request, {"k": 0.4, "drug": 7.0}), rel=1e-9)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"penalty": {"l2": 1.0}}, "penalty"),
        ({"hold_out": {"after": 0.5}}, "hold_out"),
        ({"noise": {"level": {"distribution": "student-t", "sigma": 1.0}}}, "student-t"),
        (
            {"parameters": {"k": {"guess": 0.5, "prior": {"distribution": "half-normal", "scale": 1.0}}}},
            "half-normal",
        ),
        (fed(inputs={"feed": {**RISING, "interpolation": "next"}}), "the input feed: .* until its knot"),
        (fed(inputs={"feed": {**RISING, "values": ["k", 1, 2, 3], "interpolation": "pchip"}}), "feed: .* pchip"),
        (
            fed(inputs={"feed": "2*v"}, changes=[{"at": 1.0, "constants": {"v": 3.0}}]),
            "feed depends on v, which changes",
        ),
        (fed(inputs={"feed": "t"}, changes=[{"at": 1.0, "inputs": {"feed": 3.0}}]), "feed is an expression of time"),
    ],
)
def test_what_petab_cannot_express_is_refused_by_name(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=words):
        to_petab(parse_problem({**REQUEST, **changes}), tmp_path)
    assert not list(tmp_path.iterdir())
