"""Measure the cost of a loss and its gradient: odefit's engine, torchdiffeq, diffrax, CVODES and plain C.

    python -m bench.gradient [PROBLEM ...]      (needs the `bench` extra and cc)

The problems are the article's fits at their guesses and Robertson's stiff reactions; the loss is the sum of squares of
states minus data, differentiated with respect to all parameters and initial values. All competitors run in turn on the
same core, compiled beforehand. The script first compares their results: they must agree at a tight tolerance, and must
be close to that at the tolerance that is timed; otherwise it stops. Times are CPU times of the process, so other work
on the machine does not count. A ratio is the median over rounds.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

CORE = sorted(os.sched_getaffinity(0))[-1]
os.sched_setaffinity(0, {CORE})  # before the libraries count the cores

import numpy as np  # noqa: E402
import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from bench.peers import casadi, diffrax, ours, plain_c, torchdiffeq  # noqa: E402
from bench.peers.scipy import reference  # noqa: E402
from bench.systems import Problem, Reals, article, robertson  # noqa: E402

Gradient = Callable[[], tuple[float, Reals]]
PEERS = (ours, plain_c, diffrax, casadi, torchdiffeq)
BARE, AUTOGRAD = "odefit bare", "odefit autograd"
RTOL, TIGHT_RTOL = 1e-6, 1e-10
AGREE, NEAR = 1e-5, 2e-2  # of the largest derivative: between two at TIGHT_RTOL, and of one at RTOL
ROUNDS, ROUND_SECONDS, SLOW_SECONDS = 9, 0.1, 1.0  # the slow take part in the first three rounds


@dataclass
class Contestant:
    """Who is timed: seconds of each round, and how far from the reference the gradient is at this tolerance."""

    call: Gradient
    error: float
    seconds: list[float] = field(default_factory=list)

    def time_round(self) -> None:
        """The mean time of a call, over as many as fit into a round."""
        calls, began = 0, time.process_time()
        while calls == 0 or time.process_time() - began < ROUND_SECONDS:
            self.call()
            calls += 1
        self.seconds.append((time.process_time() - began) / calls)

    def times(self, other: Contestant) -> float:
        """How many times longer this takes than the other."""
        return statistics.median(a / b for a, b in zip(self.seconds, other.seconds, strict=False))


def main() -> None:
    """Compare, time and print, a table a problem."""
    torch.set_num_threads(1)
    for problem in [*article(), _as_fit(robertson())]:
        if not sys.argv[1:] or problem.name in sys.argv[1:]:
            Console(width=110).print(table(problem, timed(problem)))
    print(f"core {CORE}, load {os.getloadavg()[0]:.1f} of the last minute on {os.cpu_count()} cores")


def _as_fit(problem: Problem) -> Problem:
    """Its own solution as data, and parameters 5 % off."""
    return replace(problem, data=reference(problem), parameters=1.05 * problem.parameters)


def timed(problem: Problem) -> Mapping[str, Contestant]:
    """All contestants, checked and timed."""
    reference = agreed(problem)
    contestants = {}
    for name, call in gradients(problem, RTOL).items():
        error = distance(call()[1], reference)
        if not error < NEAR:
            raise SystemExit(f"{problem.name}: the gradient of {name} is off by {error:.1e} at rtol {RTOL:g}")
        contestants[name] = Contestant(call, error)
    for number in range(ROUNDS):
        for contestant in contestants.values():
            if number < 3 or max(contestant.seconds) < SLOW_SECONDS:
                contestant.time_round()
    return contestants


def agreed(problem: Problem) -> Reals:
    """The gradient on which all that can work at a tight tolerance in reasonable time agree."""
    found = {name: call() for name, call in gradients(problem, TIGHT_RTOL).items() if "torchdiffeq" not in name}
    loss, reference = found["CVODES (CasADi)"]
    for name, (other, gradient) in found.items():
        if not (distance(gradient, reference) < AGREE and abs(other / loss - 1) < AGREE):
            raise SystemExit(f"{problem.name}: {name} and CVODES disagree: {other}, {loss}; {gradient}, {reference}")
    return reference.copy()


def gradients(problem: Problem, rtol: float) -> dict[str, Gradient]:
    """Every peer's ways to the gradient."""
    atol = rtol * problem.smallest
    return {name: call for peer in PEERS for name, call in peer.gradients(problem, rtol, atol).items()}


def distance(gradient: Reals, reference: Reals) -> float:
    """The largest difference, in units of the largest derivative."""
    return float(np.abs(gradient - reference).max() / np.abs(reference).max())


def table(problem: Problem, contestants: Mapping[str, Contestant]) -> Table:
    """Times, ratios and errors."""
    result = Table(title=f"{problem.name}: loss and gradient, rtol {RTOL:g}")
    for column in ("", "ms", "× bare", "× autograd", "error of the gradient"):
        result.add_column(column, justify="left" if not column else "right")
    for name, c in contestants.items():
        ratios = [f"{c.times(contestants[other]):,.3g}" for other in (BARE, AUTOGRAD)]
        result.add_row(name, f"{1e3 * statistics.median(c.seconds):,.3g}", *ratios, f"{c.error:.0e}")
    return result


if __name__ == "__main__":
    main()
