"""Tables of measurements: CSV files with columns `time`, one for each observable, and optionally `experiment`.

Columns `dose`, `into` and `duration` say what was given, and a column with the name of an input has its values. A row
without a measurement then needs none. A table with a column `AMT` is an event table: `service.cli.request.event_table`.

Columns are separated by commas, semicolons or tabs, whichever the header has. Between semicolons or tabs, numbers may
have decimal commas.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from odelib.errors import FieldError
from service.cli.errors import BAD_REQUEST, FAILED, CommandError
from service.cli.request.cells import InvalidCell, NumberReader, TimeReader
from service.cli.request.event_table import AMOUNT, COLUMNS, COMPARTMENT, FIELDS, IDENTITY, VALUE, EventRow, state_of

TIME, EXPERIMENT = "time", "experiment"
DOSE, INTO, DURATION = "dose", "into", "duration"
_MAX_ERRORS = 20  # reported for one table
_QUOTED = re.compile('"[^"]*"')


@dataclass
class TableSeries:
    """The rows of one experiment.

    values: per observable one number for each time, None for a missing one. lines: the line in the file for each time.
    doses: as in a request. inputs: per input its times and values. dose_lines, input_lines: their lines in the file.
    """

    name: str | None
    times: list[float] = field(default_factory=list)
    values: dict[str, list[float | None]] = field(default_factory=dict)
    lines: list[int] = field(default_factory=list)
    doses: list[dict[str, Any]] = field(default_factory=list)
    dose_lines: list[int] = field(default_factory=list)
    inputs: dict[str, tuple[list[float], list[float]]] = field(default_factory=dict)
    input_lines: dict[str, list[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """The series of a file: one for each name in the column `experiment`, or a single one without a name.

    time_column: the name of the column `time` as the file spells it. has_doses: whether the file has doses.
    columns: the columns of observables that have another name. dose_columns: those of the fields of a dose.
    """

    path: Path
    series: list[TableSeries]
    time_column: str = TIME
    has_doses: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    dose_columns: Mapping[str, str] = field(default_factory=lambda: {"amount": DOSE})

    @property
    def has_experiments(self) -> bool:
        """Whether the file has the column `experiment`."""
        return self.series[0].name is not None


@dataclass(frozen=True)
class SystemColumns:
    """The names of a system that columns can have, as far as they are known."""

    states: Sequence[str] = ()
    observables: Sequence[str] = ()
    inputs: Sequence[str] = ()


def read_table(
    path: Path, time_unit: str | None = None, system: SystemColumns | None = None, by: str = EXPERIMENT
) -> Table:
    """Read a CSV file. Raises `CommandError` with the line and column of every mistake.

    time_unit: the unit of the times, counted from the first row, if the column `time` has dates. by: the name of the
    column whose values tell the series apart.
    """
    reader = _Reader(path, time_unit, system or SystemColumns(), by)
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
    columns = {name: column for column, name in reader.renamed.items()}
    if reader.has_events:
        return Table(path, series, reader.time_column, True, columns, FIELDS)
    return Table(path, series, reader.time_column, reader.dose_column is not None, columns)


class _Reader:
    """Reads the rows and collects their mistakes."""

    def __init__(self, path: Path, time_unit: str | None, system: SystemColumns, by: str) -> None:
        self.path, self._system, self._by = path, system, by
        self.dose_column: str | None = None
        self.has_events = False
        self.renamed: dict[str, str] = {}  # the observable of a column that has another name
        self.errors: list[FieldError] = []
        self.columns: list[str] = []
        self.time_column = TIME
        self._experiment_column = by
        self._time_unit = time_unit
        self._use(",")

    def read(self, lines: Iterator[str]) -> list[TableSeries]:
        header = next(lines, "")
        delimiter = _delimiter(header)
        rows = csv.reader(chain([header], lines), strict=True, delimiter=delimiter)
        self._use(delimiter)
        self.columns = [name.strip() for name in next(rows, [])]
        self.time_column, self._experiment_column = self._spelling(TIME), self._spelling(self._by)
        if DOSE not in self._system.observables:
            dose_column = self._spelling(DOSE)
            self.dose_column = dose_column if dose_column in self.columns else None
        if self.dose_column is None and AMOUNT not in self._system.observables:
            self._find_events()
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
        if not any(each.times for each in series.values()) and not self.errors:
            self._add_error(rows.line_num, None, "the table has no rows of measurements")
        return list(series.values())

    def _find_events(self) -> None:
        """Find out whether this is an event table, and what its columns mean."""
        self.has_events = self._spelling(AMOUNT) in self.columns
        if not self.has_events:
            return
        if self._by == EXPERIMENT and self._experiment_column not in self.columns:
            self._experiment_column = self._spelling(IDENTITY)
        value = self._spelling(VALUE)
        if value in self.columns and value not in self._system.observables:
            if len(self._system.observables) == 1:
                self.renamed[value] = self._system.observables[0]
            else:
                self._add_error(
                    1, value, f"which observable is it? Name the column {_or(self._system.observables)} instead"
                )

    def errors_to_report(self) -> list[FieldError]:
        """Return the first mistakes, and the number of the others."""
        rest = len(self.errors) - _MAX_ERRORS
        more = [FieldError("further on", f"{rest} more mistakes")] if rest > 0 else []
        return self.errors[:_MAX_ERRORS] + more

    def _use(self, delimiter: str) -> None:
        self._numbers = NumberReader(allows_commas=delimiter != ",")
        self._times = TimeReader(self._numbers, self._time_unit)

    def _spelling(self, name: str) -> str:
        """Return the name in the header of the column `name`, whose capitals do not matter."""
        return name if name in self.columns else next((c for c in self.columns if c.lower() == name.lower()), name)

    def _check_header(self) -> bool:
        before = len(self.errors)
        if self.time_column not in self.columns:
            found = ", ".join(repr(name) for name in self.columns[:12])
            hint = "" if len(self.columns) > 1 else "; separate columns by commas, semicolons or tabs"
            self._add_error(1, None, f"the header has no column {TIME!r}" + (f", only {found}{hint}" if found else ""))
        elif self._by != EXPERIMENT and self._experiment_column not in self.columns:
            self._add_error(1, None, f"the header has no column {self._by!r:.80}, which --by names")
        elif not self._observables():
            self._add_error(1, None, "the header has no column for an observable")
        for i, name in enumerate(self.columns):
            if not name:
                self._add_error(1, None, f"column {i + 1} has no name")
            elif name in self.columns[:i]:
                self._add_error(1, name, "duplicate column")
        return len(self.errors) == before

    def _observables(self) -> list[str]:
        others = {self.time_column, self._experiment_column, *self._system.inputs}
        if self.dose_column is not None:
            others |= {self.dose_column, self._spelling(INTO), self._spelling(DURATION)}
        if self.has_events:
            others |= {self._spelling(name) for name in COLUMNS}
        return [name for name in self.columns if name not in others]

    def _add(self, row: dict[str, str], line: int, series: dict[str | None, TableSeries]) -> None:
        name = row[self._experiment_column].strip() if self._experiment_column in row else None
        if name == "":
            self._add_error(line, self._experiment_column, f"empty; every row needs the name of its {self._by}")
            return
        time = self._read(self._times, row, line, self.time_column)
        values = {
            self.renamed.get(column, column): self._read(self._numbers, row, line, column)
            for column in self._observables()
        }
        if time is None:
            return
        rows = series.setdefault(name, TableSeries(name, values={observable: [] for observable in values}))
        if self.has_events:
            does_more = self._add_event(row, line, time, rows, values)
        else:
            does_more = self._add_dose(row, line, time, rows)
        does_more |= self._add_inputs(row, line, time, rows)
        if does_more and all(value is None for value in values.values()):
            return
        rows.times.append(time)
        rows.lines.append(line)
        for observable, value in values.items():
            rows.values[observable].append(value)

    def _add_dose(self, row: dict[str, str], line: int, time: float, rows: TableSeries) -> bool:
        """Add what this row gives; return whether it gives anything. A dose of 0 is none."""
        if self.dose_column is None:
            return False
        amount = self._read(self._numbers, row, line, self.dose_column)
        if not amount:
            return amount is not None
        dose: dict[str, Any] = {"into": self._into(row, line), "amount": amount, "at": time}
        duration = self._spelling(DURATION)
        if duration in row and (length := self._read(self._numbers, row, line, duration)):
            dose["duration"] = length
        rows.doses.append(dose)
        rows.dose_lines.append(line)
        return True

    def _add_event(
        self, row: dict[str, str], line: int, time: float, rows: TableSeries, values: dict[str, float | None]
    ) -> bool:
        """Add the dose of a row of an event table; return whether the row needs no measurement."""
        numbers = {
            name: self._read(self._numbers, row, line, column)
            for name in COLUMNS
            if name != COMPARTMENT and (column := self._spelling(name)) in row
        }
        event = EventRow(numbers, lambda column, detail: self._add_error(line, self._spelling(column), detail))
        into, column = "", self._spelling(COMPARTMENT)
        if event.is_dose:
            text = row[column].strip() if column in row else ""
            into = state_of(text, self._system.states) or ""
            if not into:
                states = _or(self._system.states)
                detail = f"{text or 'empty'} is no state; it is one of {states}, or its number from 1 on"
                self._add_error(line, column, detail)
        if dose := event.dose(time, into):
            rows.doses.append(dose)
            rows.dose_lines.append(line)
        if not event.is_measurement:
            values.update(dict.fromkeys(values))
        return not event.is_measurement

    def _into(self, row: dict[str, str], line: int) -> str:
        column = self._spelling(INTO)
        into = row[column].strip() if column in row else ""
        if not into and len(self._system.states) == 1:
            return self._system.states[0]
        if not into:
            known = f", such as {self._system.states[0]}" if self._system.states else ""
            self._add_error(line, column, f"a dose needs the state that it is given into{known}")
        return into

    def _add_inputs(self, row: dict[str, str], line: int, time: float, rows: TableSeries) -> bool:
        """Add the values of inputs in this row; return whether it has any."""
        found = False
        for name in self._system.inputs:
            if name in row and (value := self._read(self._numbers, row, line, name)) is not None:
                times, values = rows.inputs.setdefault(name, ([], []))
                times.append(time)
                values.append(value)
                rows.input_lines.setdefault(name, []).append(line)
                found = True
        return found

    def _read(self, reader: NumberReader | TimeReader, row: dict[str, str], line: int, column: str) -> float | None:
        try:
            value = reader.read(row[column])
        except InvalidCell as error:
            self._add_error(line, column, str(error))
            return None
        if value is None and column == self.time_column:
            self._add_error(line, column, f"{row[column].strip() or 'empty'}; every row needs a time")
        return value

    def _add_error(self, line: int, column: str | None, detail: str) -> None:
        self.errors.append(FieldError(cell_name(self.path, line, column), detail))


def _or(names: Sequence[str]) -> str:
    return " or ".join(map(repr, names[:12])) if names else "a name of the system's"


def _delimiter(header: str) -> str:
    """Return what separates the columns of a header: names have none of these characters."""
    unquoted = _QUOTED.sub("", header)
    return next((delimiter for delimiter in ";\t" if delimiter in unquoted), ",")


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
