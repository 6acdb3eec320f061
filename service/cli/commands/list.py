"""`odefit list`: the fits of a service."""

from __future__ import annotations

from typing import Annotated

import typer

from service.cli.consoles import OUT
from service.cli.errors import BAD_REQUEST, CommandError
from service.cli.remote import DEFAULT_URL, Url, remote


def list_(
    status: Annotated[
        str | None, typer.Option("--status", metavar="STATUS", help="queued, running, succeeded, failed or cancelled.")
    ] = None,
    system: Annotated[
        str | None, typer.Option("--system", metavar="SYSTEM", help="Name of a catalogue system, or custom.")
    ] = None,
    label: Annotated[list[str], typer.Option("--label", metavar="KEY:VALUE", help="Only fits with this label.")] = [],  # noqa: B006
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="Number of fits.")] = 20,
    url: Url = DEFAULT_URL,
) -> None:
    """List the fits of a service, newest first."""
    from rich.table import Table

    if wrong := [entry for entry in label if ":" not in entry]:
        raise CommandError(BAD_REQUEST, f"--label {wrong[0]!r} must have the form KEY:VALUE")
    table = Table("id", "status", "system", "submitted", "loss", "labels", box=None)
    with remote(url) as client:
        labels = dict(entry.split(":", 1) for entry in label)
        for fit in client.fits(status=status, system=system, labels=labels, limit=limit):
            loss = f"{fit.progress['loss']:.6g}" if fit.progress else ""
            notes = ", ".join(f"{name}: {value}" for name, value in fit.content["labels"].items())
            cells = (fit.id, fit.status, fit.content["system"], fit.content["created_at"][:19], loss, notes)
            table.add_row(*(_plain(cell) for cell in cells))
    OUT.print(table, highlight=False)


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
