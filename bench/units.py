"""Check that answers do not depend on units: fits of the same problems in many units of states, time and rates.

    python -m bench.units [--results FILE] [--problems WORD ...] [--units WORD ...]

The problems are those of docs/problems.md without counts and without anything done in experiments, and the article's
fits of the catalogue's systems, with the default plan and `uncertainty: "covariance"`. Each is written in units of
states that make the numbers 2^±40 and 1e±12 times as large, of time and rates 2^±30 and 1e±9 times, both at once, and
in a unit for every other state where noise is given, because a sum of squares depends on such units. A fit
must find the estimates of the fit in the original units: to 1e-6 of their size where all factors are powers of two,
which change no digit, else to a tenth of a standard error; the standard errors to 2 %; and the same outcome and
warnings, those that compare other starts left out.

Results are appended to FILE as lines of JSON, and fits that are in it are not done again. The exit status is 0 only if
all agree.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from examples.problems.collection import problems
from examples.problems.units import Units, definition, in_units
from odelib.errors import OdelibError
from odelib.fitting import fit
from odelib.problem.request import parse_problem

REQUESTS = Path(__file__).parents[1] / "examples" / "requests"
CATALOGUE_FITS = ("lotka-volterra", "stuart-landau", "kuramoto", "lorenz")
BINARY, DECIMAL, BINARY_TIME, DECIMAL_TIME = 2.0**40, 1e12, 2.0**30, 1e9
EVERY_OTHER = "every other state 2^±40"
UNITS: Mapping[str, Units] = {
    "states 2^40": Units(BINARY),
    "states 2^-40": Units(1 / BINARY),
    EVERY_OTHER: Units(),
    "time 2^30": Units(1.0, BINARY_TIME, 1 / BINARY_TIME),
    "time 2^-30": Units(1.0, 1 / BINARY_TIME, BINARY_TIME),
    "both 2^-40, 2^30": Units(1 / BINARY, BINARY_TIME, 1 / BINARY_TIME),
    "states 1e12": Units(DECIMAL),
    "states 1e-12": Units(1 / DECIMAL),
    "time 1e9": Units(1.0, DECIMAL_TIME, 1 / DECIMAL_TIME),
    "time 1e-9": Units(1.0, 1 / DECIMAL_TIME, DECIMAL_TIME),
    "both 1e-12, 1e-9": Units(1 / DECIMAL, 1 / DECIMAL_TIME, DECIMAL_TIME),
}
ORIGINAL = "original"
DONE = ("doses", "inputs", "changes", "events", "steady_state", "observed")
EXACT, ERROR_RATIO, OF_ERROR = 1e-6, 0.02, 0.1
Fitted = dict[str, Any]


def main() -> int:
    """Fit what is not in the file, compare, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.units", description="the same fits in other units")
    parser.add_argument("--results", type=Path, default=Path("units.jsonl"))
    parser.add_argument("--problems", nargs="*", default=[""], help="words of which the name has one")
    parser.add_argument("--units", nargs="*", default=[""], help="words of which the units have one")
    options = parser.parse_args()
    torch.set_num_threads(1)
    units = [name for name in UNITS if any(word in name for word in options.units)]
    done = _done(options.results)
    disagree, compared = [], 0
    print(
        "| problem | agree | binary units: largest change | decimal units: of a standard error | of errors | seconds |"
    )
    print("|---|---|---|---|---|---|")
    for name, request in requests().items():
        if not any(word.lower() in name.lower() for word in options.problems):
            continue
        original = _fitted(options.results, done, name, ORIGINAL, request)
        fits = {
            unit: _fitted(options.results, done, name, unit, request)
            for unit in units
            # a sum of the squares of what has different units does depend on them
            if unit != EVERY_OTHER or _has_scales(request)
        }
        differences = {unit: differing(original, found, is_exact="2^" in unit) for unit, found in fits.items()}
        told = [f"{name}, {unit}: {'; '.join(each)}" for unit, each in differences.items() if each]
        print(f"| {name} | {len(fits) - len(told)} of {len(fits)} | {_row(original, fits)} |")
        disagree += told
        compared += len(fits)
    print(f"{compared - len(disagree)} of {compared} fits in other units agree with those in the original ones")
    print("\n".join(disagree))
    return 1 if disagree else 0


def requests() -> dict[str, Any]:
    """Return the requests by name, with default stages and solver settings."""
    found = {problem.name: problem.request for problem in problems() if _can_be_rewritten(problem.request)}
    for name in CATALOGUE_FITS:
        found[f"Article, {name}"] = json.loads((REQUESTS / f"{name}.json").read_text("utf-8"))
    left_out = ("stages", "solver", "predictions", "penalty")
    return {
        name: {key: value for key, value in request.items() if key not in left_out} | {"uncertainty": "covariance"}
        for name, request in found.items()
    }


