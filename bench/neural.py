"""Gradients by many unknowns: networks, and known systems with 5 to 500 unknowns.

    python -m bench.neural gradients [CASE ...]   odefit, torchdiffeq and diffrax; needs the `bench` extra for diffrax
    python -m bench.neural borders                forward sensitivities against the adjoint
    python -m bench.neural memory                 memory of a gradient over the length of the solve
    python -m bench.neural plain OTHER            compiling and solving without networks, beside another checkout

The loss is the mean square of the states minus data, by all parameters or weights and initial values. All take turns on
one core, compiled beforehand, with the same tolerances, and must agree. Times are CPU times. A ratio is the median over
rounds.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CORE = sorted(os.sched_getaffinity(0))[-1]
os.sched_setaffinity(0, {CORE})  # before the libraries count the cores

import numpy as np  # noqa: E402
import torch  # noqa: E402

from bench.systems import Reals  # noqa: E402
from odelib.engines.base import DifferentiateBy, SolverOptions, never  # noqa: E402
from odelib.engines.compiled.adjoint.kernels import adjoint_of  # noqa: E402
from odelib.engines.compiled.kernels import kernels_of  # noqa: E402
from odelib.objective.objective import Objective  # noqa: E402
from odelib.problem.catalogue import resolve_system  # noqa: E402
from odelib.problem.limits import UNLIMITED  # noqa: E402
from odelib.problem.request import parse_problem  # noqa: E402
from odelib.problem.resolved import resolve  # noqa: E402
from odelib.problem.system import System, SystemDefinition  # noqa: E402

RTOL, TIGHT = 1e-6, 1e-9
AGREE = 1e-6  # of the largest derivative, at the tight tolerance
ROUNDS, ROUND_SECONDS = 5, 0.1
TIMES = np.linspace(0.0, 5.0, 21)
WIDTHS, STATES = (16, 32, 64), (2, 4, 10, 22)  # n states have n + n² parameters and n initial values
Gradient = Callable[[], Reals]


@dataclass(frozen=True)
class Case:
    """A system, its unknowns and data. hidden: the network's layers; empty for a known system."""

    name: str
    system: System
    state: Reals
    parameters: Reals
    data: Reals
    hidden: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        """The number of unknowns."""
        return len(self.state) + len(self.parameters)


def network(width: int) -> Case:
    """A spiral, x' = A·x, and a network of its states that is added to it."""
    data = np.exp(-0.1 * TIMES) * np.array([2 * np.cos(2 * TIMES), -2 * np.sin(2 * TIMES)])
    request = {
        "system": {
            "states": ["x", "y"],
            "equations": {"x": "-0.1*x + 2*y + u", "y": "-2*x - 0.1*y + v"},
            "networks": {"n": {"inputs": ["x", "y"], "outputs": ["u", "v"], "hidden": [width, width]}},
        },
        "data": {"times": TIMES.tolist(), "values": {"x": data[0].tolist(), "y": data[1].tolist()}},
        "initial_state": {"x": 2.0, "y": 0.0},
    }
    problem = resolve(parse_problem(request, UNLIMITED))
    unknowns = Objective(problem, torch.device("cpu")).unknowns
    parameters, states = (each.numpy()[0] for each in unknowns.values(unknowns.start))
    return Case(f"2 × {width} units", problem.solved_system, states, parameters, data.T, (width, width))


def lotka_volterra(n: int) -> Case:
    """n species, x' = x·(r + A·x): n growth rates and n² interactions."""
    names = [f"x{i}" for i in range(n)]
    definition = {
        "states": names,
        "parameters": [f"r{i}" for i in range(n)] + [f"a{i}_{j}" for i in range(n) for j in range(n)],
        "equations": {
            f"x{i}": f"x{i}*(r{i} + " + " + ".join(f"a{i}_{j}*x{j}" for j in range(n)) + ")" for i in range(n)
        },
    }
    rng = np.random.default_rng(n)
    interactions = rng.normal(scale=0.6 / np.sqrt(n), size=(n, n)) - np.eye(n)
    parameters = np.concatenate([rng.uniform(0.5, 1.5, n), interactions.ravel()])
    system = resolve_system(SystemDefinition.model_validate(definition), UNLIMITED)
    return Case(f"{n} species", system, rng.uniform(0.2, 1.0, n), parameters, np.full((len(TIMES), n), 0.8))


