"""`odefit import`: an SBML model or a PEtab problem as a request."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from service.cli.consoles import ERR
from service.cli.errors import BAD_REQUEST, CommandError


def import_(
    path: Annotated[
        Path,
        typer.Argument(metavar="MODEL.xml|problem.yaml", help="An SBML model, or a PEtab problem of version 1 or 2."),
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="File to write the request to [default: standard output].")
    ] = None,
) -> None:
    """Turn an SBML model or a PEtab problem into a request."""
    from service.cli.files import check_writable, format_json, write_text

    check_writable(out)
    try:
        from odelib.formats import importing
    except ImportError as error:
        raise CommandError(
            BAD_REQUEST, f"the package {error.name} is missing; install it with: pip install 'odefit[sbml]'"
        ) from None
    from odelib.formats.errors import UnsupportedError

    if not path.is_file():
        raise CommandError(BAD_REQUEST, f"{path} cannot be read: no such file")
    try:
        request, notes = importing.import_file(path)
    except UnsupportedError as error:
        raise CommandError(BAD_REQUEST, f"{path} cannot be imported: {error}") from None
    for note in notes:
        ERR.print(escape(f"note: {note}"), soft_wrap=True, highlight=False)
    text = format_json(request) + "\n"
    if out is None:
        sys.stdout.write(text)
    else:
        write_text(out, text)
