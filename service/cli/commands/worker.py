"""`odefit worker`: Celery's worker with the options that the queue needs."""

from __future__ import annotations

import warnings

from worker.celery_app import WORKER_OPTIONS, app


def work(queue: str, concurrency: int) -> None:
    """Run fits of a queue, `concurrency` at a time, until SIGTERM or SIGINT."""
    # Celery warns whoever is root of pickled messages; ours are JSON.
    warnings.filterwarnings("ignore", message="You're running the worker with superuser privileges")
    options = ["--queues", queue, "--concurrency", str(concurrency), "--loglevel", "WARNING", *WORKER_OPTIONS]
    app.worker_main(["--quiet", "worker", *options])
