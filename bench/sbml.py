"""`odefit import` on the SBML semantic test suite: `python -m bench.sbml FOLDER [NUMBER …]`.

FOLDER holds `cases.tar.xz` (github sbmlteam/sbml-test-suite) and `subsets.json`, which names groups of cases. Each
case is imported and simulated; a value is right if |ours − theirs| <= absolute + relative·|theirs|, with the tolerances
of the case. Printed: how many of each group are right, and each one that is refused or wrong, with the reason.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import multiprocessing
import tarfile
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from odelib.arrays import Reals
from odelib.errors import OdelibError
from odelib.formats.errors import UnsupportedError
from odelib.formats.model import Model, number_or_text, request_name, system_of
from odelib.formats.sbml.reading import read_sbml
from odelib.simulation.simulated_data import run_simulations

RTOL = 1e-9
PROCESSES = 2


@dataclass(frozen=True)
class Case:
    """One case: its file, the times and expected values, and which variables are amounts or concentrations."""

    model: Path
    times: Reals
    expected: dict[str, Reals]
    absolute: float
    relative: float
    amounts: frozenset[str]
    concentrations: frozenset[str]


def read_case(folder: Path) -> Case:
    """Read a case of the suite."""
    name = folder.name
    lines = (folder / f"{name}-settings.txt").read_text().splitlines()
    settings = dict(line.split(":", maxsplit=1) for line in lines if ":" in line)
    rows = list(csv.reader((folder / f"{name}-results.csv").open()))
    header = [cell.strip() for cell in rows[0]]
    table = np.array([[float(cell) for cell in row] for row in rows[1:] if row])
    return Case(
        model=next(iter(sorted(folder.glob("*.xml")))),
        times=table[:, 0],
        expected={variable: table[:, column] for column, variable in enumerate(header) if column},
        absolute=float(settings["absolute"]),
        relative=float(settings["relative"]),
        amounts=_names(settings["amount"]),
        concentrations=_names(settings["concentration"]),
    )


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(",") if name.strip())


def _observed(case: Case) -> dict[str, str]:
    """The expression of each expected variable, as amount or concentration."""
    import libsbml  # noqa: PLC0415

    document = libsbml.readSBMLFromFile(str(case.model))
    source, found = document.getModel(), {}
    for variable in case.expected:
        species, expression = source.getSpecies(variable), request_name(variable)
        if species is not None:
            size = request_name(species.getCompartment())
            compartment = source.getCompartment(species.getCompartment())
            has_size = compartment.getSpatialDimensionsAsDouble() > 0 or compartment.isSetSize()
            is_amount = species.getHasOnlySubstanceUnits() or not has_size
            if variable in case.amounts and not is_amount:
                expression = f"{expression}*{size}"
            if variable in case.concentrations and is_amount:
                expression = f"{expression}/{size}"
        found[variable] = expression
    return found


def _request(case: Case, model: Model) -> dict[str, Any]:
    constants = {name: value for name, value in model.values.items() if value is not None}
    observed = _observed(case)
    return {
        "system": system_of(model, [], constants)
        | {"observables": {f"seen_{name}": text for name, text in observed.items()}},
        "initial_state": {name: number_or_text(tree) for name, tree in model.initial_state().items()},
        "times": case.times.tolist(),
        "solver": {"rtol": RTOL},
    }


def check(folder: Path) -> str:
    """`right`, or why a case is not."""
    case = read_case(folder)
    if any(not np.isfinite(column).all() for column in case.expected.values()):
        what = "expects values that are not finite"
    else:
        what = ""
    try:
        [simulation] = run_simulations(_request(case, read_sbml(case.model)))
    except UnsupportedError as error:
        return f"refused: {error}"
    except OdelibError as error:
        return f"refused: {what}: {error}" if what else f"failed: {error}"
    worst = 0.0
    for name, column in case.expected.items():
        ours = np.array(simulation.data["values"][f"seen_{name}"], dtype=float)
        allowed = case.absolute + case.relative * np.abs(column)
        worst = max(worst, float(np.nanmax(np.abs(ours - column) / allowed)))
        if not np.isfinite(ours).all():
            return f"wrong: {name} is not finite"
    return "right" if worst <= 1.0 and math.isfinite(worst) else f"wrong: by {worst:.3g} times the tolerance"


def main() -> None:
    """Check the cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("numbers", nargs="*", help="cases to check, such as 00001; all if none is given")
    options = parser.parse_args()
    groups: dict[str, list[str]] = json.loads((options.folder / "subsets.json").read_text())
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(options.folder / "cases.tar.xz") as archive:
            archive.extractall(folder, filter="data")
        cases = {path.parent.name: path.parent for path in Path(folder).rglob("*-settings.txt")}
        for group, names in groups.items():
            chosen = [name for name in names if not options.numbers or name in options.numbers]
            with multiprocessing.Pool(PROCESSES) as pool:
                results = pool.map(check, [cases[name] for name in chosen], chunksize=5)
            for name, result in zip(chosen, results, strict=True):
                if result != "right":
                    print(f"{name}: {result}", flush=True)
            counts = Counter(result.split(":")[0] for result in results)
            summary = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
            print(f"{group}: {summary} of {len(chosen)}", flush=True)


if __name__ == "__main__":
    main()
