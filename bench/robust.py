"""Measure how often the optimum is found from bad guesses, and how long it takes: the default request and others.

    python -m bench.robust [--guesses N] [--factor F[,F]] [--decades D] [--every N] [--seed N] [--processes N]
        [--picture FILE] [PROBLEM ...]

`bench.robust_problems` defines the problems, true values and noise. Guesses of positive unknowns are log-uniform
within a factor F (3) of the truth, others uniform within truth ± max(|truth|, 0.1). With `--decades`, positive unknowns
are on a log scale, with bounds so many decades apart and the truth in their middle. The optimum is the best loss that
any method finds, or least squares from the truth; a fit has found it if its loss is within 1 % of that. The seed is
derived from the commit's id unless one is given. All methods fit the same data from the same guesses, in turn: the
default request and, for every fifth guess (`--every`; 0: none), Adam and L-BFGS-B only (the article's procedure),
`starts: 20`, and from the `bench` extra pyPESTO, 20 starts of L-BFGS-B with our gradients, and lmfit, least squares
with scipy's LSODA, each as its documentation advises. Guesses are distributed over single-threaded processes, like
those of a worker.

A second table counts the warnings of the default request: how many of the fits that miss the optimum have a warning or
have not converged, and how many of those that find it have a warning that is wrong there. `doubts` of a problem are
right. Several factors, such as `--factor 10,100`, are pooled in a last line.
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


class End(NamedTuple):
    """Where a fit ended. told: its warnings, and an outcome that is not `converged`."""

    loss: float
    told: frozenset[str] = frozenset()


class Question(NamedTuple):
    """What all contestants are asked: data, guesses, and how many decades apart the bounds are, 0 without bounds."""

    problem: RobustProblem
    data: Mapping[str, Any]
    guess: Guess
    decades: float


Contestant = Callable[[Question], End]


class Try(NamedTuple):
    """Where one fit ended, and how long it took."""

    end: End
    seconds: float

    def has_found(self, least: float) -> bool:
        """Whether it is within 1 % of the least loss."""
        return self.end.loss <= least + WITHIN * abs(least)


class Outcome(NamedTuple):
    """What came of a contestant's tries of a problem: how many found the optimum, and the median time."""

    found: int
    tried: int
    seconds: float

    def __str__(self) -> str:
        return f"{100 * self.found / self.tried:.0f} % of {self.tried}, {self.seconds:.2g} s"


class Warned(NamedTuple):
    """Of the default fits of a problem: those that missed the optimum, of them those with a doubt that was told; those
    that found it, of them those with a warning that is wrong, and these warnings.
    """

    missed: int
    told: int
    found: int
    wrong: int
    codes: tuple[str, ...] = ()

    @classmethod
    def of(cls, problem: RobustProblem, tries: Sequence[Try], least: float) -> Warned:
        """Count those of a problem's tries."""
        missed = [one.end.told for one in tries if not one.has_found(least)]
        wrong = [one.end.told - problem.doubts for one in tries if one.has_found(least)]
        codes = sorted({code for each in wrong for code in each})
        return cls(len(missed), sum(map(bool, missed)), len(wrong), sum(map(bool, wrong)), tuple(codes))

    @classmethod
    def together(cls, several: Sequence[Warned]) -> Warned:
        """Add them up."""
        missed, told, found, wrong, _ = zip(*several, strict=True)
        return cls(sum(missed), sum(told), sum(found), sum(wrong))

    def __str__(self) -> str:
        codes = f" ({', '.join(self.codes)})" if self.codes else ""
        return f"{self.told} of {self.missed} | {self.wrong} of {self.found}{codes}"


