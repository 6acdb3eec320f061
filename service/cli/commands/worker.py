"""`odefit worker`: a Celery worker with the options that the queue needs."""

from __future__ import annotations

import os
import warnings
from typing import Annotated

import typer

from service.cli.errors import BAD_REQUEST, CommandError
from service.cli.options import ParentPid, check_worker_settings
from worker.loading import loading
from worker.parent_death import end_with_parent

_QUEUES = ("cpu", "gpu")


def worker(
    queue: Annotated[str, typer.Option(metavar="cpu|gpu", help="Queue to take fits from.")] = "cpu",
    concurrency: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Number of fits that run at a time [default: number of cores; 1 for gpu]."
        ),
    ] = None,
    with_parent: ParentPid = None,
) -> None:
    """Run only workers, with the Redis at ODEFIT_REDIS_URL."""
    if queue not in _QUEUES:
        raise CommandError(BAD_REQUEST, f"unknown queue {queue!r}; choose cpu or gpu")
    if with_parent is not None:
        end_with_parent(with_parent)
    check_worker_settings()
    with loading():
        from worker.celery_app import WORKER_OPTIONS, app

    # Celery warns root of pickled messages; ours are JSON.
    warnings.filterwarnings("ignore", message="You're running the worker with superuser privileges")
    processes = concurrency or (1 if queue == "gpu" else os.cpu_count() or 1)
    options = ["--queues", queue, "--concurrency", str(processes), "--loglevel", "WARNING", *WORKER_OPTIONS]
    app.worker_main(["--quiet", "worker", *options])