def cases() -> list[Case]:
    """All of them."""
    return [*map(network, WIDTHS), *map(lotka_volterra, STATES)]


def adjoint(case: Case, rtol: float) -> Gradient:
    """By going back through the steps."""
    kernels = adjoint_of(case.system)

    def gradient() -> Reals:
        recording = kernels.solve(*_given(case), _options(rtol), never)
        return np.concatenate([each[0] for each in recording.gradient(_residual(case, recording.states))])

    return gradient


def forward(case: Case, rtol: float) -> Gradient:
    """By forward sensitivities."""
    kernels = kernels_of(case.system)
    by = DifferentiateBy(tuple(range(len(case.state))), tuple(range(len(case.parameters))))

    def gradient() -> Reals:
        solved = kernels.solve(*_given(case), by, _options(rtol), never)
        return _residual(case, solved.states).reshape(-1) @ solved.sensitivities.reshape(-1, case.count)

    return gradient


def _given(case: Case) -> tuple[Reals, Reals, Reals]:
    return TIMES[None], case.state[None], case.parameters[None]


def _residual(case: Case, states: Reals) -> Reals:
    return 2 * (states - case.data) / case.data.size


def _options(rtol: float) -> SolverOptions:
    return SolverOptions("dopri5", rtol, 0.01 * rtol, 1_000_000)


def peers(case: Case, rtol: float) -> dict[str, Gradient]:
    """Those that are installed."""
    from bench.peers import neural_torchdiffeq  # noqa: PLC0415  loads slowly

    ways: dict[str, Gradient] = neural_torchdiffeq.gradients(case, TIMES, rtol, 0.01 * rtol)
    if importlib.util.find_spec("diffrax"):
        from bench.peers import neural_diffrax  # noqa: PLC0415  may not be installed

        ways |= neural_diffrax.gradients(case, TIMES, rtol, 0.01 * rtol)
    return ways


def timed(ways: Mapping[str, Gradient], rounds: int) -> dict[str, list[float]]:
    """The CPU seconds of a call of each, by round."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            calls, began = 0, time.process_time()
            while calls == 0 or time.process_time() - began < ROUND_SECONDS:
                way()
                calls += 1
            found[name].append((time.process_time() - began) / calls)
    return found


def gradients(names: list[str], rounds: int) -> None:
    """A line for each case: milliseconds, and how many times as long the others take."""
    for case in cases():
        if names and case.name not in names:
            continue
        expected = adjoint(case, TIGHT)()
        for name, way in peers(case, TIGHT).items():
            error = np.abs(way() - expected).max() / np.abs(expected).max()
            if not error < AGREE:
                raise SystemExit(f"{case.name}: {name} differs by {error:.1e}")
        ways = {"adjoint": adjoint(case, RTOL), **peers(case, RTOL)}
        if not case.hidden:
            ways["forward"] = forward(case, RTOL)
        seconds = timed(ways, rounds)
        own = seconds["adjoint"]
        ratios = {
            name: statistics.median(a / b for a, b in zip(taken, own, strict=True)) for name, taken in seconds.items()
        }
        others = ", ".join(f"{name} × {ratios[name]:,.3g}" for name in seconds if name != "adjoint")
        print(f"{case.name}, {case.count} unknowns: {1e3 * statistics.median(own):.3g} ms; {others}", flush=True)


def borders(rounds: int) -> None:
    """How many times as long forward sensitivities take as the adjoint, over the number of unknowns."""
    for n in (1, 2, 3, 4, 5, 6, 8):
        case = lotka_volterra(n)
        seconds = timed({"forward": forward(case, RTOL), "adjoint": adjoint(case, RTOL)}, rounds)
        ratio = statistics.median(a / b for a, b in zip(seconds["forward"], seconds["adjoint"], strict=True))
        print(f"{case.name}, {case.count} unknowns: forward sensitivities take {ratio:.2f} × the adjoint", flush=True)


def memory() -> None:
    """The largest memory of a process that computes one gradient, over the number of steps."""
    program = """
