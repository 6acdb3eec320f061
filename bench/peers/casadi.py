"""SUNDIALS' CVODES through CasADi: BDF for stiff problems, otherwise Adams; error control includes sensitivities."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import casadi
import numpy as np

from bench.peers.equations import right_hand_side
from bench.systems import Problem, Reals

MAX_STEPS = 1_000_000


def gradients(problem: Problem, rtol: float, atol: float) -> dict[str, Callable[[], tuple[float, Reals]]]:
    """Loss and gradient from all sensitivities."""
    data, n, p = problem.data, len(problem.initial_state), len(problem.parameters)
    assert data is not None
    solve = sensitivities(problem, rtol, atol)

    def gradient() -> tuple[float, Reals]:
        states, along = solve()
        residual = states - data
        return float((residual**2).sum()), 2.0 * residual.ravel() @ along.reshape(-1, n + p)

    return {"CVODES (CasADi)": gradient}


def sensitivities(problem: Problem, rtol: float, atol: float) -> Callable[[], tuple[Reals, Reals]]:
    """States (T, n) and their derivatives (T, n, p + n), by parameters, then by initial values."""
    n, p, count = len(problem.initial_state), len(problem.parameters), len(problem.times)
    integrator = _integrator(problem, rtol, atol, n + p)
    start = np.hstack([problem.initial_state[:, None], np.zeros((n, p)), np.eye(n)])
    parameters = np.hstack([problem.parameters[:, None], np.eye(p), np.zeros((p, n))])

    def solve() -> tuple[Reals, Reals]:
        later = integrator(x0=start, p=parameters)["xf"].full().reshape(n, count - 1, 1 + n + p)
        all_times = np.concatenate([start[None], later.transpose(1, 0, 2)])
        return all_times[:, :, 0], all_times[:, :, 1:]

    return solve


def solves(problem: Problem) -> dict[str, Callable[[float], Reals]]:
    """The states alone, at a relative tolerance."""
    arguments = {"x0": problem.initial_state, "p": problem.parameters}

    @cache
    def integrator(rtol: float) -> Any:
        return _integrator(problem, rtol, rtol * problem.smallest, 0)

    def solve(rtol: float) -> Reals:
        later: Reals = integrator(rtol)(**arguments)["xf"].full().T
        return np.vstack([problem.initial_state, later])

    return {"CVODES (CasADi)": solve}


def _integrator(problem: Problem, rtol: float, atol: float, seeds: int) -> Any:
    n, p = len(problem.initial_state), len(problem.parameters)
    t, y, q = casadi.SX.sym("t"), casadi.SX.sym("y", n), casadi.SX.sym("q", p)
    f = right_hand_side(problem.system, casadi)
    rates = casadi.vertcat(*f(t, casadi.vertsplit(y), casadi.vertsplit(q) if p else []))
    options = {
        "reltol": rtol,
        "abstol": atol,
        "max_num_steps": MAX_STEPS,
        "nfwd": seeds,
        "fsens_err_con": True,
        "linear_multistep_method": "bdf" if problem.stiff else "adams",
        "nonlinear_solver_iteration": "newton" if problem.stiff else "functional",
    }
    grid = list(problem.times)
    return casadi.integrator("solve", "cvodes", {"t": t, "x": y, "p": q, "ode": rates}, grid[0], grid[1:], options)
