"""Measure the cost of compiling a definition: on first use, in a second process, and for 10, 100 and 1,000 states.

    python -m bench.compile [STATES ...]

Every row is measured in new processes with a separate folder for the kernels. The chain of n states has n parameters,
one for each reaction. Products couple neighbours, so the Jacobian is sparse but not constant. For 1,000 states only
the solution is computed; for fewer, the gradient with respect to all parameters.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

SIZES = (3, 10, 100, 1000)
MAX_WITH_GRADIENT = 100
PROGRAM = """
import json, resource, sys, time
import torch
import odelib.engines.layer
from bench.compile import chain, MAX_WITH_GRADIENT
n = int(sys.argv[1])
definition = chain(n)
began, used = time.perf_counter(), time.process_time()
layer = odelib.engines.layer.ODELayer(definition, engine="compiled")
parameters = torch.full((n,), 0.5, dtype=torch.float64, requires_grad=n <= MAX_WITH_GRADIENT)
state = torch.zeros(n, dtype=torch.float64)
state[0] = 1.0
times = torch.linspace(0.0, 10.0, 11, dtype=torch.float64)
def work():
    states = layer(times, state, parameters)
    if n <= MAX_WITH_GRADIENT:
        states.square().sum().backward()
work()
first, first_cpu = time.perf_counter() - began, time.process_time() - used
began, used = time.perf_counter(), time.process_time()
work()
again = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"first": first, "cpu": first_cpu, "again": again, "peak": peak}))
"""


def chain(n: int) -> dict[str, Any]:
    """n states, each made from the one before and the one after it: a parameter k a state."""
    states = [f"y{i}" for i in range(n)]
    rates = [f"k{i}*y{i}*(1 + y{(i + 1) % n})" for i in range(n)]
    return {
        "states": states,
        "parameters": [f"k{i}" for i in range(n)],
        "equations": {f"y{i}": f"{rates[i - 1]} - {rates[i]}" for i in range(n)},
    }


def main() -> None:
    """Measure and print."""
    sizes = [int(size) for size in sys.argv[1:]] or SIZES
    table = Table(title="chain of n states with n parameters")
    for column in ("states", "computed", "process", "first, s", "of CPU, s", "again, ms", "peak memory, MB"):
        table.add_column(column, justify="right")
    warm()
    for n in sizes:
        with tempfile.TemporaryDirectory(prefix="bench-kernels-") as home:
            for process in ("empty folder", "second"):
                row = run(n, home)
                what = "gradient" if n <= MAX_WITH_GRADIENT else "solution"
                table.add_row(
                    str(n),
                    what,
                    process,
                    f"{row['first']:.2f}",
                    f"{row['cpu']:.2f}",
                    f"{1e3 * row['again']:.3g}",
                    f"{row['peak']:.0f}",
                )
    Console(width=110).print(table)
    print(f"load {os.getloadavg()[0]:.1f} of the last minute on {os.cpu_count()} cores")


def warm() -> None:
    """What all definitions share is compiled once after installing, and is not what is measured."""
    with tempfile.TemporaryDirectory(prefix="bench-kernels-") as home:
        run(2, home)


def run(n: int, home: str) -> Mapping[str, float]:
    """One fresh process."""
    command = [sys.executable, "-c", PROGRAM, str(n)]
    environment = os.environ | {"HOME": home}  # the kernels' folder lies below it
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise SystemExit(f"{n} states: {answer.stderr[-2000:]}")
    result: Mapping[str, float] = json.loads(answer.stdout)
    return result


if __name__ == "__main__":
    main()
