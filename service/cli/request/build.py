"""A request gathered from where its parts live: a FILE.json, a table of measurements, options."""

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
from service.cli.files import read_request
from service.cli.request.csv_table import SeriesOfTable, Table, read_table
from service.cli.request.origins import Json, Places


@dataclass(frozen=True)
class Asked:
    """What the command line names. `guesses` and the like hold NAME=VALUE as they were written."""

    file: Path | None = None
    system: str | None = None
    data: Path | None = None
    guesses: Sequence[str] = ()
    initial: Sequence[str] = ()
    fixed: Sequence[str] = ()
    lower: Sequence[str] = ()
    upper: Sequence[str] = ()
    start_time: float | None = None
    uncertainty: str | None = None

    @property
    def only_file(self) -> bool:
        """Whether FILE.json is all there is: then it is sent as it stands."""
        rest = (self.system, self.data, *self.guesses, *self.initial, *self.fixed, *self.lower, *self.upper)
        return self.file is not None and not any(rest) and self.uncertainty is None and self.start_time is None

    @property
    def told(self) -> str:
        """What the request is called in a message."""
        return "what the options say" if self.file is None else str(self.file)


def gather(asked: Asked) -> tuple[bytes, Any, Places]:
    """The body of the request, the same as parsed JSON, and where its parts stand.

    Raises `CommandError` for files that cannot be read and options that cannot be understood; what the request
    means is checked by whoever takes it.
    """
    if asked.file is None and asked.system is None:
        raise CommandError(BAD_REQUEST, "what is to be fitted? give FILE.json, or --system and --data")
    if asked.only_file and asked.file is not None:
        found = read_request(asked.file)
        return found.body, found.parsed, Places()
    request = _file_of(asked.file)
    places = Places(request, has_file=asked.file is not None)
    if asked.system is not None:
        request["system"] = _system(asked.system, places)
    if asked.data is not None:
        _put_data(request, read_table(asked.data), places)
    if asked.start_time is not None:
        _put_start_time(request, asked.start_time, places)
    if asked.uncertainty is not None:
        request["uncertainty"] = asked.uncertainty
        places.names["/uncertainty"] = "--uncertainty"
    _put_unknowns(request, asked, places)
    return json.dumps(request, ensure_ascii=False, allow_nan=False).encode(), request, places


def _file_of(path: Path | None) -> Json:
    if path is None:
        return {}
    parsed = read_request(path).parsed
    if not isinstance(parsed, dict):
        raise CommandError(BAD_REQUEST, f"{path} is not a fit request: it must be a JSON object")
    return parsed


def _system(choice: str, places: Places) -> Any:
    places.names["/system"] = "--system"
    if choice in CATALOGUE:
        return choice
    if not Path(choice).exists() and not choice.endswith(".json"):
        known = ", ".join(CATALOGUE)
        raise CommandError(BAD_REQUEST, f"{choice!r} is neither a system nor a file; the catalogue has {known}")
    places.names["/system"] = choice
    definition = read_request(Path(choice)).parsed
    if isinstance(definition, dict) and "system" in definition:
        raise CommandError(BAD_REQUEST, f"{choice} is a request, not a system")
    return definition


def _put_data(request: Json, table: Table, places: Places) -> None:
    """Put the table's series in; what FILE.json says of a series beside its measurements stays."""
    places.table = table
    if not table.has_experiments:
        request.pop("experiments", None)
        places.series["/data"] = table.series[0]
        request["data"] = _merged(request.get("data"), table.series[0])
        return
    request.pop("data", None)
    given = request.get("experiments")
    known = {entry["name"]: entry for entry in given if _has_name(entry)} if isinstance(given, list) else {}
    request["experiments"] = []
    for i, series in enumerate(table.series):
        places.series[f"/experiments/{i}"] = series
        request["experiments"].append({"name": series.name, **_merged(known.get(series.name), series)})


def _has_name(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("name"), str)


def _merged(given: Any, series: SeriesOfTable) -> Json:
    kept = given if isinstance(given, dict) else {}
    measured = {name: column for name, column in series.values.items() if any(value is not None for value in column)}
    # A column that is empty all through was not measured in this experiment.
    return {**kept, "times": series.times, "values": measured or series.values}


def _put_start_time(request: Json, start_time: float, places: Places) -> None:
    """Of every series."""
    several = request.get("experiments")
    if isinstance(several, list):
        series = {f"/experiments/{i}": one for i, one in enumerate(several)}
    else:
        series = {"/data": request.setdefault("data", {})}
    for pointer, one in series.items():
        if isinstance(one, dict):
            one["start_time"] = start_time
            places.names[f"{pointer}/start_time"] = "--start-time"


def _put_unknowns(request: Json, asked: Asked, places: Places) -> None:
    for text in asked.guesses:
        name, value = _pair(text, "--guess")
        _put(request, join("/parameters", name), "guess", _number(value, f"--guess {name}"), "--guess", places)
    for text in asked.initial:
        name, value = _pair(text, "--initial")
        pointer = join("/initial_state", name)
        if _is_number(value):
            _put(request, pointer, "guess", _number(value, f"--initial {name}"), "--initial", places)
        else:  # an expression of parameters
            _section(request, "initial_state")[name] = value
            places.names[pointer] = f"--initial {name}"
    for text in asked.fixed:
        name, equals, value = text.partition("=")
        pointer = _pointer_of(name.strip(), request)
        if equals:
            _put(request, pointer, "guess", _number(value, f"--fix {name}"), "--fix", places)
        _put(request, pointer, "fixed", True, "--fix", places)
    for option, bounds, key in (("--lower", asked.lower, "lower"), ("--upper", asked.upper, "upper")):
        for text in bounds:
            name, value = _pair(text, option)
            _put(request, _pointer_of(name, request), key, _number(value, f"{option} {name}"), option, places)


def _put(request: Json, pointer: str, key: str, value: Any, option: str, places: Places) -> None:
    """Set one field of an unknown, whose entry may have been a number, its guess."""
    section, name = split(pointer)
    entries = _section(request, section)
    entry = entries.get(name)
    places.names[join(pointer, key)] = f"{option} {name}"
    places.names.setdefault(pointer, f"{option} {name}")
    if isinstance(entry, dict):
        entries[name] = {**entry, key: value}
    elif key == "guess":
        entries[name] = value
    else:  # of an expression nothing can be fixed or bounded: it gives way, and the guess is said to be missing
        entries[name] = {**({"guess": entry} if isinstance(entry, int | float) else {}), key: value}


def _section(request: Json, name: str) -> Json:
    entries = request.setdefault(name, {})
    if not isinstance(entries, dict):
        raise CommandError(
            BAD_REQUEST, "FILE.json is not a fit request:", [FieldError(f"/{name}", "must be an object")]
        )
    return entries


def _pointer_of(name: str, request: Json) -> str:
    """Names are unique in a system: a state has an initial value, everything else is taken for a parameter."""
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
