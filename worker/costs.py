"""How long a fit will probably take, from its request; the store corrects it by what fits of the same kind took.

Only the order of magnitude matters: it decides whether a fit waits among the small ones or among the long ones. A fit
that turns out long makes way for small ones that wait.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from odelib.problem.request import FitProblem

# Measured (bench/gradient.py, bench/scaling.py), in seconds: a gradient by the compiled engine, and its parts for each
# series, and for each time, state and unknown.
_PER_SERIES, _PER_VALUE = 3e-5, 1e-7
_TORCHDIFFEQ = 200.0  # times as long
_USED_STEPS = 0.1  # most stages stop long before their last step
_PROFILE_POINTS = 20  # of each unknown, each with a fit of the others
_STEPS_OF_A_FIT = 30


def estimated_seconds(problem: FitProblem) -> float:
    """Return how long a fit will probably take."""
    system = problem.resolved_system
    weights = sum(network.weight_count for network in system.networks.values())
    unknowns = len(system.parameters) + len(system.states) + weights
    times = sum(len(series.times) for series in problem.series)
    gradient = _PER_SERIES * len(problem.series) + _PER_VALUE * times * len(system.states) * (1 + unknowns)
    if problem.solver.engine == "torchdiffeq":
        gradient *= _TORCHDIFFEQ
    steps = _USED_STEPS * sum(stage.steps for stage in problem.plan) * (problem.starts or 1)
    if problem.uncertainty == "profile":
        steps += _PROFILE_POINTS * _STEPS_OF_A_FIT * unknowns
    return gradient * steps


def kind_of(request: dict[str, Any]) -> str:
    """Return a digest of what fits that take equally long have in common. request: with all defaults, as JSON."""
    series = [request["data"]] if "data" in request else request.get("experiments", [])
    about = [
        request.get("system"),
        sum(len(entry["times"]) for entry in series).bit_length(),
        len(series).bit_length(),
        *(request.get(field) for field in ("stages", "starts", "solver", "uncertainty")),
    ]
    return hashlib.blake2b(json.dumps(about, sort_keys=True).encode(), digest_size=12).hexdigest()
