"""The arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from service.cli.errors import BAD_REQUEST, CommandError

if TYPE_CHECKING:
    from pydantic_settings import BaseSettings

    from service.settings import ServiceSettings

_Settings = TypeVar("_Settings", bound="BaseSettings")

RequestPath = Annotated[
    Path | None, typer.Argument(metavar="[FILE.json]", help="The fit request: the body of POST /fits.")
]
System = Annotated[
    str | None,
    typer.Option(
        "--system", metavar="SYSTEM|FILE.json", help="Name of a catalogue system, or a file that contains a definition."
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.csv",
        help="CSV file of measurements: a column time, a column for each observable, and optionally a column "
        "experiment. Empty cells, NA and NaN are missing values.",
    ),
]
TimeUnit = Annotated[
    str | None,
    typer.Option(
        "--time-unit",
        metavar="UNIT",
        help="Unit of time, if the table has dates: seconds, minutes, hours, days or weeks. Times are counted from the "
        "first row.",
    ),
]
Guess = Annotated[list[str], typer.Option(metavar="NAME=NUMBER", help="Initial guess of a parameter.")]
Initial = Annotated[
    list[str], typer.Option(metavar="NAME=NUMBER", help="Initial value of a state: a guess or an expression.")
]
Fix = Annotated[list[str], typer.Option(metavar="NAME[=NUMBER]", help="Parameter or initial value to hold fixed.")]
Lower = Annotated[list[str], typer.Option(metavar="NAME=NUMBER", help="Lower bound.")]
Upper = Annotated[list[str], typer.Option(metavar="NAME=NUMBER", help="Upper bound.")]
StartTime = Annotated[
    float | None,
    typer.Option(
        "--start-time", metavar="NUMBER", help="Time at which the initial values hold [default: first measurement]."
    ),
]
Uncertainty = Annotated[
    str | None,
    typer.Option(
        "--uncertainty",
        metavar="METHOD",
        help="none, covariance (standard errors and intervals), or profile (profile likelihoods).",
    ),
]
ResultPath = Annotated[Path | None, typer.Option("--out", metavar="RESULT.json", help="File to write the result to.")]
PlotPath = Annotated[
    Path | None, typer.Option("--plot", metavar="PICTURE", help="File to write the plot to: .png, .pdf, .svg, …")
]
Host = Annotated[
    str | None,
    typer.Option(
        "--host", metavar="HOST", help="Address to listen on; addresses other than loopback need ODEFIT_API_KEY."
    ),
]
ParentPid = Annotated[
    int | None, typer.Option("--with-parent", hidden=True, help="End when the process with this id ends.")
]


@dataclass(frozen=True)
class RequestOptions:
    """The arguments and options from which a request is built.

    guesses, initial, fixed, lower, upper: NAME=VALUE, as typed.
    """

    file: Path | None = None
    system: str | None = None
    data: Path | None = None
    guesses: Sequence[str] = ()
    initial: Sequence[str] = ()
    fixed: Sequence[str] = ()
    lower: Sequence[str] = ()
    upper: Sequence[str] = ()
    start_time: float | None = None
    uncertainty: str | None = None
    time_unit: str | None = None

    @property
    def is_only_file(self) -> bool:
        """Whether FILE.json is given and nothing else; it is then sent unchanged."""
        rest = (
            self.system,
            self.data,
            self.time_unit,
            *self.guesses,
            *self.initial,
            *self.fixed,
            *self.lower,
            *self.upper,
        )
        return self.file is not None and not any(rest) and self.uncertainty is None and self.start_time is None

    @property
    def label(self) -> str:
        """The name of the request in messages."""
        return "the request from the options" if self.file is None else str(self.file)


def load_settings(host: str | None, port: int | None) -> ServiceSettings:
    """Return the settings of the environment with `host` and `port` replaced if given. Raises `CommandError`."""
    from service.settings import ServiceSettings  # noqa: PLC0415 - not needed for --help

    settings = _from_environment(ServiceSettings)
    check_worker_settings()
    given = {"host": host, "port": port}
    return settings.model_copy(update={name: value for name, value in given.items() if value is not None})


def check_worker_settings() -> None:
    """Raise `CommandError` if the environment has an invalid setting of the queue or the workers."""
    from worker.settings import WorkerSettings  # noqa: PLC0415 - not needed for --help

    _from_environment(WorkerSettings)


def _from_environment(kind: type[_Settings]) -> _Settings:
    from pydantic import ValidationError  # noqa: PLC0415 - not needed for --help

    from odelib.problem.checks.form import in_our_words  # noqa: PLC0415 - not needed for --help

    try:
        return kind()
    except ValidationError as error:
        mistakes = [f"ODEFIT_{str(e['loc'][0]).upper()}: {in_our_words(e)}" for e in error.errors()]
        raise CommandError(BAD_REQUEST, "invalid setting " + "; ".join(mistakes)) from None
