"""A client of the service for commands, whose errors end them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from odelib.errors import FieldError
from service.cli.errors import BAD_REQUEST, FAILED, NO_SERVICE, CommandError

if TYPE_CHECKING:
    from odefit import Client

Url = Annotated[
    str,
    typer.Option(
        "--url", metavar="URL", envvar="ODEFIT_URL", help="URL of the service; its key is read from ODEFIT_API_KEY."
    ),
]
DEFAULT_URL = "http://127.0.0.1:8000"
FitId = Annotated[str, typer.Argument(metavar="ID", help="Id of a fit.")]


@contextmanager
def remote(url: str) -> Iterator[Client]:
    """Yield a client of the service at `url`. Raises `CommandError` for its errors."""
    import httpx  # noqa: PLC0415 - not needed for --help

    from odefit import Client, NotFound, ServiceError, ServiceUnavailable  # noqa: PLC0415

    try:
        with Client(url) as client:
            yield client
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise CommandError(BAD_REQUEST, f"{url!r} is not a valid URL of a service: {error}") from None
    except ServiceUnavailable as error:
        raise CommandError(NO_SERVICE, error.detail) from None
    except NotFound as error:
        raise CommandError(FAILED, error.detail) from None
    except ServiceError as error:
        mistakes = [FieldError(mistake.place, mistake.detail) for mistake in error.mistakes]
        status = FAILED if error.status in (409, 500) else BAD_REQUEST
        raise CommandError(status, f"the service responded {error.status}: {error.detail}", mistakes) from None
