"""Tables of measurements: CSV files with columns `time`, one for each observable, and optionally `experiment`."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from odelib.errors import FieldError
from service.cli.errors import BAD_REQUEST, FAILED, CommandError

TIME, EXPERIMENT = "time", "experiment"
_MAX_ERRORS = 20  # reported for one table
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass
class TableSeries:
    """The rows of one experiment.

    values: per observable one number for each time, None for an empty cell. lines: the line in the file for each time.
    """

    name: str | None
    times: list[float] = field(default_factory=list)
    values: dict[str, list[float | None]] = field(default_factory=dict)
    lines: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Table:
    """The series of a file: one for each name in the column `experiment`, or a single one without a name."""

    path: Path
    series: list[TableSeries]

    @property
    def has_experiments(self) -> bool:
        """Whether the file has the column `experiment`."""
        return self.series[0].name is not None


def read_table(path: Path) -> Table:
    """Read a CSV file. Raises `CommandError` with the line and column of every mistake."""
    reader = _Reader(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets write a byte order mark
            series = reader.read(file)
    except OSError as error:
        raise CommandError(BAD_REQUEST, f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise CommandError(BAD_REQUEST, f"{path} is not UTF-8: invalid byte {error.object[error.start]:#x}") from None
    except csv.Error as error:
        raise CommandError(BAD_REQUEST, f"{path} is not a CSV table: {error}") from None
    if reader.errors:
        raise CommandError(BAD_REQUEST, f"{path} is not a valid table of measurements:", reader.errors_to_report())
    return Table(path, series)


class _Reader:
    """Reads the rows and collects their mistakes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.errors: list[FieldError] = []
        self.columns: list[str] = []

    def read(self, lines: Iterator[str]) -> list[TableSeries]:
        rows = csv.reader(lines, strict=True)
        self.columns = [name.strip() for name in next(rows, [])]
        if not self._check_header():
            return []
        series: dict[str | None, TableSeries] = {}
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue  # an empty line, common at the end of a file
            if len(row) != len(self.columns):
                self._add_error(
                    rows.line_num, None, f"{len(row)} cells, but the header has {len(self.columns)} columns"
                )
                continue
            self._add(dict(zip(self.columns, row, strict=True)), rows.line_num, series)
        if not series and not self.errors:
            self._add_error(rows.line_num, None, "the table has no rows of measurements")
        return list(series.values())

    def errors_to_report(self) -> list[FieldError]:
        """Return the first mistakes, and the number of the others."""
        rest = len(self.errors) - _MAX_ERRORS
        more = [FieldError("further on", f"{rest} more mistakes")] if rest > 0 else []
        return self.errors[:_MAX_ERRORS] + more

    def _check_header(self) -> bool:
        before = len(self.errors)
        if TIME not in self.columns:
            found = ", ".join(repr(name) for name in self.columns[:12])
            hint = "" if len(self.columns) > 1 else "; separate columns by commas"
            self._add_error(1, None, f"the header has no column {TIME!r}" + (f", only {found}{hint}" if found else ""))
        elif not self._observables():
            self._add_error(1, None, "the header has no column for an observable")
        for i, name in enumerate(self.columns):
            if not name:
                self._add_error(1, None, f"column {i + 1} has no name")
            elif name in self.columns[:i]:
                self._add_error(1, name, "duplicate column")
        return len(self.errors) == before

    def _observables(self) -> list[str]:
        return [name for name in self.columns if name not in (TIME, EXPERIMENT)]

    def _add(self, row: dict[str, str], line: int, series: dict[str | None, TableSeries]) -> None:
        name = row[EXPERIMENT].strip() if EXPERIMENT in row else None
        if name == "":
            self._add_error(line, EXPERIMENT, "empty; every row needs the name of its experiment")
            return
        time = self._number(row[TIME], line, TIME)
        values = {observable: self._number(row[observable], line, observable) for observable in self._observables()}
        if time is None:
            if not row[TIME].strip():
                self._add_error(line, TIME, "empty; every row needs a time")
            return
        rows = series.setdefault(name, TableSeries(name, values={observable: [] for observable in values}))
        rows.times.append(time)
        rows.lines.append(line)
        for observable, value in values.items():
            rows.values[observable].append(value)

    def _number(self, cell: str, line: int, column: str) -> float | None:
        text = cell.strip()
        if not text:
            return None
        if not _NUMBER.fullmatch(text):
            hint = "; leave the cell empty if the value is missing"
            if re.fullmatch(r"[+-]?\d+,\d+", text):
                hint = "; use a decimal point"
            self._add_error(line, column, f"{text!r:.40} is not a number{hint}")
            return None
        number = float(text)
        if number in (float("inf"), float("-inf")):
            self._add_error(line, column, f"{text!r:.40} exceeds double precision")
            return None
        return number

    def _add_error(self, line: int, column: str | None, detail: str) -> None:
        self.errors.append(FieldError(cell_name(self.path, line, column), detail))


def cell_name(path: Path, line: int | None, column: str | None) -> str:
    """Return the name of a cell, line or column in messages."""
    parts = [
        path.name,
        *([] if line is None else [f"line {line}"]),
        *([] if column is None else [f"column {column!r}"]),
    ]
    return ", ".join(parts)


def write_table(path: Path, series: Sequence[Mapping[str, Any]], *, several: bool = False) -> None:
    """Write series as a table for `read_table`, with the column `experiment` if `several`.

    Missing values become empty cells. Raises `CommandError`.
    """
    observables = list(dict.fromkeys(name for each in series for name in each["values"]))
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([*([EXPERIMENT] if several else []), TIME, *observables])
            for each in series:
                for i, time in enumerate(each["times"]):
                    cells = [each["values"][name][i] if name in each["values"] else None for name in observables]
                    writer.writerow([*([each["name"]] if several else []), time, *cells])
    except OSError as error:
        raise CommandError(FAILED, f"{path} cannot be written: {error.strerror}") from None
