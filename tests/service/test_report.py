"""What people read of a result."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from service.report import print_report

REQUEST: dict[str, Any] = {
    "system": "lorenz",
    "data": {"name": "run 7", "times": [1900, 1901], "initial_state": {"y": 2.5}},
    "parameters": {"sigma": 10, "rho": {"lower": 1.0, "upper": 28.0}, "beta": {"guess": 2.5, "scale": "log"}},
    "initial_state": {"x": "2*sigma", "y": 1, "z": {"guess": 0.5, "fixed": True, "lower": 0}},
}
RESULT: dict[str, Any] = {
    "loss": 12.5,
    "observations": 6,
    "outcome": {"code": "step_limit", "message": "all steps were used"},
    "parameters": {"sigma": {"value": 9.87654321}, "rho": {"value": 28.0}, "beta": {"value": 2.6}},
    "initial_state": {"x": {"value": 19.75}, "y": {"value": 2.4}, "z": {"value": 0.5, "fixed": True}},
    "stages": [{"kind": "adam", "steps": 3}, {"kind": "lbfgsb", "steps": 5}],
    "trajectories": [
        {
            "name": "run 7",
            "initial_state": {"x": {"value": 19.75}, "y": {"value": 2.4}, "z": {"value": 0.5, "fixed": True}},
        }
    ],
    "predictions": [{"name": "far [away]", "error": {"code": "max_steps", "detail": "the solver used up its steps"}}],
    "warnings": [
        {"code": "not_converged", "message": "all steps were used"},
        {"code": "at_bound", "message": "rho ended at a bound", "names": ["rho"]},
        {"code": "prediction_failed", "message": "1 prediction(s) could not be computed", "names": ["far [away]"]},
    ],
    "solver": {"engine": "torchdiffeq", "method": "dopri5", "device": "cpu"},
}


def printed(request: dict[str, Any], result: dict[str, Any]) -> list[str]:
    text = io.StringIO()
    print_report(Console(file=text, width=120), request, result)
    return [" ".join(line.split()) for line in text.getvalue().splitlines()]


def test_the_report_has_everything_one_needs_to_judge_a_fit() -> None:
    assert printed(REQUEST, RESULT) == [
        "step limit: all steps were used",
        "loss 12.5 over 6 values; adam 3 steps, lbfgsb 5 steps; torchdiffeq/dopri5 on cpu",
        "",
        "name value guess bounds",
        "sigma 9.87654 10",
        "rho 28 1 … 28 at its bound",
        "beta 2.6 2.5 log scale",
        "x(1900) 19.75 2*sigma",
        "y(1900) 2.4 2.5",
        "z(1900) 0.5 0.5 0 … fixed",
        "",
        "! rho ended at a bound",
        "! 1 prediction(s) could not be computed",
        "far [away]: the solver used up its steps",
    ]


def test_without_warnings_there_are_none() -> None:
    result = {**RESULT, "warnings": [], "predictions": []}

    assert printed(REQUEST, result)[-1] == "z(1900) 0.5 0.5 0 … fixed"


def test_intervals_and_derived_quantities_are_shown_where_there_are_some() -> None:
    sigma = {"value": 10.0, "standard_error": 0.5, "lower_95": 9.0, "upper_95": 11.0}
    open_end = {"value": 3.0, "lower_95": 2.0}
    result = {**RESULT, "parameters": {"sigma": sigma}, "derived": {"ratio": open_end}}

    rows = printed(REQUEST, result)[3:6]

    assert rows == ["name value 95 % interval guess bounds", "sigma 10 9 … 11 10", "ratio 3 2 …"]
