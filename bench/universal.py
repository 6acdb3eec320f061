"""What networks learn of a term that the model does not know, against the truth.

    python -m bench.universal [--problems pendulum,spiral] [--seeds 3] [--out RESULTS.jsonl]

Prints for each problem and seed how the training ended, how long it took, and the root of the mean squared error of
each learned term relative to that of the term itself, at the points `sampled` of the result. Lines are added to the
file; what it has already is not done again.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.universal_problems import FIRST_PREY_PREDATOR, PROBLEMS, Problem, lotka_volterra_rate, solved
from odelib.fitting import fit
from odelib.problem.request import FitProblem, parse_problem
from odelib.result import FitResult
from odelib.sparse_regression import explain


def main() -> None:
    """Run the problems that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", default=",".join(PROBLEMS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    lines = arguments.out.read_text().splitlines() if arguments.out and arguments.out.exists() else []
    done = {(line["problem"], line["seed"]) for line in map(json.loads, lines)}
    for name in arguments.problems.split(","):
        for seed in range(arguments.seeds):
            if (name, seed) in done:
                continue
            found = {"problem": name, "seed": seed, **run(name, PROBLEMS[name](seed))}
            print(json.dumps(found), flush=True)
            if arguments.out:
                with arguments.out.open("a") as file:
                    file.write(json.dumps(found) + "\n")


def run(name: str, problem: Problem) -> dict[str, Any]:
    """Fit a problem; return what is printed about it."""
    started = time.perf_counter()
    result = fit(parse_problem(problem.request))
    found: dict[str, Any] = {
        "outcome": result.outcome.code,
        "seconds": round(time.perf_counter() - started, 1),
        "stage_seconds": round(sum(stage.seconds for stage in result.stages), 1),
        "steps": [stage.steps for stage in result.stages],
        "loss": float(f"{result.loss:.4g}"),
        "errors": errors_of_terms(problem, result),
    }
    if name.endswith("Lotka-Volterra"):
        found["later_error"] = error_of_later(result)
    if name == "universal Lotka-Volterra":
        found["explained"] = explained(parse_problem(problem.request), result)
    if name.endswith("lynx-hare"):
        [later] = result.predictions or []
        found["later_rmse"] = later.rmse or (later.error and later.error.detail)
    if name == "spiral":
        found["inside_error"] = error_inside(problem, result)
    return found


def explained(problem: FitProblem, result: FitResult) -> dict[str, Any]:
    """The equations that are proposed, their rates with standard errors, and how they predict."""
    found = explain(problem, result)
    rates = {name: [e.value, e.standard_error] for name, e in found.result.parameters.items()}
    of_pair = {"bic": found.bic, "held_out": found.held_out}
    return {"terms": found.terms, "rates": rates, **of_pair, "later_error": error_of_later(found.result)}


def errors_of_terms(problem: Problem, result: FitResult) -> dict[str, float]:
    """The relative error of each output along the fitted trajectories."""
    errors = {}
    for network in (result.networks or {}).values():
        if network.sampled is None:
            continue
        inputs = np.array(network.sampled.inputs)
        for output, values in network.sampled.outputs.items():
            if output in problem.truth:
                truth = problem.truth[output](inputs)
                errors[output] = float(np.sqrt(np.mean((np.array(values) - truth) ** 2) / np.mean(truth**2)))
    return {name: float(f"{error:.3g}") for name, error in errors.items()}


def error_of_later(result: FitResult) -> float | None:
    """The root of the mean squared error to t = 20, relative to the spread of the states; None if it grew too large."""
    [later] = result.predictions or []
    if later.states is None:
        return None
    truth = solved(lotka_volterra_rate, FIRST_PREY_PREDATOR, np.array([0.0, *later.times]))[:, 1:]
    found = np.array([later.states["prey"], later.states["predator"]])
    errors = np.sqrt(np.mean((found - truth) ** 2, axis=1)) / truth.std(axis=1)
    return float(f"{errors.mean():.3g}")


def error_inside(problem: Problem, result: FitResult) -> float:
    """The mean distance from trajectories that start inside the spiral, relative to their mean distance from 0."""
    distances, sizes = [], []
    for asked, prediction in zip(problem.request["predictions"], result.predictions or [], strict=True):
        truth = np.array([asked["values"][name] for name in "xy"])
        found = np.array([(prediction.states or {}).get(name, [np.inf]) for name in "xy"])
        distances.append(np.linalg.norm(found - truth, axis=0).mean())
        sizes.append(np.linalg.norm(truth, axis=0).mean())
    return float(f"{np.mean(distances) / np.mean(sizes):.3g}")


if __name__ == "__main__":
    main()
