"""pyPESTO with odelib's losses and gradients: many starts of a local optimiser, as its documentation advises.

Positive unknowns are searched in their logarithm, between a tenth of the guess and ten times the guess; others within
ten times their size around the guess. The guess is one of the starts.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pypesto import Objective as PestoObjective
from pypesto import Problem
from pypesto.optimize import ScipyOptimizer, minimize

from bench.robust_problems import RobustProblem
from odelib.errors import SolveError
from odelib.objective.objective import NotFinite, Objective
from odelib.problem.request import parse_problem
from odelib.problem.resolved import resolve

Guess = Mapping[str, Mapping[str, float]]
STARTS = 20
FACTOR = 10.0


def fitted(problem: RobustProblem, data: Mapping[str, Any], guess: Guess) -> float:
    """The sum of squares at which the best start ends."""
    logging.getLogger("pypesto").setLevel(logging.ERROR)
    entries = {
        part: {name: _entry(value, name in problem.fixed) for name, value in values.items()}
        for part, values in guess.items()
    }
    asked = parse_problem({"system": problem.system, "data": dict(data)} | entries)
    device = torch.device("cpu")
    objective = Objective(resolve(asked), device)
    unknowns = objective.unknowns

    def loss(at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        try:
            found = objective.evaluate(np.array(at))
        except (SolveError, NotFinite):
            return math.inf, np.full(len(at), math.nan)
        return found.loss, found.gradient

    posed = Problem(PestoObjective(fun=loss, grad=True), unknowns.lower, unknowns.upper, x_guesses=unknowns.start[None])
    found = minimize(posed, ScipyOptimizer(method="L-BFGS-B"), n_starts=STARTS, progress_bar=False)
    return float(found.optimize_result.fval[0])


def _entry(value: float, fixed: bool) -> dict[str, Any]:
    if fixed:
        return {"guess": value, "fixed": True}
    if value > 0:
        return {"guess": value, "lower": value / FACTOR, "upper": value * FACTOR, "scale": "log"}
    reach = FACTOR * max(abs(value), 0.1)
    return {"guess": value, "lower": value - reach, "upper": value + reach}
