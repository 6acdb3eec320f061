"""Measurements as tables: a CSV file with a column `time`, one for each observable, and perhaps `experiment`."""

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
_MOST_ERRORS = 20  # told of one table
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass
class SeriesOfTable:
    """The rows of one experiment: times, and per observable one number per time, None where the cell is empty.

    `lines` has for each time the line of the file that it stands in.
    """

    name: str | None
    times: list[float] = field(default_factory=list)
    values: dict[str, list[float | None]] = field(default_factory=dict)
    lines: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Table:
    """The series of a file, one for each name in its column `experiment`, or a single one without a name."""

    path: Path
    series: list[SeriesOfTable]

    @property
    def has_experiments(self) -> bool:
        """Whether the file has a column `experiment`."""
        return self.series[0].name is not None


def read_table(path: Path) -> Table:
    """Read a CSV file. Raises `CommandError` with line and column of everything that is wrong."""
    reader = _Reader(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets write a byte order mark
            series = reader.read(file)
    except OSError as error:
        raise CommandError(BAD_REQUEST, f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise CommandError(BAD_REQUEST, f"{path} is not UTF-8: byte {error.object[error.start]:#x}") from None
    except csv.Error as error:
        raise CommandError(BAD_REQUEST, f"{path} is not a table: {error}") from None
    if reader.errors:
        raise CommandError(BAD_REQUEST, f"{path} is not a table of measurements:", reader.told())
    return Table(path, series)


class _Reader:
    """Reads the rows and gathers what is wrong with them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.errors: list[FieldError] = []
        self.columns: list[str] = []

    def read(self, lines: Iterator[str]) -> list[SeriesOfTable]:
        rows = csv.reader(lines, strict=True)
        self.columns = [name.strip() for name in next(rows, [])]
        if not self._check_header():
            return []
        series: dict[str | None, SeriesOfTable] = {}
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue  # an empty line, as at the end of many files
            if len(row) != len(self.columns):
                self._say(rows.line_num, None, f"{len(row)} cells, but the header names {len(self.columns)} columns")
                continue
            self._add(dict(zip(self.columns, row, strict=True)), rows.line_num, series)
        if not series and not self.errors:
            self._say(rows.line_num, None, "there is no row of measurements")
        return list(series.values())

    def told(self) -> list[FieldError]:
        """The first of the errors, and how many there are beside them."""
        rest = len(self.errors) - _MOST_ERRORS
        more = [FieldError("further on", f"{rest} more of the kind")] if rest > 0 else []
        return self.errors[:_MOST_ERRORS] + more

    def _check_header(self) -> bool:
        before = len(self.errors)
        if TIME not in self.columns:
            found = ", ".join(repr(name) for name in self.columns[:12]) or "nothing"
            hint = "" if len(self.columns) > 1 else "; columns are separated by commas"
            self._say(1, None, f"the header needs a column {TIME!r}, here is {found}{hint}")
        elif not self._observables():
            self._say(1, None, "the header names no observable beside the time")
        for i, name in enumerate(self.columns):
            if not name:
                self._say(1, None, f"column {i + 1} has no name")
            elif name in self.columns[:i]:
                self._say(1, name, "stands twice in the header")
        return len(self.errors) == before

    def _observables(self) -> list[str]:
        return [name for name in self.columns if name not in (TIME, EXPERIMENT)]

    def _add(self, row: dict[str, str], line: int, series: dict[str | None, SeriesOfTable]) -> None:
        name = row[EXPERIMENT].strip() if EXPERIMENT in row else None
        if name == "":
            self._say(line, EXPERIMENT, "empty; every row needs its experiment's name")
            return
        time = self._number(row[TIME], line, TIME)
        values = {observable: self._number(row[observable], line, observable) for observable in self._observables()}
        if time is None:
            if not row[TIME].strip():
                self._say(line, TIME, "empty; every row needs its time")
            return
        found = series.setdefault(name, SeriesOfTable(name, values={observable: [] for observable in values}))
        found.times.append(time)
        found.lines.append(line)
        for observable, value in values.items():
            found.values[observable].append(value)

    def _number(self, cell: str, line: int, column: str) -> float | None:
        text = cell.strip()
        if not text:
            return None
        if not _NUMBER.fullmatch(text):
            hint = "; leave the cell empty where a value is missing"
            if re.fullmatch(r"[+-]?\d+,\d+", text):
                hint = "; write a point before the decimals"
            self._say(line, column, f"{text!r:.40} is not a number{hint}")
            return None
        number = float(text)
        if number in (float("inf"), float("-inf")):
            self._say(line, column, f"{text!r:.40} is beyond double precision")
            return None
        return number

    def _say(self, line: int, column: str | None, detail: str) -> None:
        self.errors.append(FieldError(place(self.path, line, column), detail))


def place(path: Path, line: int | None, column: str | None) -> str:
    """How a cell, a line or a column of a table is named."""
    parts = [
        path.name,
        *([] if line is None else [f"line {line}"]),
        *([] if column is None else [f"column {column!r}"]),
    ]
    return ", ".join(parts)


def write_table(path: Path, series: Sequence[Mapping[str, Any]], *, several: bool = False) -> None:
    """Write series as a table that `read_table` reads: empty where missing, with their names where `several`.

    Raises `CommandError`.
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
