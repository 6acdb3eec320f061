"""Measure batches: gradients per second of different sizes, and the fits of many series by one call.

    python -m bench.batch gradients [SIZE ...] [--device cuda] [--peers]
    python -m bench.batch fits [--series 10000] [--alone 500] [--peers]
    python -m bench.batch service [--series 100000] [--answered 10000]

gradients: the article's problem, Lotka–Volterra with 101 times and six unknowns. Every member has its own parameters
and initial state, within 10 % of the guess; the loss is the sum over the batch. One trajectory after the other, and
eight side by side; on a GPU with `--device cuda`, diffrax under `vmap` with `--peers`.

fits: series of Lotka–Volterra with 21 times and 5 % noise, each with its own truth and guesses, by `fit_batch`; and
some of them by `fit` alone; by optimistix's Levenberg–Marquardt over diffrax under `vmap` with `--peers`.

service: the same series by `POST /batches` to `odefit serve` with two workers. A batch of `--series` is sent as lines
while the memory of the API is watched, then cancelled, and one of `--answered` is read to its end.

Times are those of the CPUs, in all threads, and so are speeds, given on two of them: they depend less than the clock's
on what else is running. Where a GPU computes, they are the clock's.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from bench.service import api_megabytes, service
from bench.systems import Problem, Reals, article
from odelib import FitProblem, fit, fit_batch
from odelib.engines.base import DifferentiateBy, SolverOptions, never
from odelib.engines.compiled.kernels import kernels_of
from odelib.engines.compiled.lane_kernels import MIN_MEMBERS, lane_kernels_of
from odelib.engines.cuda.program import gpu_kernels_of
from odelib.problem.batches import member_request

SIZES = (1, 10, 100, 1_000, 10_000)
OPTIONS = SolverOptions("auto", 1e-6, "auto", 100_000)
ALL = DifferentiateBy((0, 1), (0, 1, 2, 3))
SECONDS = 2.0
CORES = 2
TRUTH, START = (1.5, 1.0, 1.0, 3.0), (1.0, 1.0)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    gradients = commands.add_parser("gradients")
    gradients.add_argument("sizes", nargs="*", type=int, default=SIZES)
    gradients.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    gradients.add_argument("--peers", action="store_true")
    fits = commands.add_parser("fits")
    fits.add_argument("--series", type=int, default=10_000)
    fits.add_argument("--alone", type=int, default=500)
    fits.add_argument("--peers", action="store_true")
    over_http = commands.add_parser("service")
    over_http.add_argument("--series", type=int, default=100_000)
    over_http.add_argument("--answered", type=int, default=10_000)
    asked = parser.parse_args()
    if asked.command == "gradients":
        measure_gradients(asked.sizes, asked.device, asked.peers)
    elif asked.command == "fits":
        measure_fits(asked.series, asked.alone, asked.peers)
    else:
        measure_service(asked.series, asked.answered)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:,.0f} MB; load {os.getloadavg()[0]:.1f} of the last minute on {os.cpu_count()} cores")


def measure_gradients(sizes: list[int], device: str, peers: bool) -> None:
    """Print gradients per second for each size and way."""
    problem = article()[0]
    table = Table(title=f"{problem.name}, {len(problem.times)} times: loss and gradient, per second")
    for column in ("B", "way", "µs each", "per second", "beside the first"):
        table.add_column(column, justify="right")
    for size in sizes:
        ways = gpu_ways(problem, size) if device == "cuda" else cpu_ways(problem, size)
        if peers:
            ways |= diffrax_ways(problem, size)
        seconds = timed(ways, time.perf_counter if device == "cuda" else time.process_time)
        first = next(iter(seconds.values()))
        for name, each in seconds.items():
            speed = size / each * (1 if device == "cuda" else CORES)
            table.add_row(f"{size:,}", name, f"{1e6 * each / size:,.2f}", f"{speed:,.0f}", f"{first / each:.1f} ×")
    Console().print(table)


def timed(ways: dict[str, Callable[[], object]], clock: Callable[[], float]) -> dict[str, float]:
    """The least time of each way, all of them in turn."""
    for way in ways.values():
        way()
    found: dict[str, list[float]] = {name: [] for name in ways}
    began = time.perf_counter()
    while len(next(iter(found.values()))) < 3 or time.perf_counter() - began < SECONDS * len(ways):
        for name, way in ways.items():
            start = clock()
            way()
            found[name].append(clock() - start)
    return {name: min(each) for name, each in found.items()}


def members(problem: Problem, size: int) -> tuple[Reals, Reals]:
    """Initial states (size, n) and parameters (size, p)."""
    rng = np.random.default_rng(1)
    states, values = np.array(problem.initial_state), np.array(problem.parameters)
    spread = 0.9 + 0.2 * rng.random((size, len(states) + len(values)))
    return states * spread[:, : len(states)], values * spread[:, len(states) :]


def cpu_ways(problem: Problem, size: int) -> dict[str, Callable[[], object]]:
    """By the compiled loop, and in lanes."""
    states, values = members(problem, size)
    times = problem.times[None]
    loop, lanes = kernels_of(problem.system), lane_kernels_of(problem.system)

    def gradient(solved: Any) -> object:
        residuals = solved.states - problem.data
        count = len(residuals)
        return residuals.reshape(count, 1, -1) @ solved.sensitivities.reshape(count, -1, ALL.count)

    def others(left: Any) -> Any:
        return loop.solve(times, states[left], values[left], ALL, OPTIONS, never)

    ways: dict[str, Callable[[], object]] = {
        "one by one": lambda: gradient(loop.solve(times, states, values, ALL, OPTIONS, never))
    }
    if size >= MIN_MEMBERS:
        ways["in lanes"] = lambda: gradient(lanes.solve(times, states, values, ALL, OPTIONS, never, others))
    return ways


def gpu_ways(problem: Problem, size: int) -> dict[str, Callable[[], object]]:
    """On torch's current GPU, from and to its memory."""
    device = torch.device("cuda")
    states, values = (torch.from_numpy(each).to(device) for each in members(problem, size))
    times, data = torch.tensor(problem.times, device=device)[None], torch.tensor(problem.data, device=device)
    kernels = gpu_kernels_of(problem.system)

    def gradient() -> None:
        found = kernels.solve_on_device(times, states, values, ALL, OPTIONS)
        residuals = found.states - data[:, :, None]
        torch.einsum("tnb,tnmb->bm", residuals, found.sensitivities)
        torch.cuda.synchronize()

    return {torch.cuda.get_device_name(device): gradient}