def main() -> None:
    """Fit and print the tables, a line for each problem."""
    options = _options()
    seed = _commit_seed() if options.seed is None else options.seed
    shown = [name for name in _contestants() if options.every or name == "default"]
    counts: list[Warned] = []
    with ProcessPoolExecutor(options.processes, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        for factor in options.factor:
            counts += _of_factor(factor, seed, options, shown, pool)
    together = Warned.together(counts)
    print(f"all factors: {together.told} of {together.missed} fits that missed the optimum told of a doubt;")
    print(f"{together.wrong} of {together.found} that found it have a wrong warning")
    print(f"\nload {os.getloadavg()[0]:.1f} of the last minute on {os.cpu_count()} cores")


def _of_factor(
    factor: float, seed: int, options: argparse.Namespace, shown: Sequence[str], pool: ProcessPoolExecutor
) -> list[Warned]:
    """Print the tables of guesses within a factor."""
    bounds = f", bounds {options.decades:g} decades apart" if options.decades else ""
    print(f"seed {seed}, {options.guesses} guesses within a factor of {factor:g}{bounds}\n")
    print("| problem | " + " | ".join(shown) + " |")
    print("|---" * (1 + len(shown)) + "|")
    outcomes: dict[str, list[Outcome]] = {}
    warned: dict[str, Warned] = {}
    for number, problem in enumerate(PROBLEMS):
        if not options.problems or problem.name in options.problems:
            rng = np.random.default_rng([seed, number])
            outcomes[problem.name], warned[problem.name] = _outcomes(problem, rng, factor, options, shown, pool)
            print(f"| {problem.name} | " + " | ".join(map(str, outcomes[problem.name])) + " |", flush=True)
    everything = [
        Outcome(sum(o.found for o in c), sum(o.tried for o in c), statistics.median(o.seconds for o in c))
        for c in zip(*outcomes.values(), strict=True)
    ]
    print("| together | " + " | ".join(map(str, everything)) + " |\n")
    print("| problem | told, of those that missed | wrong warnings, of those that found |\n|---|---|---|")
    for name, each in warned.items():
        if each.missed or each.wrong:
            print(f"| {name} | {each} |")
    print(f"| together | {Warned.together(list(warned.values()))} |\n", flush=True)
    if options.picture:
        _draw(outcomes, shown, f"guesses within a factor of {factor:g} of the truth", options.picture)
    return list(warned.values())


def _outcomes(
    problem: RobustProblem,
    rng: np.random.Generator,
    factor: float,
    options: argparse.Namespace,
    shown: Sequence[str],
    pool: ProcessPoolExecutor,
) -> tuple[list[Outcome], Warned]:
    """What each contestant makes of a problem, and the warnings of the default request."""
    data = _data(problem, rng)
    guesses = [_guess(problem, rng, factor) for _ in range(options.guesses)]
    slow = range(0, len(guesses), options.every) if options.every else ()
    chosen = {name: range(len(guesses)) if name == "default" else slow for name in shown}
    asked = [
        (name, Question(problem, data, guesses[i], options.decades)) for name, places in chosen.items() for i in places
    ]
    tries: dict[str, list[Try]] = {name: [] for name in shown}
    for (name, _), one in zip(asked, pool.map(_try, asked), strict=True):
        tries[name].append(one)
    best = _fitted(Question(problem, data, _truth(problem), 0.0), {"stages": [{"kind": "least_squares"}]})
    least = min([best.loss, *(one.end.loss for some in tries.values() for one in some)])
    found = [
        Outcome(sum(one.has_found(least) for one in some), len(some), statistics.median(t.seconds for t in some))
        for some in tries.values()
    ]
    return found, Warned.of(problem, tries["default"], least)


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


def _try(asked: tuple[str, Question]) -> Try:
    name, question = asked
    contestant, began = _contestants()[name], time.monotonic()
    return Try(contestant(question), time.monotonic() - began)


def _contestants() -> dict[str, Contestant]:
    mine: dict[str, Contestant] = {"default": _default, "Adam + L-BFGS-B": _article, "starts: 20": _starts}
    try:
        from bench.peers import lmfit, pypesto  # noqa: PLC0415 - the extra may be missing
    except ImportError:
        return mine
    return mine | {
        "pyPESTO": lambda question: End(pypesto.fitted(*question[:3])),
        "lmfit": lambda question: End(lmfit.fitted(*question[:3])),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--guesses", type=int, default=100)
    parser.add_argument("--factor", type=lambda text: [float(part) for part in text.split(",")], default=[3.0])
    parser.add_argument("--decades", type=float, default=0.0, help="between the bounds; 0: none")
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


def _fitted(question: Question, more: Mapping[str, Any]) -> End:
    """Where a request ends; at an infinite loss if the guess cannot be solved."""
    problem, data, guess, decades = question
    truth = _truth(problem)
    entries = {
        part: {
            name: {"guess": v, "fixed": True} if name in problem.fixed else _entry(v, truth[part][name], decades)
            for name, v in values.items()
        }
        for part, values in guess.items()
    }
    try:
        result = fit(parse_problem({"system": problem.system, "data": dict(data)} | entries | dict(more)))
    except OdelibError as error:
        return End(float("inf"), frozenset({type(error).__name__}))
    return End(result.loss, frozenset(warning.code for warning in result.warnings))


def _entry(guess: float, truth: float, decades: float) -> float | dict[str, Any]:
    """A free unknown's entry in a request."""
    if not decades or truth <= 0:
        return guess
    half = 10 ** (decades / 2)
    return {"guess": guess, "lower": truth / half, "upper": truth * half, "scale": "log"}


def _default(question: Question) -> End:
    return _fitted(question, {})


def _article(question: Question) -> End:
    return _fitted(question, {"stages": ARTICLE})


def _starts(question: Question) -> End:
    return _fitted(question, {"starts": 20})


if __name__ == "__main__":
    main()
