"""Measure how the time and memory of a default request grow with states, unknowns and measurements.

    python -m bench.scaling [--other CHECKOUT] [--limit SECONDS] [CASE ...]

Cases are named `diffusion-N` (N states, one unknown), `chain-N` (N reactions in a row, N unknown rates), `points-N`
(Lotka–Volterra at N times) and `profiles-N` (a cascade of six states with 14 unknown rates, N states measured, with the
profiles of all unknowns; the time that the stages do not take is theirs). Each runs in a process of its own,
single-threaded, which is stopped at the limit. With `--other`, for example a worktree of the commit before, each case
runs there as well, directly afterwards. `fit` is the time of the whole fit, which includes compiling the system unless
its machine code is cached; memory is the process's largest.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.linalg import expm

Reals = NDArray[np.float64]
CASES = (
    *(f"diffusion-{n}" for n in (10, 50, 100, 200, 500, 1000)),
    *(f"chain-{n}" for n in (5, 20, 50, 100, 200)),
    *(f"points-{n}" for n in (1_000, 10_000, 100_000, 200_000)),
    *(f"profiles-{n}" for n in (6, 2)),
)
LENGTH, DIFFUSIVITY = 0.306, 0.01
NOISE = 0.02
RATES = {
    "k1": 0.8, "k2": 0.3, "k3": 0.5, "K3": 0.4, "k4": 1.2, "m0": 2.0, "k5": 0.6,
    "v6": 1.5, "K6": 0.7, "k7": 0.9, "k8": 0.7, "k9": 0.25, "k10": 0.9, "k11": 0.35,
}  # fmt: skip
START = {"R": 2.0, "E": 0.0, "M": 0.0, "K": 0.0, "T": 0.0, "F": 0.1}
CASCADE = {
    "R": "-k1*R + k2*E",
    "E": "k1*R - k2*E - k3*E*M/(K3 + M)",
    "M": "k4*E*(1 - M/m0) - k5*M",
    "K": "v6*M/(K6 + M) - k7*K",
    "T": "k8*K*(1 - T) - k9*T",
    "F": "k10*T - k11*F*K",
}


def main() -> None:
    """Run the cases and print a table, a line for each run."""
    options = _options()
    if options.run:
        print(json.dumps(_run(options.run)))
        return
    here = Path(__file__).resolve().parents[1]
    print("| case | checkout | fit | stages | memory | outcome |\n|---|---|---|---|---|---|")
    for case in options.cases or CASES:
        for name, checkout in (("this", here), *((("other", options.other.resolve()),) if options.other else ())):
            print(f"| {case} | {name} | {_measured(case, checkout, options.limit)} |", flush=True)
    print(f"\nload {os.getloadavg()[0]:.1f} of the last minute on {os.cpu_count()} cores")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--other", type=Path, help="another checkout, to compare with")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds of a case, after which it is stopped")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("cases", nargs="*", metavar="CASE")
    return parser.parse_args()


def _measured(case: str, checkout: Path, limit: float) -> str:
    """The columns of a run: a process that imports the library of a checkout."""
    settings = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-P", __file__, "--run", case]  # -P: files beside this one are no modules
    try:
        found = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return f"more than {limit:g} s | | | stopped at the limit"
    if found.returncode:
        return f" | | | {found.stderr.strip().splitlines()[-1]}"
    result = json.loads(found.stdout.splitlines()[-1])
    stages = ", ".join(f"{kind} {seconds:.2g} s" for kind, seconds in result["stages"] if seconds >= 0.005)
    return f"{result['seconds']:.2f} s | {stages} | {result['mebibytes']} MiB | {result['outcome']}"


def _run(case: str) -> dict[str, Any]:
    """Fit a case; see `_measured`."""
    # from the checkout that is measured, which `--run` has put first
    import torch  # noqa: PLC0415

    from odelib.fitting import fit  # noqa: PLC0415
    from odelib.problem.request import parse_problem  # noqa: PLC0415

    torch.set_num_threads(1)
    kind, size = case.split("-")
    requests = {"diffusion": diffusion, "chain": chain, "points": points, "profiles": profiles}
    problem = parse_problem(requests[kind](int(size)))
    began = time.monotonic()
    result = fit(problem)
    return {
        "seconds": time.monotonic() - began,
        "stages": [(stage.kind, stage.seconds) for stage in result.stages],
        "mebibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "outcome": result.outcome.code,
    }


def diffusion(count: int) -> dict[str, Any]:
    """A concentration that diffuses into a layer of so many cells: one unknown, guessed 100 times too large."""
    width = LENGTH / (count + 1)
    names = [f"c{i}" for i in range(1, count + 1)]
    padded = ["1", *names, "0"]
    equations = {name: f"D/{width**2!r}*({padded[i]} - 2*{name} + {padded[i + 2]})" for i, name in enumerate(names)}
    matrix = (np.diag(np.full(count, -2.0)) + np.eye(count, k=1) + np.eye(count, k=-1)) / width**2
    eigenvalues, vectors = np.linalg.eigh(matrix)
    steady = 1 - np.arange(1, count + 1) / (count + 1)
    times = np.linspace(0, 4.2, 61)
    decay = np.exp(DIFFUSIVITY * np.outer(times, eigenvalues)) * -(vectors.T @ steady)
    measured = sorted({round(place) for place in np.linspace(0, count - 1, 10)})
    return {
        "system": {"states": names, "parameters": ["D"], "equations": equations},
        "data": _noisy(times, {names[i]: steady[i] + decay @ vectors[i] for i in measured}),
        "parameters": {"D": {"guess": 100 * DIFFUSIVITY, "lower": 1e-6, "scale": "log"}},
        "initial_state": {name: {"guess": 0.0, "fixed": True} for name in names},
        "uncertainty": "covariance",
    }


def chain(count: int) -> dict[str, Any]:
    """Reactions in a row, each with a rate that is guessed wrong by a factor up to 1.5; all substances are measured."""
    rng = np.random.default_rng(1)
    rates = rng.uniform(0.5, 2.0, count)
    names = [f"x{i}" for i in range(count + 1)]
    equations = {name: f"{f'k{i - 1}*x{i - 1}' if i else '0'}" for i, name in enumerate(names)}
    equations |= {f"x{i}": f"{equations[f'x{i}']} - k{i}*x{i}" for i in range(count)}
    matrix = np.diag([*-rates, 0.0]) + np.diag(rates, k=-1)
    times = np.linspace(0, 1.5 * count, 61)
    step = expm(matrix * times[1])
    states = [np.eye(count + 1)[0]]
    for _ in times[1:]:
        states.append(step @ states[-1])
    guesses = rates * 1.5 ** rng.uniform(-1, 1, count)
    return {
        "system": {"states": names, "parameters": [f"k{i}" for i in range(count)], "equations": equations},
        "data": _noisy(times, dict(zip(names, np.array(states).T, strict=True))),
        "parameters": {f"k{i}": {"guess": float(k), "scale": "log"} for i, k in enumerate(guesses)},
        "initial_state": {name: {"guess": float(not i), "fixed": True} for i, name in enumerate(names)},
        "uncertainty": "covariance",
    }


def points(count: int) -> dict[str, Any]:
    """Lotka–Volterra measured so many times over five periods, from guesses within a quarter."""
    times = np.linspace(0, 20, count)

    def rates(_: float, state: Reals) -> list[float]:
        prey, predator = state
        return [prey * (1.5 - predator), predator * (prey - 3)]

    solved = solve_ivp(rates, (0, 20), [1.0, 1.0], t_eval=times, rtol=1e-9, atol=1e-10)
    return {
        "system": "lotka-volterra",
        "data": _noisy(times, {"prey": solved.y[0], "predator": solved.y[1]}),
        "parameters": {"alpha": 1.2, "beta": 1.1, "gamma": 1.2, "delta": 2.6},
        "initial_state": {"prey": 1.2, "predator": 0.8},
        "uncertainty": "covariance",
    }


def profiles(count: int) -> dict[str, Any]:
    """Signals in a cascade whose last states are measured, from guesses wrong by 30 %.

    With all six measured, the data determine every rate; with the last two, hardly any.
    """
    from odelib.simulation.simulated_data import simulate  # noqa: PLC0415 (as in `_run`)

    system = {"states": list(CASCADE), "parameters": list(RATES), "equations": CASCADE}
    start = {"initial_state": {name: {"guess": value, "fixed": True} for name, value in START.items()}}
    truth = {"system": system, "parameters": RATES, "times": np.linspace(0, 25, 60).tolist()} | start
    data = simulate(truth, noise=NOISE, seed=0)
    measured = list(CASCADE)[6 - count :]
    return {
        "system": system,
        "data": data | {"values": {name: data["values"][name] for name in measured}},
        "parameters": {
            name: {"guess": k * 1.3 ** (-1) ** i, "scale": "log", "lower": k / 1e3, "upper": k * 1e3}
            for i, (name, k) in enumerate(RATES.items())
        },
        "uncertainty": "profile",
    } | start


def _noisy(times: Reals, columns: dict[str, Reals]) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    values = {name: (column + NOISE * rng.standard_normal(len(times))).tolist() for name, column in columns.items()}
    return {"times": times.tolist(), "values": values}


if __name__ == "__main__":
    main()
