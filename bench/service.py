"""Measure the cost of the service: start-up, memory, requests per second, and overhead of a fit.

    python -m bench.service        (`make bench`)

Starts `odefit serve` with one worker and prints a table with the goals, which are for two idle cores. No fit runs while
requests are counted, except those of the last row: the fits of the third row ask for `cuda`, and wait for a GPU worker
that does not exist.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
from rich.console import Console
from rich.table import Table

from odelib.fitting import fit
from odelib.problem.request import FitProblem

START_SECONDS = 180.0
IMPORTS = 7
CONNECTIONS = 32
POST_SECONDS = 10.0
FITS = 60

REQUEST: dict[str, Any] = {
    "system": "lotka-volterra",
    "data": {
        "times": [0.1 * i for i in range(21)],
        "values": {"prey": [1.0 + 0.05 * i for i in range(21)], "predator": [1.0 - 0.02 * i for i in range(21)]},
    },
    "parameters": {"alpha": 1.2, "beta": 1.0, "gamma": 1.1, "delta": 2.9},
    "initial_state": {"prey": 0.8, "predator": 1.2},
}
WAITING = {**REQUEST, "solver": {"device": "cuda"}}
SMALL = {**REQUEST, "stages": [{"kind": "lbfgsb", "steps": 1}], "solver": {"device": "cpu", "rtol": 1e-3}}


@dataclass(frozen=True)
class Row:
    """A measurement with its goal."""

    what: str
    value: float
    unit: str
    goal: float
    more_is_better: bool = False

    @property
    def reached(self) -> bool:
        """Whether it is as good as the goal, or better."""
        return self.value >= self.goal if self.more_is_better else self.value <= self.goal

    def cells(self) -> tuple[str, str, str, str]:
        """The row of the printed table."""
        sign = "≥" if self.more_is_better else "≤"
        goal = f"{sign} {self.goal:g} {self.unit}"
        return self.what, f"{self.value:.3g} {self.unit}", goal, "" if self.reached else "missed"


def main() -> int:
    """Measure, print the table, and return 0 if every goal was reached."""
    rows = [Row("import of the API, median", import_seconds(), "s", 1.5)]
    with service() as (url, process):
        rows.append(Row("idle memory of the API", api_megabytes(process), "MB", 150))
        rows.append(Row("POST /fits accepted", asyncio.run(posts_per_second(url)), "/s", 800, more_is_better=True))
        rows.append(Row("added to a fit, median", 1000 * added_seconds(url), "ms", 10))
    table = Table("what", "measured", "goal", "")
    for row in rows:
        table.add_row(*row.cells())
    Console().print(table)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} of the last minute")
    return 0 if all(row.reached for row in rows) else 1


def import_seconds() -> float:
    """From a fresh interpreter to an application that could answer."""
    program = (
        "import time; began = time.perf_counter()\n"
        "from worker.loading import loading\n"
        "with loading():\n"
        "    import service.http.server; service.http.server.create_app()\n"
        "print(time.perf_counter() - began)"
    )
    command = [sys.executable, "-c", program]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(IMPORTS)]
    return statistics.median(float(run.stdout) for run in runs)


@contextmanager
def service(workers: int = 1, **settings: object) -> Iterator[tuple[str, psutil.Process]]:
    """`odefit serve` on a free port, ready: its address and process. settings: without ODEFIT_, in small letters."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ODEFIT_")}
    command = [sys.executable, "-m", "service", "serve", "--port", "0", "--workers", str(workers)]
    fixed = {"ODEFIT_MAX_QUEUED_FITS": "1000000", "ODEFIT_GPU_WAIT_SECONDS": "3600"}
    process = subprocess.Popen(
        command,
        env=clean | fixed | {f"ODEFIT_{name.upper()}": str(value) for name, value in settings.items()},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield _ready_url(process), psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _ready_url(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    url = ""
    for line in process.stdout:
        url = url or (match[0] if (match := re.search(r"http://[^\s,:/]+:\d+", line)) else "")
        if line.startswith("ready"):
            return url
    raise RuntimeError("odefit serve ended before it was ready")


def api_megabytes(serve: psutil.Process) -> float:
    """Resident memory of the API process, which has answered its first requests."""
    (api,) = [child for child in serve.children() if "api" in child.cmdline()]
    return float(api.memory_info().rss) / 1e6


async def posts_per_second(url: str) -> float:
    """Accepted requests over `CONNECTIONS` connections that are kept open; each sends when it has its answer."""
    host, port = urlsplit(url).hostname, urlsplit(url).port
    body = json.dumps(WAITING).encode()
    fields = {"Host": host, "Content-Type": "application/json", "Content-Length": len(body)}
    head = "POST /fits HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items()) + "\r\n"
    accepted = 0

    async def post(until: float) -> None:
        nonlocal accepted
        reader, writer = await asyncio.open_connection(host, port)
        while time.perf_counter() < until:
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(re.search(rb"(?i)content-length: (\d+)", answer)[1]))  # type: ignore[index]
            if not answer.startswith(b"HTTP/1.1 202"):
                raise RuntimeError(answer.decode())
            accepted += 1
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(post(began + POST_SECONDS) for _ in range(CONNECTIONS)))
    return accepted / (time.perf_counter() - began)


def added_seconds(url: str) -> float:
    """The median time until a small fit comes back, less that of the same fit in this process, taken in turn."""
    problem = FitProblem.model_validate(SMALL)
    here, there = [], []
    with httpx.Client(base_url=url, timeout=90) as client:
        for _ in range(FITS):
            began = time.perf_counter()
            fit(problem)
            here.append(time.perf_counter() - began)
            began = time.perf_counter()
            client.post("/fits", json=SMALL, headers={"Prefer": "wait=60"}).raise_for_status()
            there.append(time.perf_counter() - began)
    return statistics.median(there) - statistics.median(here)


if __name__ == "__main__":
    sys.exit(main())