def _can_be_rewritten(request: Mapping[str, Any]) -> bool:
    """Whether it has no counts, and nothing was done in its experiments."""
    series = [request, request["system"], *request.get("experiments", []), request.get("data", {})]
    if any(key in each for each in series if isinstance(each, dict) for key in DONE):
        return False
    return all(noise["distribution"] != "poisson" for noise in request.get("noise", {}).values())


def _has_scales(request: Any) -> bool:
    return "noise" in request or len(definition(request)["states"]) == 1


def units_of(unit: str, request: Any) -> Units:
    """Return the units of a name, for the states of a request."""
    if unit != EVERY_OTHER:
        return UNITS[unit]
    states = definition(request)["states"]
    return Units({state: BINARY if place % 2 else 1 / BINARY for place, state in enumerate(states)})


def fitted_in(request: Any, units: Units) -> Fitted:
    """Fit a request in some units; return estimates and standard errors in the original ones, outcome and warnings."""
    began = time.perf_counter()
    result = fit(parse_problem(in_units(request, units)))
    estimates = {name: (estimate, units.rates) for name, estimate in result.parameters.items()}
    for trajectory in result.trajectories:
        own = {name: (estimate, units.rates) for name, estimate in (trajectory.parameters or {}).items()}
        own |= {name: (estimate, units.of_state(name)) for name, estimate in trajectory.initial_state.items()}
        estimates |= {f"{trajectory.name}: {name}": each for name, each in own.items()}
    return {
        "estimates": {
            name: [
                estimate.value / factor,
                None if estimate.standard_error is None else estimate.standard_error / factor,
            ]
            for name, (estimate, factor) in estimates.items()
        },
        "outcome": result.outcome.code,
        "warnings": [[warning.code, warning.names] for warning in result.warnings if warning.code != "best_found_once"],
        "gradients": sum(stage.gradients for stage in result.stages),
        "seconds": time.perf_counter() - began,
    }


def differing(original: Fitted, found: Fitted, *, is_exact: bool) -> list[str]:
    """Return in words where two fits differ."""
    if "error" in original or "error" in found:
        return [f"ended with {original.get('error')} and {found.get('error')}"]
    differences = [f"{key} {found[key]}" for key in ("outcome", "warnings") if original[key] != found[key]]
    for name, (value, error) in original["estimates"].items():
        other, other_error = found["estimates"][name]
        change = abs(other - value)
        allowed = EXACT * abs(value) if is_exact or error is None else OF_ERROR * error
        if change > allowed:
            differences.append(f"{name} {other:.8g} in place of {value:.8g}")
        if (error is None) != (other_error is None):
            differences.append(f"standard error of {name} {other_error} in place of {error}")
        elif error and not math.isclose(error, other_error, rel_tol=ERROR_RATIO):
            differences.append(f"standard error of {name} {other_error:.4g} in place of {error:.4g}")
    return differences


def _row(original: Fitted, fits: Mapping[str, Fitted]) -> str:
    """The largest changes of estimates and standard errors, and the time of all fits, as cells of a table."""
    whole = [(unit, found) for unit, found in fits.items() if "error" not in found and "error" not in original]
    exact = decimal = errors = 0.0
    for unit, found in whole:
        for name, (value, error) in original["estimates"].items():
            other, other_error = found["estimates"][name]
            if "2^" in unit:
                exact = max(exact, abs(other - value) / abs(value) if value else 0.0)
            elif error:
                decimal = max(decimal, abs(other - value) / error)
            if error and other_error:
                errors = max(errors, abs(other_error / error - 1))
    seconds = sum(found["seconds"] for _, found in whole)
    return f"{exact:.0e} | {decimal:.0e} | {errors:.0e} | {seconds:.0f}"


def _done(path: Path) -> dict[tuple[str, str], Fitted]:
    if not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return {(line["problem"], line["units"]): line["fit"] for line in lines}


def _fitted(path: Path, done: dict[tuple[str, str], Fitted], name: str, unit: str, request: Any) -> Fitted:
    if (name, unit) not in done:
        try:
            found = fitted_in(request, Units() if unit == ORIGINAL else units_of(unit, request))
        except OdelibError as error:
            found = {"error": f"{type(error).__name__}: {error}"}
        done[name, unit] = found
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"problem": name, "units": unit, "fit": found}) + "\n")
    return done[name, unit]


if __name__ == "__main__":
    sys.exit(main())
