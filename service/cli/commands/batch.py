"""`odefit batch`: a fit for each group of rows of a table, on all cores of this machine."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service.cli.consoles import ERR
from service.cli.errors import BAD_REQUEST, FAILED, SUCCEEDED, CommandError
from service.cli.options import PlotPath, TimeUnit

if TYPE_CHECKING:
    from worker.batches.rows import Row

MAX_TOGETHER = 200  # the progress bar moves when a process has fitted as many
FORMATS = (".csv", ".ndjson", ".parquet")

File = Annotated[Path, typer.Argument(metavar="FILE.json", help="The fit request that all groups share, without data.")]
DataTable = Annotated[
    Path, typer.Option("--data", metavar="TABLE", help="CSV file: a column time, and one for each observable.")
]
By = Annotated[str, typer.Option("--by", metavar="COLUMN", help="The column whose values tell the groups apart.")]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="TABLE", help="File for the rows: .csv, .ndjson or .parquet [default: CSV, printed]."
    ),
]
Jobs = Annotated[
    int | None, typer.Option("--jobs", metavar="N", min=1, help="Processes that fit [default: one for each core].")
]


def batch(
    path: File,
    data: DataTable,
    by: By,
    out: Out = None,
    plot: PlotPath = None,
    time_unit: TimeUnit = None,
    jobs: Jobs = None,
) -> None:
    """Fit each group of rows of a table by itself."""
    from service.cli.files import check_writable, read_request_object
    from service.cli.report.outputs import check_plot_path
    from service.cli.request.build import build_series

    check_writable(out, plot)
    check_plot_path(plot)
    if out is not None and out.suffix not in FORMATS:
        raise CommandError(BAD_REQUEST, f"--out takes a file that ends in {', '.join(FORMATS)}, not {out.name!r:.80}")
    request = read_request_object(path)
    _check(request, path)
    series = build_series(data, by, time_unit, request)
    rows = list(_fitted(request, series, jobs or os.cpu_count() or 1))
    _write(request, rows, out)
    if plot is not None and any("loss" in row for row in rows):
        _draw(request, series, rows, plot)
    counts = Counter(row["status"] if row["status"] != "succeeded" else row["outcome"] for row in rows)
    ERR.print(f"{len(rows)} fits: " + ", ".join(f"{count} {name}" for name, count in counts.most_common()))
    raise typer.Exit(SUCCEEDED if any(row["status"] == "succeeded" for row in rows) else FAILED)


def _check(request: dict[str, Any], path: Path) -> None:
    from odelib.problem.batches import batch_mistakes
    from service.settings import ServiceSettings

    if mistakes := batch_mistakes(request, ServiceSettings().limits()):
        raise CommandError(BAD_REQUEST, f"{path} is invalid:", mistakes)


def _fitted(request: dict[str, Any], series: list[dict[str, Any]], jobs: int) -> Iterator[Row]:
    """Yield the rows in the order of the series, with a progress bar."""
    from worker.on_demand import ONE_THREAD

    os.environ.update(ONE_THREAD)
    columns = (TextColumn("fitting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    context = multiprocessing.get_context("spawn")
    size = max(1, min(MAX_TOGETHER, len(series) // (4 * jobs)))  # series that a process fits together
    places = range(0, len(series), size)
    parts = [series[first : first + size] for first in places]
    with (
        Progress(*columns, console=ERR, transient=True) as progress,
        ProcessPoolExecutor(min(jobs, len(series)), context) as pool,
    ):
        task = progress.add_task("", total=len(series))
        for rows in pool.map(_rows, [request] * len(parts), parts, places):
            progress.advance(task, len(rows))
            yield from rows


def _rows(request: dict[str, Any], series: list[dict[str, Any]], first: int) -> list[Row]:
    """Fit series together, in a process of the pool. first: the place of the first one."""
    from odelib.batches.fitting import fit_batch
    from service.settings import ServiceSettings
    from worker.batches.rows import to_row

    found = dict(fit_batch(request, series, limits=ServiceSettings().limits()))
    return [to_row(found[place], first + place) for place in range(len(series))]


def _write(request: Mapping[str, Any], rows: list[Row], out: Path | None) -> None:
    from worker.batches.columns import csv_text, parquet

    try:
        if out is None:
            sys.stdout.write(csv_text(request, rows))
        elif out.suffix == ".parquet":
            out.write_bytes(parquet(request, iter([rows])))
        elif out.suffix == ".ndjson":
            out.write_text("".join(json.dumps(row, allow_nan=False) + "\n" for row in rows), encoding="utf-8")
        else:
            out.write_text(csv_text(request, rows), encoding="utf-8")
    except OSError as error:
        raise CommandError(FAILED, f"{out} cannot be written: {error.strerror}") from None


def _draw(request: Mapping[str, Any], series: list[dict[str, Any]], rows: list[Row], plot: Path) -> None:
    from odelib.batches.pictures import draw_batch
    from odelib.plots.figures import save
    from odelib.result import BatchRow

    save(draw_batch(request, series, [BatchRow.model_validate(row) for row in rows]), plot)
