"""`odefit fit`: a fit in this process, without a service."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from odelib.errors import FitError, ProblemError, StopRequested
from odelib.monitor import Monitor
from odelib.problem.request import FitProblem, parse_problem, request_of
from odelib.result import FitResult
from service.cli.errors import BAD_REQUEST, FAILED, INTERRUPTED, SUCCEEDED, CommandError
from service.cli.files import check_writable
from service.cli.report.outputs import check_picture, finish
from service.cli.report.progress_bar import ProgressBar
from service.cli.request.build import Asked, gather
from service.settings import ServiceSettings


def fit_here(asked: Asked, out: Path | None, plot: Path | None, console: Console, errors: Console) -> int:
    """Fit what is asked, print the report, write what was asked for. Returns the exit status.

    Ctrl-C stops the fit and keeps the best so far; a second one gives up at once.
    """
    check_writable(out, plot)
    check_picture(plot)
    _, raw, places = gather(asked)
    try:
        problem = parse_problem(raw, ServiceSettings().limits())
    except ProblemError as error:
        raise CommandError(
            BAD_REQUEST, f"{asked.told} is not a fit request:", places.translated(error.errors)
        ) from None
    result, status = _run(problem, errors)
    if result is not None:
        finish(console, request_of(problem), json.loads(result.to_json()), out, plot)
    return status


def _run(problem: FitProblem, errors: Console) -> tuple[FitResult | None, int]:
    from odelib.fitting import fit  # noqa: PLC0415 - loads torch: only once the request is right

    monitor = Monitor()
    try:
        with _stop_on_ctrl_c(monitor), _shown(monitor, errors):
            result = fit(problem, monitor=monitor)
    except StopRequested:
        errors.print("cancelled before any point had been evaluated")
        return None, INTERRUPTED
    except FitError as error:
        errors.print(f"[bold red]failed[/]: {error.title}")
        errors.print(error.detail, markup=False, highlight=False)
        return None, FAILED
    return result, INTERRUPTED if monitor.stop == "cancelled" else SUCCEEDED


@contextmanager
def _stop_on_ctrl_c(monitor: Monitor) -> Iterator[None]:
    def stop(number: int, frame: Any) -> None:
        monitor.stop = "cancelled"
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _shown(monitor: Monitor, console: Console) -> Iterator[None]:
    over = threading.Event()
    with ProgressBar(console) as bar:

        def follow() -> None:
            while not over.wait(0.1):
                if progress := monitor.progress:
                    bar.update(progress.stage, progress.step, progress.steps, progress.loss, progress.fraction)

        watcher = threading.Thread(target=follow, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()
