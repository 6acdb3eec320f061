"""`odefit import` on public PEtab problems with known answers: `python -m bench.petab FOLDER [NAME …]`.

FOLDER is a checkout of the PEtab test suite (github PEtab-dev/petab_test_suite: simulations, chi2, llh and log priors
of each case, with tolerances), or of benchmark problems beside a `reference.json` with their log-likelihoods. Each
problem is imported and evaluated at its nominal values; for the benchmark, gradients are compared with central
differences (with `--directions 3` along three random directions, for problems that take long), and import, first and
next gradient are timed. With `--seeds 5` each is fitted five times, from guesses
drawn over its bounds. With `--speed` gradients are timed beside libroadrunner's finite differences instead, which needs
the bench extra.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import statistics
import time
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from odelib.arrays import Reals
from odelib.errors import OdelibError, SolveError
from odelib.fitting import fit
from odelib.formats.errors import UnsupportedError
from odelib.formats.petab.mathematics import parse_mathematics
from odelib.formats.petab.problem import PetabProblem
from odelib.formats.petab.request import read_petab, request_of_petab
from odelib.objective.objective import Objective
from odelib.problem.request import parse_problem
from odelib.problem.resolved import resolve

TIGHT = {"rtol": 1e-10}
DISTANCE = 1e-3  # of the point of gradients from the nominal one, in the logarithm of most unknowns
STEPS = (1e-4, 1e-5, 1e-6)  # of differences, the next one where the one before is not good enough
GOOD_ENOUGH = 1e-6
SPEED_RTOL, SPEED_ATOL = 1e-8, 1e-10  # the absolute one is libroadrunner's; ours is automatic
BESIDE = 1e-11  # by which points differ whose gradients are timed
AT_LEAST = 1.0  # seconds for which a gradient is repeated, and three times
AT_OPTIMUM = 0.1  # a log-likelihood this much below the nominal one is the optimum


def at_nominal(problem: PetabProblem) -> dict[str, Any]:
    """The request with every parameter fixed at its nominal value."""
    request, _ = request_of_petab(problem)
    nominal = {parameter.name: parameter.nominal for parameter in problem.parameters}
    for name, entry in request["parameters"].items():
        value = nominal.get(name, nominal.get(name.rstrip("_")))
        # bounds cut a prior; without one the nominal value may lie beyond them
        kept = {field: entry[field] for field in ("lower", "upper", "prior") if field in entry and "prior" in entry}
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


def check_benchmark(folder: Path, names: list[str], directions: int) -> None:
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
            print(_benchmark_row(name, folder / expected["yaml"], expected, directions), flush=True)
        except (UnsupportedError, OdelibError) as error:
            print(f"| {name} | {type(error).__name__}: {str(error)[:200]} |", flush=True)


def _benchmark_row(name: str, path: Path, expected: Mapping[str, Any], directions: int) -> str:
    begin = time.perf_counter()
    request, _ = request_of_petab(read_petab(path))
    for entry in request["parameters"].values():
        entry.pop("prior", None)  # the reference leaves it out
    problem = resolve(parse_problem(request | {"solver": {"rtol": 1e-8}}))
    objective = Objective(problem, torch.device("cpu"))
    imported = time.perf_counter()
    point = objective.unknowns.start
    objective.evaluate(point + BESIDE)
    first = time.perf_counter()
    evaluation = objective.evaluate(point)
    after = time.perf_counter()
    error = _gradient_error(request, directions)
    llh = -evaluation.loss
    within = "yes" if abs(llh - expected["llh_nominal"]) <= expected["tolerance_abs"] else "no"
    times = f"{imported - begin:.2f} s | {first - imported:.2f} s | {1e3 * (after - first):.1f} ms"
    return f"| {name} | {llh:.6f} | {expected['llh_nominal']:.6f} | {within} | {error:.1e} | {times} |"


def _gradient_error(request: Mapping[str, Any], directions: int) -> float:
    """The largest difference to central differences of order 4, relative to the largest entry.

    By every unknown, or along so many random directions that change all of them.
    Near the nominal point and not at it, where the gradient of many problems is 0. Where there is no solution, on the
    other side of it: Crauste's model diverges at t = 9.3 as soon as some parameters grow by a millionth.
    """
    objective = Objective(resolve(parse_problem({**request, "solver": {"rtol": 1e-11}})), torch.device("cpu"))
    point, gradient = _point_with_gradient(objective)
    along = np.eye(len(point))
    if directions:
        along = np.random.default_rng(1).choice([-1.0, 1.0], (directions, len(point)))
    best = np.full(len(along), math.inf)
    for step in STEPS:
        for place in map(int, np.flatnonzero(best > GOOD_ENOUGH)):
            difference = _difference(objective, point, along[place], step)
            best[place] = min(best[place], abs(difference - gradient @ along[place]) / np.abs(gradient).max())
    return float(best.max())


def _point_with_gradient(objective: Objective) -> tuple[Reals, Reals]:
    start, lower, upper = (getattr(objective.unknowns, name) for name in ("start", "lower", "upper"))
    away = DISTANCE * np.random.default_rng(0).standard_normal(len(start))
    for direction in (away, -away):
        point = np.clip(start + direction, lower + 2 * STEPS[0], upper - 2 * STEPS[0])
        try:
            return point, np.asarray(objective.evaluate(point).gradient)
        except SolveError as error:
            failure = error
    raise failure


def _difference(objective: Objective, point: Reals, direction: Reals, step: float) -> float:
    """The derivative along a direction; infinite where there is no solution beside the point."""
    values = []
    for multiple in (-2, -1, 1, 2):
        try:
            values.append(_loss(objective, point + multiple * step * direction))
        except SolveError:
            return math.inf
    return (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)


def _loss(objective: Objective, point: Reals) -> float:
    """The loss without derivatives, of problems without priors."""
    with torch.no_grad():
        parameters, starts = objective.unknowns.values(point)
        states = objective.trajectories.states(parameters, starts)
        model = objective.trajectories.observe(states, parameters)
        return objective.measurements.loss(model, objective.measurements.concentrated_scales(model))[0]


def check_speed(folder: Path, names: list[str]) -> None:
    """Time imports and gradients at the nominal values, beside simulations by libroadrunner, on one thread."""
    torch.set_num_threads(1)
    reference = json.loads((folder.parent / "reference.json").read_text())["problems"]
    print(
        "| problem | llh | theirs | import | first gradient | next gradient | their simulations | their time | ratio |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for expected in reference:
        name = expected["problem"]
        if not names or name in names or name.split("_")[0] in names:
            try:
                print(_speed_row(name, folder / expected["yaml"]), flush=True)
            except (UnsupportedError, OdelibError, ValueError, RuntimeError) as error:
                print(f"| {name} | {type(error).__name__}: {str(error)[:200]} |", flush=True)


def _speed_row(name: str, path: Path) -> str:
    from bench.peers.roadrunner import RoadrunnerProblem  # noqa: PLC0415 - only this needs it

    begin = time.perf_counter()
    request, _ = request_of_petab(read_petab(path))
    for entry in request["parameters"].values():
        entry.pop("prior", None)  # the peer has none
    objective = Objective(resolve(parse_problem(request | {"solver": {"rtol": SPEED_RTOL}})), torch.device("cpu"))
    imported = time.perf_counter()
    llh = -objective.evaluate(objective.unknowns.start).loss
    first = time.perf_counter()
    peer = RoadrunnerProblem(path, SPEED_RTOL, SPEED_ATOL)
    theirs, backward = peer.llh(), peer.choose_directions()
    numbers = count()  # of points that differ: what is computed twice at one point is kept
    ours = _median_time(lambda: objective.evaluate(objective.unknowns.start + next(numbers) * BESIDE))
    other = _median_time(peer.gradient)
    times = f"{imported - begin:.2f} s | {first - imported:.2f} s | {1e3 * ours:.1f} ms"
    simulations = f"{peer.simulations()} ({backward} backward)" if backward else str(peer.simulations())
    compared = f"{simulations} | {1e3 * other:.1f} ms | {other / ours:.2g}"
    return f"| {name} | {llh:.6f} | {theirs:.6f} | {times} | {compared} |"


def _median_time(call: Callable[[], object]) -> float:
    """The CPU time of a call, which other programs hardly change; both sides run on one thread."""
    times: list[float] = []
    while len(times) < 3 or sum(times) < AT_LEAST:
        begin = time.process_time()
        call()
        times.append(time.process_time() - begin)
    return statistics.median(times)


def check_fits(folder: Path, names: list[str], seeds: int, starts: int) -> None:
    """Fit the benchmark problems from guesses drawn over their bounds, and say how often the optimum is found."""
    reference = json.loads((folder.parent / "reference.json").read_text())["problems"]
    for expected in reference:
        name = expected["problem"]
        if names and name not in names and name.split("_")[0] not in names:
            continue
        request, _ = request_of_petab(read_petab(folder / expected["yaml"]))
        for entry in request["parameters"].values():
            entry.pop("prior", None)  # the reference leaves it out
        found = 0
        for seed in range(seeds):
            begin = time.perf_counter()
            try:
                llh = -fit(parse_problem(_from_anywhere(request, seed) | {"starts": starts, "seed": seed})).loss
            except OdelibError as error:
                print(f"{name}, seed {seed}: {error}", flush=True)
                continue
            found += llh >= expected["llh_nominal"] - AT_OPTIMUM
            print(f"{name}, seed {seed}: llh {llh:.4f} in {time.perf_counter() - begin:.0f} s", flush=True)
        print(f"{name}: llh of at least {expected['llh_nominal'] - AT_OPTIMUM:.4f} in {found} of {seeds}", flush=True)


def _from_anywhere(request: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The request with guesses drawn between the bounds, of their logarithms where the scale is logarithmic."""
    random = np.random.default_rng(seed)
    parameters = {}
    for name, entry in request["parameters"].items():
        parameters[name] = dict(entry)
        if not entry.get("fixed"):
            lower, upper = entry["lower"], entry["upper"]
            is_log = entry.get("scale") == "log"
            ends = np.log([lower, upper]) if is_log else np.array([lower, upper])
            drawn = random.uniform(*ends)
            parameters[name]["guess"] = float(np.clip(np.exp(drawn) if is_log else drawn, lower, upper))
    return {**request, "parameters": parameters}


def main() -> None:
    """Check the suite or the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", help="cases or problems; all if none is given")
    parser.add_argument("--seeds", type=int, default=0, help="fit each benchmark problem so often instead")
    parser.add_argument("--speed", action="store_true", help="time gradients beside libroadrunner instead")
    parser.add_argument("--directions", type=int, default=0, help="compare gradients along so many random ones only")
    parser.add_argument("--starts", type=int, default=10, help="starts of each fit")
    options = parser.parse_args()
    if options.seeds:
        check_fits(options.folder, options.names, options.seeds, options.starts)
        return
    if options.speed:
        check_speed(options.folder, options.names)
        return
    if (options.folder / "v2.0.0").is_dir():
        check_suite(options.folder, options.names)
    else:
        check_benchmark(options.folder, options.names, options.directions)


if __name__ == "__main__":
    main()
