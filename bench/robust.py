"""Measure how often the optimum is found from bad guesses, and how long it takes: the default request and others.

    python -m bench.robust [--guesses N] [--factor F] [--every N] [--seed N] [--processes N] [--picture FILE]
        [PROBLEM ...]

`bench.robust_problems` defines the problems, true values and noise. Guesses of positive unknowns are log-uniform
within a factor F (3) of the truth, others uniform within truth ± max(|truth|, 0.1). The optimum is the best loss that
any method finds, or least squares from the truth; a fit has found it if its loss is within 1 % of that. The seed is
derived from the commit's id unless one is given. All methods fit the same data from the same guesses, in turn: the
default request and, for every fifth guess (`--every`; 0: none), Adam and L-BFGS-B only (the article's procedure),
`starts: 20`, and from the `bench` extra pyPESTO, 20 starts of L-BFGS-B with our gradients, and lmfit, least squares
with scipy's LSODA, each as its documentation advises. Guesses are distributed over single-threaded processes, like
those of a worker.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from numpy.typing import NDArray

from bench.robust_problems import PROBLEMS, RobustProblem
from odelib.errors import OdelibError
from odelib.fitting import fit
from odelib.problem.request import parse_problem
from odelib.simulation.simulated_data import run_simulation

ARTICLE = [{"kind": "adam", "steps": 3000, "learning_rate": 0.001}, {"kind": "lbfgsb", "steps": 500}]
WITHIN = 0.01
Reals = NDArray[np.float64]
Guess = dict[str, dict[str, float]]
Contestant = Callable[["RobustProblem", Mapping[str, Any], Guess], float]


class Try(NamedTuple):
    """Where one fit ended, and how long it took."""

    loss: float
    seconds: float


class Outcome(NamedTuple):
    """What came of a contestant's tries of a problem: how many found the optimum, and the median time."""

    found: int
    tried: int
    seconds: float

    def __str__(self) -> str:
        return f"{100 * self.found / self.tried:.0f} % of {self.tried}, {self.seconds:.2g} s"


def main() -> None:
    """Fit and print a table, a line a problem."""
    options = _options()
    seed = _commit_seed() if options.seed is None else options.seed
    shown = [name for name in _contestants() if options.every or name == "default"]
    print(f"seed {seed}, {options.guesses} guesses within a factor of {options.factor:g}\n")
    print("| problem | " + " | ".join(shown) + " |")
    print("|---" * (1 + len(shown)) + "|")
    outcomes: dict[str, list[Outcome]] = {}
    with ProcessPoolExecutor(options.processes, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        for number, problem in enumerate(PROBLEMS):
            if not options.problems or problem.name in options.problems:
                row = _outcomes(problem, np.random.default_rng([seed, number]), options, shown, pool)
                outcomes[problem.name] = row
                print(f"| {problem.name} | " + " | ".join(map(str, row)) + " |", flush=True)
    everything = [
        Outcome(sum(o.found for o in c), sum(o.tried for o in c), statistics.median(o.seconds for o in c))
        for c in zip(*outcomes.values(), strict=True)
    ]
    print("| together | " + " | ".join(map(str, everything)) + " |")
    print(f"\nload {os.getloadavg()[0]:.1f} of the last minute on {os.cpu_count()} cores")
    if options.picture:
        _draw(outcomes, shown, f"guesses within a factor of {options.factor:g} of the truth", options.picture)


def _outcomes(
    problem: RobustProblem,
    rng: np.random.Generator,
    options: argparse.Namespace,
    shown: Sequence[str],
    pool: ProcessPoolExecutor,
) -> list[Outcome]:
    """What each contestant makes of a problem."""
    data = _data(problem, rng)
    guesses = [_guess(problem, rng, options.factor) for _ in range(options.guesses)]
    slow = range(0, len(guesses), options.every) if options.every else ()
    chosen = {name: range(len(guesses)) if name == "default" else slow for name in shown}
    asked = [(name, problem, data, guesses[i]) for name, places in chosen.items() for i in places]
    tries: dict[str, list[Try]] = {name: [] for name in shown}
    for (name, *_), one in zip(asked, pool.map(_try, asked), strict=True):
        tries[name].append(one)
    best = _fitted(problem, data, _truth(problem), {"stages": [{"kind": "least_squares"}]})
    least = min([best, *(one.loss for some in tries.values() for one in some)])
    return [
        Outcome(
            sum(one.loss <= least * (1 + WITHIN) for one in some), len(some), statistics.median(t.seconds for t in some)
        )
        for some in tries.values()
    ]


def _draw(outcomes: Mapping[str, Sequence[Outcome]], shown: Sequence[str], title: str, path: Path) -> None:
    """The shares as bars, and beside them the median times."""
    places = np.arange(len(outcomes))
    figure, (shares, times) = plt.subplots(
        1, 2, sharey=True, figsize=(10, 1 + 0.5 * len(outcomes)), layout="constrained"
    )
    for i, name in enumerate(shown):
        row = [some[i] for some in outcomes.values()]
        height = 0.8 / len(shown)
        shares.barh(places + (i + 0.5) * height - 0.4, [100 * o.found / o.tried for o in row], height, label=name)
        times.plot([o.seconds for o in row], places, "o", label=name)
    shares.set(xlabel="at the optimum, %", yticks=places, yticklabels=list(outcomes), title=title)
    shares.invert_yaxis()
    times.set(xlabel="median time, s", xscale="log")
    times.grid(alpha=0.3)
    figure.legend(*times.get_legend_handles_labels(), loc="outside lower center", ncols=len(shown))
    figure.savefig(path, dpi=110)


def _try(asked: tuple[str, RobustProblem, Mapping[str, Any], Guess]) -> Try:
    name, problem, data, guess = asked
    contestant, began = _contestants()[name], time.monotonic()
    return Try(contestant(problem, data, guess), time.monotonic() - began)


def _contestants() -> dict[str, Contestant]:
    mine: dict[str, Contestant] = {"default": _default, "Adam + L-BFGS-B": _article, "starts: 20": _starts}
    try:
        from bench.peers import lmfit, pypesto  # noqa: PLC0415 - the extra may be missing
    except ImportError:
        return mine
    return mine | {"pyPESTO": pypesto.fitted, "lmfit": lmfit.fitted}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--guesses", type=int, default=100)
    parser.add_argument("--factor", type=float, default=3.0)
    parser.add_argument("--every", type=int, default=5, help="of so many guesses the slow contestants try one; 0: none")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--picture", type=Path, help="a file to draw the table into")
    parser.add_argument("problems", nargs="*")
    return parser.parse_args()


def _commit_seed() -> int:
    """From the commit's id, so that nobody can tune to it."""
    found = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True, cwd=Path(__file__).parent
    )
    return int(found.stdout[:8], 16)


