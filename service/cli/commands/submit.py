"""`odefit submit`: a fit on a service, followed to its end."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from service.cli.consoles import ERR, OUT
from service.cli.errors import FAILED, INTERRUPTED, SUCCEEDED, CommandError
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
    from service.cli.report.progress_bar import ProgressBar
    from service.cli.service_client import ServiceClient

_MAX_POLL_PAUSE = 0.5  # seconds

Json = dict[str, Any]


def submit(
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
    url: Annotated[
        str,
        typer.Option(
            "--url", metavar="URL", envvar="ODEFIT_URL", help="URL of the service; its key is read from ODEFIT_API_KEY."
        ),
    ] = "http://127.0.0.1:8000",
    out: ResultPath = None,
    plot: PlotPath = None,
) -> None:
    """Fit on a service. Ctrl-C leaves the fit running there."""
    options = RequestOptions(path, system, data, guess, initial, fix, lower, upper, start_time, uncertainty, time_unit)
    raise typer.Exit(fit_on_service(options, url, os.environ.get("ODEFIT_API_KEY"), out, plot, OUT, ERR))


def fit_on_service(
    options: RequestOptions,
    url: str,
    key: str | None,
    out: Path | None,
    plot: Path | None,
    console: Console,
    errors: Console,
) -> int:
    """Submit the request, follow the fit to its end, print the report, and write result and plot.

    Returns the exit status. Raises `CommandError`. Ctrl-C leaves the fit running and prints its id.
    """
    from service.cli.files import check_writable
    from service.cli.report.outputs import check_plot_path
    from service.cli.report.progress_bar import ProgressBar
    from service.cli.request.build import build_request
    from service.cli.service_client import ServiceClient

    check_writable(out, plot)
    check_plot_path(plot)
    client = ServiceClient(url, key)
    request = build_request(options)
    fit_id = None
    try:
        with ProgressBar(errors) as bar:
            client.notify = bar.show
            fit_id = client.submit(request.body)["id"]
            fit = _wait_for_end(client, fit_id, bar)
    except KeyboardInterrupt:
        errors.print(_interrupted(client, fit_id), soft_wrap=True, highlight=False)
        return INTERRUPTED
    except CommandError as error:
        message = error.message if fit_id is None else f"{error.message}\nthe id of the fit is {fit_id}"
        raise CommandError(error.status, message, request.origins.translate(error.errors)) from None
    return _report(client, fit, out, plot, console, errors)


def _wait_for_end(client: ServiceClient, fit_id: str, bar: ProgressBar) -> Json:
    from worker.states import ENDED

    bar.show("queued")
    pause = 0.05
    while (fit := client.get(f"/fits/{fit_id}"))["status"] not in ENDED:
        if progress := fit.get("progress"):
            bar.update(*(progress[name] for name in ("stage", "step", "steps", "loss", "fraction")))
        time.sleep(pause)
        pause = min(1.5 * pause, _MAX_POLL_PAUSE)
    return fit


def _report(
    client: ServiceClient, fit: Json, out: Path | None, plot: Path | None, console: Console, errors: Console
) -> int:
    from service.cli.report.outputs import write_outputs

    if error := fit.get("error"):
        errors.print(f"[bold red]{fit['status']}[/]: {error['title']}")
        errors.print(error["detail"], markup=False, highlight=False)
    elif fit["status"] != "succeeded":
        errors.print(f"[bold yellow]{fit['status']}[/]")
    if "result" in fit:
        request = client.get(f"/fits/{fit['id']}/problem")["request"]
        write_outputs(console, request, fit["result"], out, plot)
    return SUCCEEDED if fit["status"] == "succeeded" else FAILED


def _interrupted(client: ServiceClient, fit_id: str | None) -> str:
    if fit_id is None:
        return "interrupted before the service responded; if the service accepted the fit, it is still running"
    return f"the fit {fit_id} keeps running: {client.url}/fits/{fit_id}"
