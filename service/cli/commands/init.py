"""`odefit init`: a first FILE.json, which runs as it stands and is then edited."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Any

from odelib.errors import OdelibError, ProblemError
from odelib.problem.catalogue import CATALOGUE
from odelib.problem.request import parse_problem
from odelib.problem.system import Example, System
from service.cli.errors import BAD_REQUEST, FAILED, CommandError
from service.cli.files import check_writable, readable, write_text
from service.cli.request.build import Asked, gather
from service.cli.request.origins import Json, Places
from service.settings import ServiceSettings

NOISE = 0.05  # of the least varying observable's standard deviation: it shows, and yet the fit is easy
DIGITS = 6  # of simulated values, which are to be read
UNKNOWN_GUESS = 1.0  # where nothing at all is known
UNKNOWN_TIMES = tuple(i / 5 for i in range(51))


def start(system: str, data: Path | None, seed: int, out: Path | None) -> None:
    """Write a request for `system` to `out`, else to standard output.

    system: a name of the catalogue, or the path of a definition. The data are those of `data`, a CSV file, else
    simulated from the system's example, with noise by `seed`. Guesses are the example's; for a definition they are
    1, and where a state is measured its first value. Raises `CommandError`.
    """
    check_writable(out)
    if out is not None and out.exists():
        raise CommandError(BAD_REQUEST, f"{out} exists already; choose another name, or remove it")
    _, request, places = gather(Asked(system=system, data=data))
    known = CATALOGUE.get(system)
    found: Json = {"system": request["system"], **_guesses(known, request)}
    found |= {field: request[field] for field in ("data", "experiments") if field in request}
    if data is None:
        found["data"] = _simulated(system, found, known.example if known else None, seed, places)
    else:
        _start_at_first_values(found)
    found["uncertainty"] = "covariance"
    try:
        parse_problem(found, ServiceSettings().limits())
    except ProblemError as error:
        raise CommandError(BAD_REQUEST, "no request can be made of this:", places.translated(error.errors)) from None
    text = readable(found) + "\n"
    if out is None:
        sys.stdout.write(text)
    else:
        write_text(out, text)


def _guesses(known: System | None, request: Json) -> Json:
    if known and known.example:
        return {"parameters": dict(known.example.parameters), "initial_state": dict(known.example.initial_state)}
    return {
        "parameters": dict.fromkeys(_names(request["system"], "parameters"), UNKNOWN_GUESS),
        "initial_state": dict.fromkeys(_names(request["system"], "states"), UNKNOWN_GUESS),
    }


def _names(definition: Any, field: str) -> list[str]:
    """What a definition, which nobody has checked yet, names in `field`."""
    listed = definition.get(field) if isinstance(definition, dict) else None
    return [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []


def _simulated(system: str, request: Json, example: Example | None, seed: int, places: Places) -> Json:
    from odelib.simulation.simulated_data import simulate  # noqa: PLC0415 - loads torch

    asked = {**request, "times": list(example.times if example else UNKNOWN_TIMES)}
    try:
        clean = simulate(asked)
        spread = [statistics.pstdev(column) for column in clean["values"].values()]
        noise = NOISE * min((each for each in spread if each > 0), default=0.0)
        data = simulate(asked, noise=noise, seed=seed)
    except ProblemError as error:
        raise CommandError(BAD_REQUEST, f"{system} is not a system:", places.translated(error.errors)) from None
    except OdelibError as error:
        message = f"{system} cannot be simulated with every parameter and state at 1: {error}; give --data FILE.csv"
        raise CommandError(FAILED, message) from None
    return {**data, "values": {name: [_rounded(v) for v in column] for name, column in data["values"].items()}}


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _start_at_first_values(request: Json) -> None:
    """Where a state is measured itself, the first of its values is the best guess there is."""
    states: Json = request["initial_state"]
    for series in request.get("experiments", []):
        series["initial_state"] = _first_values(series, states)
    states |= _first_values(request.get("data") or request["experiments"][0], states)


def _first_values(series: Json, states: Json) -> dict[str, float]:
    # An observable that bears a state's name is that state.
    measured = {name: column for name, column in series["values"].items() if name in states}
    found = {name: next((value for value in column if value is not None), None) for name, column in measured.items()}
    return {name: value for name, value in found.items() if value is not None}
