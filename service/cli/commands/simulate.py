"""`odefit simulate`: data of a system, with or without noise, ready to fit."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from odelib.errors import OdelibError, ProblemError
from service.cli.errors import BAD_REQUEST, FAILED, CommandError
from service.cli.options import PlotPath


def simulate(
    system: Annotated[
        str, typer.Argument(metavar="SYSTEM|FILE.json", help="Name of a catalogue system, or a request.")
    ],
    noise: Annotated[float, typer.Option(metavar="SIGMA", help="Standard deviation of the noise.")] = 0.0,
    seed: Annotated[int, typer.Option("--seed", metavar="SEED", min=0, help="Seed of the noise.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json|.csv", help="File to write the data to [default: standard output]."),
    ] = None,
    plot: PlotPath = None,
) -> None:
    """Simulate data from a system, ready to fit."""
    from service.cli.files import check_writable, is_catalogue_system, read_request_object
    from service.cli.report.outputs import check_plot_path

    if out is not None and out.suffix not in (".json", ".csv"):
        raise CommandError(BAD_REQUEST, f"--out must end in .json or .csv, not {str(out)!r}")
    check_writable(out, plot)
    check_plot_path(plot)
    request = system if is_catalogue_system(system) else read_request_object(Path(system))
    from odelib.simulation.simulated_data import run_simulations  # loads torch: only once the arguments are valid

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
        from odelib.plots.figures import plot_simulations, save

        save(plot_simulations(simulations), plot)


def _write(series: list[dict[str, Any]], out: Path | None, *, several: bool) -> None:
    from service.cli.files import write_json
    from service.cli.request.csv_table import write_table

    data: Any = series if several else series[0]
    if out is None:
        sys.stdout.write(json.dumps(data, ensure_ascii=False, allow_nan=False) + "\n")
    elif out.suffix == ".csv":
        write_table(out, series, several=several)
    else:
        write_json(out, data)
