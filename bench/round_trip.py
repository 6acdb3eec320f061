"""Exports to PEtab that are imported again: `python -m bench.round_trip [NAME …]`.

Each request of examples/requests/experiments, Theophylline and lynx–hare is exported, checked by the linter of the
petab package, and imported. Both losses are compared at the same unknowns, near the guesses: they may differ by a
constant only, which is printed. What PEtab cannot express is refused by name.
"""

from __future__ import annotations

import argparse
import json
import re
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from petab.v2 import lint_problem
from scipy.optimize import minimize

from examples.problems.measured import theophylline
from odelib.arrays import Reals
from odelib.formats.errors import UnsupportedError
from odelib.formats.exporting import to_petab
from odelib.formats.importing import import_file
from odelib.objective.objective import Objective
from odelib.problem.request import parse_problem
from odelib.problem.resolved import ResolvedProblem, resolve

REQUESTS = Path(__file__).parent.parent / "examples" / "requests"
POINTS, DISTANCE = 3, 0.02
TIGHT = {"rtol": 1e-11}


def requests() -> dict[str, dict[str, Any]]:
    """The requests by name."""
    found = {path.stem: json.loads(path.read_text()) for path in sorted((REQUESTS / "experiments").glob("*.json"))}
    found["theophylline"] = theophylline().request
    found["lynx-hare"] = json.loads((REQUESTS / "lynx-hare.json").read_text())
    return found


def row(name: str, request: Mapping[str, Any]) -> str:
    """One line of the table."""
    begin = time.perf_counter()
    request = {**request, "solver": TIGHT}
    with TemporaryDirectory() as folder:
        try:
            to_petab(parse_problem(request), Path(folder))
        except UnsupportedError as error:
            return f"| {name} | refused: {error} | | | |"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of that package and pandas
            found = lint_problem(str(Path(folder) / "problem.yaml"))
        linted = "errors" if found.has_errors() else "passed"
        back, _ = import_file(Path(folder) / "problem.yaml")
    constant, spread = compared(resolve(parse_problem(request)), _objective({**back, "solver": TIGHT}))
    return f"| {name} | {linted} | {constant:.6g} | {spread:.1e} | {time.perf_counter() - begin:.0f} s |"


def compared(problem: ResolvedProblem, theirs: Objective) -> tuple[float, float]:
    """The constant by which two losses differ, and how far from constant it is, relative to the loss.

    Without `noise` ours is a sum of squares, twice a negative log-likelihood.
    """
    ours = Objective(problem, torch.device("cpu"))
    factor = 1.0 if problem.request.noise else 2.0
    random = np.random.default_rng(0)
    differences, sizes = [], []
    for _ in range(POINTS):
        start = ours.unknowns.start
        point = start + DISTANCE * random.standard_normal(len(start)) * np.where(ours.unknowns.log, 1.0, np.abs(start))
        point = np.clip(point, ours.unknowns.lower, ours.unknowns.upper)
        loss = ours.evaluate(point).loss
        differences.append(loss - factor * _loss_at(theirs, _values(problem, ours, point)))
        sizes.append(abs(loss))
    return differences[0], float(np.ptp(differences) / max(sizes))


def _values(problem: ResolvedProblem, objective: Objective, point: Reals) -> dict[str, float]:
    """The values of unknowns as their exports are called."""
    found = {}
    for name, value, is_log in zip(objective.unknowns.names, point, objective.unknowns.log, strict=True):
        own = re.sub(r"\[(.*)\]$", lambda match: "__" + re.sub(r"\W", "_", match.group(1)), name)
        is_state = name.split("[")[0] in problem.system.states
        found[f"initial_{own}" if is_state else own] = float(np.exp(value) if is_log else value)
    return found


def _loss_at(objective: Objective, values: Mapping[str, float]) -> float:
    """The loss at these values; least by the scales of noise, which the exported problem has among its unknowns."""
    unknowns = objective.unknowns
    if missing := set(values) - set(unknowns.names):
        raise AssertionError(f"the imported problem has no {', '.join(sorted(missing))}")
    point = unknowns.start.copy()
    for place, name in enumerate(unknowns.names):
        if name in values:
            point[place] = np.log(values[name]) if unknowns.log[place] else values[name]
    scales = [place for place, name in enumerate(unknowns.names) if name not in values]
    if not scales:
        return objective.evaluate(point).loss

    is_log = unknowns.log[scales]

    def at(logarithms: Reals) -> tuple[float, Reals]:
        moved, values = point.copy(), np.exp(logarithms)
        moved[scales] = np.where(is_log, logarithms, values)
        found = objective.evaluate(moved)
        return found.loss, np.asarray(found.gradient)[scales] * np.where(is_log, 1.0, values)

    start = np.where(is_log, point[scales], np.log(np.where(is_log, 1.0, point[scales])))
    return float(minimize(at, start, jac=True, options={"gtol": 1e-9}).fun)


def _objective(request: Mapping[str, Any]) -> Objective:
    return Objective(resolve(parse_problem(request)), torch.device("cpu"))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="requests; all if none is given")
    names = parser.parse_args().names
    print("| request | linter | constant | not constant, relative | time |")
    print("|---|---|---|---|---|")
    for name, request in requests().items():
        if not names or name in names:
            print(row(name, request), flush=True)


if __name__ == "__main__":
    main()
