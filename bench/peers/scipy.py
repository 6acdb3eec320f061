"""scipy's solvers, with the right-hand side in Python, as they are used; and reference solutions made with them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import sympy
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


def _solve(problem: Problem, f: Any, rtol: float, method: str, start: Reals | None = None, **more: Any) -> Reals:
    answer = solve_ivp(
        f,
        (problem.times[0], problem.times[-1]),
        problem.initial_state if start is None else start,
        method=method,
        t_eval=problem.times,
        rtol=rtol,
        atol=rtol * problem.smallest,
        **more,
    )
    if not answer.success:
        raise RuntimeError(f"{problem.name}: scipy's {method} at rtol {rtol:g}: {answer.message}")
    states: Reals = answer.y.T
    return states


def reference(problem: Problem) -> Reals:
    """The states (T, n) at a tight tolerance."""
    return solves(problem)[f"scipy {'Radau' if problem.stiff else 'DOP853'}"](TIGHT)


def reference_sensitivities(problem: Problem) -> Reals:
    """The derivatives (T, n, p + n) of a stiff problem: the equation for them solved beside the states by Radau."""
    n, p = len(problem.initial_state), len(problem.parameters)
    m = n + p
    t, y, q = sympy.Symbol("t"), sympy.symbols(f"y:{n}"), sympy.symbols(f"q:{p}")
    rates = sympy.Matrix(right_hand_side(problem.system, sympy)(t, y, q))
    f, by_state, by_parameter = (
        sympy.lambdify((t, y, q), x, "numpy", cse=True) for x in (rates, rates.jacobian(y), rates.jacobian(q))
    )

    def all_rates(t: float, z: Reals) -> Reals:
        s = z[n:].reshape(m, n).T
        along = by_state(t, z[:n], problem.parameters) @ s
        along[:, :p] += by_parameter(t, z[:n], problem.parameters)
        return np.concatenate([f(t, z[:n], problem.parameters).ravel(), along.T.ravel()])

    def jacobian(t: float, z: Reals) -> Reals:  # without the coupling of derivatives to states: enough for Newton
        return np.kron(np.eye(1 + m), by_state(t, z[:n], problem.parameters))

    start = np.concatenate([problem.initial_state, np.zeros(n * p), np.eye(n).ravel()])
    z = _solve(problem, all_rates, 1e-10, "Radau", start, jac=jacobian)
    return z[:, n:].reshape(-1, m, n).transpose(0, 2, 1)
