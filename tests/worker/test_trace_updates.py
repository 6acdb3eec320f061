"""What listeners see of the best point: all values by name, with those of each experiment."""

from __future__ import annotations

import json

from odelib.monitor import LossHistory
from odelib.problem.request import parse_problem
from worker.trace_updates import TraceUpdates


def test_values_are_free_fixed_and_of_experiments_and_expressions_are_left_out() -> None:
    problem = parse_problem({
        "system": {
            "states": ["a", "b", "c"],
            "parameters": ["k", "m"],
            "equations": {"a": "-k*a", "b": "-m*b", "c": "0"},
        },
        "experiments": [{"name": name, "times": [0, 1], "values": {"a": [2, 1]}} for name in ("one", "two")],
        "per_experiment": ["k"],
        "parameters": {"k": 1.0, "m": {"guess": 2.0, "fixed": True}},
        "initial_state": {"a": 3.0, "b": {"guess": 0.0, "fixed": True}, "c": "2*m"},
    })  # fmt: skip
    best = {"k[one]": 0.5, "k[two]": 0.6, "a[one]": 2.1, "a[two]": 2.2}

    trace = TraceUpdates().build(problem, best, LossHistory())

    assert json.loads(trace.best) == {
        "parameters": {"k[one]": 0.5, "k[two]": 0.6, "m": 2.0},
        "initial_state": {"a[one]": 2.1, "a[two]": 2.2, "b": 0.0},
    }
