"""How often the optimum is found from bad guesses, and how long it takes: the default request beside others.

    python -m bench.robust [--guesses N] [--factor F] [--seed N] [PROBLEM ...]      (peers need the `bench` extra)

Problems, truths and noise stand in `bench.robust_problems`. Guesses of free unknowns that are positive lie within a
factor F (3) of the truth, log-uniformly; others at truth ± max(|truth|, 0.1). The optimum is the best loss that
anybody finds, or least squares from the truth; a fit has found it where its loss is within 1 % of that. Seeds are those
of the commit's id, unless one is given. Contestants fit the same data from the same guesses, in turn: the default
request; and, on every fifth guess, Adam and L-BFGS-B alone (the article's procedure), `starts: 20`, and lmfit with
scipy's LSODA, by its own advice of least squares from the guess.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.robust_problems import PROBLEMS, RobustProblem
from odelib.errors import OdelibError
from odelib.fitting import fit
from odelib.problem.request import parse_problem
from odelib.simulation import run_simulation

ARTICLE = [{"kind": "adam", "steps": 3000, "learning_rate": 0.001}, {"kind": "lbfgsb", "steps": 500}]
WITHIN = 0.01
EVERY = 5  # guesses, of which one is tried by the slow contestants
Reals = NDArray[np.float64]
Guess = dict[str, dict[str, float]]
Contestant = Callable[["RobustProblem", Mapping[str, Any], Guess], float]


@dataclass
class Tries:
    """What one contestant's fits of one problem ended at, and how long they took."""

    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def add(self, attempt: Callable[[], float]) -> None:
        """Fit once more."""
        began = time.monotonic()
        self.losses.append(attempt())
        self.seconds.append(time.monotonic() - began)

    def told(self, best: float) -> str:
        """The share at the optimum and the median time."""
        if not self.losses:
            return ""
        found = sum(loss <= best * (1 + WITHIN) for loss in self.losses)
        return f"{100 * found / len(self.losses):.0f} % of {len(self.losses)}, {statistics.median(self.seconds):.2g} s"


def main() -> None:
    """Fit and print a table, a line a problem."""
    options = _options()
    seed = _commit_seed() if options.seed is None else options.seed
    chosen = [p for p in PROBLEMS if not options.problems or p.name in options.problems]
    contestants = {"default": _default, "Adam + L-BFGS-B": _article, "starts: 20": _starts, "lmfit": _lmfit()}
    shown = [name for name, contestant in contestants.items() if contestant]
    print(f"seed {seed}, {options.guesses} guesses within a factor of {options.factor:g}\n")
    print("| problem | " + " | ".join(shown) + " |")
    print("|---" * (1 + len(shown)) + "|")
    for number, problem in enumerate(chosen):
        print(_row(problem, np.random.default_rng([seed, number]), options, contestants), flush=True)


def _row(
    problem: RobustProblem,
    rng: np.random.Generator,
    options: argparse.Namespace,
    contestants: Mapping[str, Contestant | None],
) -> str:
    """A problem's line of the table."""
    shown = {name: contestant for name, contestant in contestants.items() if contestant}
    data = _data(problem, rng)
    best = _fitted(problem, data, _truth(problem), {"stages": [{"kind": "least_squares"}]})
    tries = {name: Tries() for name in shown}
    for i in range(options.guesses):
        guess = _guess(problem, rng, options.factor)
        for name, contestant in shown.items():
            if i % EVERY == 0 or name == "default":
                tries[name].add(lambda c=contestant, g=guess: c(problem, data, g))
    least = min([best, *(loss for one in tries.values() for loss in one.losses)])
    return f"| {problem.name} | " + " | ".join(one.told(least) for one in tries.values()) + " |"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--guesses", type=int, default=100)
    parser.add_argument("--factor", type=float, default=3.0)
    parser.add_argument("--seed", type=int)
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


def _lmfit() -> Contestant | None:
    try:
        from bench.peers import lmfit  # noqa: PLC0415 - the extra may be missing
    except ImportError:
        return None
    return lmfit.fitted


if __name__ == "__main__":
    main()
