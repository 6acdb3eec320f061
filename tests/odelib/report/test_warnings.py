"""The warnings of a result: for each, a problem that has it, and its text."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest

from odelib.fitting import fit
from odelib.problem.request import parse_problem
from odelib.result import OUTCOMES, FitResult, WarningCode

TIMES = np.linspace(0, 4, 40)
CLEAN = np.exp(-0.7 * TIMES) + 0.02 * np.random.default_rng(0).standard_normal(len(TIMES))
SYSTEM = {"states": ["x"], "parameters": ["k"], "equations": {"x": "-k*x"}}
TWO_PARAMETERS = {"states": ["x"], "parameters": ["a", "b"], "equations": {"x": "-a*b*x"}}
# x = sin t, whose peak is just above where the event happens
PEAK = {
    "states": ["x", "v", "n"], "parameters": ["k"], "equations": {"x": "v", "v": "-k*x", "n": "0"},
    "events": [{"name": "peak", "when": "x > 0.99997", "add": {"n": "1"}}],
}  # fmt: skip
ONE_IDLE = {"states": ["x"], "parameters": ["a", "b"], "equations": {"x": "-a*x + 0*b"}}
# sin(3a) + a²/50 has many local minima, and each start stays in its own
MANY_MINIMA = {
    "system": {"states": ["x"], "parameters": ["a"], "equations": {"x": "0*a"}},
    "parameters": {"a": {"guess": 8.0, "lower": -40.0, "upper": 40.0}},
    "initial_state": {"x": "2 + sin(3*a) + a**2/50"},
    "stages": [{"kind": "multi_start", "starts": 6}],
}


def fitted(values: Any = CLEAN, **changes: Any) -> FitResult:
    """Fit x' = −k·x to these values at `TIMES`, or what the changes make of it."""
    request = {
        "system": SYSTEM,
        "data": {"times": TIMES.tolist(), "values": {"x": list(values)}},
        "parameters": {"k": 0.5},
        "initial_state": {"x": 1.0},
    }
    return fit(parse_problem(request | changes))


def codes(result: FitResult) -> list[str]:
    return [warning.code for warning in result.warnings]


# by code: changes to the request above, and the text of the warning that the fit then has
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "at_bound": (
        {"parameters": {"k": {"guess": 0.5, "upper": 0.6}}},
        "k ended at a bound; the best value may lie beyond it",
    ),
    "not_finite": (
        {"system": SYSTEM | {"derived": {"p": "log(0 - k)", "q": "sqrt(0 - k)"}}},
        "p, q are not finite at the fitted parameters; look for a division by zero, or the root or logarithm of a "
        "negative number",
    ),
    "best_found_once": (
        {"values": np.ones(40), **MANY_MINIMA},
        "only 1 of 6 starts reached the best loss, so a better optimum may exist; increase `starts`",
    ),
    "structured_residuals": (
        {"values": CLEAN + 0.1 * np.sin(5 * TIMES)},
        "the residuals of x are correlated in time: the model may miss an effect, or a better fit may exist",
    ),
    "no_better_than_constant": (
        {
            "system": SYSTEM | {"equations": {"x": "k"}},
            "parameters": {"k": {"guess": 1.0, "lower": 0.5}},
            "initial_state": {"x": {"guess": 5.0, "fixed": True}},
        },
        "the model describes x no better than a constant would",
    ),
    "coarse_solver": (
        {"solver": {"rtol": 1.0, "atol": 1e3}},
        "the answer depends on the solver's tolerances: at a hundredth of them, the trajectories of x would change by "
        "more than 1 %; k, x would move by more than a tenth of the 95 % interval's half-width; leave out "
        "`solver.atol` or reduce it, and reduce `solver.rtol`",
    ),
    "no_uncertainty": (
        {"data": {"times": [0.0, 1.0], "values": {"x": [1.0, 0.5]}}, "uncertainty": "covariance"},
        "there are no standard errors: estimating the noise scale needs more observations than free "
        "unknowns; fix unknowns, or add measurements",
    ),
    "flat_direction": (
        {"system": TWO_PARAMETERS, "parameters": {"a": 0.5, "b": 1.0}},
        "the data do not determine a, b: some combined change of them leaves the fit unchanged; fix one of them, or "
        "add measurements that distinguish them",
    ),
    "open_interval": (
        {"system": ONE_IDLE, "parameters": {"a": 0.5, "b": 1.0}, "uncertainty": "profile"},
        "the data do not bound b on at least one side; the interval has no end there",
    ),
    "another_optimum": (
        {
            "system": {"states": ["x"], "parameters": ["k"], "equations": {"x": "-k**2*x"}},
            "parameters": {"k": {"guess": 0.5, "lower": -1.0, "upper": 1.0}},
            "starts": 5,
        },
        "another optimum fits equally well, at k = -0.8415 (here 0.8415); exclude one of the two with bounds or a "
        "prior",
    ),
    "penalty_determines": (
        {
            "system": {
                "states": ["x"],
                "parameters": ["k"],
                "equations": {"x": "-k*x + u"},
                "networks": {"unknown": {"inputs": ["x"], "outputs": ["u"], "hidden": [2]}},
            },
            "data": {
                "times": [0.0, 0.5, 1.0, 1.5, 2.0, 3.0],
                "values": {"x": [2.01, 1.20, 0.74, 0.45, 0.26, 0.11]},
            },
            "parameters": {"k": 1.0},
            "initial_state": {"x": {"guess": 2.0, "fixed": True}},
            "networks": {"unknown": {"l2": 1.0}},
            "uncertainty": "covariance",
        },
        "the intervals of k rest on the `l2` of the network's weights: another one may change them",
    ),
    "at_kink": (
        {
            "system": {"states": ["x"], "parameters": ["tau"], "equations": {"x": "where(t < tau, 0, 1)"}},
            "data": {"times": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], "values": {"x": [0.0, 0.0, 0.0, -0.5, 1.1, 2.1]}},
            "parameters": {"tau": 2.3},
            "initial_state": {"x": {"guess": 0.0, "fixed": True}},
        },
        "at the optimum a switching time that depends on tau coincides with a measurement, where the loss has a kink "
        "or a jump: standard errors describe one side of it only; profiles describe both",
    ),
    "unlocated_jump": (
        {
            "system": {"states": ["x"], "parameters": ["k"], "equations": {"x": "where(x > 0.7, -k, k)"}},
            "data": {"times": [0.0, 0.4, 0.8, 1.2], "values": {"x": [0.0, 0.36, 0.71, 0.7]}},
            "parameters": {"k": 0.8},
            "initial_state": {"x": {"guess": 0.0, "fixed": True}},
            "solver": {"rtol": 3e-2},
        },
        "at the optimum a rate jumps at x > 0.7, and the solver could not end a step there, for example because the "
        "solution slides along the jump: derivatives lack what the change of the instant contributes, and standard "
        "errors may be wrong; write the system with events, or replace the jump by a steep function",
    ),
    "grazing_event": (
        {
            "system": PEAK,
            "values": np.sin(TIMES),
            "solver": {"rtol": 1e-4},
            "parameters": {"k": {"guess": 1.0, "fixed": True}},
            "initial_state": {
                name: {"guess": guess, "fixed": True} for name, guess in (("x", 0.0), ("v", 1.0), ("n", 0.0))
            },
        },
        "at the optimum the condition of peak hardly becomes true: a small change of the unknowns decides whether and "
        "when it happens, and standard errors may be far too large or too small",
    ),
    "profile_disagrees": (
        {
            "system": SYSTEM | {"equations": {"x": "-k**3*x/1000"}},
            "values": 1 + 0.02 * np.random.default_rng(0).standard_normal(len(TIMES)),
            "uncertainty": "profile",
        },
        "the profile and covariance intervals of k differ by more than a factor of 1.5, because the loss is not a "
        "parabola there; use the profile, not `standard_error`",
    ),
    "not_converged": ({"stages": [{"kind": "adam", "steps": 1}]}, OUTCOMES["step_limit"]),
    "prediction_failed": (
        {"predictions": [{"name": "backwards", "times": [0.0, 1e9], "parameters": {"k": -1.0}}]},
        "1 prediction could not be computed; `error` gives the reason",
    ),
}


