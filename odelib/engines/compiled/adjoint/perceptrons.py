"""Networks in kernels: loops over layers and arrays of weights, in place of an operation for each weight.

For a network of two layers with 64 units each, that is compiled in a second and not in minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from odelib.engines.compiled.simd import padded
from odelib.problem.networks import Activation, Perceptron

# The hidden units h and the derivatives d of the activation, from the sums s, four at a time or one by one; all are
# numbers in `work`. At a kink the derivatives are torch's.
_ACTIVATE: Mapping[Activation, tuple[str, ...]] = {
    "tanh": (
        "for i in range(0, {padded}, 4):",
        "    h = tanh(load(work, {s} + i))",
        "    store(work, {h} + i, h)",
        "    store(work, {d} + i, multiply_add(splat(1.0), -1.0, multiply(h, h)))",
    ),
    "softplus": (
        "for i in range({units}):",
        "    s = work[{s} + i]",
        "    tail = math.exp(-abs(s))",
        "    work[{h} + i] = max(s, 0.0) + math.log1p(tail)",
        "    work[{d} + i] = (1.0 if s >= 0.0 else tail) / (1.0 + tail)",
    ),
    "relu": (
        "for i in range({units}):",
        "    s = work[{s} + i]",
        "    work[{h} + i] = maximum(s, 0.0)",
        "    work[{d} + i] = minimum_weight(0.0, s)",
    ),
}
_LAYER = """\
for i in range({units}):
    total = q[{bias} + i]
    for j in range({before}):
        total += q[{weight} + i*{before} + j]*work[{into} + j]
    work[{s} + i] = total"""
# from the derivatives by the sums of a layer, `by_s`, to those by its weights and by what goes into it
_BACK_TO_WEIGHTS = """\
for i in range({units}):
    factor = work[{by_s} + i]
    out[first + {bias} + i] += factor
    for j in range({before}):
        out[first + {weight} + i*{before} + j] += factor*work[{into} + j]"""
_BACK_TO_UNITS = """\
for j in range({before}):
    work[{by_into} + j] = 0.0
for i in range({units}):
    factor = work[{by_s} + i]
    for j in range({before}):
        work[{by_into} + j] += factor*q[{weight} + i*{before} + j]"""


@dataclass(frozen=True)
class NetworkText:
    """Writes the functions that compute a network and its derivatives.

    number: of the network. weights: where its weights begin in `q`. memory: where its numbers begin in `work`. In
    order, each padded: the inputs; of each hidden layer the sums, the units and the derivatives of the activation; the
    outputs; the derivatives by the outputs and by the inputs, which the caller writes and reads; and two layers more.
    """

    network: Perceptron
    number: int
    weights: int
    memory: int

    @property
    def inputs(self) -> int:
        """Where the inputs are in `work`."""
        return self.memory

    @property
    def outputs(self) -> int:
        """Where the outputs are in `work`."""
        return self.memory + padded(self.network.widths[0]) + 3 * sum(map(padded, self.network.widths[1:-1]))

    @property
    def by_outputs(self) -> int:
        """Where the derivatives by the outputs are in `work`."""
        return self.outputs + padded(self.network.widths[-1])

    @property
    def by_inputs(self) -> int:
        """Where the derivatives by the inputs are in `work`."""
        return self.by_outputs + padded(self.network.widths[-1])

    @property
    def jacobian(self) -> int:
        """Where the derivatives of the outputs by the inputs are in `work`, row by row."""
        return self.by_inputs + padded(self.network.widths[0])

    @property
    def _layers_more(self) -> int:
        return self.jacobian + padded(self.network.widths[0] * self.network.widths[-1])

    @property
    def size(self) -> int:
        """How many numbers of `work` the network takes."""
        return self._layers_more + 2 * padded(max(self.network.widths)) - self.memory

    def text(self) -> list[str]:
        """The functions `compute_N(q, work)`, `pull_back_N(q, work, out, first)` and `pull_back_inputs_N(q, work)`.

        The first writes the outputs. The others go back from the derivatives by the outputs to those by the inputs; the
        first of these adds those by the weights to `out`, from `first` on, and `compute_N` has to be called before.
        """
        return [
            *_function(f"compute_{self.number}(q, work)", self._compute()),
            *_function(f"pull_back_{self.number}(q, work, out, first)", self._pull_back(with_weights=True)),
            *_function(f"pull_back_inputs_{self.number}(q, work)", self._pull_back(with_weights=False)),
        ]

    def _places(self) -> list[dict[str, int]]:
        """For each layer its sizes, and where its numbers are."""
        found, weight, memory, into = [], 0, self.memory + padded(self.network.widths[0]), self.memory
        for before, units in self.network.layers:
            size = padded(units)
            found.append(
                {"before": before, "units": units, "padded": size, "weight": weight, "bias": weight + before * units,
                 "into": into, "s": memory, "h": memory + size, "d": memory + 2 * size}
            )  # fmt: skip
            weight, into, memory = weight + (before + 1) * units, memory + size, memory + 3 * size
        found[-1]["s"] = self.outputs
        return found

    def _compute(self) -> list[str]:
        lines = []
        *hidden, last = self._places()
        for number, place in enumerate((*hidden, last)):
            of_weights = {name: self.weights + place[name] for name in ("weight", "bias")}
            lines += _LAYER.format(**{**place, **of_weights}).splitlines()
            if number < len(hidden):
                lines += [line.format(**place) for line in _ACTIVATE[self.network.activation]]
        for i, (offset, scale) in enumerate(zip(self.network.offset, self.network.scale, strict=True)):
            lines.append(f"work[{last['s'] + i}] = {offset!r} + {scale!r}*work[{last['s'] + i}]")
        return lines

    def _pull_back(self, *, with_weights: bool) -> list[str]:
        places = self._places()
        by_s, other = self._layers_more, self._layers_more + padded(max(self.network.widths))
        lines = [
            f"work[{by_s + i}] = {scale!r}*work[{self.by_outputs + i}]" for i, scale in enumerate(self.network.scale)
        ]
        for number in range(len(places) - 1, -1, -1):
            place = {**places[number], "by_s": by_s, "by_into": other if number else self.by_inputs}
            if with_weights:
                lines += _BACK_TO_WEIGHTS.format(**place).splitlines()
            lines += _BACK_TO_UNITS.format(**{**place, "weight": self.weights + place["weight"]}).splitlines()
            if number:
                before = places[number - 1]
                lines += [f"for i in range({before['units']}):", f"    work[{other} + i] *= work[{before['d']} + i]"]
            by_s, other = other, by_s
        return lines


def _function(head: str, body: list[str]) -> list[str]:
    return ["", "", "@layers", f"def {head}:", *(f"    {line}" for line in body)]
