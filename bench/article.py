"""Time the article's whole procedure over HTTP, from submission to the result, and estimate torchdiffeq's time.

    python -m bench.article

Starts `odefit serve` with one worker and sends the requests of `examples/requests`, with the default solver and the
published guesses, after the worker has fitted each system for one step. The time of torchdiffeq is that of its
gradient at the guess, measured here, multiplied by the number of gradients that the fit used. Every problem is also
fitted by L-BFGS-B alone, because the article finds it better after Adam, and by the default plan.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from bench.peers import torchdiffeq
from bench.service import service
from bench.systems import REQUESTS, article
from examples.article import article_problems

GOAL_SECONDS = 3.0
PARTED = 2.0  # |Δx| from which a Lorenz trajectory counts as another one
CALLS = 3

Json = dict[str, Any]


@dataclass(frozen=True)
class Fitted:
    """A fit's answer and the seconds until it came."""

    answer: Json
    seconds: float

    @property
    def loss(self) -> float:
        """At the best point."""
        return float(self.answer["result"]["loss"])

    @property
    def gradients(self) -> int:
        """Over all stages."""
        return sum(stage["gradients"] for stage in self.answer["result"]["stages"])

    @property
    def outcome(self) -> str:
        """The outcome's code."""
        return str(self.answer["result"]["outcome"]["code"])


def main() -> None:
    """Fit, measure, print."""
    torch.set_num_threads(1)
    table = Table(title=f"the article's procedure over HTTP, default tolerances (goal {GOAL_SECONDS:g} s each)")
    columns = ("", "stages", "s", "torchdiffeq, s", "faster", "gradients", "loss", "truth's loss", "outcome")
    for column in columns:
        table.add_column(column, justify="left" if column in ("", "stages", "outcome") else "right")
    notes = []
    with service() as (url, _), httpx.Client(base_url=url, timeout=90) as client:
        for problem in article():
            request = json.loads((REQUESTS / f"{problem.name}.json").read_text("utf-8"))
            truth = truth_loss(client, problem.name, request)
            fit(client, {**request, "stages": [{"kind": "lbfgsb", "steps": 1}]})
            per_gradient = gradient_seconds(problem)
            for stages in plans(request):
                found = fit(client, {**request, "stages": stages} if stages else without_stages(request))
                table.add_row(*row(problem.name, stages, found, per_gradient, truth))
                if problem.name == "lorenz":
                    notes.append(
                        f"lorenz, {kinds(stages)}: |Δx| < {PARTED:g} until t = {agrees_until(request, found):g}"
                    )
    Console(width=120).print(table)
    print("\n".join(notes))
    print(f"load {os.getloadavg()[0]:.1f} of the last minute on {os.cpu_count()} cores")


def plans(request: Json) -> list[list[Json]]:
    """The article's stages; L-BFGS-B alone, or with Adam before it where the article has none; none: the default."""
    own = request["stages"]
    adam = {"kind": "adam", "steps": 3000, "learning_rate": 0.001}
    return [own, own[1:] if len(own) > 1 else [adam, *own], []]


def without_stages(request: Json) -> Json:
    """The request, which leaves its plan to the service."""
    return {name: value for name, value in request.items() if name != "stages"}


def fit(client: httpx.Client, request: Json) -> Fitted:
    """Submit and wait for the result."""
    began = time.perf_counter()
    answer = client.post("/fits", json=request, headers={"Prefer": "wait=60"}).raise_for_status().json()
    while answer["status"] in ("queued", "running"):
        time.sleep(0.05)
        answer = client.get(f"/fits/{answer['id']}").raise_for_status().json()
    seconds = time.perf_counter() - began
    if answer["status"] != "succeeded":
        raise SystemExit(f"{request['system']}: {answer}")
    return Fitted(answer, seconds)


def truth_loss(client: httpx.Client, name: str, request: Json) -> float | None:
    """The loss of the parameters that made the data, where there are such."""
    truth: Mapping[str, Mapping[str, float]] | None = article_problems()[name].get("truth")
    if truth is None:
        return None
    fixed = {part: {k: {"guess": v, "fixed": True} for k, v in values.items()} for part, values in truth.items()}
    return fit(client, {**request, **fixed, "predictions": [], "stages": [{"kind": "lbfgsb"}]}).loss


def gradient_seconds(problem: Any) -> float:
    """What torchdiffeq takes for a gradient at the guess, on one thread."""
    gradient = torchdiffeq.gradients(problem, 1e-6, 1e-8)["torchdiffeq backprop"]
    calls = []
    for _ in range(CALLS):
        began = time.perf_counter()
        gradient()
        calls.append(time.perf_counter() - began)
    return statistics.median(calls)


def kinds(stages: list[Json]) -> str:
    """The stages in words."""
    return " + ".join(f"{stage['kind']} {stage.get('steps', '')}".strip() for stage in stages) or "default"


def row(name: str, stages: list[Json], found: Fitted, per_gradient: float, truth: float | None) -> list[str]:
    """A line of the table."""
    other = per_gradient * found.gradients
    return [
        name, kinds(stages), f"{found.seconds:.2f}", f"{other:,.0f}", f"{other / found.seconds:,.0f} ×",
        f"{found.gradients:,}", f"{found.loss:.5g}", "" if truth is None else f"{truth:.5g}", found.outcome,
    ]  # fmt: skip


def agrees_until(request: Json, found: Fitted) -> float:
    """The last time before the fitted trajectory of x parts from the true one."""
    (validation,), (prediction,) = request["predictions"], found.answer["result"]["predictions"]
    apart = np.abs(np.array(prediction["values"]["x"]) - np.array(validation["values"]["x"])) >= PARTED
    times = validation["times"]
    return float(times[int(np.argmax(apart)) - 1] if apart.any() else times[-1])


if __name__ == "__main__":
    main()