@pytest.mark.parametrize("code", CASES)
def test_a_problem_that_has_the_warning(code: str) -> None:
    changes, message = CASES[code]
    result = fitted(**changes)
    assert (code, message) in [(warning.code, warning.message) for warning in result.warnings]


def test_every_code_has_a_problem_that_has_the_warning() -> None:
    assert set(CASES) == set(get_args(WarningCode))


def test_clean_data_have_no_warning_and_the_default_plan_ends_early() -> None:
    result = fitted()
    assert codes(result) == []
    assert [(stage.kind, stage.stopped.code) for stage in result.stages] == [
        ("least_squares", "converged"),
        ("multiple_shooting", "converged"),
        ("least_squares", "converged"),
        ("multi_start", "converged"),
        ("adam", "converged"),
        ("lbfgsb", "converged"),
    ]
    assert [stage.steps for stage in result.stages[1:]] == [0, 0, 0, 0, 0]


def test_structured_residuals_bring_several_starts() -> None:
    result = fitted(CLEAN + 0.1 * np.sin(5 * TIMES))
    assert [w.names for w in result.warnings if w.code == "structured_residuals"] == [["x"]]
    assert result.stages[3].steps == 5  # of ten: once five have reached the same loss the doubt is settled


def test_a_best_loss_that_several_starts_reached_has_no_warning() -> None:
    one_minimum = MANY_MINIMA | {"parameters": {"a": {"guess": -0.4, "lower": -0.9, "upper": 0.0}}}
    assert "best_found_once" not in codes(fitted(np.ones(40), **one_minimum))


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        (
            "compiled",
            "the data do not determine b: changing it leaves the fit unchanged; fix it, or add measurements that "
            "depend on it",
        ),
        (
            "torchdiffeq",
            "the data do not determine b: the loss does not depend on it at the best point; fix it, or add "
            "measurements that depend on it",
        ),
    ],
)
def test_a_single_unknown_that_changes_nothing_is_found_by_every_engine(engine: str, message: str) -> None:
    result = fitted(
        system=ONE_IDLE,
        parameters={"a": 0.5, "b": 1.0},
        solver={"engine": engine},
        stages=[{"kind": "lbfgsb", "steps": 20}],
    )
    assert [(w.code, w.message, w.names) for w in result.warnings] == [("flat_direction", message, ["b"])]


def test_missing_standard_errors_have_their_reason() -> None:
    result = fitted(
        parameters={"k": {"guess": 0.5, "fixed": True}},
        initial_state={"x": {"guess": 1.0, "fixed": True}},
        uncertainty="covariance",
    )
    [warning] = [w for w in result.warnings if w.code == "no_uncertainty"]
    assert warning.message == "there are no standard errors: every unknown is fixed"
