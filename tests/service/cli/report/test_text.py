"""The printed report of a result."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from service.cli.report.text import print_report

REQUEST: dict[str, Any] = {
    "system": "lorenz",
    "data": {"name": "run 7", "times": [1900, 1901], "initial_state": {"y": 2.5}},
    "parameters": {"sigma": 10, "rho": {"lower": 1.0, "upper": 28.0}, "beta": {"guess": 2.5, "scale": "log"}},
    "initial_state": {"x": "2*sigma", "y": 1, "z": {"guess": 0.5, "fixed": True, "lower": 0}},
}
RESULT: dict[str, Any] = {
    "loss": 12.5,
    "loss_parts": {"data": 12.5, "penalty": 0.0, "prior": 0.0},
    "observations": 6,
    "outcome": {"code": "step_limit", "message": "all steps were used"},
    "parameters": {"sigma": {"value": 9.87654321}, "rho": {"value": 28.0}, "beta": {"value": 2.6}},
    "initial_state": {"x": {"value": 19.75}, "y": {"value": 2.4}, "z": {"value": 0.5, "fixed": True}},
    "stages": [
        {"kind": "adam", "steps": 3, "stopped": {"code": "step_limit", "message": "…"}},
        {"kind": "lbfgsb", "steps": 5, "stopped": {"code": "converged", "message": "…"}},
    ],
    "trajectories": [
        {
            "name": "run 7",
            "initial_state": {"x": {"value": 19.75}, "y": {"value": 2.4}, "z": {"value": 0.5, "fixed": True}},
        }
    ],
    "predictions": [
        {"name": "far [away]", "error": {"code": "max_steps", "detail": "the solver used up its steps"}},
        {"name": "later", "loss": 3.25, "rmse": {"x": 0.5, "y": 1.0}},
    ],
    "warnings": [
        {"code": "not_converged", "message": "all steps were used"},
        {"code": "at_bound", "message": "rho ended at a bound", "names": ["rho"]},
        {"code": "prediction_failed", "message": "1 prediction(s) could not be computed", "names": ["far [away]"]},
    ],
    "statistics": {"aic": -12.25, "bic": 8.5, "r_squared": {"x": 0.75, "y": 0.5}},
    "solver": {"engine": "torchdiffeq", "method": "dopri5", "device": "cpu"},
}


def text_of(request: dict[str, Any], result: dict[str, Any], **console: Any) -> str:
    text = io.StringIO()
    print_report(Console(file=text, **console), request, result)
    return text.getvalue()


def printed(request: dict[str, Any], result: dict[str, Any]) -> list[str]:
    return [" ".join(line.split()) for line in text_of(request, result).splitlines()]


def test_the_report_shows_all_facts_of_a_fit() -> None:
    assert printed(REQUEST, RESULT) == [
        "step limit: all steps were used",
        "",
        "loss 12.5",
        "observations 6",
        "stages adam 3 steps (step limit), lbfgsb 5 steps (converged)",
        "solver torchdiffeq/dopri5 on cpu",
        "AIC -12.25",
        "BIC 8.5",
        "R² x 0.75, y 0.5",
        "",
        "name value guess bounds",
        "sigma 9.87654 10",
        "rho 28 1 … 28 at its bound",
        "beta 2.6 2.5 log scale",
        "initial state",
        "x(1900) 19.75 2*sigma",
        "y(1900) 2.4 2.5",
        "z(1900) 0.5 0.5 0 … fixed",
        "",
        "prediction 'later': loss 3.25; rmse x 0.5, y 1",
        "",
        "! rho ended at a bound",
        "! 1 prediction(s) could not be computed",
        "far [away]: the solver used up its steps",
    ]


def test_a_result_without_warnings_shows_none() -> None:
    result = {**RESULT, "warnings": [], "predictions": []}

    assert printed(REQUEST, result)[-1] == "z(1900) 0.5 0.5 0 … fixed"


def test_errors_intervals_derived_quantities_and_noise_scales_are_shown_if_present() -> None:
    sigma = {"value": 10.0, "standard_error": 0.5, "lower_95": 9.0, "upper_95": 11.0}
    open_end = {"value": 3.0, "lower_95": 2.0}
    noise = {"x": {"sigma": {"value": 0.25, "standard_error": 0.03}, "proportional": {"value": 0.1}}}
    result = {**RESULT, "parameters": {"sigma": sigma}, "derived": {"ratio": open_end}, "noise": noise}

    rows = printed(REQUEST, result)[10:17]

    assert rows == [
        "name value error relative 95 % interval guess bounds",
        "sigma 10 0.5 5 % 9 … 11 10",
        "derived",
        "ratio 3 2 …",
        "noise",
        "sigma(x) 0.25 0.03 12 %",
        "proportional(x) 0.1",
    ]


def test_an_expression_for_sigma_is_shown() -> None:
    result = {**RESULT, "noise": {"x": {"sigma_expression": "a + b*x", "proportional": {"value": 0.1}}}}

    rows = printed(REQUEST, result)

    assert rows[rows.index("noise") + 1 :][:2] == ["sigma(x) = a + b*x", "proportional(x) 0.1"]


@pytest.mark.parametrize(
    ("value", "error", "shown"),
    [
        (0.0, 1.0, "0 1"),
        (-2.0, 1e-3, "-2 0.001 0.05 %"),
        (1.0, 2.5, "1 2.5 250 %"),
        (1e-9, 1.0, "1e-09 1 1.0e+11 %"),
    ],
)
def test_relative_errors_are_readable(value: float, error: float, shown: str) -> None:
    result = {**RESULT, "parameters": {"k": {"value": value, "standard_error": error}}}

    assert printed({}, result)[11] == f"k {shown}"


def test_each_experiment_shows_its_own_values() -> None:
    series = [
        {"name": "cold", "times": [0.5, 1.0]},
        {"name": "warm", "times": [1.0], "start_time": 0.0, "initial_state": {"y": 7.0}},
    ]
    request = {**REQUEST, "experiments": series, "per_experiment": ["rho"]}
    del request["data"]
    own = [
        {
            "name": s["name"],
            "parameters": {"rho": {"value": 2.0 + i}},
            "derived": {"half": {"value": 1.0 + i}},
            "initial_state": {"y": {"value": 5.0 + i}},
        }
        for i, s in enumerate(series)
    ]
    result = {**RESULT, "trajectories": own, "parameters": {"sigma": {"value": 3.0}}}
    result["warnings"] = [{"code": "at_bound", "message": "…", "names": ["rho[warm]"]}]

    assert printed(request, result)[11:20] == [
        "sigma 3 10",
        "experiment 'cold'",
        "rho 2 1 … 28",
        "half 1",
        "y(0.5) 5 1",
        "experiment 'warm'",
        "rho 3 1 … 28 at its bound",
        "half 2",
        "y(0) 6 7",
    ]


@pytest.mark.parametrize(
    ("done", "start"),
    [
        ({"doses": [{"into": "y", "amount": 1, "at": [0.5, 3]}]}, "0.5"),
        ({"changes": [{"at": "rho", "set": {"y": 0}}, {"at": 0.25, "set": {"y": 0}}]}, "0.25"),
        ({"doses": [{"into": "y", "amount": 1, "at": 0.5}], "start_time": -1}, "-1"),
    ],
)
def test_initial_values_are_those_of_the_start(done: dict[str, Any], start: str) -> None:
    request = {**REQUEST, "data": {"times": [1.0, 2.0], **done}}
    assert any(line.startswith(f"y({start}) ") for line in printed(request, RESULT))


def test_only_strong_correlations_are_shown_the_strongest_first() -> None:
    matrix = [[4.0, 1.85, -0.98], [1.85, 1.0, -0.3], [-0.98, -0.3, 0.25]]
    result = {**RESULT, "covariance": {"names": ["a", "b", "c"], "matrix": matrix}}

    lines = printed(REQUEST, result)
    start = lines.index("correlations above 0.9")

    assert lines[start + 1 : start + 4] == ["a, c: -0.980", "a, b: 0.925", ""]
    weak = {**RESULT, "covariance": {"names": ["a", "b"], "matrix": [[4.0, 1.8], [1.8, 1.0]]}}
    assert "correlations above 0.9" not in printed(REQUEST, weak)


def test_the_parts_of_the_loss_are_shown_if_there_are_several() -> None:
    result = {**RESULT, "loss_parts": {"data": 12.0, "penalty": 0.5, "prior": 0.0}}

    assert "loss 12.5 = data 12 + penalty 0.5" in printed(REQUEST, result)


def test_a_file_gets_neither_colours_nor_wrapped_lines() -> None:
    result = {**RESULT, "outcome": {"code": "converged", "message": "word " * 60}}

    assert "word " * 60 in text_of(REQUEST, result, width=40)
    assert "\x1b" not in text_of(REQUEST, result)
    assert "\x1b[" in text_of(REQUEST, result, force_terminal=True)
