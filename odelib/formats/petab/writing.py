"""A request → a PEtab problem of version 2: https://petab.readthedocs.io/en/latest/v2/documentation_data_format.html."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from odelib.formats.errors import UnsupportedError
from odelib.formats.infix import PETAB, infix
from odelib.formats.petab.periods import Period, Periods
from odelib.formats.petab.version_2 import BY_LOGARITHM, DISTRIBUTIONS, PRIORS
from odelib.formats.sbml.writing import SbmlContent, write_sbml
from odelib.formats.values import RequestValues
from odelib.problem.expressions.parser import Expression, Name, Node, Number, Operation, parse_expression
from odelib.problem.noise import ESTIMATE, AnyNoise, NormalNoise
from odelib.problem.priors import PriorSettings
from odelib.problem.resolved import ResolvedProblem
from odelib.problem.series import MeasuredSeries
from odelib.problem.unknowns import Unknown

Row = dict[str, Any]
_DISTRIBUTIONS = {ours: theirs for theirs, ours in DISTRIBUTIONS.items()}
_PRIORS = {ours: (theirs, fields) for theirs, (ours, fields) in PRIORS.items()}
_BY_LOGARITHM = {PRIORS[theirs][0] for theirs in BY_LOGARITHM}
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "parameters": (
        "parameterId", "lowerBound", "upperBound", "nominalValue", "estimate", "priorDistribution", "priorParameters",
    ),
    "observables": ("observableId", "observableFormula", "noiseFormula", "noiseDistribution", "noisePlaceholders"),
    "measurements": ("observableId", "experimentId", "time", "measurement", "noiseParameters"),
    "conditions": ("conditionId", "targetId", "targetValue"),
    "experiments": ("experimentId", "time", "conditionId"),
}  # fmt: skip


def export_petab(problem: ResolvedProblem, values: RequestValues, folder: Path) -> list[str]:
    """Write a problem into a folder, with these values as nominal ones; returns notes.

    Raises `UnsupportedError` for what version 2 cannot express: by name, never by leaving it out.
    """
    return _Writer(problem, values).write(folder)


class _Writer:
    """Collects the rows of all tables."""

    def __init__(self, problem: ResolvedProblem, values: RequestValues) -> None:
        self._problem, self._values, self._system = problem, values, problem.system
        self._tables: dict[str, list[Row]] = {name: [] for name in _COLUMNS}
        self._notes: list[str] = []
        self._is_several = bool(problem.request.experiments)
        self._identifiers: dict[str, str] = {}
        self._model_names = {*self._system.states, *self._system.parameters, *self._system.constants,
                             *self._system.definitions, *self._system.inputs}  # fmt: skip
        self._periods = Periods(problem)

    def write(self, folder: Path) -> list[str]:
        """Write all files."""
        self._refuse()
        own = set(self._problem.request.per_experiment)
        for name in self._system.parameters:
            if name not in own:
                self._add_parameter(name, self._problem.request.parameters[name], self._values.parameter(name, 0))
        initial_state = self._add_initial_state()
        self._add_observables()
        starts = {name: Number(v) if isinstance(v, float) else v.tree for name, v in initial_state.items()}
        for index, series in enumerate(self._problem.series):
            self._add_experiment(index, series, starts)
            self._add_measurements(series)
        self._add_uniform_priors()
        folder.mkdir(parents=True, exist_ok=True)
        self._write_model(folder / "model.xml", initial_state)
        for name, rows in self._tables.items():
            _write_table(folder / f"{name}.tsv", _COLUMNS[name], rows)
        content = {
            "format_version": "2.0.0",
            "model_files": {"model": {"language": "sbml", "location": "model.xml"}},
            "parameter_files": ["parameters.tsv"],
            "observable_files": ["observables.tsv"],
            "measurement_files": ["measurements.tsv"],
            "condition_files": ["conditions.tsv"] if self._tables["conditions"] else [],
            "experiment_files": ["experiments.tsv"] if self._tables["experiments"] else [],
        }
        (folder / "problem.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return self._notes

    def _refuse(self) -> None:
        request = self._problem.request
        for field in ("penalty", "hold_out"):
            if getattr(request, field) is not None:
                raise UnsupportedError(f"{field} cannot be expressed in PEtab")
        if request.predictions:
            self._notes.append("predictions are left out: they are not part of a PEtab problem")

    def _identifier(self, text: str) -> str:
        """An identifier of PEtab for a name of any characters."""
        if text not in self._identifiers:
            plain = re.sub(r"\W", "_", text, flags=re.ASCII)
            plain = f"_{plain}" if not plain or plain[0].isdigit() else plain
            while plain in self._identifiers.values():
                plain += "_"
            self._identifiers[text] = plain
        return self._identifiers[text]

    def _of_experiment(self, name: str, series: MeasuredSeries) -> str:
        return f"{name}__{self._identifier(series.name)}" if self._is_several else name

    def _add_parameter(self, name: str, entry: Unknown | float, value: float) -> None:
        unknown = entry if isinstance(entry, Unknown) else Unknown(guess=entry)
        row: Row = {"parameterId": name, "nominalValue": value, "estimate": str(not unknown.is_fixed).lower()}
        if not unknown.is_fixed:
            lower, upper = unknown.lower, unknown.upper
            row["lowerBound"] = -math.inf if lower is None else lower
            row["upperBound"] = math.inf if upper is None else upper
            if unknown.scale == "log" and lower is None:
                row["lowerBound"] = 0.0
            if unknown.prior is not None:
                row |= self._prior(name, unknown.prior)
        self._tables["parameters"].append(row)

    def _prior(self, name: str, prior: PriorSettings) -> Row:
        distribution = str(prior.model_dump()["distribution"])
        if distribution not in _PRIORS or prior.of != "value":
            what = f"{distribution} of the {prior.of}" if prior.of != "value" else distribution
            raise UnsupportedError(f"the prior of {name}, {what}, cannot be expressed in PEtab")
        if not prior.normalised:
            self._notes.append(
                f"the prior of {name} has mass 1 within the bounds in PEtab: the losses differ by a constant"
            )
        kind, fields = _PRIORS[distribution]
        numbers = [float(getattr(prior, field)) for field in fields]
        if distribution in _BY_LOGARITHM:
            numbers[0] = math.log(numbers[0])
        return {"priorDistribution": kind, "priorParameters": ";".join(repr(number) for number in numbers)}

    def _add_uniform_priors(self) -> None:
        """Where one parameter has a prior, PEtab gives all others a uniform one."""
        rows = self._tables["parameters"]
        if any("priorDistribution" in row for row in rows) and not all("priorDistribution" in row for row in rows):
            self._notes.append(
                "parameters without a prior have a uniform one in PEtab: the losses differ by a constant"
            )

    def _add_initial_state(self) -> dict[str, float | Expression]:
        """The initial values in the model: numbers, expressions, and parameters `initial_STATE` for free ones."""
        found: dict[str, float | Expression] = {}
        for state in self._system.states:
            entry = self._problem.request.initial_state.get(state)
            if isinstance(entry, str):
                found[state] = self._problem.expressions[entry]
            elif self._is_several or entry is None or _is_fixed(entry):
                found[state] = self._values.initial_value(state, 0)
            else:
                found[state] = self._free_start(state, entry, 0)
        return found

    def _free_start(self, state: str, entry: Unknown | float, index: int) -> Expression:
        name = self._of_experiment(f"initial_{state}", self._problem.series[index])
        self._add_parameter(name, entry, self._values.initial_value(state, index))
        return parse_expression(name)

    def _add_experiment(self, index: int, series: MeasuredSeries, starts: Mapping[str, Node]) -> None:
        """The periods of an experiment: what is set at its start, and what is done later; starts: of the model."""
        first: dict[str, Node] = {}
        for name in self._problem.request.per_experiment:
            own = self._of_experiment(name, series)
            self._add_parameter(own, self._problem.request.parameters[name], self._values.parameter(name, index))
            first[name] = Name(own)
        for state in self._system.states:
            entry = series.initial_state.get(state, self._problem.request.initial_state.get(state))
            shared = self._problem.request.initial_state.get(state)
            if isinstance(entry, str):
                if entry != shared:
                    first[state] = self._problem.expressions[entry].tree
            elif entry is not None and not _is_fixed(entry) and (self._is_several or state in series.initial_state):
                first[state] = self._free_start(state, entry, index).tree
            elif self._is_several or state in series.initial_state:
                first[state] = Number(self._values.initial_value(state, index))
        periods = self._periods.of(index, first, starts)
        if not self._is_several and len(periods) == 1 and not periods[0].targets and periods[0].time == 0.0:
            return
        for number, period in enumerate(periods):
            self._add_period(series, number, period)

    def _add_period(self, series: MeasuredSeries, number: int, period: Period) -> None:
        experiment = self._identifier(series.name)
        condition = f"{experiment}_{number}" if period.targets else ""
        self._tables["experiments"].append({"experimentId": experiment, "time": period.time, "conditionId": condition})
        for target, tree in period.targets.items():
            row = {"conditionId": condition, "targetId": target, "targetValue": infix(tree, PETAB)}
            self._tables["conditions"].append(row)

    def _observable_name(self, name: str) -> str:
        return f"{name}_observed" if name in self._model_names else name

    def _measured(self) -> list[str]:
        return list(dict.fromkeys(name for series in self._problem.series for name in series.values))

    def _add_observables(self) -> None:
        for name in self._measured():
            noise = (self._problem.request.noise or {}).get(name)
            formula, placeholders = self._noise(name, noise)
            distribution = "normal" if noise is None else str(noise.distribution)
            if distribution not in _DISTRIBUTIONS:
                raise UnsupportedError(f"the noise of {name}, {distribution}, cannot be expressed in PEtab")
            self._tables["observables"].append({
                "observableId": self._observable_name(name),
                "observableFormula": infix(self._system.observables[name].tree, PETAB),
                "noiseFormula": infix(formula, PETAB),
                "noiseDistribution": _DISTRIBUTIONS[distribution],
                "noisePlaceholders": ";".join(placeholders),
            })  # fmt: skip
        if self._problem.request.noise is None:
            self._notes.append("the sum of squares becomes normal noise: loss = -2·llh - constant")

    def _noise(self, name: str, noise: AnyNoise | None) -> tuple[Node, list[str]]:
        """The formula of the standard deviation or scale, and its placeholder where each measurement has its own."""
        if self._has_sigma(name):
            placeholder = f"sigma_of_{name}"
            return self._with_proportional(name, noise, Name(placeholder)), [placeholder]
        sigma = getattr(noise, "sigma", None)
        if noise is None:
            return Number(1.0), []
        if sigma == ESTIMATE:
            return self._with_proportional(name, noise, Name(self._add_scale(name, "sigma", noise))), []
        if isinstance(sigma, str):
            return self._with_proportional(name, noise, self._problem.sigma_expressions[name].tree), []
        tree = None if not sigma else Number(float(sigma))
        return self._with_proportional(name, noise, tree), []

    def _with_proportional(self, name: str, noise: AnyNoise | None, sigma: Node | None) -> Node:
        """√(sigma² + (proportional·model)²), or sigma alone."""
        part = noise.proportional if isinstance(noise, NormalNoise) else None
        if part is None:
            return sigma or Number(1.0)
        factor: Node = Number(part) if isinstance(part, float) else Name(self._add_scale(name, "proportional", noise))
        product = Operation("*", (factor, Name(self._observable_name(name))))
        if sigma is None:
            return Operation("abs", (product,))
        squares = [Operation("**", (part, Number(2.0))) for part in (sigma, product)]
        return Operation("sqrt", (Operation("+", tuple(squares)),))

    def _add_scale(self, name: str, scale: str, noise: AnyNoise | None) -> str:
        parameter = f"{scale}_{name}"
        prior = getattr(noise, "prior", None)
        entry = Unknown(guess=1.0, lower=0.0) if prior is None else Unknown(guess=1.0, lower=0.0, prior=prior)
        self._add_parameter(parameter, entry, self._values.scale(name, scale))
        return parameter

    def _has_sigma(self, name: str) -> bool:
        return any(name in series.sigma for series in self._problem.series)

    def _add_measurements(self, series: MeasuredSeries) -> None:
        for name, column in series.values.items():
            for place, (time, value) in enumerate(zip(series.times, column, strict=True)):
                if value is None:
                    continue
                row: Row = {"observableId": self._observable_name(name), "time": time, "measurement": value}
                if self._tables["experiments"]:
                    row["experimentId"] = self._identifier(series.name)
                if self._has_sigma(name):
                    sigma = series.sigma[name]
                    row["noiseParameters"] = sigma if isinstance(sigma, float) else sigma[place]
                self._tables["measurements"].append(row)

    def _write_model(self, path: Path, initial_state: Mapping[str, float | Expression]) -> None:
        """The model, with parameters whose values differ between experiments at the first one's."""
        targets = {row["targetId"] for row in self._tables["conditions"]}
        in_table = {row["parameterId"]: row["nominalValue"] for row in self._tables["parameters"]}
        of_model = {name: self._values.parameter(name, 0) for name in self._system.parameters}
        of_starts = {
            name: in_table[name]
            for start in initial_state.values()
            if isinstance(start, Expression)
            for name in start.names
            if name in in_table and name not in of_model
        }
        constants = {**self._system.constants, **self._periods.constants}
        write_sbml(
            SbmlContent(
                system=self._system,
                values={**of_model, **of_starts, **constants},
                initial_state=initial_state,
                rates=self._periods.rates,
                inputs=self._periods.definitions,
                changing=frozenset(targets),
            ),
            path,
        )


def _is_fixed(entry: Unknown | float) -> bool:
    return isinstance(entry, Unknown) and entry.is_fixed


def _write_table(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    rows = list(rows)
    if not rows:
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, delimiter="\t", lineterminator="\n", restval="")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: _cell(value) for name, value in row.items()})


def _cell(value: Any) -> str:
    return repr(value) if isinstance(value, float) else str(value)