import json, resource, sys
import numpy as np
from bench import neural
case, end = neural.network(16), float(sys.argv[1])
kernels = neural.adjoint_of(case.system)
def one(end):
    times = np.linspace(0.0, end, 21)[None]
    solved = kernels.solve(times, case.state[None], case.parameters[None], neural._options(1e-9), neural.never)
    solved.gradient(np.ones(solved.states.shape))
    return solved.most_steps
one(0.1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
steps = one(end)
print(json.dumps([steps, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024]))
"""
    for end in ("5", "50", "500", "5000"):
        run = subprocess.run([sys.executable, "-c", program, end], capture_output=True, text=True, check=True)
        steps, megabytes = json.loads(run.stdout)
        print(f"{steps:,} steps: {megabytes:.1f} MB more", flush=True)


PLAIN = """
import json, resource, time
began = time.process_time()
import odelib
from odelib.engines.layer import ODELayer
imported = time.process_time() - began
import uuid
import torch
torch.set_num_threads(1)
name = "k" + uuid.uuid4().hex[:8]  # a system that no cache has
layer = ODELayer({"states": ["x", "y"], "parameters": [name, "m"], "equations":
    {"x": f"{name}*x - x*y*exp(-x)", "y": f"x*y - m*y + sin({name}*t)"}})
began = time.process_time()
layer.engine.prepare()
compiled = time.process_time() - began
times = torch.linspace(0, 10, 21, dtype=torch.float64)
inputs = [torch.tensor([1.0, 0.5], dtype=torch.float64, requires_grad=True),
          torch.tensor([0.7, 0.4], dtype=torch.float64, requires_grad=True)]
def gradient():
    return torch.autograd.grad(layer(times, *inputs).sum(), inputs)
for _ in range(20):
    gradient()
means = []
for _ in range(9):
    calls, began = 0, time.process_time()
    while time.process_time() - began < 0.05:
        gradient()
        calls += 1
    means.append((time.process_time() - began) / calls)
print(json.dumps({"importing: CPU seconds": imported, "compiling a system: CPU seconds": compiled,
    "a gradient: ms": 1e3*sorted(means)[4], "memory: MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024}))
"""


def plain(other: Path, rounds: int) -> None:
    """What a system without networks costs here and in another checkout, in turn."""

    def measured(root: Path) -> dict[str, float]:
        environment = os.environ | {"PYTHONPATH": str(root)}
        run = subprocess.run(
            [sys.executable, "-c", PLAIN], cwd=root, env=environment, capture_output=True, text=True, check=True
        )
        found: dict[str, float] = json.loads(run.stdout)
        return found

    roots = Path(__file__).parents[1], other
    for root in roots:
        measured(root)  # what is the same for all systems is compiled
    found = [tuple(measured(root) for root in roots) for _ in range(rounds)]
    for name in found[0][0]:
        ratios = sorted(here[name] / there[name] for here, there in found)
        here, there = (statistics.median(each[place][name] for each in found) for place in (0, 1))
        print(f"{name}: {here:.4g} here, {there:.4g} there, ratio {statistics.median(ratios):.3f}")


def main() -> None:
    """Run what was asked for."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["gradients", "borders", "memory", "plain"])
    parser.add_argument("arguments", nargs="*")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked = parser.parse_args()
    run: dict[str, Callable[[], Any]] = {
        "gradients": lambda: gradients(asked.arguments, asked.rounds),
        "borders": lambda: borders(asked.rounds),
        "memory": memory,
        "plain": lambda: plain(Path(asked.arguments[0]).resolve(), asked.rounds),
    }
    run[asked.what]()
    print(f"core {CORE}, load {os.getloadavg()[0]:.1f} of the last minute on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
