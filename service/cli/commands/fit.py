"""`odefit fit`: a fit in this process, without a service."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from odelib.errors import FieldError, FitError, ProblemError, StopRequested
from odelib.monitor import Monitor
from service.cli.consoles import ERR, OUT
from service.cli.errors import BAD_REQUEST, FAILED, INTERRUPTED, SUCCEEDED, CommandError
from service.cli.options import (
    Data,
    Fix,
    Guess,
    Initial,
    Lower,
    PlotPath,
    RequestOptions,
    RequestPath,
    ResultPath,
    StartTime,
    System,
    TimeUnit,
    Uncertainty,
    Upper,
)

if TYPE_CHECKING:
    from odelib.problem.request import FitProblem
    from odelib.result import FitResult


def fit(
    path: RequestPath = None,
    system: System = None,
    data: Data = None,
    guess: Guess = [],  # noqa: B006 - typer reads it, nobody changes it
    initial: Initial = [],  # noqa: B006
    fix: Fix = [],  # noqa: B006
    lower: Lower = [],  # noqa: B006
    upper: Upper = [],  # noqa: B006
    start_time: StartTime = None,
    time_unit: TimeUnit = None,
    uncertainty: Uncertainty = None,
    out: ResultPath = None,
    plot: PlotPath = None,
) -> None:
    """Fit on this machine, without a service."""
    options = RequestOptions(path, system, data, guess, initial, fix, lower, upper, start_time, uncertainty, time_unit)
    raise typer.Exit(fit_locally(options, out, plot, OUT, ERR))


def fit_locally(options: RequestOptions, out: Path | None, plot: Path | None, console: Console, errors: Console) -> int:
    """Fit, print the report, and write result and plot. Returns the exit status. Raises `CommandError`.

    Ctrl-C stops the fit and keeps the best point so far; a second Ctrl-C ends it at once.
    """
    from odelib.problem.request import parse_problem, request_of
    from service.cli.files import check_writable
    from service.cli.report.outputs import check_plot_path, write_outputs
    from service.cli.request.build import build_request
    from service.settings import ServiceSettings

    check_writable(out, plot)
    check_plot_path(plot)
    request = build_request(options)
    try:
        problem = parse_problem(request.parsed, ServiceSettings().limits())
    except ProblemError as error:
        mistakes = request.origins.translate(error.errors)
        raise CommandError(BAD_REQUEST, f"{options.label} is invalid:", mistakes) from None
    if problem.webhook is not None:
        mistake = FieldError("/webhook", "only a service calls webhooks: submit the request to one, or leave it out")
        raise CommandError(BAD_REQUEST, f"{options.label} is invalid:", [mistake])
    result, status = _run(problem, errors)
    if result is not None:
        write_outputs(console, request_of(problem), json.loads(result.to_json()), out, plot)
    return status


def _run(problem: FitProblem, errors: Console) -> tuple[FitResult | None, int]:
    from odelib.fitting import fit as run_fit  # loads torch: only once the request is valid

    monitor = Monitor()
    try:
        with _stop_on_ctrl_c(monitor), _progress_bar(monitor, errors):
            result = run_fit(problem, monitor=monitor)
    except StopRequested:
        errors.print("cancelled before any point was evaluated")
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
        signal.signal(signal.SIGINT, previous)

    previous = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


@contextmanager
def _progress_bar(monitor: Monitor, console: Console) -> Iterator[None]:
    from service.cli.report.progress_bar import ProgressBar

    is_over = threading.Event()
    with ProgressBar(console) as bar:

        def follow() -> None:
            while not is_over.wait(0.1):
                if progress := monitor.progress:
                    bar.update(progress.stage, progress.step, progress.steps, progress.loss, progress.fraction)

        watcher = threading.Thread(target=follow, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            is_over.set()
            watcher.join()
