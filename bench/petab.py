"""`odefit import` on public PEtab problems with known answers: `python -m bench.petab FOLDER [NAME …]`.

FOLDER is a checkout of the PEtab test suite (github PEtab-dev/petab_test_suite: simulations, chi2, llh and log priors
of each case, with tolerances), or of benchmark problems beside a `reference.json` with their log-likelihoods. Each
problem is imported and evaluated at its nominal values; for the benchmark, gradients are compared with central
differences, and import, first and next gradient are timed.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from odelib.errors import OdelibError
from odelib.fitting import fit
from odelib.formats.errors import UnsupportedError
from odelib.formats.petab.mathematics import parse_mathematics
from odelib.formats.petab.problem import PetabProblem
from odelib.formats.petab.request import read_petab, request_of_petab
from odelib.objective.objective import Objective
from odelib.problem.request import parse_problem
from odelib.problem.resolved import resolve

TIGHT = {"rtol": 1e-10}
DISTANCE, STEP = 1e-3, 1e-4  # in the logarithm of most unknowns: of a point from the nominal one, and of differences


def at_nominal(problem: PetabProblem) -> dict[str, Any]:
    """The request with every parameter fixed at its nominal value."""
    request, _ = request_of_petab(problem)
    nominal = {parameter.name: parameter.nominal for parameter in problem.parameters}
    for name, entry in request["parameters"].items():
        value = nominal.get(name, nominal.get(name.rstrip("_")))
        kept = {field: entry[field] for field in ("lower", "upper", "prior") if field in entry}  # bounds cut a prior
        request["parameters"][name] = {"guess": value, "fixed": True, **kept}
    return request | {"solver": TIGHT}


def check_case(path: Path) -> str:
    """`right`, or what is not, for one case of the test suite."""
    expected = yaml.safe_load((path.parent / f"{path.stem}_solution.yaml").read_text())
    try:
        problem = read_petab(path)
        request = at_nominal(problem)
        result = fit(parse_problem(request))
    except UnsupportedError as error:
        return f"refused: {error}"
    except OdelibError as error:
        return f"failed: {error}"
    found = []
    llh = -result.loss_parts.data
    if abs(llh - expected["llh"]) > expected["tol_llh"]:
        found.append(f"llh {llh:.8g} instead of {expected['llh']:.8g}")
    simulations = _simulations(path.parent / expected["simulation_files"][0], request, result)
    if simulations > expected["tol_simulations"]:
        found.append(f"simulations differ by {simulations:.3g}")
    if "log_prior" in expected:
        ours, theirs = -result.loss_parts.prior, sum(expected["log_prior"].values())
        if abs(ours - theirs) > expected["tol_unnorm_log_posterior"]:
            found.append(f"log prior {ours:.8g} instead of {theirs:.8g}")
    chi2 = _chi2(result)
    if abs(chi2 - expected["chi2"]) > expected["tol_chi2"]:
        found.append(f"chi2 {chi2:.8g} instead of {expected['chi2']:.8g}")
    return "; ".join(found) or "right"


def _chi2(result: Any) -> float:
    """The sum of squared residuals, which are divided by sigma."""
    columns = [column for each in result.trajectories for column in each.residuals.values()]
    return float(sum(value * value for column in columns for value in column if value is not None))


def _simulations(path: Path, request: Mapping[str, Any], result: Any) -> float:
    """The largest difference between a table of simulations and the nearest value of the result at that time.

    Observables that differ by measurement are split: any of their parts may be meant.
    """
    worst = 0.0
    with path.open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    for row in rows:
        when, value = float(row["time"]), float(row.get("simulation") or row["measurement"])
        candidates = [
            column[place]
            for each in result.trajectories
            for name, column in each.values.items()
            for place, t in enumerate(each.times)
            if t == when and name.split("__")[0] == row["observableId"]
        ]
        worst = max(worst, min((abs(candidate - value) for candidate in candidates), default=math.inf))
    return worst


def check_suite(folder: Path, names: list[str]) -> None:
    """Check all cases of both versions, and the expressions of version 2."""
    for version in ("v1.0.0", "v2.0.0"):
        paths = sorted(path for path in (folder / version / "sbml").glob("*/_*.yaml") if path.stem[1:].isdigit())
        paths = [path for path in paths if not names or path.parent.name in names]
        results = {path.parent.name: check_case(path) for path in paths}
        for name, result in results.items():
            if result != "right":
                print(f"{version} {name}: {result}", flush=True)
        print(f"{version}: {sum(r == 'right' for r in results.values())} of {len(results)} right", flush=True)
    cases = yaml.safe_load((folder / "v2.0.0" / "math" / "math_tests.yaml").read_text())["cases"]
    print(f"expressions: {sum(_is_right(case) for case in cases)} of {len(cases)} right")


def _is_right(case: Mapping[str, Any]) -> bool:
    """Whether an expression has its value. Infinity is refused by name, and a formula of names has no value."""
    from odelib.engines.torch_program import TorchProgram  # noqa: PLC0415
    from odelib.formats.expression_text import text_of  # noqa: PLC0415
    from odelib.problem.expressions.parser import parse_expression  # noqa: PLC0415

    expected = case["expected"]
    try:
        text = text_of(parse_mathematics(str(case["expression"])))
    except UnsupportedError as error:
        return "inf" in str(error) and "inf" in str(expected)
    expression = parse_expression(text)
    if expression.names:
        return text.replace(" ", "") == str(expected).replace(" ", "")
    program = TorchProgram([expression], []).bind({})
    value = float(program()[0])
    return value == float(expected) or math.isclose(value, float(expected), rel_tol=1e-12, abs_tol=1e-12)


def check_benchmark(folder: Path, names: list[str]) -> None:
    """Compare log-likelihoods and gradients of the benchmark problems, and time them."""
    reference = {
        each["problem"]: each for each in json.loads((folder.parent / "reference.json").read_text())["problems"]
    }
    print("| problem | llh | reference | within | gradient error | import | first gradient | next gradient |")
    print("|---|---|---|---|---|---|---|---|")
    for name, expected in reference.items():
        if names and name not in names and name.split("_")[0] not in names:
            continue
        try:
            print(_benchmark_row(name, folder / expected["yaml"], expected), flush=True)
        except (UnsupportedError, OdelibError) as error:
            print(f"| {name} | {type(error).__name__}: {str(error)[:200]} |", flush=True)


def _benchmark_row(name: str, path: Path, expected: Mapping[str, Any]) -> str:
    begin = time.perf_counter()
    request, _ = request_of_petab(read_petab(path))
    for entry in request["parameters"].values():
        entry.pop("prior", None)  # the reference leaves it out
    problem = resolve(parse_problem(request | {"solver": {"rtol": 1e-8}}))
    objective = Objective(problem, torch.device("cpu"))
    imported = time.perf_counter()
    point = objective.unknowns.start
    objective.evaluate(point)
    first = time.perf_counter()
    evaluation = objective.evaluate(point)
    after = time.perf_counter()
    error = _gradient_error(request)
    llh = -evaluation.loss
    within = "yes" if abs(llh - expected["llh_nominal"]) <= expected["tolerance_abs"] else "no"
    times = f"{imported - begin:.2f} s | {first - imported:.2f} s | {1e3 * (after - first):.1f} ms"
    return f"| {name} | {llh:.6f} | {expected['llh_nominal']:.6f} | {within} | {error:.1e} | {times} |"


def _gradient_error(request: Mapping[str, Any]) -> float:
    """The largest difference to central differences of order 4, relative to the largest entry.

    Near the nominal point and not at it, where the gradient of many problems is 0.
    """
    objective = Objective(resolve(parse_problem({**request, "solver": {"rtol": 1e-11}})), torch.device("cpu"))
    start = objective.unknowns.start
    point = start + DISTANCE * np.random.default_rng(0).standard_normal(len(start))
    point = np.clip(point, objective.unknowns.lower + 2 * STEP, objective.unknowns.upper - 2 * STEP)
    gradient = np.asarray(objective.evaluate(point).gradient)
    differences = []
    for place in range(len(point)):
        values = []
        for multiple in (-2, -1, 1, 2):
            moved = point.copy()
            moved[place] += multiple * STEP
            values.append(objective.evaluate(moved).loss)
        differences.append((values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * STEP))
    return float(np.abs(np.array(differences) - gradient).max() / np.abs(gradient).max())


def main() -> None:
    """Check the suite or the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", help="cases or problems; all if none is given")
    options = parser.parse_args()
    is_suite = (options.folder / "v2.0.0").is_dir()
    (check_suite if is_suite else check_benchmark)(options.folder, options.names)


if __name__ == "__main__":
    main()
