"""The outputs of `fit` and `submit`: the printed report, RESULT.json and the plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from service.cli.errors import BAD_REQUEST, CommandError
from service.cli.files import write_json
from service.cli.report.text import print_report


def check_plot_path(path: Path | None) -> None:
    """Refuse a plot that could not be written, before the fit and not after it. Raises `CommandError`."""
    if path is None:
        return
    from odelib.plots.figures import check_picture_path  # noqa: PLC0415 - loads matplotlib

    try:
        check_picture_path(path)
    except ValueError as error:
        raise CommandError(BAD_REQUEST, str(error)) from None


def write_outputs(
    console: Console, request: dict[str, Any], result: dict[str, Any], out: Path | None, plot: Path | None
) -> None:
    """Print the report of a result; write the result to `out` and its plot to `plot` if given."""
    print_report(console, request, result)
    if out is not None:
        write_json(out, result)
    if plot is not None:
        from odelib.plots.figures import plot_result, save  # noqa: PLC0415 - loads matplotlib

        save(plot_result(request, result), plot)
