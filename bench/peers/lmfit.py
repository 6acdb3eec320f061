"""lmfit with scipy's LSODA: least squares from the guess, as its documentation advises for differential equations."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from lmfit import Parameters, minimize
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from bench.peers.equations import right_hand_side
from bench.robust_problems import RobustProblem
from odelib.problem.catalogue import resolve_system
from odelib.problem.limits import Limits
from odelib.problem.system import SystemDefinition

Guess = Mapping[str, Mapping[str, float]]
MAX_SIZE = 100_000  # evaluations of the equations in a solve, which at some points LSODA would never end


def fitted(problem: RobustProblem, data: Mapping[str, Any], guess: Guess) -> float:
    """The sum of squares at which lmfit's least squares end."""
    chosen = problem.system if isinstance(problem.system, str) else SystemDefinition.model_validate(problem.system)
    system = resolve_system(chosen, Limits())
    rates = right_hand_side(system, math)
    times = np.array(data["times"])
    unknowns = Parameters()
    for name, value in {**guess["parameters"], **guess["initial_state"]}.items():
        unknowns.add(name, value=value, vary=name not in problem.fixed)

    def residuals(at: Parameters) -> NDArray[np.float64]:
        parameters = [at[name].value for name in system.parameters]
        start = [at[name].value for name in system.states]
        count = itertools.count()

        def slopes(t: float, y: NDArray[np.float64]) -> list[float]:
            if next(count) == MAX_SIZE:
                raise OverflowError("LSODA takes too many steps")
            return rates(t, y, parameters)

        try:
            solved = solve_ivp(
                slopes,
                (times[0], times[-1]), start, t_eval=times, method="LSODA", rtol=1e-6, atol=1e-8,
            )  # fmt: skip
        except (OverflowError, ValueError):  # math's answer to numbers beyond all bounds
            return np.full(times.size * len(data["values"]), 1e6)
        states = np.full((len(start), times.size), 1e6)
        states[:, : solved.y.shape[1]] = np.nan_to_num(solved.y, nan=1e6, posinf=1e6, neginf=-1e6)
        named = dict(zip(system.states, states, strict=True))
        observed = _observed(system.name, named)
        return np.concatenate([observed[name] - np.array(values) for name, values in data["values"].items()])

    found = minimize(residuals, unknowns, method="leastsq", max_nfev=4_000)
    return float(np.square(found.residual).sum())


def _observed(system: str, states: Mapping[str, NDArray[np.float64]]) -> Mapping[str, NDArray[np.float64]]:
    """The observables: the states, but for the order parameter's, written out as one would."""
    if system != "kuramoto":
        return states
    return {"re": states["R"] * np.cos(states["psi"]), "im": states["R"] * np.sin(states["psi"])}