def diffrax_ways(problem: Problem, size: int) -> dict[str, Callable[[], object]]:
    """diffrax's gradient by forward differentiation under `vmap`."""
    from bench.peers.diffrax import batched_gradient  # noqa: PLC0415  its packages come with the bench extra

    states, values = members(problem, size)
    return {"diffrax, vmap": batched_gradient(problem, 1e-6, 1e-8, np.concatenate([values, states], axis=1))}


def measure_fits(series: int, alone: int, peers: bool) -> None:
    """Print the time of all series as one batch, and that of some of them alone, scaled to all."""
    request, plates = noisy_series(series)
    list(fit_batch(request, plates[:100]))  # compiles, or loads what was compiled
    start, began = time.process_time(), time.perf_counter()
    rows = dict(fit_batch(request, plates))
    together, elapsed = time.process_time() - start, time.perf_counter() - began
    problems = [FitProblem.model_validate(member_request(request, plate)) for plate in plates[:alone]]
    start = time.process_time()
    singles = [fit(problem) for problem in problems]
    scaled = (time.process_time() - start) / max(alone, 1) * series
    worse = [
        (rows[i].loss or np.inf) - single.loss > 1e-3 * single.loss / (single.observations - 6)
        for i, single in enumerate(singles)
    ]
    converged = sum(row.outcome == "converged" for row in rows.values())
    print(f"{series:,} series as one batch: {together:.2f} s of CPU, {elapsed:.2f} s by the clock")
    print(f"converged: {converged:,}")
    print(f"{alone:,} of them alone, scaled to all: {scaled:.1f} s of CPU, {scaled / together:.0f} × as long")
    print(f"losses more than 1e-3·s² above those of fits alone: {sum(worse)} of {alone:,}")
    if peers:
        losses = np.array([rows[i].loss for i in range(series)], dtype=np.float64)
        measure_peer(request, plates, losses, together)


def measure_peer(request: dict[str, Any], plates: list[dict[str, Any]], losses: Reals, together: float) -> None:
    """Print the time of the same fits by diffrax and optimistix, and how many of them end worse."""
    from bench.peers.diffrax import batched_fits  # noqa: PLC0415  its packages come with the bench extra

    problem = article()[0]
    data = np.array([np.transpose([plate["values"][name] for name in problem.system.states]) for plate in plates])
    guesses = np.array([[*plate["parameters"].values(), *request["initial_state"].values()] for plate in plates])
    run = batched_fits(replace(problem, times=np.array(plates[0]["times"])), 1e-6, 1e-8, data, guesses)
    run()  # compiles
    start, began = time.process_time(), time.perf_counter()
    found = run()
    seconds, elapsed = time.process_time() - start, time.perf_counter() - began
    worse = int(np.sum(~(found <= losses * (1 + 1e-3))))
    print(f"optimistix over diffrax: {seconds:.1f} s of CPU, {elapsed:.1f} s by the clock,", end=" ")
    print(f"{seconds / together:.0f} × as long; {worse:,} of its losses are 0.1 % above ours, or not finite")


