"""The points of `bench.reach`, and which of them scipy can solve: python -m bench.reach_reference [SYSTEM ...]

Each system of `bench.reach_systems` has POINTS points. Each parameter is drawn log-uniformly within two decades of its
usual value, on both sides. A point counts if scipy's LSODA or Radau solves the states at rtol 1e-6 within 10 s, and
confirms them at 1e-8. The reference is kept in `bench/data/reach.jsonl`, a line per system: the states at the last
time, or null for a point that does not count. Systems that have a line are not computed again.
"""

from __future__ import annotations

import json
import math
import sys
import time
import zlib
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from bench.peers.equations import right_hand_side
from bench.reach_systems import systems
from bench.systems import Problem, Reals
from odelib.problem.solver import AUTO_ATOL

REFERENCE = Path(__file__).parent / "data" / "reach.jsonl"
POINTS, DECADES = 60, 2.0
RTOL, SECONDS = 1e-6, 10.0
AGREE = 1e-3  # of a state's largest size, between two solutions

Ends = list[list[float] | None]  # by point, the states at the last time


def points(problem: Problem) -> Reals:
    """(POINTS, p), the same in every run."""
    random = np.random.default_rng(zlib.crc32(problem.name.encode()))
    return problem.parameters * 10 ** random.uniform(-DECADES, DECADES, (POINTS, len(problem.parameters)))


def scipys(problem: Problem, parameters: Reals, rtol: float, method: str, scale: Reals) -> Reals | None:
    """The states (T, n) by scipy, or None where that fails or takes more than SECONDS.

    scale (n,): the states' sizes, for the absolute tolerance.
    """
    f, q, end = _rates(problem.name), parameters.tolist(), time.perf_counter() + SECONDS

    def rates(t: float, y: Reals) -> list[Any]:
        if time.perf_counter() > end:
            raise TimeoutError
        return f(t, y.tolist(), q)

    try:
        with np.errstate(all="ignore"):
            found = solve_ivp(
                rates, (problem.times[0], problem.times[-1]), problem.initial_state, method=method, rtol=rtol,
                atol=rtol * AUTO_ATOL * scale, t_eval=problem.times,
            )  # fmt: skip
    except (TimeoutError, ValueError, ArithmeticError):
        return None
    states: Reals = found.y.T
    return states if found.success and bool(np.isfinite(states).all()) else None


@cache
def _rates(name: str) -> Callable[[float, Any, Any], list[Any]]:
    problem = next(p for p in systems() if p.name == name)
    return right_hand_side(problem.system, math)


@cache
def sizes(name: str) -> Reals:
    """The largest size of each state at the usual values, (n,); 1 for one that is always 0."""
    problem = next(p for p in systems() if p.name == name)
    start = np.abs(problem.initial_state)
    scale = np.where(start > 0, start, start.max() * 1e-4)
    states = scipys(problem, problem.parameters, RTOL / 100, "LSODA", scale)
    if states is None:
        raise SystemExit(f"{name}: scipy cannot solve it at its usual values")
    largest: Reals = np.abs(states).max(axis=0)
    return np.where(largest > 0, largest, 1.0)


def agree(states: Reals, others: Reals, largest: Reals, scale: Reals) -> bool:
    """Whether solutions are the same, up to AGREE of the largest sizes (n,) and what the tolerance cannot resolve."""
    return bool((np.abs(states - others) <= AGREE * largest + RTOL * scale).all())


def confirmed(problem: Problem, parameters: Reals) -> Reals | None:
    """The states at the last time (n,), by the first method that solves them at RTOL and confirms them at RTOL/100."""
    scale = sizes(problem.name)
    for method in ("LSODA", "Radau"):
        coarse = scipys(problem, parameters, RTOL, method, scale)
        fine = None if coarse is None else scipys(problem, parameters, RTOL / 100, method, scale)
        if coarse is not None and fine is not None and agree(coarse, fine, np.abs(fine).max(axis=0), scale):
            end: Reals = fine[-1]
            return end
    return None


def stored() -> dict[str, Ends]:
    """The reference, by system."""
    lines = REFERENCE.read_text("utf-8").splitlines() if REFERENCE.exists() else []
    return {entry["system"]: entry["ends"] for entry in map(json.loads, lines)}


def compute(problems: Iterable[Problem]) -> None:
    """Append the systems that the reference does not have."""
    for problem in problems:
        if problem.name in stored():
            continue
        began, ends = time.perf_counter(), []
        for parameters in points(problem):
            end = confirmed(problem, parameters)
            ends.append(None if end is None else [float(f"{value:.6g}") for value in end])
        with REFERENCE.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"system": problem.name, "ends": ends}, ensure_ascii=False) + "\n")
        solved = sum(end is not None for end in ends)
        print(f"{problem.name:28} {solved} of {len(ends)}, {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    compute(p for p in systems() if not sys.argv[1:] or p.name in sys.argv[1:])
