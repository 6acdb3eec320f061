"""What was done in experiments, through the whole objective: gradients and Jacobians are central differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from odelib.arrays import Reals
from odelib.objective.objective import Objective
from odelib.problem.request import parse_problem
from odelib.problem.resolved import resolve

STEP = 1e-5
REQUEST: dict[str, Any] = {
    "system": {
        "states": ["x", "y"],
        "parameters": ["k", "m", "s"],
        "constants": {"V": 2.0, "w": 1.0},
        "inputs": ["u"],
        "definitions": {"flow": "k*x*(1 + u)*w"},
        "equations": {"x": "s - flow", "y": "flow - m*y"},
        "observables": {"c": "y/V + 0.1*u", "x": "x"},
    },
    "parameters": {"k": 0.7, "m": 0.4, "s": 1.1},
    "initial_state": {"x": 1.0, "y": "0.5*k"},
    "inputs": {"u": {"times": [0, 1, 4], "values": [0.2, "m", 1.0]}},
    "solver": {"rtol": 1e-9, "atol": 1e-11},
}
DATA: dict[str, Any] = {
    "start_time": 0,
    "times": [0.5, 1.0, 2.0, 2.5, 4.0],
    "values": {"c": [0.3, 0.5, 0.7, 0.6, 0.8], "x": [1.0, 1.1, 0.9, 0.8, 0.7]},
}
DONE: dict[str, dict[str, Any]] = {
    "an input whose knots are parameters": {},
    "a dose with a lag": {"doses": [{"into": "x", "amount": "2*k", "at": 0.6, "lag": "0.3*m", "fraction": 0.8}]},
    "infusions": {
        "doses": [
            {"into": "x", "amount": 2, "at": 0.6, "duration": "k", "lag": "0.3*m"},
            {"into": "y", "amount": "m", "at": [1.2, 1.9], "rate": 3.0},
        ]
    },
    "changes of everything": {
        "changes": [
            {
                "at": "1.3*k",
                "set": {"x": "x*m"},
                "add": {"y": "0.3*s + u"},
                "constants": {"w": "1.5*k", "V": 3.0},
            },
            {"at": 3.0, "inputs": {"u": "0.3*s"}},
        ],
        "observed": "before",
    },
    "constants that are expressions": {"constants": {"V": "1 + k", "w": "V*m"}},
    "a steady state": {
        "steady_state": {"inputs": {"u": 0.3}, "constants": {"w": "0.5*s"}, "set": {"x": "x + y*m"}},
        "doses": [{"into": "x", "amount": 1, "at": 0}],
    },
    "steady dosing": {
        "doses": [{"into": "x", "amount": "3*k", "at": 0, "every": 2, "count": 2, "steady": True, "lag": "0.2*s"}],
        "inputs": {"u": 0.3},
    },
}


def central_differences(objective: Objective, at: Reals) -> tuple[Reals, dict[str, Reals]]:
    """The gradient of the loss, and the Jacobian of each observable."""

    def observed(point: Reals) -> dict[str, Reals]:
        parameters, starts = objective.unknowns.values(point)
        states = objective.trajectories.states(parameters, starts)
        columns = objective.trajectories.observe(states, parameters)
        return {name: column.numpy() for name, column in columns.items()}

    gradient, jacobians = [], []
    for step in STEP * np.eye(len(at)):
        losses = [objective.evaluate(at + sign * step).loss for sign in (1, -1)]
        gradient.append((losses[0] - losses[1]) / (2 * STEP))
        more, less = observed(at + step), observed(at - step)
        jacobians.append({name: (more[name] - less[name]) / (2 * STEP) for name in more})
    return np.array(gradient), {name: np.stack([each[name] for each in jacobians], -1) for name in jacobians[0]}


@pytest.mark.parametrize("name", DONE)
def test_derivatives_are_central_differences(name: str) -> None:
    problem = resolve(parse_problem(REQUEST | {"data": DATA | DONE[name]}))
    objective = Objective(problem, torch.device("cpu"))
    at = objective.unknowns.start
    gradient, jacobians = central_differences(objective, at)
    found = objective.evaluate(at).gradient
    np.testing.assert_allclose(found, gradient, rtol=1e-6, atol=1e-6 * np.abs(gradient).max())
    for observable, jacobian in objective.trajectories.linearise(at).jacobians.items():
        np.testing.assert_allclose(jacobian, jacobians[observable], rtol=1e-5, atol=1e-6)


def test_several_experiments_with_different_treatments_are_solved_together() -> None:
    body = {name: value for name, value in REQUEST.items() if name != "data"}
    body["experiments"] = [DATA | done | {"name": name} for name, done in DONE.items()]
    together = Objective(resolve(parse_problem(body)), torch.device("cpu"))
    at = together.unknowns.start
    loss = sum(
        Objective(resolve(parse_problem(REQUEST | {"data": DATA | done})), torch.device("cpu"))
        .evaluate(at[: 3 + 1])
        .loss
        for done in DONE.values()
    )
    assert together.evaluate(at).loss == pytest.approx(loss, rel=1e-7)


def test_only_what_states_depend_on_is_differentiated_by() -> None:
    """Each parameter stands in one place; those that only scale observables or start values would cost a column."""
    system = {
        "states": ["x", "y"],
        "parameters": [
            "rate",
            "level",
            "to",
            "drop",
            "start",
            "scale",
            "sigma",
            "amount",
            "at",
            "knot",
            "new",
            "volume",
        ],
        "constants": {"c": 1.0, "V": 1.0},
        "inputs": ["u"],
        "definitions": {"flow": "rate*x/V"},
        "equations": {"x": "-flow + u", "y": "flow - c*y"},
        "observables": {"signal": "scale*y"},
        "events": [{"name": "drain", "when": "y > level", "set": {"x": "x + to"}, "add": {"y": "-drop"}}],
    }
    values = [0.7, 0.25, 0.2, 0.1, 1.2, 2.0, 0.3, 0.5, 1.1, 0.4, 0.8, 1.5]
    parameters = dict(zip(system["parameters"], values, strict=True))
    request = {
        "system": system,
        "parameters": parameters,
        "initial_state": {"x": "start", "y": {"guess": 0.0, "fixed": True}},
        "noise": {"signal": {"distribution": "normal", "sigma": "sigma"}},
        "experiments": [
            {
                "name": "a", "start_time": 0, "times": [0.5, 1.3, 2.0, 3.1], "values": {"signal": [0.3, 0.5, 0.7, 0.6]},
                "inputs": {"u": {"times": [0, 4], "values": [0.1, "knot"]}}, "constants": {"V": "volume"},
                "doses": [{"into": "x", "amount": "amount", "at": "at"}],
                "changes": [{"at": 2.5, "constants": {"c": "new"}}],
            }
        ],
        "solver": {"rtol": 1e-9, "atol": 1e-11},
    }  # fmt: skip
    objective = Objective(resolve(parse_problem(request)), torch.device("cpu"))
    names = objective.layer.system.parameters
    by = {names[place] for place in objective.layer.differentiate_by.parameters}
    assert by == {"rate", "level", "to", "drop", "amount", "at", "knot", "new", "V"}
    start = objective.unknowns.start
    gradient = objective.evaluate(start).gradient
    for place, name in enumerate(objective.unknowns.names):
        moved = [start + side * STEP * np.eye(len(start))[place] for side in (1, -1)]
        losses = [objective.evaluate(point).loss for point in moved]
        assert gradient[place] == pytest.approx((losses[0] - losses[1]) / (2 * STEP), rel=1e-4, abs=1e-6), name
