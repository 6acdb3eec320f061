"""A request, built from FILE.json, a table of measurements and options."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from odelib.errors import FieldError
from odelib.problem.catalogue import CATALOGUE
from odelib.problem.pointers import join, split
from service.cli.errors import BAD_REQUEST, CommandError
from service.cli.files import is_catalogue_system, read_request, read_request_object
from service.cli.options import RequestOptions
from service.cli.request.cells import TIME_UNITS, one_of
from service.cli.request.csv_table import SystemColumns, Table, TableSeries, read_table
from service.cli.request.origins import Json, Origins


@dataclass(frozen=True)
class BuiltRequest:
    """A request as bytes and as the same JSON parsed, and where its parts come from."""

    body: bytes
    parsed: Any
    origins: Origins


def build_request(options: RequestOptions) -> BuiltRequest:
    """Build the request; whoever receives it validates it.

    Raises `CommandError` for files that cannot be read and options that cannot be parsed.
    """
    if options.file is None and options.system is None:
        raise CommandError(BAD_REQUEST, "there is nothing to fit: pass FILE.json, or --system and --data")
    if options.is_only_file and options.file is not None:
        file = read_request(options.file)
        return BuiltRequest(file.body, file.parsed, Origins())
    request = {} if options.file is None else read_request_object(options.file)
    origins = Origins(request, has_file=options.file is not None)
    if options.system is not None:
        request["system"] = _system(options.system, origins)
    _check_time_unit(options.time_unit)
    if options.time_unit is not None and options.data is None:
        raise CommandError(BAD_REQUEST, "--time-unit is for the dates of a table: pass --data FILE.csv too")
    if options.data is not None:
        _set_data(request, read_table(options.data, options.time_unit, _columns(request.get("system"))), origins)
    if options.start_time is not None:
        _set_start_time(request, options.start_time, origins)
    if options.uncertainty is not None:
        request["uncertainty"] = options.uncertainty
        origins.names["/uncertainty"] = "--uncertainty"
    _set_unknowns(request, options, origins)
    return BuiltRequest(json.dumps(request, ensure_ascii=False, allow_nan=False).encode(), request, origins)


def build_series(path: Path, by: str, time_unit: str | None, request: Json) -> list[Json]:
    """Return the series in a table, one for each value of the column `by`. Raises `CommandError`."""
    _check_time_unit(time_unit)
    table = read_table(path, time_unit, _columns(request.get("system")), by)
    return [{"name": series.name, **_merge(None, table, series)} for series in table.series]


def _system(choice: str, origins: Origins) -> Any:
    """Return the name of a catalogue system, or the definition in a file."""
    if is_catalogue_system(choice):
        origins.names["/system"] = "--system"
        return choice
    origins.names["/system"] = choice
    definition = read_request(Path(choice)).parsed
    if isinstance(definition, dict) and "system" in definition:
        raise CommandError(BAD_REQUEST, f"{choice} is a request; --system needs the definition of a system")
    return definition


def _check_time_unit(time_unit: str | None) -> None:
    if time_unit is not None and time_unit not in TIME_UNITS:
        raise CommandError(BAD_REQUEST, f"--time-unit takes {one_of(TIME_UNITS)}, not {time_unit!r:.80}")


def _set_data(request: Json, table: Table, origins: Origins) -> None:
    """Replace times and values by those of the table; other fields of the series in FILE.json are kept."""
    origins.table = table
    if not table.has_experiments:
        request.pop("experiments", None)
        origins.series["/data"] = table.series[0]
        request["data"] = _merge(request.get("data"), table, table.series[0])
        return
    request.pop("data", None)
    given = request.get("experiments")
    known = {entry["name"]: entry for entry in given if _has_name(entry)} if isinstance(given, list) else {}
    request["experiments"] = []
    for i, series in enumerate(table.series):
        origins.series[f"/experiments/{i}"] = series
        request["experiments"].append({"name": series.name, **_merge(known.get(series.name), table, series)})


def _has_name(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("name"), str)


def _columns(system: Any) -> SystemColumns:
    """Return the names that columns of a table can have, of a system that has not been validated yet."""
    if isinstance(system, str) and system in CATALOGUE:
        known = CATALOGUE[system]
        return SystemColumns(known.states, list(known.observables))
    fields = system if isinstance(system, Mapping) else {}
    states, inputs = (_texts(fields.get(name)) for name in ("states", "inputs"))
    return SystemColumns(states, _texts(fields.get("observables")) or states, inputs)


def _texts(names: Any) -> list[str]:
    return [name for name in names if isinstance(name, str)] if isinstance(names, list | dict) else []


def _merge(given: Any, table: Table, series: TableSeries) -> Json:
    fields = dict(given) if isinstance(given, dict) else {}
    if table.has_doses:
        fields["doses"] = series.doses
    if series.inputs:
        known = fields.get("inputs")
        inputs = dict(known) if isinstance(known, dict) else {}
        for name, (times, values) in series.inputs.items():  # interpolation and what is outside are kept
            old = inputs.get(name)
            inputs[name] = {**(old if isinstance(old, dict) else {}), "times": times, "values": values}
        fields["inputs"] = inputs
    # A column that is empty in all rows was not measured in this experiment.
    measured = {name: column for name, column in series.values.items() if any(value is not None for value in column)}
    return {**fields, "times": series.times, "values": measured or series.values}


def _set_start_time(request: Json, start_time: float, origins: Origins) -> None:
    """Set the start time of every series."""
    several = request.get("experiments")
    if isinstance(several, list):
        series = {f"/experiments/{i}": one for i, one in enumerate(several)}
    else:
        series = {"/data": request.setdefault("data", {})}
    for pointer, one in series.items():
        if isinstance(one, dict):
            one["start_time"] = start_time
            origins.names[f"{pointer}/start_time"] = "--start-time"


def _set_unknowns(request: Json, options: RequestOptions, origins: Origins) -> None:
    for text in options.guesses:
        name, value = _pair(text, "--guess")
        _set(request, join("/parameters", name), "guess", _number(value, f"--guess {name}"), "--guess", origins)
    for text in options.initial:
        name, value = _pair(text, "--initial")
        pointer = join("/initial_state", name)
        if _is_number(value):
            _set(request, pointer, "guess", _number(value, f"--initial {name}"), "--initial", origins)
        else:  # an expression of parameters
            _section(request, "initial_state")[name] = value
            origins.names[pointer] = f"--initial {name}"
    for text in options.fixed:
        name, equals, value = text.partition("=")
        pointer = _pointer_of(name.strip(), request)
        if equals:
            _set(request, pointer, "guess", _number(value, f"--fix {name}"), "--fix", origins)
        _set(request, pointer, "fixed", True, "--fix", origins)
    for option, bounds, key in (("--lower", options.lower, "lower"), ("--upper", options.upper, "upper")):
        for text in bounds:
            name, value = _pair(text, option)
            _set(request, _pointer_of(name, request), key, _number(value, f"{option} {name}"), option, origins)


def _set(request: Json, pointer: str, key: str, value: Any, option: str, origins: Origins) -> None:
    """Set a field of an unknown, whose entry may also be a number (its guess) or an expression."""
    section, name = split(pointer)
    entries = _section(request, section)
    entry = entries.get(name)
    origins.names[join(pointer, key)] = f"{option} {name}"
    origins.names.setdefault(pointer, f"{option} {name}")
    if isinstance(entry, dict):
        kept = {field: given for field, given in entry.items() if field != "fixed" or key != "guess"}
        entries[name] = {**kept, key: value}  # a guess frees what FILE.json fixes, unless --fix fixes it again
    elif key == "guess":
        entries[name] = value
    else:  # an expression cannot be fixed or bounded: drop it, so that the validation reports a missing guess
        entries[name] = {**({"guess": entry} if isinstance(entry, int | float) else {}), key: value}


def _section(request: Json, name: str) -> Json:
    entries = request.setdefault(name, {})
    if not isinstance(entries, dict):
        raise CommandError(BAD_REQUEST, "FILE.json is invalid:", [FieldError(f"/{name}", "must be an object")])
    return entries


def _pointer_of(name: str, request: Json) -> str:
    """Return the pointer of an unknown: names are unique, so what is not a state is a parameter."""
    system = request.get("system")
    states: Any = system.get("states") if isinstance(system, Mapping) else None
    if isinstance(system, str) and system in CATALOGUE:
        states = CATALOGUE[system].states
    is_state = isinstance(states, Sequence) and name in states
    return join("/initial_state" if is_state else "/parameters", name)


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (equals and name.strip() and value.strip()):
        raise CommandError(BAD_REQUEST, f"{option} takes NAME=VALUE, not {text!r:.80}")
    return name.strip(), value.strip()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(text: str, option: str) -> float:
    if not (_is_number(text) and math.isfinite(float(text))):
        raise CommandError(BAD_REQUEST, f"{option}: {text.strip()!r:.80} is not a finite number")
    return float(text)
