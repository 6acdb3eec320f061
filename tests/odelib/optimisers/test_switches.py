"""Minima at which a switching time meets a measurement: the loss has a kink there, and they are optima all the same."""

from __future__ import annotations

from typing import Any

import pytest

from odelib.fitting import fit
from odelib.problem.request import parse_problem

ZERO = {"guess": 0.0, "fixed": True}


def request(equation: str, parameters: dict[str, Any], values: list[float], **more: Any) -> Any:
    """Measurements at t = 0, 1, …, 5 of a state that starts from 0."""
    return parse_problem(
        {
            "system": {"states": ["x"], "parameters": list(parameters), "equations": {"x": equation}},
            "data": {"times": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], "values": {"x": values}},
            "parameters": parameters,
            "initial_state": {"x": ZERO},
        }
        | more
    )


# With x = max(t − τ, 0) and these values, the loss falls to τ = 3 with the slope 2·(−0.5) + 4·0.1 = −0.6 and rises with
# 4·0.1 from there.
ONSET = [0.0, 0.0, 0.0, -0.5, 1.1, 2.1]
KINKS: dict[str, tuple[str, dict[str, Any], list[float], str, list[str]]] = {
    "onset": ("where(t < tau, 0, 1)", {"tau": 2.3}, ONSET, "tau", ["tau"]),
    "onset, from above": ("where(t >= tau, 1, 0)", {"tau": 3.4}, ONSET, "tau", ["tau"]),
    "onset, in a logarithm": ("where(t < tau, 0, 1)", {"tau": {"guess": 2.3, "scale": "log"}}, ONSET, "tau", ["tau"]),
    "onset, scaled time": (
        "where(2*t < tau, 0, 1)",
        {"tau": {"guess": 5.0, "lower": 1.0, "upper": 9.0}},
        ONSET,
        "tau",
        ["tau"],
    ),
}


@pytest.mark.parametrize("stages", [None, [{"kind": "least_squares"}]], ids=["default", "least_squares"])
@pytest.mark.parametrize("name", KINKS)
def test_a_minimum_at_a_kink_is_an_optimum_with_a_warning(name: str, stages: list[dict[str, Any]] | None) -> None:
    equation, parameters, values, unknown, names = KINKS[name]
    result = fit(request(equation, parameters, values, **({"stages": stages} if stages else {})))
    assert result.parameters[unknown].value == pytest.approx(6.0 if "scaled" in name else 3.0, abs=1e-5)
    assert result.outcome.code == "converged"
    assert [warning.names for warning in result.warnings if warning.code == "at_kink"] == [names]


# With these, x = max(t − τ, 0), or min(t, τ) where an infusion ends.
DONE: dict[str, tuple[str, dict[str, Any], list[float]]] = {
    "dose with a lag": ("0", {"doses": [{"into": "x", "amount": 9, "at": 0, "duration": 9, "lag": "tau"}]}, ONSET),
    "end of an infusion": (
        "0", {"doses": [{"into": "x", "amount": "tau", "at": 0, "duration": "tau"}]}, [0.0, 1.0, 2.0, 3.5, 2.9, 2.9],
    ),
    "change": ("r", {"changes": [{"at": "tau", "constants": {"r": 1}}]}, ONSET),
    "input": ("u", {"inputs": {"u": "where(t < tau, 0, 1)"}}, ONSET),
}  # fmt: skip


@pytest.mark.parametrize("name", DONE)
def test_a_minimum_at_the_kink_of_what_was_done_is_an_optimum_with_a_warning(name: str) -> None:
    equation, done, values = DONE[name]
    system = {
        "states": ["x"],
        "parameters": ["tau"],
        "constants": {"r": 0},
        "inputs": list(done.get("inputs", {})),
        "equations": {"x": equation},
        "observables": {"x": "x"},
    }
    data = {"times": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], "values": {"x": values}, **done}
    result = fit(request(equation, {"tau": 2.3}, values, system=system, data=data))
    assert result.parameters["tau"].value == pytest.approx(3.0, abs=1e-5)
    assert result.outcome.code == "converged"
    assert [warning.names for warning in result.warnings if warning.code == "at_kink"] == [["tau"]]


def test_a_minimum_at_the_time_of_an_event_is_an_optimum_with_a_warning() -> None:
    system = {
        "states": ["x", "r"],
        "parameters": ["tau"],
        "equations": {"x": "r", "r": "0"},
        "observables": {"x": "x"},
        "events": [{"name": "onset", "when": "t > tau", "set": {"r": 1}}],
    }
    result = fit(request("r", {"tau": 2.3}, ONSET, system=system, initial_state={"x": ZERO, "r": ZERO}))
    assert result.parameters["tau"].value == pytest.approx(3.0, abs=1e-5)
    assert result.outcome.code == "converged"
    assert [warning.names for warning in result.warnings if warning.code == "at_kink"] == [["tau"]]


@pytest.mark.parametrize("stages", [None, [{"kind": "least_squares"}]], ids=["default", "least_squares"])
@pytest.mark.parametrize("how", ["event", "comparison"])
def test_a_minimum_at_an_instant_that_only_a_solve_tells_is_an_optimum_with_a_warning(how: str, stages: Any) -> None:
    system: dict[str, Any] = {
        "states": ["x", "r", "z"],
        "parameters": ["tau"],
        "equations": {"x": "r", "r": "0", "z": "1 + 0*x"},
        "observables": {"x": "x"},
    }
    if how == "event":
        system["events"] = [{"name": "onset", "when": "z > tau", "set": {"r": 1}}]
    else:
        system["equations"]["x"] = "where(z > tau, 1, r)"
    more = {"stages": stages} if stages else {}
    start = dict.fromkeys("xrz", ZERO)
    result = fit(request("r", {"tau": 2.3}, ONSET, system=system, initial_state=start, **more))
    assert result.parameters["tau"].value == pytest.approx(3.0, abs=1e-5)
    assert result.outcome.code == "converged"
    assert [warning.names for warning in result.warnings if warning.code == "at_kink"] == [["tau"]]


def test_two_unknowns_that_move_the_time_are_both_named() -> None:
    parameters = {
        "a": {"guess": 1.0, "prior": {"distribution": "normal", "mean": 1.0, "standard_deviation": 0.01}},
        "b": 1.5,
    }
    noise = {"x": {"distribution": "normal", "sigma": 0.2}}
    result = fit(request("where(t < a + b, 0, 1)", parameters, ONSET, noise=noise))
    assert result.parameters["a"].value + result.parameters["b"].value == pytest.approx(3.0, abs=1e-5)
    assert result.outcome.code == "converged"
    assert [warning.names for warning in result.warnings if warning.code == "at_kink"] == [["a", "b"]]


def test_a_switching_time_between_measurements_is_at_no_kink() -> None:
    result = fit(request("where(t < tau, 0, 1)", {"tau": 2.3}, [0.0, 0.01, 0.0, 0.49, 1.52, 2.5]))
    assert result.outcome.code == "converged"
    assert "at_kink" not in {warning.code for warning in result.warnings}


def test_a_kink_that_is_no_minimum_is_left() -> None:
    """From τ = 3 these values pull to 3.4."""
    values = [0.0, 0.0, 0.0, 0.0, 0.6, 1.6]
    result = fit(request("where(t < tau, 0, 1)", {"tau": 3.0}, values, stages=[{"kind": "least_squares"}]))
    assert result.parameters["tau"].value == pytest.approx(3.4, abs=1e-6)
    assert "at_kink" not in {warning.code for warning in result.warnings}
