"""PEtab version 1: https://petab.readthedocs.io/en/latest/v1/documentation_data_format.html."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
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

_ABOUT_CONDITIONS = frozenset(["conditionId", "conditionName"])
_DISTRIBUTIONS = {
    ("lin", "normal"): ("normal", 1.0),
    ("lin", "laplace"): ("laplace", 1.0),
    ("log", "normal"): ("lognormal", 1.0),
    ("log10", "normal"): ("lognormal", math.log(10.0)),
    ("log", "laplace"): ("log-laplace", 1.0),
    ("log10", "laplace"): ("log-laplace", math.log(10.0)),
}
_PRIORS: Mapping[str, tuple[str, tuple[str, str]]] = {  # name in a request, and what the two numbers are
    "normal": ("normal", ("mean", "standard_deviation")),
    "laplace": ("laplace", ("median", "scale")),
    "uniform": ("uniform", ("lower", "upper")),
    "logNormal": ("lognormal", ("median", "sigma")),
    "logLaplace": ("log-laplace", ("median", "scale")),
    "parameterScaleNormal": ("normal", ("mean", "standard_deviation")),
    "parameterScaleLaplace": ("laplace", ("median", "scale")),
}
_BY_LOGARITHM = frozenset(["logNormal", "logLaplace"])  # their first number is the median's logarithm
_OF = {"lin": "value", "log": "log", "log10": "log10"}


def read_version_1(content: dict[str, Any], folder: Path) -> PetabProblem:
    """Read the tables of a problem. Raises `UnsupportedError`."""
    problems = content.get("problems") or []
    if len(problems) != 1:
        raise UnsupportedError(f"the file has {len(problems)} problems; one can be read")
    files = problems[0]
    models = files.get("sbml_files") or []
    if len(models) != 1:
        raise UnsupportedError(f"the problem has {len(models)} SBML models; one can be read")
    parameter_files = content.get("parameter_file")
    names = [parameter_files] if isinstance(parameter_files, str) else parameter_files
    conditions = {
        required(row, "conditionId", "conditions"): _targets(row)
        for row in read_tables(folder, files.get("condition_files"))
    }
    rows = read_tables(folder, files.get("measurement_files"))
    return PetabProblem(
        model=folder / models[0],
        parameters=[_parameter(row) for row in read_tables(folder, names)],
        observables=[_observable(row) for row in read_tables(folder, files.get("observable_files"))],
        experiments=_experiments(rows, conditions),
        measurements=[read_measurement(row, _experiment_name(row)) for row in rows],
        keeps_concentration=False,
    )


def _targets(row: Row) -> Targets:
    """What a condition sets; an empty cell and `nan` set nothing."""
    cells = {name: text for name, text in row.items() if name not in _ABOUT_CONDITIONS}
    return {name: parse_mathematics(text) for name, text in cells.items() if text.lower() != "nan"}


def _experiment_name(row: Row) -> str:
    before, condition = row.get("preequilibrationConditionId"), required(row, "simulationConditionId", "measurements")
    return f"{before}__{condition}" if before else condition


def _experiments(rows: list[Row], conditions: dict[str, Targets]) -> list[PetabExperiment]:
    found: dict[str, PetabExperiment] = {}
    for row in rows:
        name = _experiment_name(row)
        for column in ("preequilibrationConditionId", "simulationConditionId"):
            if column in row and row[column] not in conditions:
                raise UnsupportedError(f"the measurements name the condition {row[column]!r}, which is not defined")
        before = row.get("preequilibrationConditionId")
        steady = conditions[before] if before else None
        found[name] = PetabExperiment(name, 0.0, steady, conditions[row["simulationConditionId"]])
    return list(found.values())


def _observable(row: Row) -> PetabObservable:
    name = required(row, "observableId", "observables")
    formula, noise = required(row, "observableFormula", "observables"), required(row, "noiseFormula", "observables")
    kind = row.get("observableTransformation", "lin"), row.get("noiseDistribution", "normal")
    if kind not in _DISTRIBUTIONS:
        raise UnsupportedError(f"observable {name} has the noise {kind[0]} {kind[1]}, which is not of version 1")
    distribution, factor = _DISTRIBUTIONS[kind]
    return PetabObservable(
        name=name,
        formula=parse_mathematics(formula),
        noise=parse_mathematics(noise),
        distribution=distribution,  # type: ignore[arg-type]
        scale_factor=factor,
        observable_placeholders=_placeholders(formula, f"observableParameter{{}}_{name}"),
        noise_placeholders=_placeholders(noise, f"noiseParameter{{}}_{name}"),
    )


def _placeholders(formula: str, pattern: str) -> list[str]:
    found = re.findall(r"\b" + re.escape(pattern).replace(r"\{\}", r"(\d+)") + r"\b", formula)
    return [pattern.format(i + 1) for i in range(max((int(n) for n in found), default=0))]


def _parameter(row: Row) -> PetabParameter:
    name = required(row, "parameterId", "parameters")
    scale = row.get("parameterScale", "lin")
    if scale not in _OF:
        raise UnsupportedError(f"parameter {name} has the scale {scale!r}, which is not of version 1")
    nominal = row.get("nominalValue")
    is_estimated = float(required(row, "estimate", "parameters")) != 0.0
    return PetabParameter(
        name=name,
        nominal=number(nominal, f"the nominal value of {name}") if nominal is not None else None,
        lower=finite_or_none(row.get("lowerBound"), f"the lower bound of {name}"),
        upper=finite_or_none(row.get("upperBound"), f"the upper bound of {name}"),
        is_logarithmic=scale != "lin",
        is_estimated=is_estimated,
        prior=_prior(row, name, scale) if is_estimated else None,
    )


def _prior(row: Row, name: str, scale: str) -> dict[str, Any] | None:
    """The prior as in a request; one on the parameter's scale is a density there."""
    kind = row.get("objectivePriorType")
    if kind is None or kind == "parameterScaleUniform":
        return None
    values = [number(text, f"the prior of {name}") for text in split(row.get("objectivePriorParameters"))]
    if len(values) != 2:
        raise UnsupportedError(f"the prior of {name} needs two numbers, not {len(values)}")
    if kind not in _PRIORS:
        raise UnsupportedError(f"the prior of {name} is {kind!r}, which is not of version 1")
    distribution, fields = _PRIORS[kind]
    if kind in _BY_LOGARITHM:
        values[0] = math.exp(values[0])
    of = {"of": _OF[scale]} if kind.startswith("parameterScale") and scale != "lin" else {}
    return {"distribution": distribution, **dict(zip(fields, values, strict=True)), **of}
