"""Time this checkout beside another one, in turn: python -m bench.beside OTHER_CHECKOUT [--rounds N].

It measures a loss and its gradient on the article's problems, and importing the API, in CPU time and memory. In
every round each checkout runs in processes of its own. A ratio is the median over rounds: 1.1 means that this checkout
takes 10 % longer.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

GRADIENTS = """
import json, os, statistics, time
os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[-1]})
import torch
torch.set_num_threads(1)
from bench.peers import ours
from bench.systems import article
found = {}
for problem in article():
    for name, call in ours.gradients(problem, 1e-6, 1e-6 * problem.smallest).items():
        for _ in range(20):
            call()
        means = []
        for _ in range(9):
            calls, began = 0, time.process_time()
            while time.process_time() - began < 0.05:
                call()
                calls += 1
            means.append((time.process_time() - began) / calls)
        found[f"{problem.name}, {name}: ms"] = 1e3 * statistics.median(means)
print(json.dumps(found))
"""
IMPORT = """
import json, resource, time
import {server}
from odelib.problem.request import parse_problem
print(json.dumps({{
    "importing the API: CPU seconds": time.process_time(),
    "importing the API: MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}}))
"""


def measured(root: Path) -> dict[str, float]:
    """What one round gives for a checkout."""
    server = "service.http.server" if (root / "service" / "http").is_dir() else "service.server"
    found: dict[str, float] = {}
    for program in (GRADIENTS, IMPORT.format(server=server)):
        environment = os.environ | {"PYTHONPATH": str(root)}
        run = subprocess.run(
            [sys.executable, "-c", program], cwd=root, env=environment, capture_output=True, text=True, check=True
        )
        found |= json.loads(run.stdout)
    return found


def main() -> None:
    """Print a line for each figure: this checkout, the other one, and the median ratio with its range."""
    parser = argparse.ArgumentParser(description="Time this checkout beside another one.")
    parser.add_argument("other", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    here, other = Path(__file__).parents[1], asked.other.resolve()
    for root in (here, other):  # compile what is not yet compiled
        measured(root)
    rounds = [(measured(here), measured(other)) for _ in range(asked.rounds)]
    print(f"{'':60}{'here':>10}{'other':>10}{'ratio':>8}   range")
    for name in rounds[0][0]:
        pairs = [(a[name], b[name]) for a, b in rounds]
        ratios = sorted(a / b for a, b in pairs)
        medians = [statistics.median(column) for column in zip(*pairs, strict=True)]
        ratio = statistics.median(ratios)
        print(f"{name:60}{medians[0]:10.4g}{medians[1]:10.4g}{ratio:8.2f}   {ratios[0]:.2f} to {ratios[-1]:.2f}")
    print(f"load {os.getloadavg()[0]:.1f} of the last minute on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
