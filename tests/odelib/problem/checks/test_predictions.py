"""Refusals of predictions, with their pointers written by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.odelib.problem.requests import EXPERIMENTS, MINIMAL, assert_accepted, assert_refused, changed, mistakes


@pytest.mark.parametrize(
    ("prediction", "pointer"),
    [
        ({"times": []}, "/times"),
        ({"times": [-0.1, 1.0]}, "/times/0"),
        ({"times": [1.0, 0.5]}, "/times/1"),
        ({"times": [1.0, 0.5], "initial_state": {}}, "/times/1"),
        ({"times": [1.0], "experiment": "other"}, "/experiment"),
        ({"times": [1.0], "experiment": ""}, "/experiment"),
        ({"times": [1.0], "values": {"prey": [1.0, 2.0]}}, "/values/prey"),
        ({"times": [1.0], "values": {"zeta": [1.0]}}, "/values/zeta"),
        ({"times": [1.0], "values": {"prey": [None]}}, "/values"),
        ({"times": [1.0], "values": {}}, "/values"),
        ({"times": [1.0], "initial_state": {"prey": "alpha"}}, "/initial_state/prey"),
        ({"times": [1.0], "initial_state": {"zeta": 1.0}}, "/initial_state/zeta"),
        ({"times": [1.0], "parameters": {"zeta": 1.0}}, "/parameters/zeta"),
        ({"times": [1.0], "parameters": {"alpha": {"guess": 1.0}}}, "/parameters/alpha"),
    ],
)
def test_of_a_single_series(prediction: dict[str, Any], pointer: str) -> None:
    good = {"name": "good", "times": [1.0]}
    assert_refused({"/predictions": [good, {"name": "bad"} | prediction]}, f"/predictions/1{pointer}", body=MINIMAL)


@pytest.mark.parametrize(
    ("prediction", "pointer"),
    [
        ({"times": [3.0]}, "/experiment"),
        ({"times": [3.0], "initial_state": {"prey": 1.0}}, "/experiment"),
        ({"times": [3.0], "experiment": "c"}, "/experiment"),
        ({"times": [0.5], "experiment": "b"}, "/times/0"),  # before b's start, not a's
    ],
)
def test_of_several_experiments(prediction: dict[str, Any], pointer: str) -> None:
    assert_refused({"/predictions": [{"name": "p"} | prediction]}, f"/predictions/0{pointer}", body=EXPERIMENTS)


def test_a_prediction_that_depends_on_no_experiment_need_not_name_one() -> None:
    everything = {"name": "p", "times": [3.0], "initial_state": {"prey": 1.0, "predator": 1.0}}
    assert_accepted({"/predictions": [everything]}, body=EXPERIMENTS)
    own = {"/per_experiment": ["alpha"], "/predictions": [everything]}
    assert_refused(own, "/predictions/0/experiment", body=EXPERIMENTS)
    assert_accepted(own | {"/predictions": [everything | {"parameters": {"alpha": 1.0}}]}, body=EXPERIMENTS)


def test_names_of_predictions_are_unique() -> None:
    first, second = {"name": "p", "times": [1.0]}, {"name": "q", "times": [1.0]}
    assert_accepted({"/predictions": [first, second]}, body=MINIMAL)
    found = mistakes(changed(MINIMAL, {"/predictions": [first, second, first, second, first]}))
    assert list(found) == ["/predictions/2/name", "/predictions/3/name", "/predictions/4/name"]
