"""PEtab's files: a YAML file that names tables of tab-separated values."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from odelib.formats.errors import UnsupportedError

Row = Mapping[str, str]


def read_problem_file(path: Path) -> dict[str, Any]:
    """The content of a problem's YAML file."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UnsupportedError(f"{path} cannot be read: {error}") from None
    if not isinstance(content, dict) or "format_version" not in content:
        raise UnsupportedError(f"{path} is not a PEtab problem: it has no format_version")
    return content


def read_tables(folder: Path, names: Sequence[str] | None) -> list[Row]:
    """The rows of several tables, one after the other; empty cells are left out."""
    return [row for name in names or [] for row in _read_table(folder / name)]


def _read_table(path: Path) -> list[Row]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
    except (OSError, UnicodeDecodeError) as error:
        raise UnsupportedError(f"{path} cannot be read: {error}") from None
    return [
        {key.strip(): value.strip() for key, value in row.items() if key is not None and value and value.strip()}
        for row in rows
    ]


def required(row: Row, column: str, table: str) -> str:
    """A cell that must be there."""
    if column not in row:
        raise UnsupportedError(f"the {table} table has a row without {column}: {dict(row)!r:.200}")
    return row[column]


def number(text: str, place: str) -> float:
    """A number; NaN for `nan`."""
    try:
        return float(text)
    except ValueError:
        raise UnsupportedError(f"{place} is not a number: {text!r:.80}") from None


def finite_or_none(text: str | None, place: str) -> float | None:
    """A bound: None where it is missing or infinite."""
    value = number(text, place) if text is not None else math.inf
    return value if math.isfinite(value) else None


def split(text: str | None) -> list[str]:
    """The parts of a cell, which semicolons separate."""
    return [part.strip() for part in text.split(";")] if text else []
