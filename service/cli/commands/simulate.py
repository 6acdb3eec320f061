"""`odefit simulate`: data of a system, with noise where wanted, ready to be fitted."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from odelib.errors import OdelibError, ProblemError
from odelib.problem.catalogue import CATALOGUE
from service.cli.errors import BAD_REQUEST, FAILED, CommandError
from service.cli.files import check_writable, read_request, write_json
from service.cli.report.outputs import check_picture
from service.cli.request.csv_table import write_table


def simulate(system: str, noise: float, seed: int, out: Path | None, plot: Path | None) -> None:
    """Write the `data` object of a simulated series, or a list of `experiments`, to `out`, else to standard output.

    system: a name of the catalogue, or the path of a request. Raises `CommandError`.
    """
    if out is not None and out.suffix not in (".json", ".csv"):
        raise CommandError(BAD_REQUEST, f"{out} must end in .json or .csv")
    check_writable(out, plot)
    check_picture(plot)
    request = _request(system)
    from odelib.simulation.simulated_data import run_simulations  # noqa: PLC0415 - loads torch

    try:
        simulations = run_simulations(request, noise=noise, seed=seed)
    except ProblemError as error:
        raise CommandError(BAD_REQUEST, f"{system} cannot be simulated:", error.errors) from None
    except ValueError as error:
        raise CommandError(BAD_REQUEST, str(error)) from None
    except OdelibError as error:
        raise CommandError(FAILED, f"{system} cannot be simulated: {error}") from None
    several = isinstance(request, dict) and "experiments" in request
    _write([simulation.data for simulation in simulations], out, several=several)
    if plot is not None:
        from odelib.plots.figures import plot_simulations, save  # noqa: PLC0415 - loads matplotlib

        save(plot_simulations(simulations), plot)


def _request(system: str) -> str | dict[str, Any]:
    if system in CATALOGUE:
        return system
    if not Path(system).exists() and not system.endswith(".json"):
        known = ", ".join(CATALOGUE)
        raise CommandError(BAD_REQUEST, f"{system!r} is neither a file nor a system; the catalogue has {known}")
    parsed = read_request(Path(system)).parsed
    if not isinstance(parsed, dict):
        raise CommandError(BAD_REQUEST, f"{system} is not a request: it must be a JSON object")
    return parsed


def _write(series: list[dict[str, Any]], out: Path | None, *, several: bool) -> None:
    written: Any = series if several else series[0]
    if out is None:
        sys.stdout.write(json.dumps(written, ensure_ascii=False, allow_nan=False) + "\n")
    elif out.suffix == ".csv":
        write_table(out, series, several=several)
    else:
        write_json(out, written)
