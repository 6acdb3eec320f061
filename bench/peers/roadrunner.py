"""libroadrunner's CVODE with forward differences, as toolboxes do without sensitivity equations.

A gradient costs one simulation of each condition at the point, and one for each estimated parameter that its
trajectories depend on. Only the simulations are timed: reading observables and adding up the loss are free.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from petab.v1 import Problem
from petab.v1.math import sympify_petab
from roadrunner import RoadRunner
from sympy import lambdify

STEP = 1e-4  # of differences, relative: the root of the tolerance


@dataclass(frozen=True)
class Condition:
    """What is simulated: until rest in `before` if it names a condition, then in `during`; at these times."""

    before: str | None
    during: str
    times: tuple[float, ...]


class RoadrunnerProblem:
    """A PEtab problem of version 1, at its nominal values. Raises `ValueError` for what is not covered here."""

    def __init__(self, path: Path, rtol: float, atol: float) -> None:
        self._directions: dict[tuple[Condition, str], float] = {}  # of differences, where they are not forward
        self._petab = Problem.from_yaml(path)
        model = self._petab.model.sbml_model
        self._runner = RoadRunner(model.getSBMLDocument().toSBML())
        self._runner.integrator.relative_tolerance = rtol
        self._runner.integrator.absolute_tolerance = atol
        ruled = {rule.getVariable() for rule in model.getListOfRules() if rule.isAssignment()}
        ruled |= {each.getSymbol() for each in model.getListOfInitialAssignments()}
        self._originals = {
            each.getId(): each.getValue() for each in model.getListOfParameters() if each.getId() not in ruled
        }
        self._species = [each.getId() for each in model.getListOfSpecies()]
        table = self._petab.parameter_df
        self.nominal = {str(name): float(value) for name, value in table["nominalValue"].items()}
        self._estimated = [str(name) for name in table.index[table["estimate"] == 1]]
        columns = self._petab.condition_df.drop(columns="conditionName", errors="ignore")
        if columns.isna().any(axis=None):
            raise ValueError("conditions with values of the model are not covered")
        self._overrides = {str(name): dict(row) for name, row in columns.iterrows()}
        self.conditions = self._conditions()
        formulas = {
            name: [sympify_petab(row["observableFormula"]), sympify_petab(row["noiseFormula"])]
            for name, row in self._petab.observable_df.iterrows()
        }
        self._functions = {name: [_function(formula) for formula in both] for name, both in formulas.items()}
        entities = {symbol.name for both in formulas.values() for formula in both for symbol in formula.free_symbols}
        known = {*self._species, *self._runner.model.getGlobalParameterIds()}
        self._columns = sorted(entities & known)
        selected = (f"[{name}]" if self._is_concentration(name) else name for name in self._columns)
        self._selections = ["time", *selected]

    def _is_concentration(self, name: str) -> bool:
        species = self._petab.model.sbml_model.getSpecies(name)
        return species is not None and not species.getHasOnlySubstanceUnits()

    def _conditions(self) -> list[Condition]:
        keys = ["simulationConditionId"]
        table = self._petab.measurement_df
        before = table.get("preequilibrationConditionId")
        if before is not None and before.notna().any():
            keys = ["preequilibrationConditionId", *keys]
        found = []
        for names, rows in table.groupby(keys, dropna=False):
            times = tuple(sorted({0.0, *map(float, rows["time"])}))
            if not math.isfinite(times[-1]):
                raise ValueError("measurements at rest are not covered")
            first = names[0] if len(names) == 2 and isinstance(names[0], str) else None
            found.append(Condition(first, str(names[-1]), times))
        return found

    def _set(self, name: str, parameters: Mapping[str, float]) -> None:
        """Put the model into a condition, at its initial state."""
        runner, values = self._runner, dict(self._originals)
        values |= {name: value for name, value in parameters.items() if name in values}
        start = {}
        for target, entry in self._overrides[name].items():
            value = parameters[entry] if isinstance(entry, str) else float(entry)
            (start if target in self._species else values)[target] = value
        for target, value in values.items():
            runner[target] = value
        runner.reset()
        for target, value in start.items():
            runner[f"[{target}]" if self._is_concentration(target) else target] = value

    def _simulated(self, condition: Condition, parameters: Mapping[str, float]) -> NDArray[np.float64]:
        """The columns of the observables' entities at the times of a condition."""
        runner = self._runner
        if condition.before is not None:
            self._set(condition.before, parameters)
            runner.steadyState()
            rest = runner.model.getFloatingSpeciesConcentrations()
            self._set(condition.during, parameters)
            runner.model.setFloatingSpeciesConcentrations(rest)
        else:
            self._set(condition.during, parameters)
        return np.array(runner.simulate(times=list(condition.times), selections=self._selections))

    def _matters(self, name: str, condition: Condition) -> bool:
        rows = [self._overrides[each] for each in (condition.before, condition.during) if each is not None]
        return any(name in row.values() or (name in self._originals and name not in row) for row in rows)

    def simulations(self) -> int:
        """How many simulations a gradient needs."""
        return len(self.conditions) + len(list(self._differences()))

    def choose_directions(self) -> int:
        """Take backward differences where forward ones fail; returns for how many. Raises `RuntimeError` if both do.

        Crauste's model diverges as soon as some parameters grow by a millionth, and others shrink.
        """
        for condition, name in self._differences():
            try:
                self._simulated(condition, self._moved(condition, name))
            except RuntimeError:
                self._directions[condition, name] = -1.0
                self._simulated(condition, self._moved(condition, name))
        return len(self._directions)

    def _differences(self) -> Iterator[tuple[Condition, str]]:
        return ((each, name) for each in self.conditions for name in self._estimated if self._matters(name, each))

    def _moved(self, condition: Condition, name: str) -> dict[str, float]:
        step = self._directions.get((condition, name), 1.0) * STEP * (abs(self.nominal[name]) or 1.0)
        return {**self.nominal, name: self.nominal[name] + step}

    def gradient(self) -> None:
        """Do all simulations of a gradient."""
        bases = {condition: self._simulated(condition, self.nominal) for condition in self.conditions}
        for condition, name in self._differences():
            moved = self._moved(condition, name)
            _ = (self._simulated(condition, moved) - bases[condition]) / (moved[name] - self.nominal[name])

    def llh(self) -> float:
        """The log-likelihood at the nominal values, to see that the simulations are right."""
        trajectories = {(each.before, each.during): self._by_time(each) for each in self.conditions}
        total = 0.0
        for row in self._petab.measurement_df.to_dict("records"):
            before = row.get("preequilibrationConditionId")
            key = (before if isinstance(before, str) else None, row["simulationConditionId"])
            total += self._density(row, trajectories[key][float(row["time"])])
        return total

    def _by_time(self, condition: Condition) -> dict[float, dict[str, float]]:
        rows = self._simulated(condition, self.nominal)[:, 1:].tolist()
        return {
            time: dict(zip(self._columns, row, strict=True)) for time, row in zip(condition.times, rows, strict=True)
        }

    def _density(self, row: Mapping[str, Any], entities: Mapping[str, float]) -> float:
        """The logarithm of the density of one measurement, normal or log-normal."""
        name = row["observableId"]
        values = {**self._originals, **self.nominal, **self._placeholders(row), **entities}
        expected, sigma = (formula(values) for formula in self._functions[name])
        transformation = self._petab.observable_df.get("observableTransformation", {}).get(name)
        value, constant = float(row["measurement"]), 0.0
        if transformation in ("log", "log10"):
            factor = 1.0 if transformation == "log" else math.log(10.0)
            constant = math.log(value * factor)
            value, expected = math.log(value) / factor, math.log(expected) / factor
        return -0.5 * ((value - expected) / sigma) ** 2 - 0.5 * math.log(2 * math.pi * sigma**2) - constant

    def _placeholders(self, row: Mapping[str, Any]) -> dict[str, float]:
        found = {}
        for kind in ("observable", "noise"):
            for place, entry in enumerate(str(row.get(f"{kind}Parameters", "nan")).split(";"), start=1):
                if entry not in ("", "nan"):
                    value = self.nominal[entry] if entry in self.nominal else float(entry)
                    found[f"{kind}Parameter{place}_{row['observableId']}"] = value
        return found


def _function(formula: Any) -> Callable[[Mapping[str, float]], float]:
    symbols = sorted(symbol.name for symbol in formula.free_symbols)
    compiled = lambdify(symbols, formula)
    return lambda values: float(compiled(*(values[symbol] for symbol in symbols)))