def measure_service(count: int, answered: int) -> None:
    """Print what a service takes to accept, cancel, refuse and answer batches."""
    with (
        service(workers=2, max_batch_series=count) as (url, process),
        httpx.Client(base_url=url, timeout=600) as client,
    ):
        idle, kept = api_megabytes(process), redis_megabytes(client)
        watch = Watch(lambda: api_megabytes(process))
        began = time.perf_counter()
        accepted = post_lines(client, count)
        seconds = time.perf_counter() - began
        print(f"{count:,} series accepted in {seconds:.1f} s; API {idle:.0f} MB before, at most {watch.stop():.0f} MB")
        path = f"/batches/{accepted.raise_for_status().json()['id']}"
        print(f"kept in Redis: {redis_megabytes(client) - kept:.0f} MB")
        began = time.perf_counter()
        client.post(f"{path}/cancel")
        while client.get(path).json()["status"] not in ("cancelled", "succeeded"):
            time.sleep(0.02)
        print(f"cancelled after {time.perf_counter() - began:.2f} s")
        refused = post_lines(client, count + 1)
        print(f"{count + 1:,} series: {refused.status_code} {refused.json()['detail']}")
        began = time.perf_counter()
        path = f"/batches/{post_lines(client, answered).raise_for_status().json()['id']}"
        rows, first = 0, 0.0
        cursor: str | None = "0"
        while cursor is not None:
            page = client.get(f"{path}/results", params={"cursor": cursor})
            read = len(page.text.splitlines())
            first = first or (time.perf_counter() - began if read else 0.0)
            rows, cursor = rows + read, page.headers.get("next-cursor")
            time.sleep(0 if read else 0.05)
        print(f"{rows:,} rows read while they were made: the first after {first:.1f} s, all after", end=" ")
        print(f"{time.perf_counter() - began:.1f} s; {client.get(path).json()['counts']['outcome']}")


def redis_megabytes(client: httpx.Client) -> float:
    """The memory that Redis uses, as the service's metrics tell it."""
    found = re.search(r"^odefit_redis_memory_bytes (\S+)", client.get("/metrics").text, re.MULTILINE)
    assert found is not None
    return float(found[1]) / 1e6


def post_lines(client: httpx.Client, count: int) -> httpx.Response:
    """Submit a batch as lines, which are made as they are sent."""
    request, plates = noisy_series(min(count, 10_000))

    def lines() -> Iterator[bytes]:
        yield json.dumps(request).encode() + b"\n"
        for i in range(count):
            yield json.dumps(plates[i % len(plates)] | {"name": f"series {i}"}).encode() + b"\n"

    return client.post("/batches", content=lines(), headers={"Content-Type": "application/x-ndjson"})


class Watch(threading.Thread):
    """The largest of a figure until `stop`."""

    def __init__(self, figure: Callable[[], float]) -> None:
        super().__init__(daemon=True)
        self._figure, self._is_over, self._largest = figure, threading.Event(), 0.0
        self.start()

    def run(self) -> None:
        """Look ten times a second."""
        while not self._is_over.wait(0.1):
            self._largest = max(self._largest, self._figure())

    def stop(self) -> float:
        """Return the largest."""
        self._is_over.set()
        self.join()
        return self._largest


def noisy_series(count: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A request for Lotka–Volterra, and series with their own truths, noise and guesses."""
    rng = np.random.default_rng(7)
    system, times = article()[0].system, np.linspace(0.0, 10.0, 21)
    truth = np.array(TRUTH) * rng.uniform(0.8, 1.2, (count, 4))
    start = np.array(START) * rng.uniform(0.8, 1.2, (count, 2))
    exact = (
        kernels_of(system)
        .solve(times[None], start, truth, DifferentiateBy(), SolverOptions("auto", 1e-9, "auto", 100_000), never)
        .states
    )
    measured = exact + 0.05 * rng.standard_normal(exact.shape)
    guesses = truth * rng.uniform(0.85, 1.15, truth.shape)
    request = {
        "system": system.name,
        "parameters": dict(zip(system.parameters, TRUTH, strict=True)),
        "initial_state": dict(zip(system.states, START, strict=True)),
    }
    plates = [
        {
            "name": f"series {i}",
            "times": times.tolist(),
            "values": dict(zip(system.states, measured[i].T.tolist(), strict=True)),
            "parameters": dict(zip(system.parameters, guesses[i].tolist(), strict=True)),
        }
        for i in range(count)
    ]
    return request, plates


if __name__ == "__main__":
    main()
