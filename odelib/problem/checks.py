"""What the fields of a request must mean together, checked on the raw JSON.

Working on the raw body lets these checks report beside the errors of form: a caller learns of a missing guess
and of a misspelt field from one answer. Whatever has the wrong form is skipped here; the models report it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from odelib.errors import ExpressionError, FieldError, ProblemError
from odelib.problem.catalogue import CATALOGUE
from odelib.problem.expressions import parse_expression, unknown_names
from odelib.problem.limits import Limits
from odelib.problem.pointers import join
from odelib.problem.system import System, SystemDefinition, build_system


def check(raw: dict[str, Any], limits: Limits) -> tuple[System | None, list[FieldError]]:
    """The resolved system where there is one, and everything wrong with the request's meaning."""
    return _Check(raw, limits).run()


def resolve_system(choice: str | SystemDefinition, limits: Limits) -> System:
    """The catalogue's system, or the caller's definition checked. Raises `ProblemError`."""
    if isinstance(choice, SystemDefinition):
        return build_system(choice, limits=limits)
    if choice not in CATALOGUE:
        known = ", ".join(CATALOGUE)
        raise ProblemError(
            [FieldError("", f"no system {choice!r:.80} in the catalogue; it has {known}; or write a definition")]
        )
    return CATALOGUE[choice]


def middle(lower: float, upper: float, scale: str) -> float:
    """Where a guess stands that was left out: the geometric mean on a log scale, else the middle."""
    if scale == "log":
        return math.sqrt(lower) * math.sqrt(upper)
    return lower + (upper - lower) / 2 if math.isfinite(upper - lower) else lower / 2 + upper / 2


