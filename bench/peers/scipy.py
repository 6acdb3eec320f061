"""scipy's solvers, with the right-hand side in Python as usual, and reference solutions computed with them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from scipy.integrate import solve_ivp

from bench.peers.equations import right_hand_side
from bench.systems import Problem, Reals

TIGHT = 1e-12


def solves(problem: Problem) -> dict[str, Callable[[float], Reals]]:
    """The states at a relative tolerance, by each method that suits the problem."""
    f = right_hand_side(problem.system, math)

    def by(method: str) -> Callable[[float], Reals]:
        return lambda rtol: _solve(problem, lambda t, y: f(t, y, problem.parameters), rtol, method)

    return {f"scipy {method}": by(method) for method in _methods(problem)}


def _methods(problem: Problem) -> tuple[str, ...]:
    return ("Radau", "BDF", "LSODA") if problem.stiff else ("RK45", "DOP853", "LSODA")


def _solve(problem: Problem, f: Any, rtol: float, method: str) -> Reals:
    answer = solve_ivp(
        f,
        (problem.times[0], problem.times[-1]),
        problem.initial_state,
        method=method,
        t_eval=problem.times,
        rtol=rtol,
        atol=rtol * problem.smallest,
    )
    if not answer.success:
        raise RuntimeError(f"{problem.name}: scipy's {method} at rtol {rtol:g}: {answer.message}")
    states: Reals = answer.y.T
    return states


def reference(problem: Problem) -> Reals:
    """The states (T, n) at a tight tolerance."""
    return solves(problem)[f"scipy {'Radau' if problem.stiff else 'DOP853'}"](TIGHT)
