"""A PEtab problem → a fit request."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from odelib.formats.errors import UnsupportedError
from odelib.formats.expression_text import ZERO, names_of, replace_names, text_of
from odelib.formats.model import initial_value, number_or_text, request_name, system_of
from odelib.formats.petab.problem import (
    PetabExperiment,
    PetabMeasurement,
    PetabObservable,
    PetabParameter,
    PetabProblem,
    Targets,
)
from odelib.formats.petab.tables import read_problem_file
from odelib.formats.petab.version_1 import read_version_1
from odelib.formats.petab.version_2 import read_version_2
from odelib.formats.sbml.reading import AMOUNT, read_sbml
from odelib.problem.expressions.parser import TIME, Name, Node, Number, Operation, parse_expression

CLOCK = "model_time"  # an input that is t, and 0 while a model settles before the start


def read_petab(path: Path) -> PetabProblem:
    """Read a problem's YAML file and its tables, but not the model. Raises `UnsupportedError`."""
    content = read_problem_file(path)
    version = str(content["format_version"]).split(".", maxsplit=1)[0]
    if version not in ("1", "2"):
        raise UnsupportedError(f"{path} is PEtab {content['format_version']}; versions 1 and 2 can be read")
    return (read_version_1 if version == "1" else read_version_2)(content, path.parent)


