"""Count how often the default request finds the optimum of two published problems from random points of their bounds.

    python -m bench.petab_starts FOLDER [--points 20] [--only NAME] [--seed 1] [--processes N] [--results FILE]

The problems are Boehm et al. (J. Proteome Res. 13, 2014) and Crauste et al. (Cell Systems 4, 2017) of the PEtab
benchmark collection, and FOLDER is a checkout of its problems, with a folder for each. The equations are written by
hand here; data and bounds are read from the tables. All rates are on a log scale, with the bounds of the table. Each
guess is log-uniform within them, and each fit has a seed of its own for its further starts. A fit has found the optimum
if its loss, −log-likelihood, is at most 0.1 above the published one. Each fit appends a line to the file of results;
those in it are not run again.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from odelib.errors import OdelibError
from odelib.fitting import fit
from odelib.problem.request import parse_problem

WITHIN = 0.1  # of −log-likelihood; a fit that ends within it is at most half a standard error off
Row = Mapping[str, str]
Bounds = dict[str, tuple[float, float]]


class Published(NamedTuple):
    """A problem: its name in the collection, its request without guesses, and −log-likelihood at its optimum."""

    name: str
    request: Callable[[Path], dict[str, Any]]
    optimum: float


class Try(NamedTuple):
    """Where one fit ended.

    outcome: the error, if it has no result. stages: kind, gradients, seconds and loss of each.
    """

    loss: float
    seconds: float
    outcome: str
    warnings: tuple[str, ...]
    stages: tuple[tuple[str, int, float, float], ...] = ()


def boehm(folder: Path) -> dict[str, Any]:
    """Dimers of STAT5A and STAT5B that move between cytoplasm (cyt) and nucleus (nuc).

    Epo, by which they form, decays from 1.25e-7 at the rate Epo_degradation_BaF3. The observables are percentages, and
    specC17 is the known share of a splice variant.
    """
    epo = "1.25e-7*exp(-Epo_degradation_BaF3*t)"
    form = {"pApA": "STAT5A**2", "pApB": "STAT5A*STAT5B", "pBpB": "STAT5B**2"}
    kind = {"pApA": "homo", "pApB": "hetero", "pBpB": "homo"}
    formed = {dimer: f"{epo}*k_phos*{product}" for dimer, product in form.items()}
    exported = {dimer: f"k_exp_{kind[dimer]}*nuc{dimer}*nuc" for dimer in form}
    equations = {
        "STAT5A": f"-2*{formed['pApA']} - {formed['pApB']} + (2*{exported['pApA']} + {exported['pApB']})/cyt",
        "STAT5B": f"-2*{formed['pBpB']} - {formed['pApB']} + (2*{exported['pBpB']} + {exported['pApB']})/cyt",
        **{dimer: f"{formed[dimer]} - k_imp_{kind[dimer]}*{dimer}" for dimer in form},
        **{f"nuc{dimer}": f"k_imp_{kind[dimer]}*{dimer}*cyt/nuc - k_exp_{kind[dimer]}*nuc{dimer}" for dimer in form},
    }
    of_a, of_b = "(STAT5A*specC17 + 2*pApA*specC17)", "(STAT5B*(1 - specC17) + 2*pBpB*(1 - specC17))"
    rates, bounds = _bounds(folder, skip="sd_")
    observables = {
        "pSTAT5A_rel": f"(100*pApB + 200*pApA*specC17)/(pApB + {of_a})",
        "pSTAT5B_rel": f"(100*pApB + 200*pBpB*(1 - specC17))/(pApB + {of_b})",
        "rSTAT5A_rel": f"(100*pApB + 100*{of_a})/(2*pApB + {of_a} + {of_b})",
    }
    start = {"STAT5A": 207.6 * 0.693, "STAT5B": 207.6 * (1 - 0.693)}
    return {
        "system": {
            "states": list(equations),
            "parameters": rates,
            "constants": {"cyt": 1.4, "nuc": 0.45, "specC17": 0.107},
            "equations": equations,
            "observables": observables,
        },
        "data": _data(folder),
        "parameters": bounds,
        "initial_state": {name: {"guess": start.get(name, 0.0), "fixed": True} for name in equations},
        "noise": {name: {"distribution": "normal", "sigma": "estimate"} for name in observables},
    }


def crauste(folder: Path) -> dict[str, Any]:
    """T cells after an infection: naive, early and late effector, and memory cells, and the pathogen."""
    equations = {
        "Naive": "-Naive*mu_N - Naive*Pathogen*delta_NE",
        "EarlyEffector": "Naive*Pathogen*delta_NE + EarlyEffector*Pathogen*rho_E - EarlyEffector**2*mu_EE"
        " - EarlyEffector*delta_EL",
        "LateEffector": "EarlyEffector*delta_EL - LateEffector**2*mu_LL - EarlyEffector*LateEffector*mu_LE"
        " - LateEffector*delta_LM",
        "Memory": "LateEffector*delta_LM",
        "Pathogen": "Pathogen**2*rho_P - EarlyEffector*Pathogen*mu_PE - LateEffector*Pathogen*mu_PL - Pathogen*mu_P",
    }
    rates, bounds = _bounds(folder)
    observables = [name for name in equations if name != "Pathogen"]
    start = {"Naive": 8090.0, "Pathogen": 1.0}
    return {
        "system": {
            "states": list(equations),
            "parameters": rates,
            "equations": equations,
            "observables": {f"observable_{name}": name for name in observables},
        },
        "data": _data(folder, with_sigma=True),
        "parameters": bounds,
        "initial_state": {name: {"guess": start.get(name, 0.0), "fixed": True} for name in equations},
        "noise": {f"observable_{name}": {"distribution": "normal"} for name in observables},
    }


PROBLEMS = (
    Published("Boehm_JProteomeRes2014", boehm, 138.222),
    Published("Crauste_CellSystems2017", crauste, 190.965),
)


def main() -> None:
    """Fit and print a table, a line for each problem."""
    options = _options()
    print(f"seed {options.seed}, {options.points} points log-uniform over the bounds\n")
    print("| problem | optimum | found | median time | longest | warned where missed |\n|---|---|---|---|---|---|")
    with ProcessPoolExecutor(options.processes, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        for number, problem in enumerate(PROBLEMS):
            if options.only in problem.name:
                print(_row(problem, _tries(number, problem, options, pool)), flush=True)
    print(f"\nload {os.getloadavg()[0]:.1f} of the last minute on {os.cpu_count()} cores")


def _tries(number: int, problem: Published, options: argparse.Namespace, pool: ProcessPoolExecutor) -> list[Try]:
    """The fits from all points of a problem. Those that are not among the results yet are run and added."""
    request = problem.request(options.folder / problem.name)
    saved = _saved(options.results, problem.name, options.seed)
    missing = [point for point in range(options.points) if point not in saved]
    points = [_from_random_point(request, [options.seed, number, point]) for point in missing]
    for point, one in zip(missing, pool.map(_try, points), strict=True):
        saved[point] = one
        entry = {"problem": problem.name, "seed": options.seed, "point": point, **one._asdict()}
        with options.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
    return [saved[point] for point in range(options.points)]


def _saved(results: Path, name: str, seed: int) -> dict[int, Try]:
    """The fits of a problem in the file of results, by the number of the point."""
    lines = results.read_text("utf-8").splitlines() if results.exists() else []
    entries = [json.loads(line) for line in lines]
    return {
        entry["point"]: Try(*(entry[field] for field in Try._fields))
        for entry in entries
        if (entry["problem"], entry["seed"]) == (name, seed)
    }


def _row(problem: Published, tries: list[Try]) -> str:
    missed = [one for one in tries if one.loss > problem.optimum + WITHIN]
    told = sum(one.outcome != "converged" or bool(one.warnings) for one in missed)
    seconds = [one.seconds for one in tries]
    return (
        f"| {problem.name} | {problem.optimum:g} | {len(tries) - len(missed)} of {len(tries)} | "
        f"{statistics.median(seconds):.1f} s | {max(seconds):.1f} s | {told} of {len(missed)} |"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--points", type=int, default=20)
    parser.add_argument("--only", default="", help="a part of the name of the problem to fit")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--results", type=Path, default=Path("petab_starts.jsonl"))
    return parser.parse_args()


def _from_random_point(request: Mapping[str, Any], key: Sequence[int]) -> dict[str, Any]:
    """The request with guesses drawn log-uniformly within the bounds, and a seed of its own.

    With one seed for all, the starts of `multi_start` would be the same, and the fits would find the optimum together.
    """
    rng = np.random.default_rng(key)
    parameters = {
        name: entry | {"guess": float(np.exp(rng.uniform(np.log(entry["lower"]), np.log(entry["upper"]))))}
        for name, entry in request["parameters"].items()
    }
    return {**request, "parameters": parameters, "seed": int(rng.integers(2**31))}


def _try(request: dict[str, Any]) -> Try:
    began = time.monotonic()
    try:
        result = fit(parse_problem(request))
    except OdelibError as error:
        return Try(float("inf"), time.monotonic() - began, str(error), ())
    stages = tuple((stage.kind, stage.gradients, round(stage.seconds, 2), stage.loss) for stage in result.stages)
    codes = tuple(warning.code for warning in result.warnings)
    return Try(result.loss, time.monotonic() - began, result.outcome.code, codes, stages)


def _bounds(folder: Path, skip: str = "\n") -> tuple[list[str], dict[str, Any]]:
    """The names of the free rates, without those that begin with `skip`, and their entries in a request."""
    rows = [row for row in _table(folder, "parameters") if row["estimate"] == "1"]
    rows = [row for row in rows if not row["parameterId"].startswith(skip)]
    entries = {
        row["parameterId"]: {"lower": float(row["lowerBound"]), "upper": float(row["upperBound"]), "scale": "log"}
        for row in rows
    }
    return list(entries), entries


def _data(folder: Path, *, with_sigma: bool = False) -> dict[str, Any]:
    """The measurements as a series. with_sigma: their noise parameters are numbers, the standard deviations."""
    rows = _table(folder, "measurementData")
    times = sorted({float(row["time"]) for row in rows})
    names = sorted({row["observableId"] for row in rows})
    columns: dict[str, list[float | None]] = {name: [None] * len(times) for name in names}
    sigma = {name: [1.0] * len(times) for name in names}
    for row in rows:
        index, name = times.index(float(row["time"])), row["observableId"]
        columns[name][index] = float(row["measurement"])
        if with_sigma:
            sigma[name][index] = float(row["noiseParameters"])
    series: dict[str, Any] = {"start_time": 0.0, "times": times, "values": columns}
    return series | ({"sigma": sigma} if with_sigma else {})


def _table(folder: Path, kind: str) -> list[Row]:
    with (folder / f"{kind}_{folder.name}.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


if __name__ == "__main__":
    main()
