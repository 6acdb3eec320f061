"""Measure the service under load: open event streams, many stored fits, simulations, and a small fit behind long ones.

    python -m bench.service_load [STREAMS] [STORED]        by default 5,000 and 10,000

Starts `odefit serve` with two workers, and prints a table with the goals.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx
from rich.console import Console
from rich.table import Table

from bench.service import REQUEST, WAITING, Row, api_megabytes, service

ASKED = 200  # requests of a kind
LONG = {
    **REQUEST,
    "stages": [{"kind": "adam", "steps": 100_000_000, "learning_rate": 1e-9}],
    "solver": {"engine": "torchdiffeq"},
}
SMALL = {**REQUEST, "stages": [{"kind": "lbfgsb", "steps": 5}]}
SIMULATED = {
    "system": "lorenz",
    "data": {"times": [0.1 * i for i in range(100)]},
    "parameters": {"sigma": 10, "rho": 28, "beta": 8 / 3},
    "initial_state": {"x": 1, "y": 1, "z": 20},
}


def main() -> int:
    """Measure and print the table."""
    given = [int(text) for text in sys.argv[1:]]
    streams, stored = given + [5_000, 10_000][len(given) :]
    table = Table("what", "measured", "goal", "")
    with (
        service(workers=2, max_connections=streams + 500) as (url, process),
        httpx.Client(base_url=url, timeout=120) as client,
    ):
        for row in simulations(client):
            table.add_row(*row.cells())
        empty = latencies(client)
        store(client, stored)
        full = latencies(client)
        for name in empty:
            values = ", ".join(f"p50 {a:.1f}, p99 {b:.1f} ms" for a, b in (empty[name], full[name]))
            table.add_row(f"{name}: empty store, then {stored} fits", values, "", "")
        before = api_megabytes(process)
        megabytes, health = asyncio.run(with_streams(url, streams, lambda: api_megabytes(process)))
        table.add_row(*Row(f"memory of the API with {streams} event streams", megabytes, "MB", 250).cells())
        table.add_row("  without them", f"{before:.0f} MB", "", "")
        table.add_row("  another request meanwhile", f"p50 {health[0]:.1f}, p99 {health[1]:.1f} ms", "", "")
        table.add_row(*Row("small fit behind 50 long ones on 2 workers", small_behind_long(client), "s", 5).cells())
    Console(width=140).print(table)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} of the last minute")
    return 0


def percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    """Return the median and the 99th percentile, in milliseconds."""
    return 1e3 * statistics.median(seconds), 1e3 * sorted(seconds)[int(0.99 * len(seconds))]


def timed(ask: Callable[[], httpx.Response], count: int = ASKED) -> list[float]:
    """Return how long each of some requests takes."""
    seconds = []
    for _ in range(count):
        began = time.perf_counter()
        ask().raise_for_status()
        seconds.append(time.perf_counter() - began)
    return seconds


def simulations(client: httpx.Client) -> list[Row]:
    """From request to answer of a system of three states, once its process has started."""
    while client.post("/simulations", json=SIMULATED).status_code == 504:
        pass
    seconds = timed(lambda: client.post("/simulations", json=SIMULATED))
    return [
        Row("simulation of 3 states, median", 1e3 * statistics.median(seconds), "ms", 15),
        Row("  95th percentile", 1e3 * sorted(seconds)[int(0.95 * len(seconds))], "ms", 40),
    ]


def latencies(client: httpx.Client) -> dict[str, tuple[float, float]]:
    """Return p50 and p99 of the commonest requests."""
    fit_id = client.post("/fits", json=WAITING).json()["id"]
    return {
        "POST /fits": percentiles(timed(lambda: client.post("/fits", json=WAITING))),
        "GET /fits/{id}": percentiles(timed(lambda: client.get(f"/fits/{fit_id}"))),
        "GET /fits": percentiles(timed(lambda: client.get("/fits"))),
        "GET /fits?label=": percentiles(timed(lambda: client.get("/fits?label=a:b"), 20)),
    }


def store(client: httpx.Client, count: int) -> None:
    """Store fits that wait for a GPU worker that does not exist."""
    for _ in range(count):
        client.post("/fits", json=WAITING).raise_for_status()


async def with_streams(url: str, count: int, megabytes: Callable[[], float]) -> tuple[float, tuple[float, float]]:
    """Return the memory of the API with open streams, and the latency of another request meanwhile."""
    host, port = urlsplit(url).hostname, urlsplit(url).port
    async with httpx.AsyncClient(base_url=url, timeout=120) as client:
        fit_id = (await client.post("/fits", json=WAITING)).json()["id"]
        head = f"GET /fits/{fit_id}/events HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        writers: list[Any] = []
        for first in range(0, count, 100):
            opened = await asyncio.gather(
                *(asyncio.open_connection(host, port) for _ in range(min(100, count - first)))
            )
            for _, writer in opened:
                writer.write(head)
            await asyncio.gather(*(reader.readuntil(b"\r\n\r\n") for reader, _ in opened))
            writers += [writer for _, writer in opened]
        await asyncio.sleep(20)  # so that comments are sent meanwhile
        seconds = []
        for _ in range(ASKED):
            began = time.perf_counter()
            (await client.get(f"/fits/{fit_id}")).raise_for_status()
            seconds.append(time.perf_counter() - began)
        found = megabytes()
        for writer in writers:
            writer.close()
    return found, percentiles(seconds)


def small_behind_long(client: httpx.Client) -> float:
    """Return the seconds until a small fit ends while all workers have long ones."""
    ids = [client.post("/fits", json=LONG).json()["id"] for _ in range(50)]
    time.sleep(5)
    began = time.perf_counter()
    answer = client.post("/fits", json=SMALL, headers={"Prefer": "wait=60"})
    seconds = time.perf_counter() - began
    assert answer.json()["status"] == "succeeded"
    for fit_id in ids:
        client.post(f"/fits/{fit_id}/cancel")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
