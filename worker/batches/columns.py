"""The rows of a batch as a table: one column for each name and number, the same for all rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from odelib.problem.catalogue import CATALOGUE

Cell = str | float | None
_NUMBERS = {"": "value", "_standard_error": "standard_error", "_lower_95": "lower_95", "_upper_95": "upper_95"}
_GROUPS = ("parameters", "initial_state", "derived")
_SCALES = ("sigma", "proportional")


def columns(request: Mapping[str, Any]) -> list[str]:
    """Return the names of the columns. request: of a batch, as accepted.

    `NAME`, `NAME_standard_error`, `NAME_lower_95` and `NAME_upper_95` for each parameter, initial state and derived
    quantity, and `OBSERVABLE_sigma` and `OBSERVABLE_proportional` for each observable with noise. The codes of the
    warnings are separated by spaces; `error` is the detail.
    """
    noise = request.get("noise")
    scales = [f"{name}_{scale}" for name in (noise if isinstance(noise, dict) else ()) for scale in _SCALES]
    numbers = [name + suffix for name in [*_estimated(request.get("system")), *scales] for suffix in _NUMBERS]
    return ["name", "status", "outcome", "loss", *numbers, "warnings", "error"]


def cells(row: Mapping[str, Any]) -> dict[str, Cell]:
    """Return the cells of a row by column; those without a value are absent."""
    found: dict[str, Cell] = {name: row[name] for name in ("name", "status", "outcome", "loss") if name in row}
    for name, estimate in _estimates(row):
        found |= {name + suffix: estimate[key] for suffix, key in _NUMBERS.items() if key in estimate}
    if "warnings" in row:
        found["warnings"] = " ".join(warning["code"] for warning in row["warnings"])
    if "error" in row:
        found["error"] = row["error"]["detail"]
    return found


def csv_text(request: Mapping[str, Any], rows: Iterable[Mapping[str, Any]], *, header: bool = True) -> str:
    """Return rows as comma-separated values. header: whether the names of the columns come first."""
    names = columns(request)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    if header:
        writer.writerow(names)
    writer.writerows([cells(row).get(name) for name in names] for row in rows)
    return buffer.getvalue()


def _estimated(system: Any) -> Iterator[str]:
    """Yield the names of parameters, states and derived quantities."""
    if isinstance(system, str):
        if system in CATALOGUE:
            known = CATALOGUE[system]
            yield from (*known.parameters, *known.states, *known.derived)
    elif isinstance(system, dict):
        for field in ("parameters", "states", "derived"):
            entries = system.get(field)
            yield from (name for name in (entries if isinstance(entries, list | dict) else ()) if isinstance(name, str))


def _estimates(row: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for group in _GROUPS:
        yield from row.get(group, {}).items()
    for observable, scales in row.get("noise", {}).items():
        yield from ((f"{observable}_{name}", scales[name]) for name in _SCALES if name in scales)


def parquet(request: Mapping[str, Any], rows: Iterator[list[dict[str, Any]]]) -> bytes:
    """Return the rows, chunk by chunk, as a Parquet file."""
    import pyarrow  # noqa: PLC0415  loaded when a file is made
    import pyarrow.parquet  # noqa: PLC0415

    texts = {"name", "status", "outcome", "warnings", "error"}
    names = columns(request)
    schema = pyarrow.schema([(name, pyarrow.string() if name in texts else pyarrow.float64()) for name in names])
    sink = pyarrow.BufferOutputStream()
    with pyarrow.parquet.ParquetWriter(sink, schema, compression="zstd") as writer:
        for chunk in rows:
            found = [cells(row) for row in chunk]
            entries = {name: [row.get(name) for row in found] for name in names}
            writer.write_table(pyarrow.table(entries, schema=schema))
    content: bytes = sink.getvalue().to_pybytes()
    return content
