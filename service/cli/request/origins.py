"""Where the parts of a request come from.

Mistakes in an option or in a cell of a table are reported at that option or cell, not at a pointer into a request that
the user never wrote.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from odelib.errors import FieldError
from odelib.problem.pointers import split
from service.cli.request.csv_table import Table, TableSeries, cell_name

Json = dict[str, Any]


@dataclass
class Origins:
    """The origins of a request's parts.

    names: pointer → the user's name for that place, such as an option. series: pointer of a series → its rows in
    `table`. has_file: whether there is a FILE.json; without one, missing parts can only come from options.
    """

    request: Json = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    table: Table | None = None
    series: dict[str, TableSeries] = field(default_factory=dict)
    has_file: bool = True

    def translate(self, errors: Iterable[FieldError]) -> list[FieldError]:
        """Return the same mistakes, with the user's name of each place instead of its pointer."""
        return [FieldError(self._name(error.pointer), error.detail) for error in errors]

    def _name(self, pointer: str) -> str:
        for base, series in self.series.items():
            if self.table and pointer.startswith((f"{base}/times", f"{base}/values")):
                return _cell(self.table, series, split(pointer.removeprefix(base)))
            if self.table and pointer.startswith((f"{base}/doses/", f"{base}/inputs/")):
                cell = _other_cell(self.table, series, split(pointer.removeprefix(base)))
                if cell is not None:
                    return cell
        if pointer in self.names:
            return self.names[pointer]
        if "/system" in self.names and pointer.startswith("/system/"):
            return f"{self.names['/system']} {pointer.removeprefix('/system')}"
        parent = pointer.rpartition("/")[0]
        is_missing = not _exists(self.request, pointer) and (not self.has_file or parent in self.names)
        return (_missing_option(pointer) if is_missing else None) or pointer


def _cell(table: Table, series: TableSeries, parts: Sequence[str]) -> str:
    name = parts[1] if len(parts) > 1 else None
    column = table.time_column if parts[0] == "times" else table.columns.get(name or "", name)
    row = parts[-1] if len(parts) > (1 if parts[0] == "times" else 2) else ""
    return cell_name(table.path, series.lines[int(row)] if row.isdigit() else None, column)


def _other_cell(table: Table, series: TableSeries, parts: Sequence[str]) -> str | None:
    """The cell of a dose's field or of an input's knot, None if the table does not have it."""
    field, name, *rest = parts
    if field == "doses":
        columns = {**table.dose_columns, "at": table.time_column}
        column = columns.get(rest[0], rest[0]) if rest else columns["amount"]
        return (
            cell_name(table.path, series.dose_lines[int(name)], column) if int(name) < len(series.dose_lines) else None
        )
    if name not in series.inputs:
        return None
    is_knot = len(rest) == 2 and rest[1].isdigit()
    column = table.time_column if rest and rest[0] == "times" else name
    return cell_name(table.path, series.input_lines[name][int(rest[1])] if is_knot else None, column)


def _exists(request: Any, pointer: str) -> bool:
    for part in split(pointer):
        if not (isinstance(request, dict) and part in request):
            return False
        request = request[part]
    return True


def _missing_option(pointer: str) -> str | None:
    """Return the option that supplies the missing part at `pointer`."""
    match split(pointer):
        case ["parameters", name] | ["parameters", name, "guess"]:
            return f"--guess {name}=…"
        case ["initial_state", name] | ["initial_state", name, "guess"]:
            return f"--initial {name}=…"
        case ["data"]:
            return "--data FILE.csv"
    return None