def import_petab(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The request that a problem's YAML file describes, and notes. Raises `UnsupportedError`."""
    return request_of_petab(read_petab(path))


def request_of_petab(problem: PetabProblem) -> tuple[dict[str, Any], list[str]]:
    """The request that a problem describes, and notes. Raises `UnsupportedError`."""
    return _Builder(problem).build()


class _Builder:
    """Builds the request."""

    def __init__(self, problem: PetabProblem) -> None:
        self._problem = problem
        self._targets = {name for each in problem.experiments for part in _all_targets(each) for name in part}
        in_table = {parameter.name for parameter in problem.parameters}
        self._model = read_sbml(problem.model, frozenset(self._targets | in_table))
        self._parameters = {request_name(parameter.name): parameter for parameter in problem.parameters}
        self._constants = self._choose_constants()
        self._labels: dict[str, str] = {}
        self._observables: dict[str, Node] = {}
        self._noise: dict[str, dict[str, Any]] = {}
        self._label_of: dict[tuple[str, tuple[str, ...], tuple[str, ...]], str] = {}

    def build(self) -> tuple[dict[str, Any], list[str]]:
        """The request and notes."""
        self._make_states_of_changed_constants()
        self._stop_the_clock_while_settling()
        self._make_observables()
        starts = self._model.initial_state()
        experiments = [self._experiment(each, starts) for each in self._problem.experiments]
        used = self._used_names(starts, experiments)
        constants = {name: value for name, value in self._constants.items() if name in used}
        system = system_of(self._model, list(self._parameters), constants)
        if self._has_clock:
            system["inputs"] = [CLOCK]
        system["observables"] = {name: text_of(tree) for name, tree in self._observables.items()}
        request = {
            "system": system,
            "experiments": experiments,
            "parameters": {name: _entry(parameter) for name, parameter in self._parameters.items()},
            "initial_state": {name: initial_value(tree) for name, tree in starts.items()},
            "noise": self._noise,
        }
        if self._labels:
            request["labels"] = self._labels
        return request, [*self._model.notes, *_outside_bounds(self._problem.parameters)]

    def _choose_constants(self) -> dict[str, float]:
        """The constants of the definition: what the model has and the parameter table does not."""
        model = self._model
        found = {}
        for name, value in model.values.items():
            if name not in self._parameters:
                found[name] = math.nan if value is None else value
        for name in map(request_name, self._targets):
            is_known = name in found or name in self._parameters or self._is_state(name) or name in model.definitions
            if not is_known:
                found[name] = math.nan
        model.parameters = [name for name in model.parameters if name in self._parameters]
        return found

    def _is_state(self, name: str) -> bool:
        return name in self._model.rates or name + AMOUNT in self._model.rates

    def _make_states_of_changed_constants(self) -> None:
        """A constant that a later condition sets to something that varies becomes a state without a rate."""
        varies = {TIME, *self._model.rates, *self._model.definitions}
        for experiment in self._problem.experiments:
            for _, targets in experiment.later:
                for target, value in targets.items():
                    name = request_name(target)
                    if name in self._constants and names_of(_with_safe_names(value)) & varies:
                        self._model.rates[name], self._model.starts[name] = ZERO, Number(self._constants.pop(name))

    def _stop_the_clock_while_settling(self) -> None:
        """A model settles before time has begun: where it depends on t, it reads an input that is 0 until then."""
        model = self._model
        settles = any(experiment.steady is not None for experiment in self._problem.experiments)
        self._has_clock = settles and TIME in model.used_names()
        if not self._has_clock:
            return
        clock: Mapping[str, Node] = {TIME: Name(CLOCK)}
        for trees in (model.rates, model.definitions):
            trees.update({name: replace_names(tree, clock) for name, tree in trees.items()})
        model.events = [event.replace_names(clock) for event in model.events]

    def _make_observables(self) -> None:
        """One observable for each set of values that stand for an observable's placeholders."""
        known = {observable.name: observable for observable in self._problem.observables}
        found: dict[str, dict[tuple[tuple[str, ...], tuple[str, ...]], PetabMeasurement]] = {}
        for measurement in self._problem.measurements:
            if measurement.observable not in known:
                raise UnsupportedError(f"{measurement.observable} is measured, but not among the observables")
            key = _texts(measurement.observable_parameters), _texts(measurement.noise_parameters)
            found.setdefault(measurement.observable, {}).setdefault(key, measurement)
        for name, variants in found.items():
            for number, (key, measurement) in enumerate(variants.items(), start=1):
                label = self._free_name(request_name(name) if len(variants) == 1 else f"{request_name(name)}__{number}")
                self._label_of[name, *key] = label
                self._add_observable(known[name], label, measurement)
                if len(variants) > 1:
                    self._labels[label] = f"{name} with {'; '.join((*key[0], *key[1]))}"

    def _free_name(self, name: str) -> str:
        taken = {*self._model.rates, *self._model.definitions, *self._constants, *self._parameters, *self._observables}
        while name in taken:
            name += "_observed"
        return name

    def _add_observable(self, observable: PetabObservable, label: str, measurement: PetabMeasurement) -> None:
        values: dict[str, Node] = {}
        for names, given, what in (
            (observable.observable_placeholders, measurement.observable_parameters, "observableParameters"),
            (observable.noise_placeholders, measurement.noise_parameters, "noiseParameters"),
        ):
            if len(names) != len(given):
                raise UnsupportedError(
                    f"{observable.name} needs {len(names)} {what}, but a measurement has {len(given)}"
                )
            values |= dict(zip(names, given, strict=True))
        formula = _with_safe_names(replace_names(observable.formula, values))
        noise = replace_names(observable.noise, {observable.name: Name(label), **values})
        self._observables[label] = formula
        self._noise[label] = {
            "distribution": observable.distribution,
            "sigma": number_or_text(_scaled(_with_safe_names(noise), observable.scale_factor)),
        }

    def _experiment(self, experiment: PetabExperiment, starts: Mapping[str, Node]) -> dict[str, Any]:
        found: dict[str, Any] = {"name": experiment.name}
        measured = [each for each in self._problem.measurements if each.experiment == experiment.name]
        found |= self._series(measured)
        if experiment.start != found["times"][0]:
            found["start_time"] = experiment.start
        constants, states = self._parted(experiment.first, experiment)
        if experiment.steady is not None:
            steady_constants, before = self._parted(experiment.steady, experiment)
            found["steady_state"] = self._steady_state({**self._defaults(), **steady_constants}, states)
            states = {**self._starts_under(steady_constants, starts), **before}
            if self._problem.keeps_concentration:  # version 2: a value stays until it is changed
                constants = {**steady_constants, **constants}
        if self._has_clock:
            found["inputs"] = {CLOCK: TIME}
        changes = [self._change(time, targets, experiment) for time, targets in experiment.later if targets]
        initial_state = {name: initial_value(tree) for name, tree in states.items()}
        parts = {"constants": _values({**self._defaults(), **constants}), "initial_state": initial_state}
        return found | {field: value for field, value in {**parts, "changes": changes}.items() if value}

    def _steady_state(self, constants: Mapping[str, Node], states: Mapping[str, Node]) -> dict[str, Any] | bool:
        """A model that settles under these constants, after which these states are set."""
        parts = {
            "constants": _values(constants),
            "inputs": {CLOCK: 0.0} if self._has_clock else {},
            "set": _values(states),
        }
        return {field: value for field, value in parts.items() if value} or True

    def _starts_under(self, constants: Mapping[str, Node], starts: Mapping[str, Node]) -> dict[str, Node]:
        """The initial values that depend on constants which hold until the model has settled."""
        return {
            name: replace_names(tree, constants) for name, tree in starts.items() if names_of(tree) & set(constants)
        }

    def _defaults(self) -> dict[str, Node]:
        """The model's formulas for constants that some experiments set, for the others."""
        return {name: tree for name, tree in self._model.defaults.items() if name in self._constants}

    def _parted(self, targets: Targets, experiment: PetabExperiment) -> tuple[dict[str, Node], dict[str, Node]]:
        """What a condition sets at the start: constants, and states."""
        constants: dict[str, Node] = {}
        states: dict[str, Node] = {}
        for target, raw in targets.items():
            name, value = request_name(target), _with_safe_names(raw)
            if name + AMOUNT in self._model.rates:
                states[name + AMOUNT] = Operation("*", (value, self._start_of_size(name, targets)))
            elif name in self._model.rates:
                states[name] = value
            elif name in self._constants:
                constants[name] = value
            else:
                raise UnsupportedError(f"experiment {experiment.name} sets {target}, which follows from a formula")
        return constants, states

    def _start_of_size(self, species: str, targets: Targets) -> Node:
        size = self._size_of(species)
        return _with_safe_names(targets[size]) if size in targets else self._model.start_of(size)

    def _size_of(self, species: str) -> str:
        """The compartment of a species whose state is its amount: the definition is amount/size."""
        tree = self._model.definitions[species]
        assert isinstance(tree, Operation)
        size = tree.operands[1]
        assert isinstance(size, Name)
        return size.name

    def _change(self, time: float, targets: Targets, experiment: PetabExperiment) -> dict[str, Any]:
        values = {request_name(name): _with_safe_names(value) for name, value in targets.items()}
        constants: dict[str, Node] = {}
        states: dict[str, Node] = {}
        for name, value in values.items():
            if name + AMOUNT in self._model.rates:
                size = self._size_of(name)
                states[name + AMOUNT] = Operation("*", (value, values.get(size, Name(size))))
            elif name in self._model.rates:
                states[name] = value
                if self._problem.keeps_concentration:
                    states |= self._rescaled(name, value, values)
            elif name in self._constants:
                constants[name] = value
            else:
                raise UnsupportedError(f"experiment {experiment.name} sets {name}, which follows from a formula")
        parts = {"constants": _values(constants), "set": _values(states)}
        return {"at": time} | {field: value for field, value in parts.items() if value}

    def _rescaled(self, size: str, value: Node, values: Mapping[str, Node]) -> dict[str, Node]:
        """The amounts in a compartment that is resized: version 2 keeps the concentrations."""
        species = [
            name.removesuffix(AMOUNT)
            for name in self._model.rates
            if name.endswith(AMOUNT) and self._size_of(name.removesuffix(AMOUNT)) == size
        ]
        return {name + AMOUNT: Operation("*", (Name(name), value)) for name in species if name not in values}

    def _series(self, measured: list[PetabMeasurement]) -> dict[str, Any]:
        """Times, as often as the most measurements of one observable there, and values."""
        by_time: dict[float, dict[str, list[float]]] = {}
        for each in measured:
            key = each.observable, _texts(each.observable_parameters), _texts(each.noise_parameters)
            label = self._label_of[key]
            by_time.setdefault(each.time, {}).setdefault(label, []).append(each.value)
        labels = dict.fromkeys(label for at in by_time.values() for label in at)
        times: list[float] = []
        values: dict[str, list[float | None]] = {label: [] for label in labels}
        for time in sorted(by_time):
            count = max(len(found) for found in by_time[time].values())
            times += [time] * count
            for label, column in values.items():
                found = by_time[time].get(label, [])
                column += [*found, *[None] * (count - len(found))]
        return {"times": times, "values": values}

    def _used_names(self, starts: Mapping[str, Node], experiments: list[dict[str, Any]]) -> set[str]:
        trees: Iterable[Node] = [*starts.values(), *self._observables.values(), *self._model.defaults.values()]
        used = self._model.used_names() | {name for tree in trees for name in names_of(tree)}
        for entry in self._noise.values():
            used |= set(_words(entry["sigma"]))
        used |= {word for experiment in experiments for word in _names_in(experiment)}
        for name, value in self._constants.items():
            if name in used and math.isnan(value):
                self._constants[name] = self._first_number(name, experiments)
        return used

    def _first_number(self, name: str, experiments: list[dict[str, Any]]) -> float:
        """The definition's value of a constant that only experiments give."""
        if missing := [e["name"] for e in experiments if name not in e.get("constants", {})]:
            raise UnsupportedError(f"{name} has no value in experiment {missing[0]}")
        return 0.0


def _all_targets(experiment: PetabExperiment) -> list[Targets]:
    return [experiment.steady or {}, experiment.first, *(targets for _, targets in experiment.later)]


def _with_safe_names(tree: Node) -> Node:
    renamed = {name: Name(request_name(name)) for name in names_of(tree) if name != TIME and request_name(name) != name}
    return replace_names(tree, renamed) if renamed else tree


def _texts(trees: Iterable[Node]) -> tuple[str, ...]:
    return tuple(text_of(tree) for tree in trees)


def _words(value: Any) -> frozenset[str]:
    """The names in an expression of a request."""
    return parse_expression(value).names if isinstance(value, str) else frozenset()


def _names_in(experiment: Mapping[str, Any]) -> set[str]:
    """The constants, and the names in expressions, of an experiment in a request."""
    settled = experiment.get("steady_state")
    places = [experiment, *experiment.get("changes", []), *([settled] if isinstance(settled, dict) else [])]
    groups = [place.get(field, {}) for place in places for field in ("constants", "set", "initial_state")]
    return {name for group in groups for key, value in group.items() for name in (key, *_words(value))}


def _values(trees: Mapping[str, Node]) -> dict[str, float | str]:
    return {name: number_or_text(tree) for name, tree in trees.items()}


def _scaled(tree: Node, factor: float) -> Node:
    if factor == 1.0:
        return tree
    return Number(factor * tree.value) if isinstance(tree, Number) else Operation("*", (Number(factor), tree))


def _outside_bounds(parameters: Iterable[PetabParameter]) -> list[str]:
    return [
        f"the nominal value of {each.name}, {each.nominal}, is outside its bounds: the guess is the nearer bound"
        for each in parameters
        if each.is_estimated and each.nominal is not None and _entry(each)["guess"] != each.nominal
    ]


def _entry(parameter: PetabParameter) -> dict[str, Any]:
    """A parameter as in a request."""
    entry: dict[str, Any] = {}
    nominal, lower, upper = parameter.nominal, parameter.lower, parameter.upper
    if nominal is not None:
        above = nominal if lower is None or not parameter.is_estimated else max(nominal, lower)
        entry["guess"] = above if upper is None or not parameter.is_estimated else min(above, upper)
    if not parameter.is_estimated:
        return {**entry, "fixed": True}
    for bound, value in (("lower", lower), ("upper", upper)):
        if value is not None:
            entry[bound] = value
    if parameter.is_logarithmic:
        entry["scale"] = "log"
    if parameter.prior is not None:
        entry["prior"] = dict(parameter.prior)
    return entry
