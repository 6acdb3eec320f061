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


class Scaled:
    """BDF with the staggered corrector, in units that suit one absolute tolerance; for many parameters in turn.

    States are in units of `sizes` (n,). Derivatives are by the logarithms of parameters and initial values, or by an
    initial value that is 0 in units of the state's size. Called with parameters, it returns the states (T, n), or None
    if CVODES fails.
    """

    def __init__(self, problem: Problem, sizes: Reals, rtol: float, atol: float, max_steps: int) -> None:
        self._sizes, self._start, n = sizes, problem.initial_state / sizes, len(sizes)
        p = len(problem.parameters)
        options = {"max_num_steps": max_steps, "sensitivity_method": "staggered", "show_eval_warnings": False}
        options["disable_internal_warnings"] = True
        self._solve = _integrator(problem, rtol, atol, n + p, sizes, **options)
        by_start = np.diag(np.where(self._start == 0.0, 1.0, self._start))
        self._seeds = np.hstack([self._start[:, None], np.zeros((n, p)), by_start])

    def __call__(self, parameters: Reals) -> Reals | None:
        """See above."""
        n, p = len(self._sizes), len(parameters)
        seeds = np.hstack([parameters[:, None], np.diag(parameters), np.zeros((p, n))])
        try:
            later = self._solve(x0=self._seeds, p=seeds)["xf"].full()
        except RuntimeError:
            return None
        states = later.reshape(n, -1, 1 + n + p)[:, :, 0].T if np.isfinite(later).all() else None
        return None if states is None else np.vstack([self._start, states]) * self._sizes


def _integrator(problem: Problem, rtol: float, atol: float, seeds: int, sizes: Any = 1.0, **more: Any) -> Any:
    n, p = len(problem.initial_state), len(problem.parameters)
    t, y, q = casadi.SX.sym("t"), casadi.SX.sym("y", n), casadi.SX.sym("q", p)
    f = right_hand_side(problem.system, casadi)
    rates = casadi.vertcat(*f(t, casadi.vertsplit(y * sizes), casadi.vertsplit(q) if p else [])) / sizes
    options = {
        "reltol": rtol,
        "abstol": atol,
        "max_num_steps": MAX_STEPS,
        "nfwd": seeds,
        "fsens_err_con": True,
        "linear_multistep_method": "bdf" if problem.stiff else "adams",
        "nonlinear_solver_iteration": "newton" if problem.stiff else "functional",
        **more,
    }
    grid = list(problem.times)
    return casadi.integrator("solve", "cvodes", {"t": t, "x": y, "p": q, "ode": rates}, grid[0], grid[1:], options)
