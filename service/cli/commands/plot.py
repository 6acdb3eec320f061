"""`odefit plot`: the picture of a result that was saved before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from odelib.errors import ProblemError
from service.cli.errors import BAD_REQUEST, CommandError


def plot(
    path: Annotated[Path, typer.Argument(metavar="FILE.json", help="The fit request.")],
    result: Annotated[Path, typer.Option(metavar="RESULT.json", help="Its result, as --out writes it.")],
    out: Annotated[Path, typer.Option(metavar="PICTURE", help="File to write to: .png, .pdf, .svg, …")],
) -> None:
    """Draw the plot of a result."""
    from pydantic import ValidationError

    from odelib.problem.request import parse_problem
    from odelib.result import FitResult
    from service.cli.files import check_writable, read_request, read_request_object
    from service.cli.report.outputs import check_plot_path
    from service.settings import ServiceSettings

    check_writable(out)
    check_plot_path(out)
    try:
        problem = parse_problem(read_request(path).parsed, ServiceSettings().limits())
    except ProblemError as error:
        raise CommandError(BAD_REQUEST, f"{path} is invalid:", error.errors) from None
    try:
        found = FitResult.model_validate(read_request_object(result))
    except ValidationError as error:
        first = error.errors()[0]
        place = "/".join(str(part) for part in first["loc"])
        raise CommandError(BAD_REQUEST, f"{result} is not a result: /{place}: {first['msg']}") from None
    from odelib.plots.figures import plot_result, save  # loads matplotlib: only once the arguments are valid

    try:
        save(plot_result(problem, found), out)
    except KeyError as error:
        raise CommandError(BAD_REQUEST, f"{result} is not a result of {path}: it has no {error}") from None
