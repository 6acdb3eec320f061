"""`odefit init`: a first FILE.json, which runs unchanged and is meant to be edited."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from odelib.errors import OdelibError, ProblemError
from service.cli.errors import BAD_REQUEST, FAILED, CommandError
from service.cli.options import Data, RequestOptions, TimeUnit

if TYPE_CHECKING:
    from odelib.problem.system import Example, System
    from service.cli.request.origins import Origins

NOISE = 0.05  # of the smallest standard deviation of an observable: visible, and yet the fit is easy
DIGITS = 6  # significant digits of simulated values, which people are to read
DEFAULT_GUESS = 1.0  # for a definition, about whose values nothing is known
DEFAULT_TIMES = tuple(i / 5 for i in range(51))

Json = dict[str, Any]


def init(
    system: Annotated[
        str,
        typer.Argument(
            metavar="SYSTEM|FILE.json", help="Name of a catalogue system, or a file that contains a definition."
        ),
    ],
    data: Data = None,
    time_unit: TimeUnit = None,
    seed: Annotated[
        int, typer.Option("--seed", metavar="SEED", min=0, help="Seed of the noise, if the data are simulated.")
    ] = 0,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="File to write the request to [default: standard output].")
    ] = None,
) -> None:
    """Write a first FILE.json, which you can fit unchanged."""
    from service.cli.files import check_writable, format_json, write_text

    check_writable(out)
    if out is not None and out.exists():
        raise CommandError(BAD_REQUEST, f"{out} already exists; choose another name, or delete it")
    text = format_json(first_request(system, data, seed, time_unit)) + "\n"
    if out is None:
        sys.stdout.write(text)
    else:
        write_text(out, text)


def first_request(system: str, data: Path | None, seed: int, time_unit: str | None = None) -> Json:
    """Return a valid request for `system`, the name of a catalogue system or the path of a definition.

    Its data come from the CSV file `data`, or are simulated from the system's example. Its guesses are those of the
    example, or 1 for a definition; a measured state starts at its first value, and if the table has doses, any other at
    0. Raises `CommandError`.
    """
    from odelib.problem.catalogue import CATALOGUE
    from odelib.problem.request import parse_problem
    from service.cli.request.build import build_request
    from service.settings import ServiceSettings

    given = build_request(RequestOptions(system=system, data=data, time_unit=time_unit))
    known = CATALOGUE.get(system)
    request: Json = {"system": given.parsed["system"], **_guesses(known, given.parsed)}
    request |= {field: given.parsed[field] for field in ("data", "experiments") if field in given.parsed}
    if data is None:
        request["data"] = _simulate(system, request, known.example if known else None, seed, given.origins)
    else:
        _start_at_first_values(request)
        if known is None:
            _start_empty(request)
    request["uncertainty"] = "covariance"
    try:
        parse_problem(request, ServiceSettings().limits())
    except ProblemError as error:
        mistakes = given.origins.translate(error.errors)
        raise CommandError(BAD_REQUEST, "the system and the data do not make a valid request:", mistakes) from None
    return request


def _guesses(known: System | None, request: Json) -> Json:
    if known and known.example:
        return {"parameters": dict(known.example.parameters), "initial_state": dict(known.example.initial_state)}
    return {
        "parameters": dict.fromkeys(_names(request["system"], "parameters"), DEFAULT_GUESS),
        "initial_state": dict.fromkeys(_names(request["system"], "states"), DEFAULT_GUESS),
    }


def _names(definition: Any, field: str) -> list[str]:
    """Return the names in a field of a definition that has not been validated yet."""
    listed = definition.get(field) if isinstance(definition, dict) else None
    return [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []


def _simulate(system: str, request: Json, example: Example | None, seed: int, origins: Origins) -> Json:
    from odelib.simulation.simulated_data import simulate

    timed = {**request, "times": list(example.times if example else DEFAULT_TIMES)}
    try:
        exact = simulate(timed)
        deviations = [statistics.pstdev(column) for column in exact["values"].values()]
        noise = NOISE * min((deviation for deviation in deviations if deviation > 0), default=0.0)
        data = simulate(timed, noise=noise, seed=seed)
    except ProblemError as error:
        raise CommandError(BAD_REQUEST, f"{system} is not a valid system:", origins.translate(error.errors)) from None
    except OdelibError as error:
        message = (
            f"{system} cannot be simulated with all parameters and initial values at {DEFAULT_GUESS:g}: {error}; "
            "pass measurements with --data FILE.csv"
        )
        raise CommandError(FAILED, message) from None
    return {**data, "values": {name: [_rounded(v) for v in column] for name, column in data["values"].items()}}


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _start_at_first_values(request: Json) -> None:
    """Let each state that is measured itself start at its first value."""
    guesses: Json = request["initial_state"]
    for series in request.get("experiments", []):
        series["initial_state"] = _first_values(series, guesses)
    guesses |= _first_values(request.get("data") or request["experiments"][0], guesses)


def _start_empty(request: Json) -> None:
    """If doses are given, fix the initial value of each state that is not measured at 0, as before a first dose."""
    listed = request.get("experiments") or [request["data"]]
    measured = {name for series in listed for name in _first_values(series, request["initial_state"])}
    if any(series.get("doses") for series in listed):
        request["initial_state"] |= {
            name: {"guess": 0.0, "fixed": True} for name in request["initial_state"] if name not in measured
        }


def _first_values(series: Json, states: Json) -> dict[str, float]:
    # An observable with a state's name is that state.
    measured = {name: column for name, column in series["values"].items() if name in states}
    found = {name: next((value for value in column if value is not None), None) for name, column in measured.items()}
    return {name: value for name, value in found.items() if value is not None}
