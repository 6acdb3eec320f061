"""Where a gradient can be had, over four decades around usual values, and how long it takes beside CVODES.

    python -m bench.reach [--points N] [SYSTEM ...]      (needs the `bench` extra)

At each point of `bench.reach_reference` that scipy can solve, the engine computes the derivatives with respect to all
parameters and initial values, with the method `auto`. A point is reached if the solve ends and its last states are
scipy's. CVODES (through CasADi: BDF, staggered corrector, all sensitivities in its error control) does the same, with
states and parameters in units of their sizes, because it has only one absolute tolerance. Both have rtol 1e-6, and 1e-8
of a state's size as absolute tolerance. Times are CPU times of the whole call, the shortest of three unless a call is
long; they are of the points that a solver reaches.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

CORE = sorted(os.sched_getaffinity(0))[-1]
os.sched_setaffinity(0, {CORE})  # before the libraries count the cores

import numpy as np  # noqa: E402

from bench.peers import casadi, ours  # noqa: E402
from bench.reach_reference import POINTS, RTOL, Ends, agree, points, sizes, stored  # noqa: E402
from bench.reach_systems import systems  # noqa: E402
from bench.systems import Problem, Reals  # noqa: E402
from odelib.problem.solver import AUTO_ATOL  # noqa: E402

MAX_STEPS = 100_000
CALLS, LONG = 3, 0.05  # a call that takes longer, in seconds, is not repeated

Solve = Callable[[Reals], Reals | None]  # states (T, n) at a point, if all sensitivities could be computed


@dataclass
class Reached:
    """How many of the points that count were reached, which were not, and the seconds of each that was."""

    asked: int = 0
    missed: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def note(self, number: int, reached: bool, seconds: float) -> None:
        """Count a point."""
        self.asked += 1
        if reached:
            self.seconds.append(seconds)
        else:
            self.missed.append(number)

    def row(self, system: str, solver: str) -> str:
        """A line of the table: share, median and 99th percentile in ms, and what was missed."""
        share = f"{len(self.seconds)} of {self.asked}"
        median, high = 1e3 * np.quantile(self.seconds or [math.nan], [0.5, 0.99])
        missed = f"missed {', '.join(map(str, self.missed))}" if 0 < len(self.missed) < 20 else ""
        percent = 100 * len(self.seconds) / max(self.asked, 1)
        return f"{system:26} {solver:8} {share:>12} {percent:7.2f} {median:9.3f} {high:9.2f}  {missed}"


def timed(solve: Solve, parameters: Reals) -> tuple[Reals | None, float]:
    """The result and the shortest CPU time of CALLS calls, or of one that is long."""
    best, calls = math.inf, 0
    while calls < CALLS and not LONG < best < math.inf:
        began = time.process_time()
        states = solve(parameters)
        best, calls = min(best, time.process_time() - began), calls + 1
    return states, best


def measure(problem: Problem, ends: Ends, totals: Mapping[str, Reached]) -> dict[str, Reached]:
    """Solve the points that count by every solver; adds to the totals."""
    scale = sizes(problem.name)
    solvers: dict[str, Solve] = {
        "odefit": ours.Reaching(problem, RTOL, MAX_STEPS),
        "CVODES": casadi.Scaled(problem, scale, RTOL, RTOL * AUTO_ATOL, MAX_STEPS),
    }
    found = {name: Reached() for name in solvers}
    for number, (parameters, end) in enumerate(zip(points(problem), ends, strict=False)):
        if end is None:
            continue
        for name, solve in solvers.items():
            states, seconds = timed(solve, parameters)
            reached = states is not None and agree(states[-1], np.array(end), np.abs(states).max(axis=0), scale)
            for result in (found[name], totals[name]):
                result.note(number, reached, seconds)
    return found


def main() -> None:
    """Print a line per system and solver, and one of all."""
    parser = argparse.ArgumentParser(description="Measure where a gradient can be had, and how long it takes.")
    parser.add_argument("names", nargs="*", metavar="SYSTEM")
    parser.add_argument("--points", type=int, default=POINTS, help="of each system")
    asked = parser.parse_args()
    reference, totals = stored(), {"odefit": Reached(), "CVODES": Reached()}
    print(f"{'':26} {'':8} {'reached':>12} {'percent':>7} {'median ms':>9} {'99 % ms':>9}")
    for problem in systems():
        if not asked.names or problem.name in asked.names:
            for name, found in measure(problem, reference[problem.name][: asked.points], totals).items():
                print(found.row(problem.name, name), flush=True)
    for name, total in totals.items():
        print(total.row("all", name).split("missed")[0])
    print(f"core {CORE}, load {os.getloadavg()[0]:.1f} of the last minute on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
