"""Windows that grow lead past the local minima of an oscillation, where least squares alone ends in one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from odelib.engines.base import never
from odelib.objective.objective import Objective
from odelib.optimisers.evaluator import Evaluator
from odelib.optimisers.growing_window import grow_window
from odelib.optimisers.least_squares import levenberg_marquardt
from odelib.problem.request import parse_problem
from odelib.problem.resolved import resolve


def evaluator(count: int) -> Evaluator:
    """Of an oscillator whose rate is 2, guessed as 3, over six periods."""
    times = np.linspace(0.0, 20.0, count)
    request: dict[str, Any] = {
        "system": {
            "states": ["q", "p"],
            "parameters": ["w"],
            "equations": {"q": "p", "p": "-w**2*q"},
            "observables": {"q": "q"},
        },
        "data": {"times": times.tolist(), "values": {"q": np.cos(2 * times).tolist()}},
        "parameters": {"w": 3.0},
        "initial_state": {"q": {"guess": 1.0, "fixed": True}, "p": {"guess": 0.0, "fixed": True}},
    }
    objective = Objective(resolve(parse_problem(request)), torch.device("cpu"))
    return Evaluator(objective, objective.evaluate(objective.unknowns.start), never)


def test_growing_windows_lead_past_local_minima() -> None:
    own = evaluator(101)
    start = own.unknowns.start
    alone = levenberg_marquardt(own.nested(), *own.linearise(start), steps=200).evaluation
    assert alone.coordinates[0] != pytest.approx(2.0, rel=0.1)
    near = grow_window(own, start)
    assert near is not None
    assert near[0] == pytest.approx(2.0, rel=1e-3)


def test_what_windows_find_counts_as_work_and_not_as_a_point_of_the_whole() -> None:
    own = evaluator(101)
    best, before = own.best, own.counts.gradients
    grow_window(own.nested(), own.unknowns.start)
    assert own.best is best
    assert own.counts.gradients > before
    assert own.work > 0


def test_few_times_have_no_windows() -> None:
    own = evaluator(20)
    assert grow_window(own, own.unknowns.start) is None