def _data(problem: RobustProblem, rng: np.random.Generator) -> dict[str, Any]:
    if problem.data:
        return json.loads(problem.data.read_text("utf-8"))["data"]  # type: ignore[no-any-return]
    simulated = run_simulation({"system": problem.system, "data": {"times": problem.times}, **_truth(problem)})
    values = {}
    for name, column in simulated.data["values"].items():
        if problem.observed and name not in problem.observed:
            continue
        clean = np.array(column)
        sigma = 0.05 * float(clean.std()) if problem.sigma is None else problem.sigma
        noisy = clean + sigma * rng.standard_normal(len(clean))
        values[name] = (np.abs(noisy) if problem.absolute else noisy).tolist()
    return {"times": problem.times, "values": values}


def _truth(problem: RobustProblem) -> Guess:
    return {"parameters": dict(problem.parameters), "initial_state": dict(problem.initial_state)}


def _guess(problem: RobustProblem, rng: np.random.Generator, factor: float) -> Guess:
    return {
        part: {
            name: value
            if name in problem.fixed
            else value * factor ** rng.uniform(-1, 1)
            if value > 0
            else value + max(abs(value), 0.1) * rng.uniform(-1, 1)
            for name, value in values.items()
        }
        for part, values in _truth(problem).items()
    }


def _fitted(problem: RobustProblem, data: Mapping[str, Any], guess: Guess, more: Mapping[str, Any]) -> float:
    """The loss at which a request ends; infinite where the guess cannot be solved."""
    entries = {
        part: {name: {"guess": v, "fixed": True} if name in problem.fixed else v for name, v in values.items()}
        for part, values in guess.items()
    }
    try:
        return fit(parse_problem({"system": problem.system, "data": dict(data)} | entries | dict(more))).loss
    except OdelibError:
        return float("inf")


def _default(problem: RobustProblem, data: Mapping[str, Any], guess: Guess) -> float:
    return _fitted(problem, data, guess, {})


def _article(problem: RobustProblem, data: Mapping[str, Any], guess: Guess) -> float:
    return _fitted(problem, data, guess, {"stages": ARTICLE})


def _starts(problem: RobustProblem, data: Mapping[str, Any], guess: Guess) -> float:
    return _fitted(problem, data, guess, {"starts": 20})


if __name__ == "__main__":
    main()
