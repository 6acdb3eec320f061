from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from odelib import fit
from odelib.problem.request import parse_problem
from tests.problems import decay_request


def adam(steps: int, learning_rate: float, **changes: Any) -> Any:
    stage = {"kind": "adam", "steps": steps, "learning_rate": learning_rate}
    return fit(parse_problem(decay_request(stages=[stage], **changes)))


def test_steps_agree_with_torch() -> None:
    request = decay_request()
    times = torch.tensor(request["data"]["times"], dtype=torch.float64)
    observed = torch.tensor(request["data"]["values"]["x"], dtype=torch.float64)
    k = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([k], lr=0.03)
    for _ in range(7):
        optimiser.zero_grad()
        (observed - 2 * torch.exp(-k * times)).square().sum().backward()
        optimiser.step()
    result = adam(7, 0.03, solver={"rtol": 1e-9, "atol": 1e-11})
    assert result.parameters["k"].value == pytest.approx(k.item(), rel=1e-7)
    assert result.stages[0].steps == 7
    assert result.stages[0].gradients == 8  # including the one at the guess
    assert result.stages[0].stopped.code == result.outcome.code == "step_limit"


def test_steps_on_a_log_scale_are_in_the_logarithm() -> None:
    result = adam(1, 0.05, parameters={"k": {"guess": 0.4, "scale": "log"}})
    assert result.parameters["k"].value == pytest.approx(0.4 * np.exp(0.05), rel=1e-6)


def test_bounds_are_kept() -> None:
    result = adam(5, 0.5, parameters={"k": {"guess": 0.4, "lower": 0.3, "upper": 0.5}})
    assert result.parameters["k"].value == 0.5


def test_a_step_to_a_point_that_cannot_be_solved_is_halved() -> None:
    # x' = k·x² from x = 1 is infinite at t = 1/k, and so cannot be solved for k > 1/0.9, where the first steps lead
    result = adam(
        3,
        0.9,
        system={"states": ["x"], "parameters": ["k"], "equations": {"x": "k*x**2"}},
        data={"times": [0.0, 0.5, 0.9], "values": {"x": [1.0, 1.9, 7.0]}},
        parameters={"k": 0.5},
        initial_state={"x": {"guess": 1.0, "fixed": True}},
        solver={"max_steps": 2000},
    )
    assert result.stages[0].failed_solves > 0
    assert result.stages[0].steps == 3
    assert 0.5 < result.parameters["k"].value < 1 / 0.9
