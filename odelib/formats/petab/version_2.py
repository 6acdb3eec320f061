"""PEtab version 2: https://petab.readthedocs.io/en/latest/v2/documentation_data_format.html."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from odelib.formats.errors import UnsupportedError
from odelib.formats.petab.mathematics import parse_mathematics
from odelib.formats.petab.measurements import read_measurement
from odelib.formats.petab.problem import (
    PetabExperiment,
    PetabObservable,
    PetabParameter,
    PetabProblem,
    Targets,
)
from odelib.formats.petab.tables import Row, finite_or_none, number, read_tables, required, split
from odelib.problem.expressions.parser import Node

ONLY = "experiment"  # the name of the experiment of measurements that name none
DISTRIBUTIONS = {
    "normal": "normal", "laplace": "laplace", "log-normal": "lognormal", "log-laplace": "log-laplace",
}  # fmt: skip
PRIORS: dict[str, tuple[str, tuple[str, ...]]] = {  # name in a request, and what the numbers are
    "uniform": ("uniform", ("lower", "upper")),
    "normal": ("normal", ("mean", "standard_deviation")),
    "log-normal": ("lognormal", ("median", "sigma")),
    "cauchy": ("cauchy", ("median", "scale")),
    "chisquare": ("chi-square", ("degrees_of_freedom",)),
    "exponential": ("exponential", ("scale",)),
    "gamma": ("gamma", ("shape", "scale")),
    "laplace": ("laplace", ("median", "scale")),
    "log-laplace": ("log-laplace", ("median", "scale")),
    "log-uniform": ("log-uniform", ("lower", "upper")),
    "rayleigh": ("rayleigh", ("scale",)),
}
BY_LOGARITHM = frozenset(["log-normal", "log-laplace"])  # their first number is the median's logarithm


def read_version_2(content: dict[str, Any], folder: Path) -> PetabProblem:
    """Read the tables of a problem. Raises `UnsupportedError`."""
    models = content.get("model_files") or {}
    if len(models) != 1:
        raise UnsupportedError(f"the problem has {len(models)} models; one can be read")
    (model,) = models.values()
    if model.get("language") != "sbml":
        raise UnsupportedError(f"the model is written in {model.get('language')!r}; SBML can be read")
    if content.get("extensions"):
        raise UnsupportedError(f"the problem needs the extensions {', '.join(content['extensions'])}")
    entities = {
        row["petabEntityId"]: row["modelEntityId"]
        for row in read_tables(folder, content.get("mapping_files"))
        if "modelEntityId" in row
    }
    if renamed := [name for name, entity in entities.items() if name != entity]:
        raise UnsupportedError(
            f"the mapping table renames {', '.join(renamed)}; only entities of the same name can be read"
        )
    conditions: dict[str, dict[str, Node]] = {}
    for row in read_tables(folder, content.get("condition_files")):
        targets = conditions.setdefault(required(row, "conditionId", "conditions"), {})
        targets[required(row, "targetId", "conditions")] = parse_mathematics(required(row, "targetValue", "conditions"))
    rows = read_tables(folder, content.get("measurement_files"))
    parameters = [_parameter(row) for row in read_tables(folder, content.get("parameter_files"))]
    return PetabProblem(
        model=folder / str(model["location"]),
        parameters=_with_uniform_priors(parameters),
        observables=[_observable(row) for row in read_tables(folder, content.get("observable_files"))],
        experiments=_experiments(read_tables(folder, content.get("experiment_files")), conditions, rows),
        measurements=[read_measurement(row, row.get("experimentId", ONLY)) for row in rows],
        keeps_concentration=True,
    )


def _experiments(rows: list[Row], conditions: dict[str, dict[str, Node]], measured: list[Row]) -> list[PetabExperiment]:
    periods: dict[str, dict[float, dict[str, Node]]] = {}
    for row in rows:
        name = required(row, "experimentId", "experiments")
        time = number(required(row, "time", "experiments"), f"a time of experiment {name}")
        targets = periods.setdefault(name, {}).setdefault(time, {})
        if condition := row.get("conditionId"):
            targets.update(conditions.get(condition, {}))
    used = {row.get("experimentId", ONLY) for row in measured}
    if unknown := used - set(periods) - {ONLY}:
        raise UnsupportedError(
            f"the measurements name the experiments {', '.join(sorted(unknown))}, which are not defined"
        )
    found = [_experiment(name, of_time) for name, of_time in periods.items() if name in used]
    return [*found, PetabExperiment(ONLY, 0.0, None, {})] if ONLY in used - set(periods) else found


def _experiment(name: str, periods: dict[float, dict[str, Node]]) -> PetabExperiment:
    times = sorted(periods)
    steady: Targets | None = None
    if times[0] == -math.inf:
        steady, times = periods[times[0]], times[1:]
    if not times:
        return PetabExperiment(name, 0.0, steady, {})
    later = [(time, periods[time]) for time in times[1:]]
    return PetabExperiment(name, times[0], steady, periods[times[0]], later)


def _observable(row: Row) -> PetabObservable:
    name = required(row, "observableId", "observables")
    kind = row.get("noiseDistribution", "normal")
    if kind not in DISTRIBUTIONS:
        raise UnsupportedError(f"observable {name} has the noise {kind!r}, which is not of version 2")
    return PetabObservable(
        name=name,
        formula=parse_mathematics(required(row, "observableFormula", "observables")),
        noise=parse_mathematics(required(row, "noiseFormula", "observables")),
        distribution=DISTRIBUTIONS[kind],  # type: ignore[arg-type]
        scale_factor=1.0,
        observable_placeholders=split(row.get("observablePlaceholders")),
        noise_placeholders=split(row.get("noisePlaceholders")),
    )


def _parameter(row: Row) -> PetabParameter:
    name = required(row, "parameterId", "parameters")
    nominal = row.get("nominalValue")
    is_estimated = required(row, "estimate", "parameters").lower() == "true"
    lower = finite_or_none(row.get("lowerBound"), f"the lower bound of {name}")
    return PetabParameter(
        name=name,
        nominal=number(nominal, f"the nominal value of {name}") if nominal is not None else None,
        lower=lower,
        upper=finite_or_none(row.get("upperBound"), f"the upper bound of {name}"),
        is_logarithmic=lower is not None and lower > 0.0,
        is_estimated=is_estimated,
        prior=_prior(row, name) if is_estimated else None,
    )


def _prior(row: Row, name: str) -> dict[str, Any] | None:
    kind = row.get("priorDistribution")
    if kind is None:
        return None
    if kind not in PRIORS:
        raise UnsupportedError(f"the prior of {name} is {kind!r}, which is not of version 2")
    distribution, fields = PRIORS[kind]
    values = [number(text, f"the prior of {name}") for text in split(row.get("priorParameters"))]
    if len(values) != len(fields):
        raise UnsupportedError(f"the prior of {name} needs {len(fields)} number(s), not {len(values)}")
    if kind in BY_LOGARITHM:
        values[0] = math.exp(values[0])
    return {"distribution": distribution, **dict(zip(fields, values, strict=True)), "normalised": True}


def _with_uniform_priors(parameters: list[PetabParameter]) -> list[PetabParameter]:
    """If one parameter has a prior, all other estimated ones have a uniform one between their bounds."""
    if all(parameter.prior is None for parameter in parameters):
        return parameters
    found = []
    for each in parameters:
        prior = each.prior
        if prior is None and each.is_estimated and each.lower is not None and each.upper is not None:
            prior = {"distribution": "uniform", "lower": each.lower, "upper": each.upper, "normalised": True}
        found.append(PetabParameter(each.name, each.nominal, each.lower, each.upper, each.is_logarithmic,
                                    each.is_estimated, prior))  # fmt: skip
    return found
