"""The same request in other units, of states, time and parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from odelib.problem.catalogue import CATALOGUE

LOGARITHMIC = ("lognormal", "log-laplace")  # noise whose sigma has no unit
# the numbers of a prior that are in the units of what it is about, by its distribution
WITH_UNIT: Mapping[str, tuple[str, ...]] = {
    "normal": ("mean", "standard_deviation"),
    "lognormal": ("median",),
    "laplace": ("median", "scale"),
    "uniform": ("lower", "upper"),
    "half-normal": ("scale",),
    "half-cauchy": ("scale",),
    "exponential": ("scale",),
    "gamma": ("scale",),
}
Json = dict[str, Any]


@dataclass(frozen=True)
class Units:
    """By which numbers become larger: those of states, by name or all of them, of time, and of rates.

    rates: every parameter counts as a rate; a parameter that is none is merely written in another unit.
    """

    states: float | Mapping[str, float] = 1.0
    time: float = 1.0
    rates: float = 1.0

    def of_state(self, name: str) -> float:
        """The factor of a state."""
        return self.states if isinstance(self.states, float) else self.states[name]


def definition(request: Json) -> Json:
    """The system of a request, written out."""
    system = request["system"]
    if isinstance(system, str):
        written: Json = CATALOGUE[system].definition().model_dump(mode="json")
        return written
    return dict(system)


def observable_factors(request: Json, units: Units) -> dict[str, float]:
    """By how much the values of each observable become larger: one that is a state as that, others as the first."""
    system = definition(request)
    observables = system.get("observables") or {state: state for state in system["states"]}
    first = units.of_state(system["states"][0])
    return {n: units.of_state(text) if text in system["states"] else first for n, text in observables.items()}


def in_units(request: Json, units: Units) -> Json:
    """Return the request in other units: states, time and parameters are divided wherever an expression has them.

    For requests without doses, inputs, events, penalties, predictions and noise of counts.
    """
    system, factors = definition(request), observable_factors(request, units)
    written = _Writer(system, units)
    observables = system.get("observables") or {state: state for state in system["states"]}
    changed: Json = dict(request)
    changed["system"] = system | {
        "definitions": {name: written.expression(text) for name, text in system.get("definitions", {}).items()},
        "equations": {
            state: f"{units.of_state(state) / units.time!r}*({written.expression(text)})"
            for state, text in system["equations"].items()
        },
        "observables": {
            name: text if text in system["states"] else f"{factors[name]!r}*({written.expression(text)})"
            for name, text in observables.items()
        },
        "derived": {name: written.expression(text) for name, text in system.get("derived", {}).items()},
    }
    for key in ("data", "experiments"):
        if key in request:
            series = [request[key]] if key == "data" else request[key]
            found = [_series(each, written, factors) for each in series]
            changed[key] = found[0] if key == "data" else found
    changed["parameters"] = {name: _guess(each, units.rates) for name, each in request["parameters"].items()}
    changed["initial_state"] = written.initial_state(request["initial_state"])
    if "noise" in request:
        changed["noise"] = {name: _noise(each, factors[name]) for name, each in request["noise"].items()}
    return changed


class _Writer:
    """Writes expressions of a system in other units."""

    def __init__(self, system: Json, units: Units) -> None:
        self.units = units
        self._factors = {state: units.of_state(state) for state in system["states"]} | {"t": units.time}
        self._factors |= dict.fromkeys(system["parameters"], units.rates)
        self._name = re.compile(r"(?<![\w.])(" + "|".join(map(re.escape, self._factors)) + r")(?!\w)")

    def expression(self, text: str) -> str:
        """The same value, from names that have other units."""
        return self._name.sub(lambda found: f"({found[1]}/{self._factors[found[1]]!r})", str(text))

    def initial_state(self, entries: Json) -> Json:
        """The same initial state."""
        return {
            state: f"{self.units.of_state(state)!r}*({self.expression(entry)})"
            if isinstance(entry, str)
            else _guess(entry, self.units.of_state(state))
            for state, entry in entries.items()
        }


def _series(series: Json, written: _Writer, factors: Mapping[str, float]) -> Json:
    changed = dict(series)
    for key in ("values", "sigma"):
        if key in series:
            changed[key] = {
                name: [None if value is None else value * factors[name] for value in column]
                for name, column in series[key].items()
            }
    changed["times"] = [time * written.units.time for time in series["times"]]
    if "start_time" in series:
        changed["start_time"] = series["start_time"] * written.units.time
    if "constants" in series:
        changed["constants"] = {
            name: written.expression(value) if isinstance(value, str) else value
            for name, value in series["constants"].items()
        }
    if "initial_state" in series:
        changed["initial_state"] = written.initial_state(series["initial_state"])
    return changed


def _guess(entry: Any, factor: float) -> Any:
    if not isinstance(entry, dict):
        return entry * factor
    changed = {k: v * factor if k in ("guess", "lower", "upper") else v for k, v in entry.items()}
    return changed | ({"prior": _prior(entry["prior"], factor)} if "prior" in entry else {})


def _prior(prior: Json, factor: float) -> Json:
    return {k: v * factor if k in WITH_UNIT[prior["distribution"]] else v for k, v in prior.items()}


def _noise(noise: Json, factor: float) -> Json:
    if noise["distribution"] in LOGARITHMIC:
        return noise
    changed = {k: v * factor if k == "sigma" and not isinstance(v, str) else v for k, v in noise.items()}
    return changed | ({"prior": _prior(noise["prior"], factor)} if "prior" in noise else {})
