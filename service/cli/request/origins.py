"""Where the parts of a request were written.

Whoever wrote an option or a cell of a table is told of that option or cell, not of a pointer into a body that they
never saw.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from odelib.errors import FieldError
from odelib.problem.pointers import split
from service.cli.request.csv_table import TIME, SeriesOfTable, Table, place

Json = dict[str, Any]


@dataclass
class Places:
    """Where the parts of a request were written: pointers into it, and what their writer calls them."""

    request: Json = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    table: Table | None = None
    series: dict[str, SeriesOfTable] = field(default_factory=dict)  # by the pointer of the series
    has_file: bool = True  # without a FILE.json, what is missing can only be an option

    def translated(self, errors: Iterable[FieldError]) -> list[FieldError]:
        """The same mistakes, each at the place its writer knows."""
        return [FieldError(self._name(error.pointer), error.detail) for error in errors]

    def _name(self, pointer: str) -> str:
        for base, series in self.series.items():
            if self.table and pointer.startswith((f"{base}/times", f"{base}/values")):
                return _cell(self.table.path, series, split(pointer.removeprefix(base)))
        if pointer in self.names:
            return self.names[pointer]
        if "/system" in self.names and pointer.startswith("/system/"):
            return f"{self.names['/system']} {pointer.removeprefix('/system')}"
        around = pointer.rpartition("/")[0]
        missing = not _stands(self.request, pointer) and (not self.has_file or around in self.names)
        return (_missing_option(pointer) if missing else None) or pointer


def _cell(path: Path, series: SeriesOfTable, parts: Sequence[str]) -> str:
    column = TIME if parts[0] == "times" else parts[1] if len(parts) > 1 else None
    row = parts[-1] if len(parts) > (1 if parts[0] == "times" else 2) else ""
    return place(path, series.lines[int(row)] if row.isdigit() else None, column)


def _stands(request: Any, pointer: str) -> bool:
    for part in split(pointer):
        if not (isinstance(request, dict) and part in request):
            return False
        request = request[part]
    return True


def _missing_option(pointer: str) -> str | None:
    """The option that would have given what is missing at `pointer`."""
    match split(pointer):
        case ["parameters", name] | ["parameters", name, "guess"]:
            return f"--guess {name}=…"
        case ["initial_state", name] | ["initial_state", name, "guess"]:
            return f"--initial {name}=…"
        case ["data"]:
            return "--data FILE.csv"
    return None
