"""`odefit keys`: make, list and revoke the keys of a service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.consoles import ERR, OUT
from service.cli.errors import BAD_REQUEST, FAILED, NO_SERVICE, CommandError

if TYPE_CHECKING:
    from worker.store.api_keys import KeyStore

keys = typer.Typer(help="Make, list and revoke the API keys of a service.", no_args_is_help=True, rich_markup_mode=None)
Data = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Directory of `odefit serve --data`; by default the Redis at ODEFIT_REDIS_URL is used."
    ),
]


@keys.command("make")
def make(
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Who the key is for.")],
    scope: Annotated[
        list[str], typer.Option("--scope", metavar="SCOPE", help="submit, read or admin; give it once for each.")
    ] = ["submit", "read"],  # noqa: B006
    per_minute: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Fits and simulations that it may submit in a minute.")
    ] = None,
    max_fits: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Queued and running fits that it may have.")
    ] = None,
    data: Data = None,
) -> None:
    """Make a key and print it; it cannot be shown again."""
    from worker.store.api_keys import SCOPES

    if wrong := [entry for entry in scope if entry not in SCOPES]:
        raise CommandError(BAD_REQUEST, f"unknown scope {wrong[0]!r}; choose from {', '.join(SCOPES)}")
    with _errors():
        key, secret = _store(data).make(name, tuple(scope), per_minute=per_minute, max_fits=max_fits)
    ERR.print(f"key {key.id} for {name}; keep it, it cannot be shown again:", markup=False, highlight=False)
    OUT.print(secret, markup=False, highlight=False, soft_wrap=True)


@keys.command("list")
def list_(data: Data = None) -> None:
    """List the keys, without the keys themselves."""
    from rich.markup import escape
    from rich.table import Table

    table = Table("id", "name", "scopes", "made", "per minute", "fits", box=None)
    with _errors():
        found = _store(data).list()
    for key in found:
        limits = ("" if limit is None else str(limit) for limit in (key.per_minute, key.max_fits))
        table.add_row(key.id, escape(key.name), ", ".join(key.scopes), key.created_at, *limits)
    OUT.print(table, highlight=False)


@keys.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the key, as listed.")], data: Data = None
) -> None:
    """Revoke a key; its fits stay."""
    with _errors():
        is_revoked = _store(data).revoke(key_id)
    if not is_revoked:
        raise CommandError(FAILED, f"no key has the id {key_id!r}")
    OUT.print(f"revoked {key_id}", markup=False, highlight=False)


def _store(data: Path | None) -> KeyStore:
    from service.cli.options import check_worker_settings
    from worker.embedded_redis import EmbeddedRedis
    from worker.settings import WorkerSettings
    from worker.store.api_keys import KeyStore

    check_worker_settings()
    settings = WorkerSettings()
    if data is not None:
        if not data.is_dir():
            raise CommandError(BAD_REQUEST, f"there is no directory {data}")
        settings = settings.model_copy(update={"redis_url": EmbeddedRedis(data).url})
    return KeyStore(settings)


class _errors:  # noqa: N801  used as a function
    """Turns an unavailable Redis into a `CommandError`."""

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        from worker.errors import WorkerError

        if isinstance(error, WorkerError):
            raise CommandError(
                NO_SERVICE, f"{error}; set ODEFIT_REDIS_URL, or give the --data of a running `odefit serve`"
            ) from None
