"""Optima at kinks of the loss, with Laplace noise, the l1 penalty and Laplace priors: the fit converges there."""

from __future__ import annotations

from typing import Any

import pytest

from odelib import fit
from odelib.problem.request import parse_problem
from odelib.result import FitResult
from tests.odelib.optimisers.lines import held, lines

VALUES = [1.0, 2.0, 4.0, 7.0, 30.0]  # their median is 4
STAY = [{"kind": "adam", "steps": 1, "learning_rate": 1e-6}]  # ends where it starts


def level(guess: Any, **changes: Any) -> FitResult:
    """z(t) = z(0), measured five times."""
    request: dict[str, Any] = {
        "data": {"times": [0.0, 1.0, 2.0, 3.0, 4.0], "values": {"z": VALUES}},
        "parameters": held(a=0.0, b=0.0),
        "initial_state": {"z": guess, **held(w=0.0)},
    }
    return fit(parse_problem(lines(**(request | changes))))


@pytest.mark.parametrize("sigma", [0.5, "estimate"])
def test_under_laplace_noise_the_median_is_the_optimum(sigma: Any) -> None:
    noise = {"z": {"distribution": "laplace", "sigma": sigma}}
    found = level(5.5, noise=noise)
    assert found.outcome.code == "converged"
    assert found.initial_state["z"].value == pytest.approx(4.0, abs=1e-2)
    assert level(4.0, noise=noise, stages=STAY).outcome.code == "converged"
    for guess in (5.5, 2.0, 7.0):  # between the measurements, and at the kinks of other measurements
        assert level(guess, noise=noise, stages=STAY).outcome.code == "step_limit"


def penalised(l1: float, guess: float, **changes: Any) -> FitResult:
    """The mean is 8.8, so the sum of squares plus l1·|z| is least at 8.8 − l1/10, or at 0 if l1 >= 88."""
    return level(guess, penalty={"l1": l1, "names": ["z"]}, **changes)


def test_the_l1_penalty_shrinks_an_unknown_to_exactly_zero_if_it_is_strong() -> None:
    assert penalised(20.0, 5.0).initial_state["z"].value == pytest.approx(6.8, rel=1e-3)
    for guess in (5.0, -1.0):
        found = penalised(95.0, guess)
        assert found.outcome.code == "converged"
        assert found.initial_state["z"].value == pytest.approx(0.0, abs=1e-2)
    assert penalised(95.0, 0.0, stages=STAY).outcome.code == "converged"
    assert penalised(20.0, 0.0, stages=STAY).outcome.code == "step_limit"
    assert penalised(95.0, 3.0, stages=STAY).outcome.code == "step_limit"


def test_a_strong_laplace_prior_holds_an_unknown_at_its_median_and_a_weak_one_does_not() -> None:
    def with_prior(scale: float, guess: float, **changes: Any) -> FitResult:
        prior = {"distribution": "laplace", "median": 6.0, "scale": scale}
        return level({"guess": guess, "prior": prior}, noise={"z": {"distribution": "normal", "sigma": 1.0}}, **changes)

    strong = with_prior(0.05, 7.0)  # its derivative is 20, and that of the data 5·2.8 = 14
    assert strong.outcome.code == "converged"
    assert strong.initial_state["z"].value == pytest.approx(6.0, abs=1e-2)
    assert with_prior(0.05, 6.0, stages=STAY).outcome.code == "converged"
    weak = with_prior(0.2, 7.0)
    assert weak.outcome.code == "converged"
    assert weak.initial_state["z"].value == pytest.approx(8.8 - 1.0, rel=1e-3)
    assert with_prior(0.2, 6.0, stages=STAY).outcome.code == "step_limit"
