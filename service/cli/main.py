"""The command line: `odefit`.

Each command parses its options here and is done elsewhere; what takes long to load is loaded by the command that
needs it.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from odelib.problem.catalogue import CATALOGUE
from service.cli.child_process import end_with_parent
from service.cli.errors import BAD_REQUEST, CommandError
from service.settings import ServiceSettings, UnprotectedHost

# stdout has what was asked for, stderr what is said on the way.
_out, _err = Console(), Console(stderr=True)

app = typer.Typer(
    help="Fit ordinary differential equations to measured time series.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

File = Annotated[Path | None, typer.Argument(metavar="[FILE.json]", help="A request: the body of POST /fits.")]
OfSystem = Annotated[
    str | None, typer.Option("--system", metavar="SYSTEM|FILE.json", help="A name of the catalogue, or a definition.")
]
Data = Annotated[
    Path | None,
    typer.Option(metavar="FILE.csv", help="Columns: time, observables, and perhaps experiment. Empty is missing."),
]
Guess = Annotated[list[str], typer.Option(metavar="NAME=NUMBER", help="Where the fit of a parameter starts.")]
Initial = Annotated[
    list[str], typer.Option(metavar="NAME=NUMBER", help="The same for a state's initial value, or an expression.")
]
Fix = Annotated[list[str], typer.Option(metavar="NAME[=NUMBER]", help="A parameter or initial value not to fit.")]
Lower = Annotated[list[str], typer.Option(metavar="NAME=NUMBER", help="A lower bound.")]
Upper = Annotated[list[str], typer.Option(metavar="NAME=NUMBER", help="An upper bound.")]
StartTime = Annotated[
    float | None,
    typer.Option("--start-time", metavar="NUMBER", help="When the initial values hold; else at the first time."),
]
Uncertain = Annotated[
    str | None,
    typer.Option(
        "--uncertainty",
        metavar="WORD",
        help="none, covariance: with standard errors, or profile: with profile likelihoods.",
    ),
]
Out = Annotated[Path | None, typer.Option(metavar="RESULT.json", help="Where to write the result.")]
Plot = Annotated[Path | None, typer.Option(metavar="PICTURE", help="Where to draw the result: .png, .pdf, .svg, …")]
Host = Annotated[str | None, typer.Option(help="Where to listen; beyond loopback only with ODEFIT_API_KEY.")]
Parent = Annotated[int | None, typer.Option(hidden=True, help="End when this process ends.")]


def main() -> None:
    """Run a command; its errors are sentences on stderr and an exit status."""
    try:
        app()
    except CommandError as error:
        for line in error.lines():
            _err.print(escape(line), soft_wrap=True, highlight=False)
        sys.exit(error.status)


@app.command()
def serve(
    host: Host = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep fits and results here; left out, they are gone at the end."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="How many fits run at a time; as many as there are cores if left out.")
    ] = None,
) -> None:
    """API, workers and a private Redis, until Ctrl-C."""
    from service.cli.commands.serve import serve as run  # noqa: PLC0415 - loads redis

    settings = _settings(host, port)
    raise typer.Exit(run(settings, data, workers, lambda text: _out.print(escape(text), soft_wrap=True)))


@app.command()
def fit(
    path: File = None,
    system: OfSystem = None,
    data: Data = None,
    guess: Guess = [],  # noqa: B006 - read by typer, changed by nobody
    initial: Initial = [],  # noqa: B006
    fix: Fix = [],  # noqa: B006
    lower: Lower = [],  # noqa: B006
    upper: Upper = [],  # noqa: B006
    start_time: StartTime = None,
    uncertainty: Uncertain = None,
    out: Out = None,
    plot: Plot = None,
) -> None:
    """Fit here, without a service."""
    from service.cli.commands.fit import fit_here  # noqa: PLC0415 - loads the application's rules
    from service.cli.request.build import Asked  # noqa: PLC0415

    asked = Asked(path, system, data, guess, initial, fix, lower, upper, start_time, uncertainty)
    raise typer.Exit(fit_here(asked, out, plot, _out, _err))


@app.command()
def submit(
    path: File = None,
    system: OfSystem = None,
    data: Data = None,
    guess: Guess = [],  # noqa: B006 - read by typer, changed by nobody
    initial: Initial = [],  # noqa: B006
    fix: Fix = [],  # noqa: B006
    lower: Lower = [],  # noqa: B006
    upper: Upper = [],  # noqa: B006
    start_time: StartTime = None,
    uncertainty: Uncertain = None,
    url: Annotated[
        str, typer.Option(envvar="ODEFIT_URL", help="The service; its key is taken from ODEFIT_API_KEY.")
    ] = "http://127.0.0.1:8000",
    out: Out = None,
    plot: Plot = None,
) -> None:
    """Fit by a service. Ctrl-C leaves the fit running there."""
    from service.cli.commands.submit import submit as run  # noqa: PLC0415 - loads httpx
    from service.cli.request.build import Asked  # noqa: PLC0415

    asked = Asked(path, system, data, guess, initial, fix, lower, upper, start_time, uncertainty)
    raise typer.Exit(run(asked, url, os.environ.get("ODEFIT_API_KEY"), out, plot, _out, _err))


@app.command()
def simulate(
    system: Annotated[str, typer.Argument(metavar="SYSTEM|FILE.json", help="A name of the catalogue, or a request.")],
    noise: Annotated[float, typer.Option(metavar="SIGMA", help="Standard deviation of the noise.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise.")] = 0,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.json|.csv", help="Where to write; standard output if left out.")
    ] = None,
    plot: Plot = None,
) -> None:
    """A `data` object, ready to be fitted."""
    from service.cli.commands.simulate import simulate as run  # noqa: PLC0415 - loads the application's rules

    run(system, noise, seed, out, plot)


@app.command()
def init(
    system: Annotated[
        str, typer.Argument(metavar="SYSTEM|FILE.json", help="A name of the catalogue, or a definition.")
    ],
    data: Data = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise, where the data are simulated.")] = 0,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="Where to write; standard output if left out.")
    ] = None,
) -> None:
    """A first FILE.json: a request that runs as it stands, to be edited."""
    from service.cli.commands.init import start  # noqa: PLC0415 - loads the application's rules

    start(system, data, seed, out)


@app.command()
def systems() -> None:
    """The catalogue."""
    for system in CATALOGUE.values():
        _out.print(f"[bold]{system.name}[/]  {escape(system.title)}")
        _line("parameters", ", ".join(system.parameters))
        for name, equation in system.equations.items():
            _line(f"{name}'", equation.text)
        for name, observable in system.observables.items():
            if observable.text != name:
                _line(name, f"{observable.text}   (observed)")
        _out.print()


@app.command()
def api(
    host: Host = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535)] = None,
    socket_fd: Annotated[int | None, typer.Option("--socket", hidden=True, help="A socket that listens.")] = None,
    with_parent: Parent = None,
) -> None:
    """The API alone; Redis stands at ODEFIT_REDIS_URL."""
    from service.http.server import run_api  # noqa: PLC0415 - loads uvicorn and the application

    if with_parent is not None:
        end_with_parent(with_parent)
    try:
        run_api(_settings(host, port), None if socket_fd is None else socket.socket(fileno=socket_fd))
    except UnprotectedHost as error:
        raise CommandError(BAD_REQUEST, str(error)) from None


@app.command()
def worker(
    queue: Annotated[str, typer.Option(help="cpu or gpu.")] = "cpu",
    concurrency: Annotated[int | None, typer.Option(min=1, help="How many fits run at a time.")] = None,
    with_parent: Parent = None,
) -> None:
    """Workers alone; Redis stands at ODEFIT_REDIS_URL."""
    if queue not in ("cpu", "gpu"):
        raise CommandError(BAD_REQUEST, f"there is no queue {queue!r}; there are cpu and gpu")
    if with_parent is not None:
        end_with_parent(with_parent)
    from service.cli.commands.worker import work  # noqa: PLC0415 - loads Celery

    work(queue, concurrency or (1 if queue == "gpu" else os.cpu_count() or 1))


def _line(name: str, text: str) -> None:
    _out.print(f"  {name:<12}{text}", markup=False, highlight=False, soft_wrap=True)


def _settings(host: str | None, port: int | None) -> ServiceSettings:
    try:
        settings = ServiceSettings()
    except ValidationError as error:
        wrong = [f"ODEFIT_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors()]
        raise CommandError(BAD_REQUEST, "a setting is wrong: " + "; ".join(wrong)) from None
    given = {"host": host, "port": port}
    return settings.model_copy(update={name: value for name, value in given.items() if value is not None})