class _Check:
    def __init__(self, raw: dict[str, Any], limits: Limits) -> None:
        self.raw = raw
        self.limits = limits
        self.errors: list[FieldError] = []
        self.data = _object(raw.get("data"))

    def run(self) -> tuple[System | None, list[FieldError]]:
        if "data" in self.raw and "experiments" in self.raw:
            self.say("/experiments", "give data or experiments, not both")
        system = self.system()
        if system:
            self.parameters(system)
            self.initial_states(system)
            self.constants(system)
            self.unknown_count(system)
        self.series(system)
        self.predictions(system)
        self.stages()
        return system, self.errors

    def say(self, pointer: str, detail: str) -> None:
        self.errors.append(FieldError(pointer, detail))

    def system(self) -> System | None:
        choice = self.raw.get("system")
        try:
            if isinstance(choice, str):
                return resolve_system(choice, self.limits)
            if isinstance(choice, Mapping):
                return build_system(SystemDefinition.model_validate(choice), limits=self.limits)
        except ProblemError as error:
            self.errors.extend(FieldError("/system" + e.pointer, e.detail) for e in error.errors)
        except ValidationError:
            return None  # reported by the model
        return None

    def parameters(self, system: System) -> None:
        if not isinstance(self.raw.get("parameters", {}), Mapping):
            return
        given = _object(self.raw.get("parameters"))
        self.names(given, system.parameters, "/parameters", "parameter")
        for name in system.parameters:
            if name not in given:
                self.say(join("/parameters", name), f"the parameter {name!r} needs a guess")
            else:
                self.unknown(given[name], join("/parameters", name))

    def initial_states(self, system: System) -> None:
        if not isinstance(self.raw.get("initial_state", {}), Mapping):
            return
        common, own = _object(self.raw.get("initial_state")), _object(self.data.get("initial_state"))
        for given, base in ((common, "/initial_state"), (own, "/data/initial_state")):
            self.names(given, system.states, base, "state")
            for name, entry in given.items():
                if name not in system.states:
                    continue
                if isinstance(entry, str):
                    self.expression(entry, join(base, name), system)
                else:
                    self.unknown(entry, join(base, name))
        for name in system.states:
            if name not in common and name not in own:
                self.say(
                    join("/initial_state", name),
                    f"the state {name!r} needs an initial value: a guess, or an expression of parameters",
                )

    def expression(self, text: str, pointer: str, system: System) -> None:
        try:
            expression = parse_expression(
                text,
                max_characters=self.limits.expression_characters,
                max_levels=self.limits.expression_levels,
            )
        except ExpressionError as error:
            self.say(pointer, str(error))
            return
        for sentence in unknown_names(expression, {*system.parameters, *system.constants}):
            self.say(pointer, f"{sentence} (an initial state may use parameters and constants)")

    def constants(self, system: System) -> None:
        self.names(_object(self.data.get("constants")), system.constants, "/data/constants", "constant")

    def names(self, given: Mapping[str, Any], known: Any, base: str, kind: str) -> None:
        for name in given:
            if name not in known:
                has = ", ".join(list(known)[:12]) or "none"
                self.say(join(base, name), f"the system has no {kind} {name!r:.80}; it has {has}")

    def unknown(self, entry: Any, pointer: str) -> None:
        fields = _object(entry)
        if not fields:
            if isinstance(entry, Mapping):
                self.say(pointer, "give a guess, or both bounds")
            return
        guess, lower, upper = (_number(fields.get(name)) for name in ("guess", "lower", "upper"))
        ordered = lower is None or upper is None or lower <= upper
        if not ordered:
            self.say(join(pointer, "lower"), f"the lower bound {lower:g} is above the upper bound {upper:g}")
        if fields.get("scale") == "log":
            for name, value in (("guess", guess), ("lower", lower), ("upper", upper)):
                if value is not None and value <= 0:
                    self.say(join(pointer, name), f"must be above 0 on a log scale, is {value:g}")
        if "guess" not in fields or fields["guess"] is None:
            if fields.get("lower") is None or fields.get("upper") is None:
                self.say(join(pointer, "guess"), "a guess may be left out only between two bounds")
        elif guess is not None and ordered:
            if lower is not None and guess < lower:
                self.say(join(pointer, "guess"), f"the guess {guess:g} is below the lower bound {lower:g}")
            if upper is not None and guess > upper:
                self.say(join(pointer, "guess"), f"the guess {guess:g} is above the upper bound {upper:g}")

    def unknown_count(self, system: System) -> None:
        count = len(system.parameters) + len(system.states)
        if count > self.limits.unknowns:
            self.say("/system", f"at most {self.limits.unknowns} parameters and initial values, here are {count}")

    def series(self, system: System | None) -> None:
        times, values = self.data.get("times"), _object(self.data.get("values"))
        if isinstance(times, list):
            self.increasing(times, "/data/times")
            start, first = _number(self.data.get("start_time")), _number(times[0]) if times else None
            if start is not None and first is not None and start > first:
                self.say(
                    "/data/start_time",
                    f"the initial state must not hold after the first time: {start:g} is later than {first:g}",
                )
        observed = self.measurements(values, times, "/data/values", system)
        columns = [column for column in values.values() if isinstance(column, list)]
        if values and observed == 0 and all(value is None for column in columns for value in column):
            self.say("/data/values", "all values are null: there is nothing to fit")
        if observed > self.limits.observations:
            self.say("/data/values", f"at most {self.limits.observations} values, here are {observed}")
        self.sigma(values, times, system)

    def sigma(self, values: Mapping[str, Any], times: Any, system: System | None) -> None:
        for name, sigma in _object(self.data.get("sigma")).items():
            pointer = join("/data/sigma", name)
            if system and name not in system.observables:
                self.no_observable(name, pointer, system)
            elif name not in values:
                self.say(pointer, f"{name!r} has no values to which a sigma could belong")
            if isinstance(sigma, list) and isinstance(times, list) and len(sigma) != len(times):
                self.say(pointer, f"{len(sigma)} sigmas for {len(times)} times")

    def measurements(self, values: Mapping[str, Any], times: Any, base: str, system: System | None) -> int:
        observed = 0
        for name, column in values.items():
            pointer = join(base, name)
            if system and name not in system.observables:
                self.no_observable(name, pointer, system)
            if isinstance(column, list):
                observed += sum(value is not None for value in column)
                if isinstance(times, list) and len(column) != len(times):
                    self.say(
                        pointer,
                        f"{len(column)} values for {len(times)} times; write null where one is missing",
                    )
        return observed

    def no_observable(self, name: str, pointer: str, system: System) -> None:
        has = ", ".join(list(system.observables)[:12])
        why = "; where a system names observables, only they are observed" if name in system.states else ""
        self.say(pointer, f"the system has no observable {name!r:.80}; it has {has}{why}")

    def increasing(self, times: list[Any], pointer: str) -> None:
        previous = -math.inf
        for i, entry in enumerate(times):
            time = _number(entry)
            if time is None:
                continue
            if time < previous:
                self.say(join(pointer, i), f"times must not decrease: {time:g} comes after {previous:g}")
                return  # the first is enough: the following ones follow from it
            previous = time

    def predictions(self, system: System | None) -> None:
        predictions = self.raw.get("predictions")
        if not isinstance(predictions, list):
            return
        total = 0
        for i, entry in enumerate(predictions):
            base, fields = f"/predictions/{i}", _object(entry)
            times = fields.get("times")
            if isinstance(times, list):
                self.increasing(times, join(base, "times"))
                total += len(times) * (len(system.observables) if system else 1)
                if fields.get("initial_state") is None:
                    self.not_before_start(times, join(base, "times"))
            self.experiment_name(fields.get("experiment"), join(base, "experiment"))
            if fields.get("values") is not None:
                self.measurements(_object(fields.get("values")), times, join(base, "values"), system)
            if system:
                self.names(
                    _object(fields.get("parameters")),
                    system.parameters,
                    join(base, "parameters"),
                    "parameter",
                )
                self.names(_object(fields.get("initial_state")), system.states, join(base, "initial_state"), "state")
        if total > self.limits.predicted_values:
            self.say("/predictions", f"at most {self.limits.predicted_values} predicted values, here are {total}")

    def not_before_start(self, times: list[Any], pointer: str) -> None:
        data_times = self.data.get("times")
        start = _number(self.data.get("start_time"))
        if start is None and isinstance(data_times, list) and data_times:
            start = _number(data_times[0])
        first = _number(times[0]) if times else None
        if start is not None and first is not None and first < start:
            self.say(
                join(pointer, 0),
                f"{first:g} is before the data's start at {start:g}; give an initial_state to predict from there",
            )

    def experiment_name(self, name: Any, pointer: str) -> None:
        own = self.data.get("name", "data")
        if isinstance(name, str) and name != own:
            self.say(pointer, f"there is no experiment {name!r:.80}; the data's name is {own!r:.80}")

    def stages(self) -> None:
        stages = self.raw.get("stages")
        if isinstance(stages, list) and len(stages) > self.limits.stages:
            self.say("/stages", f"at most {self.limits.stages} stages, here are {len(stages)}")
        labels = _object(self.raw.get("labels"))
        if len(labels) > self.limits.labels:
            self.say("/labels", f"at most {self.limits.labels} labels, here are {len(labels)}")


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
