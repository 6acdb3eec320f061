"""Measure gradients per second for batches of different sizes, on all cores: the article's fit of Lotka–Volterra.

    python -m bench.batch [SIZE ...]

Every member has its own parameters and initial state, within 10 % of the guess. The loss is the sum over the batch.
For each size, at least one call is timed, after one that is not.
"""

from __future__ import annotations

import os
import resource
import statistics
import sys
import time

import torch
from rich.console import Console
from rich.table import Table

from bench.systems import article
from odelib.engines.layer import ODELayer

SIZES = (1, 10, 100, 1_000, 10_000, 100_000)
SECONDS = 2.0


def main() -> None:
    """Measure and print."""
    sizes = [int(size) for size in sys.argv[1:]] or SIZES
    problem = article()[0]
    layer = ODELayer(problem.system, engine="compiled")
    times, data = torch.tensor(problem.times), torch.tensor(problem.data)
    table = Table(title=f"{problem.name}: loss and gradient of a batch, {torch.get_num_threads()} threads")
    for column in ("B", "gradients per second", "µs per gradient", "peak memory, MB"):
        table.add_column(column, justify="right")
    for size in sizes:
        seconds = timed(layer, times, data, torch.tensor(problem.initial_state), torch.tensor(problem.parameters), size)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        table.add_row(f"{size:,}", f"{size / seconds:,.0f}", f"{1e6 * seconds / size:,.0f}", f"{peak:,.0f}")
    Console().print(table)
    print(f"load {os.getloadavg()[0]:.1f} of the last minute on {os.cpu_count()} cores")


def timed(
    layer: ODELayer, times: torch.Tensor, data: torch.Tensor, state: torch.Tensor, parameters: torch.Tensor, size: int
) -> float:
    """The median time of loss and gradient of a batch."""
    generator = torch.Generator().manual_seed(1)

    def spread(values: torch.Tensor) -> torch.Tensor:
        factor = 0.9 + 0.2 * torch.rand(size, len(values), generator=generator, dtype=torch.float64)
        return (values * factor).requires_grad_()

    states, batch = spread(state), spread(parameters)
    calls: list[float] = []
    while len(calls) < 2 or sum(calls) < SECONDS:
        states.grad = batch.grad = None
        began = time.perf_counter()
        (layer(times, states, batch) - data).square().sum().backward()
        calls.append(time.perf_counter() - began)
    return statistics.median(calls[1:])


if __name__ == "__main__":
    main()
