"""Count how often a clean fit has a warning, and check that flat directions are reported.

    python -m bench.warnings [--fits 200] [--seed 1] [--processes 2]

In a clean fit, the data are simulated from the fitted model with the noise of the request, the guesses are within a
factor of 2 of the truth, and all settings except `uncertainty: "covariance"` are defaults. The goal is a warning in at
most 5 % of the results. In addition, fits of a decay in which only the product of two parameters is observable must
always have the warning `flat_direction` with these two names and no other. The exit status is 0 only if both goals are
reached.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch

from bench.coverage_problems import PROBLEMS
from examples.problems.kinetics import hiv, michaelis_menten, product_inhibition, radioactive_chain, robertson
from examples.problems.oscillators import fitzhugh_nagumo, goodwin, pendulum
from examples.problems.problem import Problem
from examples.problems.simulating import Noise, lognormal, normal, poisson, simulated, with_guesses
from odelib.fitting import fit
from odelib.problem.request import parse_problem

FACTOR, ALLOWED, FLAT = 2.0, 0.05, 10
CLEAN: tuple[tuple[Callable[[], Problem], str, Noise], ...] = (
    (michaelis_menten, "P", normal(0.03)),
    (product_inhibition, "S P", normal(0.05)),
    (radioactive_chain, "beta alpha", poisson),
    (hiv, "rna", lognormal(0.1)),
    (robertson, "A B C", lognormal(0.05)),
    (fitzhugh_nagumo, "v w", normal(0.1)),
    (goodwin, "x y z", normal(0.05)),
    (pendulum, "theta", normal(0.05)),
)
OTHERS = PROBLEMS[:3]  # Lotka–Volterra, logistic growth
KINDS = len(CLEAN) + len(OTHERS)


def main() -> int:
    """Simulate, fit, count, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.warnings", description="warnings of fits that are clean")
    parser.add_argument("--fits", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    with ProcessPoolExecutor(arguments.processes, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        found = list(pool.map(clean, [(arguments.seed, index) for index in range(arguments.fits)]))
        flat = list(pool.map(flat_direction, [(arguments.seed, index) for index in range(FLAT)]))
    warned = [(name, codes) for name, codes in found if codes]
    print(f"{len(warned)} of {len(found)} clean fits of {KINDS} problems carry a warning (seed {arguments.seed})")
    for (name, code), count in sorted(Counter((name, code) for name, codes in warned for code in codes).items()):
        print(f"  {count:3d} {name}: {code}")
    named = sum(names == ["a", "b"] for names in flat)
    print(f"{named} of {FLAT} fits in which only a·b is observable name a and b")
    return 0 if len(warned) <= ALLOWED * len(found) and named == FLAT else 1


def clean(task: tuple[int, int]) -> tuple[str, list[str]]:
    """A problem's name and the codes of its fit's warnings."""
    random = np.random.default_rng(task)
    number = task[1] % KINDS
    if number < len(CLEAN):
        build, observables, scatter = CLEAN[number]
        problem = build()
        again = simulated(problem, observables, int(random.integers(2**31)), scatter)
        name, request, truth = problem.name, dict(again.request), problem.start
    else:
        other = OTHERS[number - len(CLEAN)]
        name, truth = other.name, other.truth
        request = {key: value for key, value in other.request(random, "covariance").items() if key != "stages"}
    off = {name: value * FACTOR ** random.uniform(-1, 1) for name, value in truth.items()}
    for part in ("parameters", "initial_state"):
        free = {name for name, entry in request[part].items() if not isinstance(entry, str) and not _is_fixed(entry)}
        request[part] = with_guesses(request[part], {name: off[name] for name in free})
    result = fit(parse_problem(request | {"uncertainty": "covariance"}))
    return name, [warning.code for warning in result.warnings]


def _is_fixed(entry: Any) -> bool:
    return isinstance(entry, dict) and bool(entry.get("fixed"))


def flat_direction(task: tuple[int, int]) -> list[str]:
    """What the fit of a decay at the rate a·b names as undetermined."""
    random = np.random.default_rng(task)
    times = np.linspace(0.0, 5.0, 26)
    values = 2.0 * np.exp(-0.6 * times) + 0.05 * random.standard_normal(len(times))
    request = {
        "system": {"states": ["x"], "parameters": ["a", "b"], "equations": {"x": "-a*b*x"}},
        "data": {"times": times.tolist(), "values": {"x": values.tolist()}},
        "parameters": {"a": float(random.uniform(0.5, 2)), "b": float(random.uniform(0.5, 2))},
        "initial_state": {"x": 1.0},
        "uncertainty": "covariance",
    }
    result = fit(parse_problem(request))
    return sorted(n for warning in result.warnings if warning.code == "flat_direction" for n in warning.names or [])


if __name__ == "__main__":
    sys.exit(main())
