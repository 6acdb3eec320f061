"""`odefit export`: a request as a PEtab problem or an SBML model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from odelib.errors import ProblemError
from service.cli.consoles import ERR
from service.cli.errors import BAD_REQUEST, CommandError


def export(
    path: Annotated[Path, typer.Argument(metavar="FILE.json", help="The request.")],
    result: Annotated[
        Path | None,
        typer.Option(metavar="RESULT.json", help="Take the values from this result, not from the guesses."),
    ] = None,
    petab: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for a PEtab problem of version 2.")] = None,
    sbml: Annotated[Path | None, typer.Option(metavar="FILE", help="File for an SBML model.")] = None,
) -> None:
    """Write a request as a PEtab problem or an SBML model."""
    from service.cli.files import check_writable, read_request_object

    if (petab is None) == (sbml is None):
        raise CommandError(BAD_REQUEST, "give either --petab DIR or --sbml FILE")
    check_writable(sbml)
    try:
        from odelib.formats import exporting
    except ImportError as error:
        install = "pip install 'odefit[sbml]'"
        raise CommandError(BAD_REQUEST, f"the package {error.name} is missing; install it with: {install}") from None
    from pydantic import ValidationError

    from odelib.formats.errors import UnsupportedError
    from odelib.problem.request import parse_problem
    from odelib.result import FitResult

    try:
        problem = parse_problem(read_request_object(path))
        found = None if result is None else FitResult.model_validate(read_request_object(result))
        notes = (
            exporting.to_petab(problem, petab, found) if petab else exporting.to_sbml(problem, sbml or Path(), found)
        )
    except ValidationError:
        raise CommandError(BAD_REQUEST, f"{result} is not the result of a fit") from None
    except ProblemError as error:
        raise CommandError(BAD_REQUEST, f"{path} is invalid:", error.errors) from None
    except UnsupportedError as error:
        raise CommandError(BAD_REQUEST, f"{path} cannot be exported: {error}") from None
    except OSError as error:
        raise CommandError(BAD_REQUEST, f"{petab or sbml} cannot be written: {error.strerror}") from None
    for note in notes:
        ERR.print(escape(f"note: {note}"), soft_wrap=True, highlight=False)
