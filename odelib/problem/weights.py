"""Networks as expressions: every weight becomes a parameter, and every unit a definition.

`expanded` makes of a request with networks one without them, which engines and optimisers take as any other. Inputs and
outputs are scaled so that the layers see numbers of the size of 1 where the data were measured.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from odelib.problem.expressions.definitions import needed
from odelib.problem.expressions.evaluation import value_at
from odelib.problem.expressions.parser import Expression, parse_expression
from odelib.problem.limits import UNLIMITED
from odelib.problem.networks import NetworkDefinition, NetworkSettings, NetworkStart, Perceptron
from odelib.problem.request import FitProblem, parse_problem, request_of
from odelib.problem.series import MeasuredSeries
from odelib.problem.system import System
from odelib.problem.unknowns import Unknown

LAST_LAYER = 0.01  # times as large as the others: a universal equation starts as its known part
_MAX_POINTS = 200  # at which inputs are evaluated for their scaling
_ACTIVATIONS = {"tanh": "tanh({0})", "softplus": "max({0}, 0) + log(1 + exp(-abs({0})))", "relu": "max({0}, 0)"}


@dataclass(frozen=True)
class Scaling:
    """Values are offset + scale·(what the layers see)."""

    offset: tuple[float, ...]
    scale: tuple[float, ...]


@dataclass(frozen=True)
class ExpandedNetwork:
    """A network whose weights are parameters.

    prefix: of the names of its parameters and definitions. layers: for each the names of W, by row, and of b. l2,
    learning_rate: as in the request.
    """

    name: str
    prefix: str
    definition: NetworkDefinition
    layers: tuple[tuple[tuple[tuple[str, ...], ...], tuple[str, ...]], ...]
    input_scaling: Scaling
    output_scaling: Scaling
    l2: float
    learning_rate: float

    @property
    def weights(self) -> list[str]:
        """The names of all weights and biases."""
        return [name for rows, bias in self.layers for name in (*(entry for row in rows for entry in row), *bias)]

    @property
    def perceptron(self) -> Perceptron:
        """The network in terms of the names of its parameters and definitions."""
        widths = self.definition.widths
        units = [
            f"{self.prefix}_{kind}{layer}_{i}"
            for layer, width in enumerate(widths[1:-1])
            for i in range(width)
            for kind in "sh"
        ]
        return Perceptron(
            inputs=tuple(f"{self.prefix}_x{i}" for i in range(widths[0])),
            units=tuple(units),
            outputs=tuple(self.definition.outputs),
            widths=tuple(widths),
            activation=self.definition.activation,
            weights=tuple(self.weights),
            offset=self.output_scaling.offset,
            scale=self.output_scaling.scale,
        )


def expanded(problem: FitProblem) -> tuple[FitProblem, tuple[ExpandedNetwork, ...]]:
    """Return an equivalent request without networks, and what stands in their place."""
    system = problem.resolved_system
    if not system.networks:
        return problem, ()
    points = list(_points(problem, system))
    definition = system.definition()
    known = {*system.states, *system.parameters, *system.constants, *system.inputs, *system.observables}
    known |= {*system.definitions, *system.derived, *(event.name for event in system.events)}
    prefix = "net_"
    while any(name.startswith(prefix) for name in known):
        prefix += "_"
    networks, definitions, start = [], dict(definition.definitions), {}
    for number, (name, network) in enumerate(system.networks.items()):
        settings = problem.networks.get(name, NetworkSettings())
        one = _expand(
            f"{prefix}{number}", name, network, settings, _scalings(network, settings, system, problem, points)
        )
        networks.append(one)
        definitions.update(_definitions(f"{prefix}{number}", one))
        start.update(_start(one, settings.start, random.Random(f"{problem.seed} {name}")))
    raw = request_of(problem)
    raw.pop("networks", None)
    raw["system"] = {
        **definition.model_dump(mode="json", exclude_defaults=True),
        "parameters": [*system.parameters, *start],
        "definitions": definitions,
    }
    raw["system"].pop("networks")
    raw["parameters"] = {**raw["parameters"], **start}
    if problem.penalty is not None and problem.penalty.names is None:
        free = [name for name in system.parameters if not _is_fixed(problem.parameters[name])]
        raw.pop("penalty")
        raw |= {"penalty": {**problem.penalty.model_dump(exclude_none=True), "names": free}} if free else {}
    return parse_problem(raw, UNLIMITED), tuple(networks)


def _is_fixed(entry: Any) -> bool:
    return isinstance(entry, Unknown) and entry.is_fixed


def _expand(
    prefix: str, name: str, network: NetworkDefinition, settings: NetworkSettings, scalings: tuple[Scaling, Scaling]
) -> ExpandedNetwork:
    widths = network.widths
    layers = tuple(
        (
            tuple(tuple(f"{prefix}_w{layer}_{i}_{j}" for j in range(before)) for i in range(after)),
            tuple(f"{prefix}_b{layer}_{i}" for i in range(after)),
        )
        for layer, (before, after) in enumerate(pairwise(widths))
    )
    return ExpandedNetwork(name, prefix, network, layers, *scalings, settings.l2, settings.learning_rate)


def _definitions(prefix: str, network: ExpandedNetwork) -> Iterator[tuple[str, str]]:
    """Yield the definitions of the scaled inputs, the units and the outputs."""
    units = []
    scaling = network.input_scaling
    for i, (text, offset, scale) in enumerate(
        zip(network.definition.inputs, scaling.offset, scaling.scale, strict=True)
    ):
        units.append(f"{prefix}_x{i}")
        yield units[-1], f"(({text}) - ({offset!r}))/({scale!r})"
    activation = _ACTIVATIONS[network.definition.activation]
    for layer, (rows, bias) in enumerate(network.layers):
        sums = [
            " + ".join([b, *(f"{w}*{unit}" for w, unit in zip(row, units, strict=True))])
            for row, b in zip(rows, bias, strict=True)
        ]
        if layer == len(network.layers) - 1:
            out = network.output_scaling
            for output, text, offset, scale in zip(
                network.definition.outputs, sums, out.offset, out.scale, strict=True
            ):
                yield output, f"({offset!r}) + ({scale!r})*({text})"
            return
        units = []
        for i, text in enumerate(sums):
            yield f"{prefix}_s{layer}_{i}", text
            units.append(f"{prefix}_h{layer}_{i}")
            yield units[-1], activation.format(f"{prefix}_s{layer}_{i}")


def _start(network: ExpandedNetwork, start: NetworkStart | None, rng: random.Random) -> dict[str, float]:
    """Return where the weights start: as given, or at random.

    W is normal with a standard deviation of 1/√(units before), times `LAST_LAYER` in the last layer. Biases are normal
    in the same way, so that units of a layer differ at the centre too.
    """
    found: dict[str, float] = {}
    for number, (rows, bias) in enumerate(network.layers):
        if start is not None:
            given = start.layers[number]
            for names, values in zip((*rows, bias), (*given.weight, given.bias), strict=True):
                found.update(zip(names, values, strict=True))
            continue
        size = (LAST_LAYER if number == len(network.layers) - 1 else 1.0) / math.sqrt(len(rows[0]))
        found.update({name: rng.gauss(0.0, size) for name in (*(entry for row in rows for entry in row), *bias)})
    return found


def _scalings(
    network: NetworkDefinition,
    settings: NetworkSettings,
    system: System,
    problem: FitProblem,
    points: Sequence[Mapping[str, float]],
) -> tuple[Scaling, Scaling]:
    if settings.start is not None:
        given = settings.start.input_scaling, settings.start.output_scaling
        into, out = (Scaling(tuple(each.offset), tuple(each.scale)) for each in given)
        return into, out
    inputs = [_spread([value_at(parse_expression(text), point) for point in points]) for text in network.inputs]
    scales = [_output_scale(name, system, problem.series, points) for name in network.outputs]
    into = Scaling(tuple(mean for mean, _ in inputs), tuple(scale for _, scale in inputs))
    return into, Scaling((0.0,) * len(scales), tuple(scales))


def _spread(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and standard deviation of the finite values; a constant is divided by its size."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return 0.0, 1.0
    mean = statistics.fmean(finite)
    spread = math.sqrt(statistics.fmean([(value - mean) ** 2 for value in finite]))
    if spread > 1e-9 * abs(mean) and spread > 0:
        return mean, spread
    return 0.0, abs(mean) or 1.0


def _output_scale(
    output: str, system: System, series: Sequence[MeasuredSeries], points: Sequence[Mapping[str, float]]
) -> float:
    """Return the size that an output probably has, by what uses it.

    Where the equation of a state does, the output is as large as explains the rates of that state as measured: their
    size divided by that of the equation's slope by the output. The smallest size counts, of all states. Where only
    observables use it, it has their spread.
    """
    states = [name for name, equation in system.equations.items() if _uses(equation, output, system)]
    sizes = []
    for name in states:
        rates = [rate for each in series for rate in _rates(each, name)]
        slopes = [_slope(system.equations[name], output, system, point) for point in points]
        size, slope = _root_mean_square(rates), _root_mean_square([slope for slope in slopes if math.isfinite(slope)])
        if size and slope:
            sizes.append(size / slope)
    if sizes:
        return min(sizes)
    used = [name for name, expression in system.observables.items() if _uses(expression, output, system)]
    values = [value for name in used for each in series for value in each.values.get(name, []) if value is not None]
    return _spread(values)[1] if values and not states else 1.0


def _slope(expression: Expression, output: str, system: System, point: Mapping[str, float]) -> float:
    """Return by how much an expression grows if an output grows from 0 to 1, and with it what is defined by it."""
    values = []
    for value in (0.0, 1.0):
        known = {**point, output: value}
        for name, definition in system.definitions.items():
            if name not in system.network_outputs:
                known[name] = value_at(definition, known)
        values.append(value_at(expression, known))
    return values[1] - values[0]


def _root_mean_square(values: Sequence[float]) -> float:
    return math.sqrt(statistics.fmean([value * value for value in values])) if values else 0.0


def _uses(expression: Expression, output: str, system: System) -> bool:
    """Whether an expression uses an output of a network, also through definitions."""
    return output in needed(expression.names, system.definitions)


def _rates(series: MeasuredSeries, state: str) -> Iterator[float]:
    measured = [(t, y) for t, y in zip(series.times, series.values.get(state, []), strict=False) if y is not None]
    for (t0, y0), (t1, y1) in pairwise(measured):
        if t1 > t0:
            yield (y1 - y0) / (t1 - t0)


def _points(problem: FitProblem, system: System) -> Iterator[dict[str, float]]:
    """Yield values of all names at times of the series: states as measured, else as guessed; parameters as guessed."""
    per_series = max(1, _MAX_POINTS // len(problem.series))
    parameters = {name: _guess(entry) for name, entry in problem.parameters.items()}
    for series in problem.series:
        constants: dict[str, float] = dict(system.constants)
        for name, value in {**problem.constants, **series.constants}.items():
            constants[name] = constants[name] if isinstance(value, str) else value
        guesses = {**problem.initial_state, **series.initial_state}
        states = {name: _guess(guesses.get(name)) for name in system.states}
        stride = max(1, len(series.times) // per_series)
        for i in range(0, len(series.times), stride):
            values = {**parameters, **constants, **states, "t": series.times[i]}
            values |= {name: _input_at(name, problem, series, series.times[i]) for name in system.inputs}
            seen = {name: series.values[name][i] for name in system.states if name in series.values}
            values |= {name: value for name, value in seen.items() if value is not None}
            for name, expression in system.definitions.items():
                values[name] = 0.0 if name in system.network_outputs else value_at(expression, values)
            yield values


def _guess(entry: Any) -> float:
    if isinstance(entry, Unknown):
        return entry.start
    return float(entry) if isinstance(entry, int | float) else 1.0


def _input_at(name: str, problem: FitProblem, series: MeasuredSeries, time: float) -> float:
    entry: Any = {**problem.inputs, **series.inputs}.get(name)
    if isinstance(entry, int | float):
        return float(entry)
    knots = getattr(entry, "times", None)
    if not knots:
        return 1.0
    nearest = min(range(len(knots)), key=lambda k: abs(knots[k] - time))
    value = entry.values[nearest]
    return float(value) if isinstance(value, int | float) else 1.0
