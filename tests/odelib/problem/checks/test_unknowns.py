"""Refusals of parameters and initial states, with their pointers written by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from odelib.objective.unknowns import Unknowns
from odelib.problem.limits import Limits
from odelib.problem.request import parse_problem
from odelib.problem.resolved import resolve
from tests.odelib.problem.requests import (
    ABSENT,
    EXPERIMENTS,
    FULL,
    MINIMAL,
    assert_accepted,
    assert_refused,
    changed,
    mistakes,
)


@pytest.mark.parametrize(
    "pointer",
    ["/parameters/gamma", "/initial_state/prey"],
)
def test_a_missing_entry(pointer: str) -> None:
    assert_refused({pointer: ABSENT}, pointer, detail="needs a")


@pytest.mark.parametrize("part", ["parameters", "initial_state"])
def test_all_entries_missing(part: str) -> None:
    expected = {f"/{part}/{name}" for name in MINIMAL[part]}
    assert set(mistakes(changed(MINIMAL, {f"/{part}": ABSENT}))) == expected
    assert set(mistakes(changed(MINIMAL, {f"/{part}": {}}))) == expected


@pytest.mark.parametrize("entry", [{}, {"lower": 0.1}, {"upper": 9.0}, {"fixed": True}, {"scale": "log", "lower": 1.0}])
def test_a_guess_is_required_without_two_bounds(entry: dict[str, Any]) -> None:
    for place in ("/parameters/alpha", "/initial_state/prey"):
        assert_refused({place: entry}, f"{place}/guess", detail="unless both bounds are given")


@pytest.mark.parametrize(
    ("entry", "where"),
    [
        ({"guess": 9.0, "lower": 0.1, "upper": 5.0}, "/guess"),
        ({"guess": 0.01, "lower": 0.1, "upper": 5.0}, "/guess"),
        ({"guess": 0.01, "lower": 0.1}, "/guess"),
        ({"guess": 9.0, "upper": 5.0, "fixed": True}, "/guess"),
        ({"guess": 1.0, "lower": 2.0, "upper": 2.0}, "/guess"),
        ({"guess": 1.0, "lower": 2.0, "upper": 1.0}, "/lower"),
        ({"lower": 2.0, "upper": 1.0}, "/lower"),
        ({"guess": 0.0, "scale": "log"}, "/guess"),
        ({"guess": -1.0, "scale": "log"}, "/guess"),
        ({"guess": 1.0, "lower": 0.0, "scale": "log"}, "/lower"),
        ({"lower": 0.0, "upper": 1.0, "scale": "log"}, "/lower"),
    ],
)
def test_bounds_and_log_scales(entry: dict[str, Any], where: str) -> None:
    for place in ("/parameters/alpha", "/initial_state/prey"):
        assert_refused({place: entry}, place + where)
    assert_refused(
        {"/data/initial_state": {"prey": entry}},
        "/data/initial_state/prey" + where,
        body=changed(MINIMAL, {"/data/initial_state": {}}),
    )


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("prey", "'prey'"),
        ("t", "'t'"),
        ("predator + 1", "'predator'"),
        ("total", "'total'"),
        ("nobody + 1", "'nobody'"),
        ("alhpa", "did you mean 'alpha'?"),
        ("alpha +", "not a valid expression"),
        ("", "empty"),
        ("alpha^2", "**"),
        ("alpha > 1", "where"),
    ],
)
def test_initial_states_can_use_only_parameters_and_constants(text: str, detail: str) -> None:
    assert_refused({"/initial_state/prey": text}, "/initial_state/prey", body=FULL, detail=detail)
    assert_refused({"/data/initial_state/predator": text}, "/data/initial_state/predator", body=FULL, detail=detail)


@pytest.mark.parametrize("text", ["alpha", "1"])
def test_a_parameter_is_not_an_expression(text: str) -> None:
    assert_refused({"/parameters/alpha": text}, "/parameters/alpha")


def test_every_experiment_can_give_an_initial_value_in_place_of_the_request() -> None:
    body = changed(EXPERIMENTS, {"/initial_state/prey": ABSENT})
    own = {f"/experiments/{i}/initial_state": {"prey": 1.0} for i in (0, 1)}
    assert_accepted(own, body=body)
    assert list(mistakes(changed(body, {"/experiments/0/initial_state": {"prey": 1.0}}))) == ["/initial_state/prey"]


@pytest.mark.parametrize(
    ("names", "pointer"),
    [
        (["zeta"], "/per_experiment/0"),
        (["alpha", "prey"], "/per_experiment/1"),
        (["alpha", "beta", "alpha"], "/per_experiment/2"),
        ([5], "/per_experiment/0"),
        ("alpha", "/per_experiment"),
        (None, "/per_experiment"),
    ],
)
def test_per_experiment(names: Any, pointer: str) -> None:
    assert_refused({"/per_experiment": names}, pointer, body=EXPERIMENTS)


def test_per_experiment_needs_experiments() -> None:
    assert_refused({"/per_experiment": ["alpha"]}, "/per_experiment", detail="a single series")


# unchanged, four parameters and two initial values for each of two experiments are free
@pytest.mark.parametrize(
    ("changes", "free"),
    [
        ({}, 8),
        ({"/parameters/alpha": {"guess": 1.0, "fixed": True}}, 7),
        ({"/parameters/alpha": {"guess": 1.0, "lower": 1.0, "upper": 1.0}}, 7),
        ({"/parameters/alpha": {"lower": 1.0, "upper": 2.0}}, 8),
        ({"/initial_state/prey": {"guess": 1.0, "fixed": True}}, 6),
        ({"/initial_state/prey": "2*alpha"}, 6),
        ({"/per_experiment": ["alpha", "beta"]}, 10),
        ({"/per_experiment": ["alpha"], "/parameters/alpha": {"guess": 1.0, "fixed": True}}, 7),
        ({"/experiments/0/initial_state": {"prey": {"guess": 1.0, "fixed": True}, "predator": 2.0}}, 7),
        ({"/initial_state/prey": "alpha", "/experiments/1/initial_state": {"prey": 1.0}}, 7),
        ({"/hold_out": {"experiments": ["b"]}, "/per_experiment": ["alpha"]}, 6),
    ],
)
def test_the_limit_counts_free_unknowns(changes: dict[str, Any], free: int) -> None:
    body = changed(EXPERIMENTS, changes)

    assert Unknowns(resolve(parse_problem(body)), torch.device("cpu")).count == free
    assert mistakes(body, Limits(unknowns=free)) == {}
    assert list(mistakes(body, Limits(unknowns=free - 1))) == ["/system"]


def test_a_thousand_fixed_states_in_a_hundred_experiments_are_accepted() -> None:
    names = [f"x{i}" for i in range(1000)]
    body = {
        "system": {"states": names, "parameters": ["k"], "equations": {name: f"-k*{name}" for name in names}},
        "experiments": [{"name": f"e{i}", "times": [0.0, 1.0], "values": {"x0": [1.0, 0.5]}} for i in range(100)],
        "parameters": {"k": 1.0},
        "initial_state": {name: {"guess": 1.0, "fixed": True} for name in names},
    }
    assert mistakes(body) == {}
